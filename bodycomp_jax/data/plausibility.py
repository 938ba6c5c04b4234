"""Which values CT slices can have: impossible ones are refused, improbable ones are reported.

The limits are those of body composition analysis (muscle -30..150 HU, fat -190..-30 HU), or their
grey values in the window 40/400. They hold for contrast-enhanced and for fatty muscle alike: what
they find is other units, labels in another order, and masks that do not match the images.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError

MUSCLE, FAT = (-30, 150), (-190, -30)  # HU
LIMITS = {'muscle': MUSCLE, 'subcutaneous_fat': FAT, 'visceral_fat': FAT}
# of the medians of a whole set
POSSIBLE = {'muscle': (-100, 300), 'subcutaneous_fat': (-250, 0), 'visceral_fat': (-250, 0)}
SCALED = 20  # values that never exceed it in size are fractions, z-scores or labels
STORED = 1024  # RescaleIntercept of most scanners: stored values are HU plus this
MIN_SHARE_SHIFTED = 0.02  # of the pixels of a slice; neither bone nor air has so many
MAX_SHARE_SOFT = 0.001  # of the pixels of a slice without soft tissue
GREY_RANGE, MIN_GREY = (-255, 510), 2  # resampling overshoots 0..255 a little
SAMPLED_ROWS = 128  # of each slice, for the medians
MIN_PIXELS = 64  # sampled pixels of a tissue from which a slice is judged by it
MIN_SHARE, MIN_SHARE_OF_SLICE = 0.6, 0.5  # of the pixels of a tissue within its limits
MAX_DOUBTFUL = 0.05  # share of the slices that may be below `MIN_SHARE_OF_SLICE`
LOWEST, HIGHEST = -1024, 3071  # HU of the first and the last bin of the histograms
BINS = HIGHEST - LOWEST + 1
USE_ANYWAY = 'If this is intended, give --nocheck_values'
VALIDATE_ON_OTHERS = (
    'use other slices for validation or, with --folds, give the copies of a slice one patient'
)
WANTED_HU = (
    'give HU (air -1000, fat about -100, muscle about 50) without a window or scaling; apply '
    'RescaleSlope and RescaleIntercept to stored values'
)
WANTED_GREY = 'give grey values in 0..255, or HU to a network with --apply_window_function'


@dataclasses.dataclass(frozen=True)
class SliceValues:
    """Numbers of N slices with T tissues.

    Attributes:
      names: `[N]` what messages call the slices.
      low, high: `[N]` smallest and largest value.
      labelled: `[N]` whether any pixel has a label.
      sampled, within: `[N, T]` sampled pixels of each tissue, and those within its limits.
      histogram: `[T, BINS]` sampled pixels of each tissue by value, of all slices together.
    """

    names: np.ndarray
    low: np.ndarray
    high: np.ndarray
    labelled: np.ndarray
    sampled: np.ndarray
    within: np.ndarray
    histogram: np.ndarray

    @property
    def uniform(self) -> np.ndarray:
        """`[N]` whether a slice has a single value."""
        return self.low == self.high


def measure(
    images: np.ndarray,
    masks: np.ndarray,
    tissues: Sequence[str],
    apply_window: bool,
    names: Sequence[str],
) -> SliceValues:
    """The values of slices under their labels, from up to 255 rows of each, spread evenly.

    Args:
      images: `[N, H, W]` finite numbers.
      masks: `[N, H, W]` labels.
      tissues: names of the labels 1, 2, ...
      apply_window: whether the images are HU; otherwise grey values.
      names: what messages call the slices.
    """
    N, H, _ = images.shape
    rows = slice(None, None, max(1, H // SAMPLED_ROWS))
    bounds = np.array([_limits(tissue, apply_window) for tissue in tissues]) - LOWEST
    histogram = np.zeros((len(tissues), BINS), int)
    sampled, within = np.zeros((2, N, len(tissues)), int)
    for i in range(N):
        pixels = _histogram(images[i, rows], masks[i, rows], 1 + len(tissues))[1:]
        histogram += pixels
        sampled[i] = pixels.sum(1)
        within[i] = [
            tissue[low : high + 1].sum() for tissue, (low, high) in zip(pixels, bounds, strict=True)
        ]
    return SliceValues(
        names=np.array(names),
        low=images.reshape(N, -1).min(1),
        high=images.reshape(N, -1).max(1),
        labelled=masks.reshape(N, -1).max(1) > 0,
        sampled=sampled,
        within=within,
        histogram=histogram,
    )


def joined(parts: Sequence[SliceValues]) -> SliceValues:
    """The numbers of consecutive parts of a set."""
    fields = [field.name for field in dataclasses.fields(SliceValues)]
    values = {name: [getattr(part, name) for part in parts] for name in fields}
    histogram = np.sum(values.pop('histogram'), axis=0)
    return SliceValues(**{n: np.concatenate(v) for n, v in values.items()}, histogram=histogram)


def medians(values: SliceValues) -> np.ndarray:
    """`[T]` medians; NaN for a tissue that does not occur."""
    counts = values.histogram.cumsum(1)
    middle = (counts >= (counts[:, -1:] + 1) // 2).argmax(1) + float(LOWEST)
    return np.where(counts[:, -1] > 0, middle, np.nan)


def impossible_values(low: float, high: float, apply_window: bool) -> str | None:
    """Why slices with this range of values, low < high, cannot be what is wanted; None if they can.

    Args:
      low, high: the smallest and the largest value.
      apply_window: whether HU are wanted; otherwise grey values.
    """
    found = f'values from {low:.5g} to {high:.5g}'
    if not apply_window:
        fits = GREY_RANGE[0] <= low and MIN_GREY < high <= GREY_RANGE[1]
        return None if fits else f'{found} are not grey values in 0..255; {WANTED_GREY}'
    if low >= -SCALED and high <= SCALED:
        return f'{found} are scaled, not HU; {WANTED_HU}'
    if low >= 0:
        return f'{found} are not HU, of which air and fat are below 0; {WANTED_HU}'
    return None


def impossible_set(values: SliceValues, tissues: Sequence[str], apply_window: bool) -> str | None:
    """Why the values of a whole set cannot be right; None if they can."""
    varied = ~values.uniform
    if not varied.any():
        return 'each slice has a single value; write the pixels of the slices'
    low, high = values.low[varied].min(), values.high[varied].max()
    reason = impossible_values(low, high, apply_window)
    if reason is not None or not apply_window:
        return reason
    enough = values.sampled.sum(0) >= MIN_PIXELS
    found = dict(zip(np.array(tissues)[enough], medians(values)[enough], strict=True))
    judged = {tissue: m for tissue, m in found.items() if LIMITS[tissue] == FAT} or found
    possible = [POSSIBLE[name][0] <= m <= POSSIBLE[name][1] for name, m in judged.items()]
    if any(possible) or not possible:
        return None
    listed = ', '.join(f'{ct.spaced(tissue)} {m:.0f}' for tissue, m in found.items())
    where = _where(_low_slices(values).any(axis=1), values)
    return (
        f'median {listed} cannot be HU of these tissues ({where}); check that masks and images '
        f'fit, and the order of the labels, or {WANTED_HU}'
    )


def doubts(values: SliceValues, tissues: Sequence[str], apply_window: bool) -> list[str]:
    """What is improbable in a set, and where to look; for warnings."""
    rare = (
        (~values.labelled, 'no label', 'label them or leave them out'),
        (values.uniform, 'a single value', 'leave them out'),
    )
    return [
        *(
            f'{what} {_where(which, values)}; {remedy}'
            for which, what, remedy in rare
            if which.any()
        ),
        *_doubtful_tissues(values, tissues, apply_window),
    ]


def refuse_impossible_slices(slices: np.ndarray, apply_window: bool) -> None:
    """Raises InputError if a slice cannot be HU, or grey values without the window.

    Slices with a single value, such as air or padding, are accepted.

    Args:
      slices: `[B, H, W]` finite numbers.
      apply_window: whether the network expects HU.
    """
    for i, image in enumerate(slices):
        low, high = image.min(), image.max()
        reason = None if low == high else impossible_values(low, high, apply_window)
        shift = _shift(image) if reason is None and apply_window else None
        if shift:
            reason = f'values from {low:.5g} to {high:.5g} look like HU {shift}; {WANTED_HU}'
        if reason is not None:
            raise InputError(f'slice {i}: {reason}. If this is intended, pass check_values=False')


def refuse_types_without_hu(dtype: np.dtype, what: str) -> None:
    """Raises InputError for a type of pixels that cannot hold HU; `what` begins the message."""
    if not ((dtype.kind == 'i' and dtype.itemsize >= 2) or dtype.kind == 'f'):
        raise InputError(
            f'{what} of type {dtype.name} cannot hold Hounsfield units, which reach below zero; '
            'use int16 HU (apply RescaleSlope and RescaleIntercept)'
        )


def _doubtful_tissues(values: SliceValues, tissues: Sequence[str], apply_window: bool) -> list[str]:
    """The tissues with too many pixels beyond their limits, in the set or in some of its slices."""
    low = _low_slices(values)
    judged = values.sampled >= MIN_PIXELS
    all_low = judged.any(1) & (low == judged).all(1)  # for example one scan in other units
    total = values.sampled.sum(0)
    share = values.within.sum(0) / np.maximum(1, total)
    few = (total > 0) & (share < MIN_SHARE)
    doubtful = few | (low.mean(0) > MAX_DOUBTFUL) | low[all_low].any(0)
    if not doubtful.any():
        return []
    listed = ', '.join(
        f'{ct.spaced(tissue)} {part:.0%} in {low_limit}..{high_limit}'
        for tissue, part, is_doubtful in zip(tissues, share, doubtful, strict=True)
        for low_limit, high_limit in [_limits(tissue, apply_window)]
        if is_doubtful
    )
    return [
        f'few labelled pixels have the {"HU" if apply_window else "grey values"} of their tissue: '
        f'{listed} (fewer than half {_where(low[:, doubtful].any(axis=1), values)}); check units, '
        'order of the labels, and that masks and images are neither flipped, transposed nor in '
        'another order'
    ]


def _low_slices(values: SliceValues) -> np.ndarray:
    """`[N, T]` whether fewer than half of the pixels of a tissue are within its limits."""
    few = values.within < MIN_SHARE_OF_SLICE * values.sampled
    return few & (values.sampled >= MIN_PIXELS)


def _where(which: Any, values: SliceValues) -> str:
    """How many of the slices, `[N]` booleans, and the first of them."""
    first = f', the first is {values.names[which.argmax()]}' if which.any() else ''
    return f'in {which.sum()} of {len(which)} slices{first}'


def _limits(tissue: str, apply_window: bool) -> tuple[int, int]:
    """The limits of a tissue in HU, or in grey values."""
    if apply_window:
        return LIMITS[tissue]
    low, high = ct.window(np.array(LIMITS[tissue]))
    return int(np.floor(low)), int(np.ceil(high))


def _histogram(image: np.ndarray, mask: np.ndarray, num_classes: int) -> np.ndarray:
    """`[num_classes, BINS]` pixels of each label by value."""
    values = image.clip(LOWEST, HIGHEST)
    values = (np.rint(values) if values.dtype.kind == 'f' else values).astype(np.int32)
    bins = values - LOWEST + BINS * mask.astype(np.int32)
    return np.bincount(bins.ravel(), minlength=num_classes * BINS).reshape(num_classes, BINS)


def _shift(image: np.ndarray) -> str | None:
    """By what a slice seems to differ from HU: the intercept that is missing, or given twice."""

    def share(low: float, high: float) -> float:
        return np.count_nonzero((image >= low) & (image <= high)) / image.size

    stored, twice = (share(FAT[0] + by, FAT[1] + by) for by in (STORED, -STORED))
    if stored > MIN_SHARE_SHIFTED and stored > share(*FAT):
        return f'+ {STORED}'
    if twice > MIN_SHARE_SHIFTED and share(FAT[0], MUSCLE[1]) < MAX_SHARE_SOFT:
        return f'- {STORED}'
    return None
