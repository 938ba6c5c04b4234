"""Trains the slice-selection network."""

from bodycomp_jax.programs import run_train_slice_selection

if __name__ == '__main__':  # not in the processes that it starts
    run_train_slice_selection()
