"""Synthetic CT of the trunk with exact tissue labels and vertebral levels."""

from bodycomp_jax.data.phantom.scanner import Scanner
from bodycomp_jax.data.phantom.subject import LEVELS
from bodycomp_jax.data.phantom.trunk import (
    Trunk,
    draw,
    draw_slice,
    draw_slice_with_offsets,
    heights,
)
from bodycomp_jax.data.phantom.variety import PLAIN, WIDE, Variety
from bodycomp_jax.data.phantom.write import write_segmentation_set, write_slice_selection_set

__all__ = [
    'LEVELS',
    'PLAIN',
    'WIDE',
    'Scanner',
    'Trunk',
    'Variety',
    'draw',
    'draw_slice',
    'draw_slice_with_offsets',
    'heights',
    'write_segmentation_set',
    'write_slice_selection_set',
]
