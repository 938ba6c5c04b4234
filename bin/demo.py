"""Trains both networks on synthetic CT."""

from bodycomp_jax.programs.demo import run

run()
