"""Converts networks of the reference system: a Keras HDF5 file into a final_model folder, and back.

The folder can be loaded, and training can start from it; the file is one of weights, for the
reference's load_weights.
"""

import os

from bodycomp_jax import checkpoint, cli
from bodycomp_jax.config import ConversionConfig, of_group
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import keras_import


def main(argv):
    (conversion,) = cli.parse(argv, __doc__, ConversionConfig)
    source, target = conversion.source, conversion.target
    told = {k: v for k, v in of_group(conversion, 'Network').items() if v is not None}
    if os.path.lexists(target):
        raise InputError(f'{target}: is there already; give a new name')
    if os.path.isfile(source):
        config, variables = keras_import.read(source, **told)
        checkpoint.save_model(target, config, variables)
    elif told:
        raise InputError(f'--{min(told)}: {source} says it itself; leave it out')
    else:
        model = checkpoint.load_model(source)
        keras_import.write(target, model.config, model.variables)
    print(f'{source} -> {target}')


if __name__ == '__main__':
    cli.run(main)
