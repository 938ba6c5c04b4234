"""Prepares the training set of the slice-selection network."""

from bodycomp_jax.programs import run_prepare_slice_selection

run_prepare_slice_selection()
