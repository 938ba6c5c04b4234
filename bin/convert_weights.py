"""Converts networks from and to Keras files."""

from bodycomp_jax.programs.convert_weights import run

run()
