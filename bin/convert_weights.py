"""Makes a final_model of the reference's Keras file, or a Keras weights file of a network here."""

from bodycomp_jax import checkpoint, cli
from bodycomp_jax.config import ConversionConfig


def main(argv):
    (conversion,) = cli.parse(argv, __doc__, ConversionConfig)
    config = checkpoint.convert(conversion.input, conversion.output, **conversion.told)
    print(f'{conversion.output}: a {config.network} network')


if __name__ == '__main__':
    cli.run(main)
