"""Networks whose answers are known, as functions of HU slices."""

import types

import numpy as np

from bodycomp_jax.inference.predictors import Segmenter, SliceSelector


class FakeSegmenter(Segmenter):
    """Labels by HU: muscle above 0, subcutaneous fat from -500 to 0; counts its slices."""

    size_divisor = 8

    def __init__(self, threshold=0, *, windowed=True, members=None, levels=()):
        self.config = types.SimpleNamespace(
            kind='segmentation',
            thoracic_model=False,
            apply_window_function=windowed,
            levels=levels,
        )
        self._configs = [self.config]
        self.threshold, self.seen = threshold, 0
        self._members = members

    def members(self):
        return self._members or [self]

    def __call__(self, slices, *, check_values=True):
        self.seen += len(slices)
        labels = np.where(slices > self.threshold, 1, np.where(slices > -500, 2, 0))
        probabilities = np.eye(4, dtype=np.float32)[labels]
        return probabilities, labels.astype(np.uint8)


class FakeSelector(SliceSelector):
    """Takes the highest HU of a slice for its z in mm; counts its slices."""

    def __init__(self, levels=None, *, threshold=10.0, noise=0.0):
        self.positions = {'L3': 0.0} if levels is None else levels
        self.config = types.SimpleNamespace(
            kind='slice_selection',
            levels=tuple(self.positions),
            threshold=threshold,
            reference='middle',
        )
        self.noise, self.seen = noise, 0

    def __call__(self, slices, *, check_values=True):
        self.seen += len(slices)
        z = slices.max((-2, -1)).astype(np.float32)
        offsets = np.stack([z - mm for mm in self.positions.values()], axis=1)
        return (offsets + self.noise * np.sin(z)[:, None]).astype(np.float32)
