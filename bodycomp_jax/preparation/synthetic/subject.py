"""A synthetic subject as a series with labels, and the parts of the sets that it gives."""

import dataclasses
import functools
import hashlib
import os
import shutil

import numpy as np

from bodycomp_jax.ct import AIR
from bodycomp_jax.data import phantom
from bodycomp_jax.data.scans import Grid, Series, Slice, Turn
from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation import segmentation, slice_selection
from bodycomp_jax.preparation.parts import Slices
from bodycomp_jax.preparation.synthetic import dicom
from bodycomp_jax.preparation.synthetic.options import SyntheticConfig
from bodycomp_jax.runtime.json_files import read_json_object, write_json

SEGMENTATION, SLICE_SELECTION = 'segmentation', 'slice_selection'
LUMBAR = ('L5', 'L4', 'L3', 'L2', 'L1')  # between which slices are labelled
SCANS, MASKS = 'scans', 'masks'  # folders of DICOM files


@dataclasses.dataclass(frozen=True)
class Made:
    """What is known of a subject whose parts are written.

    Attributes:
      uid: of its series.
      levels: {level: mm}.
      slices: {set: its slices of the subject}.
    """

    uid: str
    levels: dict[str, float]
    slices: dict[str, Slices]


def name_of(config: SyntheticConfig, number: int) -> str:
    """The name of a subject, which no other has, also of other seeds."""
    return f'synthetic-{config.seed}-{number:06d}'


def part_of(folder: str, of_set: str, number: int) -> str:
    """The prefix of the names of the files that a subject adds to a set."""
    return os.path.join(folder, of_set, f'{number:06d}')


def make(config: SyntheticConfig, folder: str, dicom_folder: str, number: int) -> None:
    """Draws a subject and writes all that it gives; `read_made` then knows it.

    Args:
      config: of the sets.
      folder: of the parts.
      dicom_folder: for its series, if that is wanted.
      number: of the subject.
    """
    seed = _seed(config.seed, number)
    trunk = phantom.draw(seed, config.size, config.slice_spacing, phantom.WIDE)
    name = name_of(config, number)
    series = as_series(trunk, [name, f'{config.size} {config.slice_spacing}'])
    lumbar = _lumbar(trunk, config.slice_spacing)
    rng = np.random.default_rng((config.seed, number))
    chosen = rng.choice(lumbar, min(config.slices, len(lumbar)), replace=False)
    slices = {
        SEGMENTATION: segmentation.write_slices(
            series,
            sorted(chosen.tolist()),
            lambda i, hu: trunk.labels[i],
            config.size,
            part_of(folder, SEGMENTATION, number),
        ),
        SLICE_SELECTION: slice_selection.write_slices(
            series,
            {level: trunk.levels[level] for level in config.levels},
            part_of(folder, SLICE_SELECTION, number),
        ),
    }
    if config.dicom:
        scan = os.path.join(dicom_folder, SCANS, name)
        shutil.rmtree(scan, ignore_errors=True)  # what a run that was killed left
        os.makedirs(scan)
        headers = dicom.write_series(scan, series, name)
        dicom.write_labels(
            os.path.join(dicom_folder, MASKS, f'{series.uid}.dcm'),
            [headers[i] for i in lumbar],
            trunk.labels[lumbar],
        )
    made = Made(series.uid, trunk.levels, slices)
    write_json(_record(folder, number), dataclasses.asdict(made))


def read_made(folder: str, number: int) -> Made | None:
    """What is known of a subject; None if its parts are not written yet.

    Raises InputError for a file that `make` did not write.
    """
    path = _record(folder, number)
    if not os.path.lexists(path):
        return None
    content = read_json_object(path)
    try:
        slices = {of_set: Slices(*fields) for of_set, fields in content['slices'].items()}
        return Made(content['uid'], content['levels'], slices)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f'{path}: not what this program wrote ({error}); remove it') from error


def as_series(trunk: phantom.Trunk, origin: list[str]) -> Series:
    """A trunk as a series whose slices are in memory.

    Args:
      trunk: with its first slice at z = 0.
      origin: what decides the identifiers.
    """
    side, pixel = trunk.hu.shape[1], trunk.pixel_mm
    first = (1 - side) / 2 * pixel
    uid_of = functools.partial(dicom.uid, *origin)
    slices = tuple(
        Slice(
            Grid(side, side, (pixel, pixel), (first, first, float(z)), (1.0, 0, 0), (0, 1.0, 0)),
            float(z),
            '',
            uid_of(str(i)),
            i,
            Turn(),
            1.0,
            0.0,
        )
        for i, z in enumerate(trunk.z)
    )
    uid = uid_of('series')
    return Series(
        slices,
        uid,
        uid,
        lambda: lambda of: np.maximum(trunk.hu[of.frame], AIR),
        dict,
        uid_of('frame of reference'),
    )


def _seed(seed: int, number: int) -> int:
    """Of the phantom: no two subjects share it, whatever the seed of the sets."""
    return int.from_bytes(hashlib.sha256(f'{seed} {number}'.encode()).digest()[:8])


def _lumbar(trunk: phantom.Trunk, spacing: float) -> np.ndarray:
    """The slices between the lumbar levels and nearest to them, from the feet to the head."""
    lowest, highest = trunk.levels[LUMBAR[0]], trunk.levels[LUMBAR[-1]]
    beyond = spacing / 2
    return np.flatnonzero((trunk.z >= lowest - beyond) & (trunk.z <= highest + beyond))


def _record(folder: str, number: int) -> str:
    return os.path.join(folder, f'{number:06d}.json')
