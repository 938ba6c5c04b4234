"""Training sets of the slice-selection network from scans and positions of vertebral levels."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bodycomp_jax.config import DENSENET_SIDE
from bodycomp_jax.data import slice_selection
from bodycomp_jax.data.file_names import offset_column
from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.data.png import write_png
from bodycomp_jax.data.scans import Series, Slice
from bodycomp_jax.data.squares import selection_square, square_spacing
from bodycomp_jax.metrics.views import series_views
from bodycomp_jax.preparation.account import PartsOf
from bodycomp_jax.preparation.cases import Case, read_cases
from bodycomp_jax.preparation.levels import level_positions, refuse_missing_levels
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.preparation.parts import Part, Slices
from bodycomp_jax.preparation.prepare import prepare


def prepare_slice_selection_set(config: PreparationConfig) -> None:
    """Writes the set that the flags describe; see `prepare`."""
    cases = read_cases(config.cases, ('image',)).cases
    refuse_missing_levels(config.cases, cases, config.levels)

    def make_slices(case: Case, series: Series, path: str) -> Slices:
        return write_slices(series, level_positions(case, series, config), path)

    prepare(config, cases, make_slices, write_set)


def write_slices(series: Series, levels: Mapping[str, float], path: str) -> Slices:
    """Writes the part of a series: grey values at the size of the network, and a preview.

    Args:
      series: of the case.
      levels: {level: mm}.
      path: of the part.
    """
    with npy_writers(f'{path}.npy') as (writer,):
        for hu in series.read(range(len(series))):
            writer.append(selection_square(hu))
    grid = series.slices[0].grid
    pixel, _ = square_spacing((grid.rows, grid.columns), grid.spacing, DENSENET_SIDE)
    views = series_views(NpyRows(f'{path}.npy').read, series.z, pixel, levels)
    write_png(f'{path}.png', views)
    return Slices([_row(each, levels) for each in series.slices], {})


def _row(of: Slice, levels: Mapping[str, float]) -> dict[str, str]:
    """What the table says of a slice, but for what its case says."""
    offsets = {offset_column(level): f'{of.z - mm:.1f}' for level, mm in levels.items()}
    return {'SOPInstanceUID': of.sop_instance_uid, 'z': f'{of.z:.3f}', **offsets}


def write_set(folder: str, parts_of: PartsOf) -> None:
    """Writes pictures, tables and previews of the parts of each split in a folder."""
    previews = os.path.join(folder, 'previews')
    os.mkdir(previews)
    for split, parts in parts_of.items():
        rows = [row for part in parts for row in part.slices.rows]
        table = {name: [row[name] for row in rows] for name in rows[0]}
        slice_selection.write_split_table(folder, split, _slices(parts), table)
        for part in parts:
            preview = os.path.join(previews, f'{part.case.number:06d}.png')
            (shutil.copyfile if part.kept else os.rename)(f'{part.path}.png', preview)


def _slices(parts: Sequence[Part]) -> Iterator[np.ndarray]:
    """The grey values of the slices of a split."""
    for part in parts:
        slices = part.rows('.npy')
        for i in range(len(slices)):
            yield slices.read([i])[0]
