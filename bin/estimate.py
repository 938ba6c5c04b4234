"""Measures muscle and fat in CT scans at vertebral levels."""

from bodycomp_jax.programs import run_estimate

run_estimate()
