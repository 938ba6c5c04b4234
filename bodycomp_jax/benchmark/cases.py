"""What is measured: a network, a set of phantoms, and the training step."""

import contextlib
import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.benchmark import roofline
from bodycomp_jax.benchmark.costs import ConvolutionCost, densenet_costs, unet_costs
from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.config import (
    DENSENET_SIDE,
    DenseNetConfig,
    SegmentationConfig,
    SliceSelectionConfig,
    TrainerConfig,
    UNetConfig,
)
from bodycomp_jax.data import phantom, segmentation, slice_selection
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.data.segmentation_files import open_files
from bodycomp_jax.data.slice_selection_files import list_split
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.devices import compiled
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.state import TrainState, initial_state
from bodycomp_jax.training.step import train_step
from bodycomp_jax.training.stop_signals import stop_flags
from bodycomp_jax.training.tasks.segmentation import segmentation_task
from bodycomp_jax.training.tasks.slice_selection import slice_selection_task
from bodycomp_jax.training.tasks.task import Task

PHANTOMS = 4  # different slices

Row = dict[str, Any]  # of a report
NetworkCase = tuple[Dataset, Task, list[ConvolutionCost]]  # what is measured of one kind of network


@dataclasses.dataclass(frozen=True)
class Case:
    """A trainer with a dataset of phantoms.

    Attributes:
      bench, config: the settings of the benchmark and of the training.
      dataset: phantoms in files.
      task: of the trainer.
      costs: of every convolution of the network.
      devices: to train on.
    """

    bench: BenchmarkConfig
    config: TrainerConfig
    dataset: Dataset
    task: Task
    costs: list[ConvolutionCost]
    devices: Sequence[jax.Device]

    def one_batch(self) -> dict[str, np.ndarray]:
        """A batch on the host."""
        return self.dataset.read(np.arange(self.config.batch_size))

    def batches(self, read: Callable[[np.ndarray], Any]) -> Iterator[Any]:
        """Batches without end, read ahead by `read(rows)` in the order of a training."""
        n, size = len(self.dataset), self.config.batch_size

        def rows():
            for epoch in itertools.count(1):
                yield from training_batches(n, size, n // size, self.config.seed, epoch)

        return iter(ReadAhead(read, rows()))

    def seconds(self, run: Callable[[], Any], min_steps: int = 1) -> list[float]:
        """Seconds of one run, in each window."""
        steps = max(self.bench.steps, min_steps)
        return roofline.time_windows(run, self.bench.windows, steps)

    def training_work(self, state: TrainState) -> roofline.Work:
        """The least work of a training step on one device."""
        return roofline.training_work(
            self.costs,
            self.config.batch_size / len(self.devices),
            self.task.model.dtype,
            state.params.size,
            nbytes(self.one_batch()) / len(self.devices),
        )

    def lower_step(self, state: TrainState, inputs: Any) -> Any:
        """The training step as training compiles it, of arrays or of their shapes.

        Args:
          state: replicated.
          inputs: (a batch, stop flags), sharded.
        """
        step = functools.partial(train_step, self.task)
        program = data_parallel.pmap_step(step, self.devices, donate_state=True)
        return program.lower(state, inputs)


@contextlib.contextmanager
def prepared(
    bench: BenchmarkConfig, config: TrainerConfig, devices: Sequence[jax.Device]
) -> Iterator[Case]:
    """A `Case` whose dataset exists for the duration of the block."""
    if bench.slices < config.batch_size:
        raise InputError(
            f'invalid --slices={bench.slices}: use at least one batch, {config.batch_size}'
        )
    drawn = [phantom.draw_slice(seed, bench.image_size) for seed in range(PHANTOMS)]
    slices = itertools.islice(itertools.cycle(drawn), bench.slices)
    with tempfile.TemporaryDirectory(prefix='bodycomp_benchmark_') as folder:
        dataset, task, costs = NETWORK_CASES[config.network.kind](config, folder, slices, devices)
        yield Case(bench, config, dataset, task, costs, devices)


def _segmentation(
    config: SegmentationConfig,
    folder: str,
    slices: Iterable[tuple[np.ndarray, np.ndarray]],
    devices: Sequence[jax.Device],
) -> NetworkCase:
    network = config.network
    segmentation.write_split(folder, 'train', slices)
    dataset = segmentation.SegmentationSet(*open_files(folder, 'train'), network.tissues)
    side = dataset.image_shape[0]
    network.refuse_side(side, f'invalid --image_size={side}')
    task = segmentation_task(config, devices=devices, steps_per_epoch=1)
    return dataset, task, unet_costs(network, side)


def _slice_selection(
    config: SliceSelectionConfig,
    folder: str,
    slices: Iterable[tuple[np.ndarray, np.ndarray]],
    devices: Sequence[jax.Device],
) -> NetworkCase:
    levels = config.network.levels
    images = [ct.window(hu).round().astype(np.uint8) for hu, _ in slices]
    offsets = dict.fromkeys(levels, np.zeros(len(images)))
    slice_selection.write_split(folder, 'train', images, offsets)
    dataset = slice_selection.SliceSelectionSet(
        list_split(folder, 'train', levels, check_values=False),
        is_training=True,
        cache_dir=folder,
        track=lambda items, count, title: items,
        check_values=False,
    )
    dataset.validate()  # decodes the slices
    task = slice_selection_task(config, devices=devices, steps_per_epoch=1, val_set=dataset)
    return dataset, task, densenet_costs(config.network, DENSENET_SIDE)


NETWORK_CASES: dict[str, Callable[..., NetworkCase]] = {
    UNetConfig.kind: _segmentation,
    DenseNetConfig.kind: _slice_selection,
}


class Training:
    """The training step, compiled as for training, and the state that it updates.

    Attributes:
      compiled: the step.
      state: a `TrainState`.
      batch: a batch on the devices.
    """

    def __init__(self, case: Case):
        devices = case.devices
        state = initial_state(case.task, case.dataset.image_shape)
        self.state = data_parallel.replicate(state, devices)
        self.batch = data_parallel.shard_batch(case.one_batch(), devices)
        self._stop_flags = data_parallel.on_each_device(stop_flags(None), devices)
        lowered = case.lower_step(self.state, (self.batch, self._stop_flags))
        self.compiled = compiled(lowered, devices)

    @property
    def text(self) -> str:
        """The compiled step in HLO."""
        return self.compiled.as_text() or ''

    def step(self, batch: dict[str, jax.Array]) -> dict[str, Any]:
        """One step; returns its result, on GPU and TPU without waiting for it."""
        self.state, result = self.compiled(self.state, (batch, self._stop_flags))
        return result


def nbytes(tree: Any) -> int:
    """Of arrays, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
