"""What training and prediction cost: measured, and against the least they could.

The floor of a step is the longer of two times: its operations at the measured rate of a large
matrix product, and its least bytes at the measured rate of a large copy.
"""

import collections
import contextlib
import functools
import glob
import gzip
import itertools
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data import images, phantom
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.segmentation import SegmentationSet
from bodycomp_jax.data.slice_selection import SliceSelectionSet, write_split
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import densenet, unet
from bodycomp_jax.models.convolution import PRECISION
from bodycomp_jax.models.predictors import predictor
from bodycomp_jax.training import logs, loop, parallel, segmentation, slice_selection
from bodycomp_jax.training.interrupts import vote
from bodycomp_jax.training.state import initial_state, num_parameters

BURN_IN = 3  # steps
DRAWN = 4  # different phantoms
MATRIX = {'cpu': 2048, 'gpu': 8192, 'tpu': 8192}  # side of the matrices whose product is timed
COPIED = {'cpu': 1 << 28, 'gpu': 1 << 31, 'tpu': 1 << 30}  # bytes that are copied
WEIGHT_BYTES = 6 * 4  # a weight and its two moments, read and written
ELEMENT_BYTES = {'f32': 4, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'pred': 1}


class Subject(NamedTuple):
    """What is measured of one trainer."""

    task: Callable  # config, devices, a dataset -> its `Task`
    write: Callable  # folder, config, `[N, H, W]` HU, `[N, H, W]` labels -> a dataset of them
    costs: Callable  # config, side -> a `ConvolutionCost` for each convolution
    side: Callable  # side of the slices in files -> side that the network sees
    pixel_bytes: int  # of a slice and its labels as they are sent to a device


def measure(bench, config, devices):
    """What `bench`, a `BenchmarkConfig`, asks for, of the trainer that `config` is for.

    Returns:
      ({what describes the measurement: text or number}, rows with the same keys).
    """
    subject = SUBJECTS[type(config)]
    with written_set(subject, bench, config) as dataset:
        task = subject.task(config, devices, dataset)
        about = _about(task, bench, config, devices)
        if bench.collectives:
            slices = dataset.read(np.arange(config.batch_size))
            return about, collectives(task, slices, devices)
        if bench.profile is not None:
            return about, profile(task, bench, config, dataset, devices)
        floor, rows = speeds(subject, task, bench, config, dataset, devices)
        return about | floor, rows


def _about(task, bench, config, devices):
    return {
        'network': config.network,
        'devices': f'{len(devices)} x {devices[0].device_kind}',
        'compute_dtype': task.model.dtype.name,
        'batch_size': config.batch_size,
        'image_size': bench.image_size,
        'versions': logs.versions(),
    }


@contextlib.contextmanager
def written_set(subject, bench, config):
    """A dataset of phantoms in files, for as long as the block lasts."""
    if bench.slices < config.batch_size:
        raise InputError(f'--slices: {bench.slices} are fewer than one batch, {config.batch_size}')
    drawn = zip(*(phantom.draw(i, bench.image_size) for i in range(DRAWN)), strict=True)
    shape = (bench.slices, bench.image_size, bench.image_size)
    hu, labels = (np.resize(np.stack(slices), shape) for slices in drawn)
    with tempfile.TemporaryDirectory(prefix='bodycomp_benchmark_') as folder:
        yield subject.write(folder, config, hu, labels)


def _write_npy(folder, config, hu, labels):
    side = hu.shape[1]
    if side % config.size_divisor:
        raise InputError(
            f'--image_size: slices of {side} x {side} cannot be halved often enough; use a '
            f'multiple of {config.size_divisor}'
        )
    for kind, slices in (('images', hu), ('masks', labels)):
        np.save(os.path.join(folder, f'train_{kind}.npy'), slices)
    return SegmentationSet(folder, 'train', config.tissues)


def _write_png(folder, config, hu, _):
    offsets = np.zeros((len(hu), len(config.levels)))
    grey = ct.window(hu.astype(np.float32)).round().astype(np.uint8)
    write_split(folder, 'train', grey, dict(zip(config.levels, offsets.T, strict=True)))
    dataset = SliceSelectionSet(folder, 'train', config.levels)
    dataset.decode(folder, lambda items, count, title: items)
    return dataset


SUBJECTS = {
    SegmentationConfig: Subject(
        task=lambda config, devices, _: segmentation.task(
            config, devices=devices, steps_per_epoch=1
        ),
        write=_write_npy,
        costs=unet.convolution_costs,
        side=lambda side: side,
        pixel_bytes=2 + 1,
    ),
    SliceSelectionConfig: Subject(
        task=lambda config, devices, dataset: slice_selection.task(
            config, devices=devices, steps_per_epoch=1, val_set=dataset
        ),
        write=_write_png,
        costs=densenet.convolution_costs,
        side=lambda side: images.SIDE,
        pixel_bytes=1,
    ),
}


