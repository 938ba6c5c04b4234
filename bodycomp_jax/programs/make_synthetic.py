"""Makes training sets of both networks from synthetic subjects.

Writes segmentation and slice_selection with the same subjects in the same splits, which the
trainers read as they are.
"""

from bodycomp_jax.preparation.synthetic.make import make_synthetic
from bodycomp_jax.preparation.synthetic.options import SyntheticConfig
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags


def main(argv: list[str]) -> None:
    (config,), _ = flags.parse(argv, __doc__, SyntheticConfig)
    make_synthetic(config)


if __name__ == '__main__':
    restart('make_synthetic')
