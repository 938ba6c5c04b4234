"""Compares trained networks, or readers, on labelled data."""

from bodycomp_jax.programs import run_evaluate

run_evaluate()
