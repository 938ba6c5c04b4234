"""Prepares the training set of the segmentation network."""

from bodycomp_jax.programs import run_prepare_segmentation

run_prepare_segmentation()
