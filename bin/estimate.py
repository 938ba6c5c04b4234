"""Measures muscle and fat in CT scans at vertebral levels."""

from bodycomp_jax.programs import run_estimate

if __name__ == '__main__':  # not in the processes that it starts
    run_estimate()
