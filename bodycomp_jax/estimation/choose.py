"""Which series of a study are measured."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bodycomp_jax.data.scans import Series
from bodycomp_jax.estimation.places import MIN_SLICES

THICKNESS_MM = 5.0  # of the slices in which body composition is measured; thinner ones are noisy
SHARP = re.compile(  # kernels for lung and bone, of several manufacturers
    r'\b([BHIJUQ][a-z]?[5-9]\d[a-z]*|lung\w*|bone\w*|edge|sharp|detail|y[a-d]|l|fc[358]\d)\b',
    re.IGNORECASE,
)


class Rank(NamedTuple):
    """What decides between the series of a study; the least is measured."""

    few: bool  # slices to look for a level
    thickness: float  # distance from `THICKNESS_MM`
    slices: int  # negative: many come first
    sharp: bool


def chosen(series: Sequence[Series], metadata: Sequence[Mapping[str, str]]) -> dict[int, int]:
    """{index of each series: that of the series of its study that is measured}.

    A series without StudyInstanceUID is a study of its own.
    """
    ranks = [rank(each, about) for each, about in zip(series, metadata, strict=True)]
    best: dict[str, int] = {}
    for i, about in enumerate(metadata):
        study = _study(i, about)
        if ranks[i] < ranks[best.setdefault(study, i)]:
            best[study] = i
    return {i: best[_study(i, about)] for i, about in enumerate(metadata)}


def rank(series: Series, metadata: Mapping[str, str]) -> Rank:
    """By the thickness of slices, their number, then the kernel."""
    text = metadata['slice_thickness_mm']
    thickness = abs(float(text) - THICKNESS_MM) if text else math.inf
    sharp = bool(SHARP.search(metadata['reconstruction_kernel']))
    return Rank(len(series) < MIN_SLICES, thickness, -len(series), sharp)


def described(series: Series, metadata: Mapping[str, str]) -> str:
    """A series for a message."""
    thickness = metadata['slice_thickness_mm'] or '?'
    kernel = metadata['reconstruction_kernel'] or 'unknown'
    return f'{series.name} ({len(series)} slices of {thickness} mm, kernel {kernel})'


def _study(i: int, metadata: Mapping[str, str]) -> str:
    return metadata['study_instance_uid'] or f'series {i}'
