"""Trains the slice-selection network."""

from bodycomp_jax.programs import run_train_slice_selection

run_train_slice_selection()
