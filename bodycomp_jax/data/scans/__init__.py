"""CT scans in DICOM and NIfTI files: series of slices, each with its own position."""

from bodycomp_jax.data.scans.find import Found, find_series
from bodycomp_jax.data.scans.grid import Grid, Turn
from bodycomp_jax.data.scans.packed import SeriesSequence
from bodycomp_jax.data.scans.reasons import Skipped
from bodycomp_jax.data.scans.series import Series, Slice

__all__ = ['Found', 'Grid', 'Series', 'SeriesSequence', 'Skipped', 'Slice', 'Turn', 'find_series']
