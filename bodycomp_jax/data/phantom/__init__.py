"""Synthetic CT of the trunk with exact tissue labels and vertebral levels, for demos and tests."""

from bodycomp_jax.data.phantom.subject import LEVELS
from bodycomp_jax.data.phantom.trunk import FIELD_OF_VIEW, Trunk, draw, draw_slice
from bodycomp_jax.data.phantom.write import write_segmentation_set, write_slice_selection_set

__all__ = [
    'FIELD_OF_VIEW',
    'LEVELS',
    'Trunk',
    'draw',
    'draw_slice',
    'write_segmentation_set',
    'write_slice_selection_set',
]
