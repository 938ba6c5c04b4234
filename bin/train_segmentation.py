"""Trains the segmentation network."""

from bodycomp_jax.programs import run_train_segmentation

if __name__ == '__main__':  # not in the processes that it starts
    run_train_segmentation()
