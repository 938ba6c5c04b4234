"""Trains both networks on synthetic CT."""

from bodycomp_jax.programs import run_demo

if __name__ == '__main__':  # not in the processes that it starts
    run_demo()
