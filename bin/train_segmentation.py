"""Trains the segmentation network."""

from bodycomp_jax.programs import run_train_segmentation

run_train_segmentation()
