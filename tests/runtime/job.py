"""A process of a job that trains the tiny network by SGD and may meet with an accident.

python job.py DATA_DIR OUTPUT_DIR [flags] ACCIDENT, with the accident '-' or PROCESS:EPOCH:SIGNAL.
"""

import dataclasses
import functools
import os
import signal

import jax
import numpy as np
import optax

from bodycomp_jax.config import RunConfig, SegmentationConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.runtime import flags, processes
from bodycomp_jax.training import data_parallel, train
from bodycomp_jax.training.stop_signals import vote
from bodycomp_jax.training.tasks import segmentation


def main(argv):
    accident = argv.pop()
    run, config = flags.parse(argv, __doc__, RunConfig, SegmentationConfig)
    processes.join(run)
    run_dir = processes.first(flags.run_folder, run)
    with processes.agreed():
        devices = flags.devices(run.num_gpus, config.batch_size)
        sets = open_sets(run.data_dir, config)
    task = sgd_task(config, devices, sets[0])
    if accident != '-':
        task = dataclasses.replace(task, metrics=with_accident(task.metrics, accident))
    train.train(task, config, *sets, run_dir, devices, run)
    if accident == '-':
        pixels = augmented_pixels(task, sets[0], config.batch_size, devices)
        np.savez(os.path.join(run_dir, f'augmented_{jax.process_index()}.npz'), **pixels)


def sgd_task(config, devices, train_set):
    """SGD tells device counts apart; Adam would turn rounding into whole steps."""
    steps = config.steps_per_epoch(len(train_set))
    task = segmentation.task(config, devices=devices, steps_per_epoch=steps)
    return dataclasses.replace(task, optimizer=optax.sgd(0.1))


def with_accident(metrics, accident):
    """`metrics`, made once an epoch, but in one process and epoch with a signal to itself."""
    process, epoch, number = map(int, accident.split(':'))
    made = 0

    def metrics_or_accident(sums):
        nonlocal made
        made += 1
        if (jax.process_index(), made) == (process, epoch):
            signal.raise_signal(number)
        return metrics(sums)

    return metrics_or_accident


def augmented_pixels(task, dataset, batch_size, devices):
    """The first batch as the network sees it: {'image', 'mask'}, this process's rows of it."""

    def augmented(state, batch):
        indices = data_parallel.example_indices(len(batch['weight']))
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(3)))(indices)
        moved = jax.vmap(task.augment)(keys, batch)
        return jax.lax.all_gather((moved['image'], moved['mask']), data_parallel.AXIS)

    rows = data_parallel.local_rows(batch_size, devices)
    batch = data_parallel.split(dataset.read(np.arange(batch_size)[rows]), devices)
    votes = data_parallel.on_each_device(vote(None), devices)
    moved, _ = data_parallel.parallel(augmented, devices)({}, batch, votes)
    image, mask = (np.asarray(x).reshape(batch_size, *dataset.image_shape) for x in moved)
    return {'image': image, 'mask': mask}


if __name__ == '__main__':
    flags.run(main)
