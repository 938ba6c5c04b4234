"""python -m bodycomp_jax.programs PROGRAM [arguments]."""

import sys

from bodycomp_jax.programs import PROGRAMS, run

_, *arguments = sys.argv
if not arguments or arguments[0] not in PROGRAMS:
    print(f'python -m bodycomp_jax.programs {"|".join(PROGRAMS)} [arguments]', file=sys.stderr)
    sys.exit(2)
sys.argv = [f'{arguments[0]}.py', *arguments[1:]]
run(arguments[0])
