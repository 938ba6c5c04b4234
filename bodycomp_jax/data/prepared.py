"""What a set that was prepared from scans says of itself."""

import os

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.json_files import read_json_object
from bodycomp_jax.vertebrae import REFERENCES

ACCOUNT = 'dataset.json'


def refuse_other_reference(data_dir: str | os.PathLike[str], reference: str) -> None:
    """Raises InputError if the offsets of a set are from another point of the vertebra.

    Args:
      data_dir: the folder of the set; without an account, any point is accepted.
      reference: one of `vertebrae.REFERENCES`.
    """
    path = os.path.join(data_dir, ACCOUNT)
    if not os.path.exists(path):
        return
    flags = read_json_object(path).get('flags')
    found = flags.get('reference') if isinstance(flags, dict) else None
    if found in REFERENCES and found != reference:
        raise InputError(
            f'{path}: the offsets were prepared with --reference={found}, but the network has '
            f'--reference={reference}; add --reference={found}'
        )
