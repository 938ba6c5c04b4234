"""Measures speed."""

from bodycomp_jax.programs import run_benchmark

run_benchmark()
