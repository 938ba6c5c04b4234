"""Makes a final_model of the reference's Keras file, or a Keras weights file of a network here."""

from bodycomp_jax.checkpoints import run
from bodycomp_jax.config import ConversionConfig
from bodycomp_jax.runtime import flags


def main(argv):
    (conversion,) = flags.parse(argv, __doc__, ConversionConfig)
    config = run.convert(conversion.input, conversion.output, **conversion.told)
    print(f'{conversion.output}: a {config.network} network')


if __name__ == '__main__':
    flags.run(main)
