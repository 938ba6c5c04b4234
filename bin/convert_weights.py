"""Converts networks from and to Keras files."""

from bodycomp_jax.programs import run_convert_weights

if __name__ == '__main__':  # not in the processes that it starts
    run_convert_weights()
