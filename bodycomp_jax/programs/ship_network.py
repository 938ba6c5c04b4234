"""Makes the network of a run on synthetic slices a part of the package; for maintainers."""

import dataclasses

from bodycomp_jax.checkpoints.shipping import ship
from bodycomp_jax.config import option
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShippingConfig:
    """Which network is shipped."""

    path: str = option(
        None,
        'folder of the run, trained with --synthetic, without --load_weights or from synthetic; or '
        'one of its checkpoints',
        group='Input and output',
        positional=True,
        path=True,
    )


def main(argv: list[str]) -> None:
    (shipping,), _ = flags.parse(argv, __doc__, ShippingConfig)
    print(f'{ship(shipping.path)}: run the tests, and commit it')


if __name__ == '__main__':
    restart('ship_network')
