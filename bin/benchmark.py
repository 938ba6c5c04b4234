"""Measures speed."""

from bodycomp_jax.programs.benchmark import run

run()
