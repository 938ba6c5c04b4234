"""Which slices of a series are measured."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.masks.mask import Mask
from bodycomp_jax.data.scans import Series
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.level import confidence, find_levels
from bodycomp_jax.estimation.result import SINGLE_SLICE, Curve, Missing, SeenSlices
from bodycomp_jax.inference.predictors import SliceSelector
from bodycomp_jax.vertebrae import why_not_shown

MIN_SLICES = 5  # in which a network looks for a level
LEAST_CONFIDENCE = 0.5  # below which a curve is not that of a level


class Places(NamedTuple):
    """The slices that are measured.

    Attributes:
      slices: (level, index) of each.
      curves: {level: curve} of the levels that a network looked for.
      missing: {level: why no slice shows it}.
      slab: (level, index) of the other slices around each level.
      seen: slices in which a network looked for levels.
    """

    slices: list[tuple[str, int]]
    curves: dict[str, Curve]
    missing: dict[str, Missing]
    slab: Sequence[tuple[str, int]] = ()
    seen: SeenSlices | None = None


def at_levels(
    series: Series,
    selector: SliceSelector | None,
    levels: Sequence[str],
    given: Mapping[str, float],
    slab_mm: float = 0.0,
) -> Places:
    """The slice nearest to each level.

    Args:
      series: the series.
      selector: finds the levels that it knows and whose position is not given.
      levels: their names.
      given: {level: z in mm} that overrule the network.
      slab_mm: thickness of the slab around each level whose slices are measured too.

    Raises InputError if a slice cannot be read.
    """
    of_network = [level for level in levels if level not in given]
    curves, missing, seen = _looked_for(series, selector, of_network)
    slices: list[tuple[str, int]] = []
    slab: list[tuple[str, int]] = []
    for level in levels:
        if level in missing:
            continue
        z = given[level] if level in given else curves[level].position.z
        why = _not_found(level, curves.get(level)) or _far(level, z, series)
        if why:
            missing[level] = why
        else:
            nearest = series.nearest(z)
            slices.append((level, nearest))
            inside = np.flatnonzero(np.abs(series.z - z) <= slab_mm / 2)
            slab += [(level, int(i)) for i in inside if i != nearest]
    return Places(slices, curves, missing, slab, seen)


def _looked_for(
    series: Series, selector: SliceSelector | None, levels: Sequence[str]
) -> tuple[dict[str, Curve], dict[str, Missing], SeenSlices | None]:
    """(Curves of the levels that the network knows; why there are none of others; what it saw)."""
    known = selector.config.levels if selector is not None else ()
    missing = {
        level: Missing('no_level', f'neither a network nor a table says where {level} is')
        for level in levels
        if level not in known
    }
    sought = [level for level in levels if level in known]
    if selector is None or not sought:
        return {}, missing, None
    if len(series) < MIN_SLICES:
        reason = (
            f'levels are looked for in at least {MIN_SLICES} slices, not in {len(series)}; '
            '--single_slices measures each as it is'
        )
        return {}, missing | dict.fromkeys(sought, Missing('too_few_slices', reason)), None
    curves, seen = find_levels(selector, series, sought)
    return curves, missing, seen


def every_slice(series: Series) -> Places:
    """All slices, each as it is."""
    return Places([(SINGLE_SLICE, i) for i in range(len(series))], {}, {})


def labelled_slices(series: Series, mask: Mask) -> Places:
    """The slices with a label, each as it is. Raises InputError if there are none."""
    labelled = [i for i in range(len(series)) if (mask.labels(i) != ct.NOT_LABELLED).any()]
    if not labelled:
        raise InputError(
            f'{series.slices[0].path}: its mask labels none of its {len(series)} slices; give the '
            'mask of this series'
        )
    return Places([(SINGLE_SLICE, i) for i in labelled], {}, {})


def _not_found(level: str, curve: Curve | None) -> Missing | None:
    """Why a network has not found a level; None if it has, or was not asked."""
    if curve is None:
        return None
    low, high = float(np.min(curve.offsets)), float(np.max(curve.offsets))
    predicted = f'the predicted offsets from {level} are {low:.0f} to {high:.0f} mm'
    if confidence(curve.position) < LEAST_CONFIDENCE:
        return Missing(
            'level_not_found',
            f'{predicted}, and do not rise as towards the head; confidence '
            f'{confidence(curve.position):.2f}, at least {LEAST_CONFIDENCE:g} is needed: give its '
            'position with --levels_table',
        )
    if curve.position.outside:
        where = 'below' if abs(low) < abs(high) else 'above'
        return Missing('level_outside_scan', f'{predicted}, so that it lies {where} the scan')
    return None


def _far(level: str, z: float, series: Series) -> Missing | None:
    """Why no slice shows a position; None if one does."""
    why = why_not_shown(level, z, series.z[series.nearest(z)])
    if why is None:
        return None
    between = series.z.min() < z < series.z.max()
    return Missing('level_in_gap' if between else 'level_outside_scan', why)
