"""Trains the segmentation network."""

from bodycomp_jax.programs.train_segmentation import run

run()