class Training:
    """The training step as `train` compiles it, and a state that it moves on.

    Attributes:
      compiled: the step.
      state: a `TrainState`.
      batch: what it was compiled for, on the devices.
    """

    def __init__(self, task, batch, devices):
        """`batch` as the host reads it."""
        self.state = parallel.replicate(initial_state(task, batch['image'].shape[1:]), devices)
        self.batch = parallel.split(batch, devices)
        self._votes = parallel.on_each_device(vote(None), devices)
        step = functools.partial(loop.train_step, task)
        program = parallel.parallel(step, devices, donate_state=True)
        self.compiled = program.lower(self.state, self.batch, self._votes).compile()

    def step(self, batch):
        """One step; returns its loss sums, which may not be there yet."""
        (self.state, sums), _ = self.compiled(self.state, batch, self._votes)
        return sums


def speeds(subject, task, bench, config, dataset, devices):
    """How fast training, prediction and reading are.

    Args:
      subject, task: of the trainer.
      bench: a `BenchmarkConfig`.
      config: of the trainer.
      dataset: from `written_set`.
      devices: to train on.

    Returns:
      ({rate, or work of a step on one device: number},
       rows {'what', 'images_per_second', 'slowest', 'fastest', 'milliseconds', 'share_of_floor',
       'device_megabytes'}, None where there is nothing to say).
    """
    size = config.batch_size
    slices = dataset.read(np.arange(size))
    training = Training(task, slices, devices)
    weights = num_parameters(training.state.variables)
    floor = _floor(subject, task, bench, config, size / len(devices), weights)
    files = iter(ReadAhead(dataset.read, _keys(dataset, config)))
    feed = iter(
        ReadAhead(lambda rows: parallel.split(dataset.read(rows), devices), _keys(dataset, config))
    )
    trained = _measured_by(lambda: training.step(training.batch), bench, size)
    fed = _measured_by(lambda: training.step(next(feed)), bench, size)
    model = predictor(config, parallel.on_one_device(training.state.variables), task.model.dtype)
    predicted = _measured_by(lambda: model(slices['image']), bench, size)
    read = _measured_by(lambda: next(files), bench, size)
    megabytes = parallel.memory(training.compiled, devices)[0] / 1e6
    for row in (trained, fed):
        row['share_of_floor'] = floor['floor_milliseconds'] / row['milliseconds']
        row['device_megabytes'] = megabytes
    rows = {
        'train, data on the device': trained,
        'train, from files': fed,
        'predict, from host to host': predicted,
        'read files': read,
    }
    return floor, [{'what': what, **row} for what, row in rows.items()]


def _floor(subject, task, bench, config, batch_size, weights):
    """The least work of a training step of so many slices on one device, and its least time.

    Bytes: every convolution's result is written once and read once by each of its readers;
    on the way back it is read once more, its gradient written and read once; and slices, labels,
    weights and moments once. Operations: as many on the way forward as twice on the way back, but
    for the gradient of the slices, which nobody needs.
    """
    dtype = task.model.dtype
    side = subject.side(bench.image_size)
    costs = subject.costs(config, side)
    products = [cost.values * cost.taps for cost in costs]
    operations = 2 * batch_size * (3 * sum(products) - products[0])
    values = sum(cost.values * (1 + cost.readers + 1 + 2) for cost in costs)
    a_slice = values * dtype.itemsize + side**2 * subject.pixel_bytes
    least_bytes = batch_size * a_slice + weights * WEIGHT_BYTES
    matrix_rate, copy_rate = _matrix_rate(dtype, bench), _copy_rate(bench)
    return {
        'matrix_gflop_per_second': matrix_rate / 1e9,
        'copy_gbyte_per_second': copy_rate / 1e9,
        'gflop_per_step': operations / 1e9,
        'least_gbyte_per_step': least_bytes / 1e9,
        'floor_milliseconds': 1e3 * max(operations / matrix_rate, least_bytes / copy_rate),
    }


def _matrix_rate(dtype, bench):
    """Operations a second of a large matrix product."""
    side = MATRIX.get(jax.default_backend(), MATRIX['gpu'])
    a = jax.random.normal(jax.random.key(0), (side, side), dtype)
    product = jax.jit(lambda a: jnp.dot(a, a, precision=PRECISION))
    return 2 * side**3 / statistics.median(_seconds(lambda: product(a), bench))


