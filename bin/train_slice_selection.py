"""Trains the slice-selection network."""

from bodycomp_jax.programs.train_slice_selection import run

run()
