"""A process of a job that calls the trainer several times in a row, each with its own exit code.

python job.py CALLS [flags of every call], where CALLS is a JSON list of argument lists. The last
argument of a call is its accident: '-', or PROCESS:EPOCH:SIGNAL. The exit code of the last call is
that of the process, those of the others are printed as '<exit CODE>'.
"""

import dataclasses
import functools
import json
import os
import signal
import sys

import jax
import numpy as np
import optax
from jax._src import compiler, distributed

from bodycomp_jax.checkpoints.continuing import load_pretrained
from bodycomp_jax.config import RunConfig, SegmentationConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.runtime import flags, job, launch, processes, program
from bodycomp_jax.runtime.devices import choose_devices
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.tasks.segmentation import segmentation_task
from bodycomp_jax.training.train import train


def main(argv):
    accident = argv.pop()
    (run_config, config), given = flags.parse(argv, __doc__, RunConfig, SegmentationConfig)
    if job.is_alone():  # until the first call
        launch.join(run_config)
    run_dir = os.path.join(run_config.model_output_dir, run_config.name)
    config, pretrained = load_pretrained(run_dir, config, given)
    with processes.sync_errors():
        devices = choose_devices(run_config.num_gpus, config.batch_size)
        sets = open_sets(run_config.data_dir, config)
    task = sgd_task(config, devices, sets[0])
    if accident != '-':
        task = dataclasses.replace(task, summarize=with_accident(task.summarize, accident))
    spec = RunSpec(
        task=task,
        config=config,
        settings=run_config,
        train_set=sets[0],
        val_set=sets[1],
        run_dir=run_dir,
        devices=devices,
    )
    train(spec, pretrained)
    pixels = augmented_pixels(task, sets[0], config.batch_size, devices)
    np.savez(os.path.join(run_dir, f'augmented_{jax.process_index()}.npz'), **pixels)


def let_every_process_fill_the_cache():
    """Of compiled programs, for the next job: JAX lets process 0 alone, though keys differ."""
    write, state = compiler._cache_write, distributed.global_state

    def write_as_process_0(*args):
        index, state.process_id = state.process_id, 0
        write(*args)
        state.process_id = index

    compiler._cache_write = write_as_process_0


def sgd_task(config, devices, train_set):
    """SGD, as Adam turns rounding, which depends on the number of devices, into whole steps."""
    steps = config.steps_per_epoch(len(train_set))
    task = segmentation_task(config, devices=devices, steps_per_epoch=steps)
    return dataclasses.replace(task, optimizer=optax.sgd(0.1))


def with_accident(summarize, accident):
    """`summarize`, called once per epoch; in one process and epoch it sends itself a signal."""
    process, epoch, number = map(int, accident.split(':'))
    calls = 0

    def summarize_or_accident(*args):
        nonlocal calls
        calls += 1
        if (jax.process_index(), calls) == (process, epoch):
            signal.raise_signal(number)
        return summarize(*args)

    return summarize_or_accident


def augmented_pixels(task, dataset, batch_size, devices):
    """The first batch of all processes after augmentation: {'image', 'mask'}."""

    def augmented(seed, batch):
        indices = data_parallel.example_indices(len(batch['image']))
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(indices)
        return data_parallel.gather_examples(jax.vmap(task.augment)(keys, batch))

    rows = data_parallel.local_rows(batch_size, devices)
    batch = data_parallel.shard_batch(dataset.read(np.arange(batch_size)[rows]), devices)
    seed = data_parallel.replicate(np.uint32(3), devices)
    return jax.device_get(data_parallel.pmap_step(augmented, devices)(seed, batch))


if __name__ == '__main__':
    let_every_process_fill_the_cache()
    calls, flags_of_every_call = json.loads(sys.argv[1]), sys.argv[2:]
    for call in calls:
        sys.argv[1:] = [*flags_of_every_call, *call]
        if call is calls[-1]:
            program.run(main)
        print(f'<exit {program.exit_code(main)}>')