def _copy_rate(bench):
    """Bytes a second, read and written, of a large copy into memory that is there already."""
    size = COPIED.get(jax.default_backend(), COPIED['gpu'])
    array = jnp.ones(size // 4, jnp.float32)
    copy = jax.jit(lambda a: a + 1, donate_argnums=0)

    def run():
        nonlocal array
        array = copy(array)
        return array

    return 2 * size / statistics.median(_seconds(run, bench))


def _keys(dataset, config):
    """The arguments of `dataset.read`, epoch after epoch, without end."""
    n, size = len(dataset), config.batch_size
    for epoch in itertools.count(1):
        for rows in training_batches(n, size, n // size, config.seed, epoch):
            yield (rows,)


def _measured_by(run, bench, batch_size):
    seconds = _seconds(run, bench)
    return {
        'images_per_second': batch_size / statistics.median(seconds),
        'slowest': batch_size / max(seconds),
        'fastest': batch_size / min(seconds),
        'milliseconds': 1e3 * statistics.median(seconds),
        'share_of_floor': None,
        'device_megabytes': None,
    }


def _seconds(run, bench):
    """Of one run, in each window; the devices are waited for at the end of a window."""
    for _ in range(BURN_IN):
        jax.block_until_ready(run())
    seconds = []
    for _ in range(bench.windows):
        began = time.perf_counter()
        for _ in range(bench.steps):
            result = run()
        jax.block_until_ready(result)
        seconds.append((time.perf_counter() - began) / bench.steps)
    return seconds


def profile(task, bench, config, dataset, devices):
    """Writes a trace of one window of training steps into `bench.profile`.

    Returns:
      rows {'operation', 'milliseconds' a step, 'share' of all operations, 'computes'} of the ten
      that take longest, over all devices.
    """
    training = Training(task, dataset.read(np.arange(config.batch_size)), devices)
    jax.block_until_ready(training.step(training.batch))
    with jax.profiler.trace(bench.profile):
        for _ in range(bench.steps):
            sums = training.step(training.batch)
        jax.block_until_ready(sums)
    pattern = os.path.join(bench.profile, 'plugins/profile/*/*.trace.json.gz')
    with gzip.open(max(glob.glob(pattern), key=os.path.getmtime)) as file:
        events = json.load(file)['traceEvents']
    microseconds = collections.Counter()
    for event in events:
        if 'hlo_op' in event.get('args', {}):
            microseconds[event['args']['hlo_op']] += event['dur']
    sources = dict(re.findall(r'%([\w.-]+) = .*?op_name="([^"]*)"', training.compiled.as_text()))
    return [
        {
            'operation': operation,
            'milliseconds': time_taken / 1e3 / bench.steps,
            'share': time_taken / microseconds.total(),
            'computes': sources.get(operation, ''),
        }
        for operation, time_taken in microseconds.most_common(10)
    ]


def collectives(task, batch, devices):
    """What a training step sends between devices, and the least it could.

    The least that gives equal results on any number of devices: the gradients once, the loss
    sums once, and for each batch norm mean and mean square on the way forward and their gradients
    on the way back, one batch norm after another.

    Args:
      task: a `Task`.
      batch: as the host reads it.
      devices: of which there must be two at least.

    Returns:
      rows {'what', 'collectives', 'bytes'}.
    """
    if len(devices) < 2:
        raise InputError(
            '--collectives: one device sends nothing; JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=8 '
            'NPROC=16 before the command makes eight'
        )
    training = Training(task, batch, devices)
    state = training.state
    found = re.findall(
        r'= (.+?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)'
        r'(?:-start)?\(',
        training.compiled.as_text(),
    )
    sizes = [_bytes_of(shapes) for shapes in found]
    outputs = jax.eval_shape(lambda: task.model.apply(state.variables, task.inputs(batch['image'])))
    loss_sums = jax.eval_shape(task.loss_sums, outputs, batch)
    norms = len([name for name in _names(state.batch_stats) if 'mean' in name])
    least = [
        ('gradients', 1, _size(state.params)),
        ('loss sums', 1, _size(loss_sums)),
        ('batch statistics', 2 * norms, 2 * _size(state.batch_stats)),
    ]
    rows = [
        ('the compiled step', len(sizes), sum(sizes)),
        ('its largest collective', 1, max(sizes)),
        ('least', sum(n for _, n, _ in least), sum(size for _, _, size in least)),
        *((f'least: {what}', n, size) for what, n, size in least),
    ]
    return [dict(zip(('what', 'collectives', 'bytes'), row, strict=True)) for row in rows]


def _names(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _size(tree):
    return sum(4 * leaf.size for leaf in jax.tree.leaves(tree))  # all are float32


def _bytes_of(shapes):
    """Of all arrays in an XLA type such as '(f32[3]{0}, f32[3,3,1,16]{3,2,1,0})'."""
    arrays = re.findall(r'([a-z]+\d*)\[([\d,]*)\]', shapes)
    return sum(
        ELEMENT_BYTES[kind] * int(np.prod([int(n) for n in dims.split(',') if n]))
        for kind, dims in arrays
    )
