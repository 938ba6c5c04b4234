"""From a series to areas and densities of tissues."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.masks.labels import HU_LIMITS, HULimits, LabelMap
from bodycomp_jax.data.masks.mask import Mask
from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.scans.reasons import naming
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.heights import height_of
from bodycomp_jax.estimation.measuring import measure
from bodycomp_jax.estimation.native import AGREEMENT, Segmented, segment
from bodycomp_jax.estimation.places import Places, at_levels, every_slice
from bodycomp_jax.estimation.result import MEASURED, Estimate, Measured
from bodycomp_jax.inference.batches import MAX_BATCH
from bodycomp_jax.inference.predictors import Segmenter, SliceSelector

SIDE = 512  # pixels of the squares that segmentation networks are trained on


class Labelling(NamedTuple):
    """What labels the slices of a series.

    Attributes:
      tissues: names of the labels 1, 2, ...
      label: (indices, HU of each slice) to labels; raises InputError.
    """

    tissues: tuple[str, ...]
    label: Callable[[Sequence[int], Sequence[np.ndarray]], list[Segmented]]


def estimate(
    series: Series,
    segmentation: Segmenter,
    slice_selection: SliceSelector | None = None,
    *,
    levels: Sequence[str] = (),
    positions: Mapping[str, float] | None = None,
    hu_limits: str = 'alberta',
    size: int = SIDE,
    slab_mm: float = 0.0,
    height_m: float | None = None,
) -> Estimate:
    """Measures the tissues in a series at vertebral levels, or in each of its slices.

    Args:
      series: of `find_series`.
      segmentation: network, or several, of `load_model`.
      slice_selection: the same, to find levels; without it, each slice is measured as it is.
      levels: some of those that it knows; all by default.
      positions: {level: z in mm} that overrule the network.
      hu_limits: one of `HU_LIMITS`.
      size: rows and columns of the squares that the segmentation network was trained on.
      slab_mm: thickness of the slab around each level whose slices are measured too.
      height_m: of the patient, by default that in the files.

    Returns:
      Labels, HU and numbers of each measured slice, on its own pixels; a level that is not in the
      series is missing, with the reason.

    Raises InputError for a series that cannot be read, for levels that the network does not know,
    and for a size that it cannot take.
    """
    if hu_limits not in HU_LIMITS:
        raise InputError(f'hu_limits={hu_limits!r}: choose from {", ".join(HU_LIMITS)}')
    given = dict(positions or {})
    sought = levels_of(slice_selection, levels, given)
    if slice_selection is None and not given:
        places = every_slice(series)
    else:
        places = at_levels(series, slice_selection, sought, given, slab_mm)
    if height_m is None:
        height_m = height_of(series.metadata).m
    labelling = by_network(segmentation, segmentation.members(), size)
    return measure_places(series, places, labelling, HU_LIMITS[hu_limits], height_m)


def levels_of(
    selector: SliceSelector | None, levels: Sequence[str], given: Sequence[str] | Mapping
) -> list[str]:
    """The levels that are measured: these, else all that the network knows or that are given.

    Raises InputError for one that the network does not know and that is not given.
    """
    known = list(selector.config.levels) if selector is not None else []
    known += [level for level in given if level not in known]
    unknown = [level for level in levels if level not in known]
    if unknown:
        raise InputError(
            f'--levels={",".join(levels)}: nothing says where {unknown[0]} is; the network knows '
            f'{", ".join(known) or "none"}'
        )
    return list(levels) or known


def by_network(segmenter: Segmenter, members: Sequence[Segmenter], size: int) -> Labelling:
    """Labels by a network, whose members are `Segmenter.members`."""
    return Labelling(
        ct.tissues(segmenter.config.thoracic_model),
        lambda indices, slices: segment(segmenter, members, slices, size),
    )


def by_mask(mask: Mask, meaning: LabelMap) -> Labelling:
    """Labels that exist."""
    return Labelling(
        ct.TISSUES,
        lambda indices, slices: [
            Segmented(meaning.tissues(mask.labels(i), hu), dict.fromkeys(AGREEMENT))
            for i, hu in zip(indices, slices, strict=True)
        ],
    )


def measure_places(
    series: Series,
    places: Places,
    labelling: Labelling,
    limits: HULimits,
    height_m: float | None,
) -> Estimate:
    """Measures these slices of a series. Raises InputError for one that cannot be measured."""
    measured, slab = (
        _measured(series, slices, labelling, limits, height_m)
        for slices in (places.slices, places.slab)
    )
    status, reason = (MEASURED, '') if measured else next(iter(places.missing.values()))
    return Estimate(
        series,
        status,
        reason,
        measured,
        places.curves,
        series.metadata,
        places.missing,
        slab,
        places.seen,
    )


def _measured(
    series: Series,
    places: Sequence[tuple[str, int]],
    labelling: Labelling,
    limits: HULimits,
    height_m: float | None,
) -> list[Measured]:
    """What each (level, index) of a slice measures, by batches of the network."""
    measured = []
    for start in range(0, len(places), MAX_BATCH):
        batch = places[start : start + MAX_BATCH]
        indices = [i for _, i in batch]
        slices = list(series.read(indices))
        found = labelling.label(indices, slices)
        for (level, i), hu, (labels, agreement) in zip(batch, slices, found, strict=True):
            of = series.slices[i]
            with naming(of.path):
                numbers = measure(
                    labels, hu, of.grid, limits, tissues=labelling.tissues, height_m=height_m
                )
            measured.append(Measured(level, i, labels, hu, numbers | agreement))
    return measured
