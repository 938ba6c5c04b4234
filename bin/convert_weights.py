"""Converts networks from and to Keras files."""

from bodycomp_jax.programs import run_convert_weights

run_convert_weights()
