"""Areas and densities of the tissues in a slice."""

import math
from collections.abc import Sequence

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.masks.labels import HULimits
from bodycomp_jax.data.scans import Grid
from bodycomp_jax.data.scans.field_of_view import cut_share
from bodycomp_jax.data.table import Column
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.result import Numbers

INTERMUSCULAR_FAT_LIMITS = (-190, -30)  # HU, within muscle
ATTENUATIONS = {'low_attenuation_muscle': (-29, 29), 'normal_attenuation_muscle': (30, 150)}


STATISTICS = {
    'area_cm2': Column('cm2', 'area, corrected for the tilt'),
    'mean_hu': Column('HU', 'mean'),
    'median_hu': Column('HU', 'median'),
    'std_hu': Column('HU', 'standard deviation'),
    'q25_hu': Column('HU', 'lower quartile'),
    'q75_hu': Column('HU', 'upper quartile'),
    'iqr_hu': Column('HU', 'interquartile range'),
}
SELECTIONS = {  # what `STATISTICS` are of
    **{tissue: ct.spaced(tissue) for tissue in ct.TISSUES},
    **{f'limited_{tissue}': f'{ct.spaced(tissue)} within its HU limits' for tissue in ct.TISSUES},
    'intermuscular_fat': 'fat within muscle, {} to {} HU'.format(*INTERMUSCULAR_FAT_LIMITS),
    **{
        name: f'muscle of {lowest} to {highest} HU'
        for name, (lowest, highest) in ATTENUATIONS.items()
    },
}
RATIOS = {
    f'{prefix}{name}': Column(unit, meaning + within)
    for prefix, within in (('', ''), ('limited_', ', both within their HU limits'))
    for name, unit, meaning in (
        ('vat_sat_ratio', '1', 'area of visceral fat by area of subcutaneous fat'),
        ('smi_cm2_m2', 'cm2/m2', 'area of muscle by squared height'),
    )
}
OF_TISSUES = {
    **{
        f'{selection}_{name}': Column(unit, f'{statistic} of {what}')
        for selection, what in SELECTIONS.items()
        for name, (unit, statistic) in STATISTICS.items()
    },
    **RATIOS,
}
OF_SLICE = {
    'field_of_view_cut_percent': Column('%', 'share of the outline of the body that is cut off'),
    'tilt_degrees': Column('degrees', 'angle between the slice and the axial plane'),
}
COLUMNS = {**OF_TISSUES, **OF_SLICE}


def measure(
    labels: np.ndarray,
    hu: np.ndarray,
    grid: Grid,
    limits: HULimits,
    *,
    tissues: Sequence[str] = ct.TISSUES,
    height_m: float | None = None,
) -> Numbers:
    """Measures the tissues in a slice.

    Areas in tilted slices are too large by 1 / cos(tilt), and corrected.

    Args:
      labels: `[rows, columns]` uint8: 1 muscle, 2 subcutaneous fat, 3 visceral fat, 4 fat in muscle
        that is labelled apart from it.
      hu: `[rows, columns]` HU of the same pixels.
      grid: where these are.
      limits: HU limits of the tissues.
      tissues: names of the labels 1, 2, ...; the numbers of others are unknown.
      height_m: of the patient in m.

    Returns:
      {name: value} for each of `COLUMNS`; None where it is unknown, or there are no such pixels to
      take a mean of.

    Raises InputError for pixels that are not labelled.
    """
    missing = int((labels == ct.NOT_LABELLED).sum())
    if missing:
        raise InputError(
            f'{missing:,} of {labels.size:,} pixels are not labelled, so that no area is known; '
            'label the whole slice'
        )
    row_mm, column_mm = grid.spacing
    pixel_cm2 = row_mm * column_mm / 100 * math.cos(math.radians(grid.tilt_degrees))
    numbers: Numbers = dict.fromkeys(COLUMNS)
    for selection, pixels in _selections(labels, hu, limits, tissues).items():
        statistics = _statistics(hu[pixels], pixel_cm2)
        numbers |= {f'{selection}_{name}': value for name, value in statistics.items()}
    for prefix in ('', 'limited_'):
        muscle, subcutaneous, visceral = (
            numbers[f'{prefix}{tissue}_area_cm2'] for tissue in ct.TISSUES
        )
        if subcutaneous and visceral is not None:
            numbers[f'{prefix}vat_sat_ratio'] = visceral / subcutaneous
        if height_m and muscle is not None:
            numbers[f'{prefix}smi_cm2_m2'] = muscle / height_m**2
    numbers['field_of_view_cut_percent'] = 100 * cut_share(hu)
    numbers['tilt_degrees'] = grid.tilt_degrees
    return numbers


def _selections(
    labels: np.ndarray, hu: np.ndarray, limits: HULimits, tissues: Sequence[str]
) -> dict[str, np.ndarray]:
    """{name of `SELECTIONS`: `[rows, columns]` booleans} of the tissues that are known."""

    def within(pixels, limits):
        return pixels & (hu >= limits[0]) & (hu <= limits[1])

    of_tissue = {tissue: labels == label for label, tissue in enumerate(tissues, 1)}
    found = dict(of_tissue)
    for tissue, pixels in of_tissue.items():
        found[f'limited_{tissue}'] = within(pixels, getattr(limits, tissue))
    if 'muscle' in of_tissue:
        muscle = of_tissue['muscle']
        found['intermuscular_fat'] = within(
            muscle | (labels == ct.INTERMUSCULAR_FAT), INTERMUSCULAR_FAT_LIMITS
        )
        found |= {name: within(muscle, limits) for name, limits in ATTENUATIONS.items()}
    return found


def _statistics(hu: np.ndarray, pixel_cm2: float) -> Numbers:
    """`STATISTICS` of pixels, `[N]` HU."""
    numbers: Numbers = dict.fromkeys(STATISTICS)
    numbers['area_cm2'] = hu.size * pixel_cm2
    if hu.size:
        q25, median, q75 = map(float, np.percentile(hu, (25, 50, 75)))
        numbers |= {
            'mean_hu': float(hu.mean()),
            'median_hu': median,
            'std_hu': float(hu.std()),
            'q25_hu': q25,
            'q75_hu': q75,
            'iqr_hu': q75 - q25,
        }
    return numbers
