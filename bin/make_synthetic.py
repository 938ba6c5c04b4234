"""Makes training sets of both networks from synthetic subjects."""

from bodycomp_jax.programs import run_make_synthetic

if __name__ == '__main__':  # not in the processes that it starts
    run_make_synthetic()
