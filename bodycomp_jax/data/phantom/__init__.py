"""Synthetic CT of the trunk with exact tissue labels and vertebral levels, for demos and tests."""

from bodycomp_jax.data.phantom.scanner import Scanner, any_scanner, plain_scanner
from bodycomp_jax.data.phantom.subject import LEVELS
from bodycomp_jax.data.phantom.trunk import Trunk, draw, draw_slice
from bodycomp_jax.data.phantom.write import write_segmentation_set, write_slice_selection_set

__all__ = [
    'LEVELS',
    'Scanner',
    'Trunk',
    'any_scanner',
    'draw',
    'draw_slice',
    'plain_scanner',
    'write_segmentation_set',
    'write_slice_selection_set',
]
