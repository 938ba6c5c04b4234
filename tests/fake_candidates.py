"""Networks for evaluations whose answers follow from the slices, without training."""

import jax.numpy as jnp
import numpy as np

from bodycomp_jax.checkpoints.network import Network
from bodycomp_jax.config import (
    SegmentationConfig,
    SliceSelectionConfig,
    from_values,
)
from bodycomp_jax.evaluation import candidates
from bodycomp_jax.evaluation.options import EvaluationConfig

SMALL = {'compression_channels': (4, 8), 'decompression_channels': (4,)}


class ShiftedLabels:
    """Answers with the label in each pixel of the image, shifted to the right."""

    def __init__(self, members, dtype):
        ((_, self.variables),) = members

    def function(self, variables, slices):
        labels = (slices / 100).round().clip(0, 3).astype(jnp.uint8)
        return None, jnp.roll(labels, variables['shift'], axis=-1)


class ShiftedOffsets:
    """Takes the brightest pixel of a slice, less 100, for its mm from L3, and shifts it."""

    def __init__(self, members, dtype):
        ((_, self.variables),) = members

    def function(self, variables, slices):
        return (slices.max((1, 2)).astype(jnp.float32) - 100 - variables['shift'])[:, None]


def answer_with(monkeypatch, networks):
    """Makes `networks`, {path: Network}, those that paths name; returns the paths that are read."""
    read = []

    def load(path):
        read.append(path)
        return networks[path]

    monkeypatch.setattr(candidates, 'load_network', load)
    predictors = {'segmentation': ShiftedLabels, 'slice_selection': ShiftedOffsets}
    monkeypatch.setattr(candidates, 'PREDICTORS', predictors)
    return read


def segmenter(shift, **options):
    """A network that labels a slice by its HU, shifted by so many pixels."""
    training = from_values(SegmentationConfig, {**SMALL, **options})
    return Network(training.network, {'shift': np.int32(shift)}, training)


def selector(shift, **options):
    """A network that finds L3 so many mm too high."""
    training = from_values(SliceSelectionConfig, options)
    return Network(training.network, {'shift': np.float32(shift)}, training)


def keras(network):
    """The same network from a file that says nothing of its training."""
    return network._replace(training=None)


def labelled_images(count, side=32, seed=0):
    """HU and labels of round bodies, `[count, side, side]`; each HU is 100 times the label."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side // 2
    radius = np.hypot(y, x)
    masks = []
    for _ in range(count):
        inner, middle, outer = np.cumsum(random.uniform(2.5, 4, 3))
        masks.append(
            np.select([radius < inner, radius < middle, radius < outer], [3, 1, 2], default=0)
        )
    masks = np.array(masks, np.uint8)
    return (100 * masks.astype(np.int16)), masks


def configuration(data_dir, output_dir, **options):
    """Options of an evaluation on two devices."""
    paths = {'data_dir': str(data_dir), 'output_dir': str(output_dir)}
    options = {'num_gpus': 2, 'check_values': False, **paths, **options}
    return EvaluationConfig(**options)
