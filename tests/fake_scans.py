"""Series whose slices are made when they are read."""

import numpy as np

from bodycomp_jax.data.scans import Grid, Series, Slice, Turn
from bodycomp_jax.data.scans.metadata import COLUMNS


def series(z, *, name='S1', hu=None, shape=(8, 8), **metadata):
    """Slices at these z in mm, whose first pixel is z in HU; `hu(i)` makes others."""

    def stored(of):
        if hu is not None:
            return hu(slices.index(of))
        image = np.full(shape, -1000, np.int16)
        image[0, 0] = of.z
        return image

    grids = [
        Grid(*shape, (10.0, 10.0), (0.0, 0.0, float(mm)), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        for mm in z
    ]
    slices = tuple(
        Slice(grid, float(mm), f'{name}/{i}.dcm', f'{name}.{i}', 0, Turn(), 1.0, 0.0)
        for i, (grid, mm) in enumerate(zip(grids, z, strict=True))
    )
    return Series(slices, name, name, lambda: stored, lambda: dict.fromkeys(COLUMNS, '') | metadata)
