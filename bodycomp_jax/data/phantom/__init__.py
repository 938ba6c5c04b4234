"""Synthetic CT of the trunk with exact tissue labels and vertebral levels, for demos and tests."""

from bodycomp_jax.data.phantom.subject import FIELD_OF_VIEW, LEVELS
from bodycomp_jax.data.phantom.trunk import (
    Trunk,
    draw,
    draw_slice,
    draw_slice_with_offsets,
)
from bodycomp_jax.data.phantom.write import write_segmentation_set, write_slice_selection_set

__all__ = [
    'FIELD_OF_VIEW',
    'LEVELS',
    'Trunk',
    'draw',
    'draw_slice',
    'draw_slice_with_offsets',
    'write_segmentation_set',
    'write_slice_selection_set',
]
