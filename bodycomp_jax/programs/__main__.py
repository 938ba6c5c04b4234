"""python -m bodycomp_jax.programs PROGRAM [arguments]."""

import sys

from bodycomp_jax.programs import run

name = sys.argv.pop(1)
sys.argv[0] = f'{name}.py'
run(name)
