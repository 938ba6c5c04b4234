"""Measures speed."""

from bodycomp_jax.programs import run_benchmark

if __name__ == '__main__':  # not in the processes that it starts
    run_benchmark()
