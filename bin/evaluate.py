"""Compares trained networks, or readers, on labelled data."""

from bodycomp_jax.programs import run_evaluate

if __name__ == '__main__':  # not in the processes that it starts
    run_evaluate()
