"""What a set that was prepared from scans says of itself."""

import os
from typing import Any

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.json_files import read_json_object
from bodycomp_jax.vertebrae import REFERENCES

ACCOUNT = 'dataset.json'


def determined_options(data_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """{option of a segmentation network: value} that a set determines.

    `levels`: of its slices; none if it has slices of others, or does not say.
    """
    flags = _flags(data_dir)
    at_levels = flags.get('slices') == 'level'
    levels = flags.get('levels') if at_levels else None
    return {'levels': [*map(str, levels)] if isinstance(levels, list) else []}


def refuse_other_reference(data_dir: str | os.PathLike[str], reference: str) -> None:
    """Raises InputError if the offsets of a set are from another point of the vertebra.

    Args:
      data_dir: the folder of the set; without an account, any point is accepted.
      reference: one of `vertebrae.REFERENCES`.
    """
    found = _flags(data_dir).get('reference')
    if found in REFERENCES and found != reference:
        raise InputError(
            f'{os.path.join(data_dir, ACCOUNT)}: the offsets were prepared with '
            f'--reference={found}, but the network has --reference={reference}; train '
            f'one with --reference={found}'
        )


def _flags(data_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """The flags with which a set was prepared; {} without an account."""
    path = os.path.join(data_dir, ACCOUNT)
    flags = read_json_object(path).get('flags') if os.path.exists(path) else None
    return flags if isinstance(flags, dict) else {}
