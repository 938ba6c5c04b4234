"""Trains both networks on synthetic CT."""

from bodycomp_jax.programs import run_demo

run_demo()
