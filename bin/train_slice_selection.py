"""Trains the network that tells how far CT slices are from vertebral levels such as L3."""

import os

from bodycomp_jax import checkpoint, cli, cluster
from bodycomp_jax.config import RunConfig, SliceSelectionConfig, to_json
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.training import logs, loop, slice_selection


def main(argv):
    run, config = cli.parse(argv, __doc__, RunConfig, SliceSelectionConfig)
    cluster.join(run)
    run_dir = cluster.first(cli.run_folder, run)
    network = cluster.first(checkpoint.starting_network, run_dir, config)
    run, config = cli.parse(argv, __doc__, RunConfig, SliceSelectionConfig, **network)
    with cluster.agreed():
        devices = cli.devices(run.num_gpus, config.batch_size)
        cli.keep_compiled_programs(devices)
        cache_dir = cli.existing_folder(run_dir)
        train_set, val_set = open_sets(run.data_dir, config, cache_dir, logs.Terminal().track)
    steps = config.steps_per_epoch(len(train_set))
    loop.train(
        slice_selection.task(config, devices=devices, steps_per_epoch=steps, val_set=val_set),
        config,
        train_set,
        val_set,
        run_dir,
        devices,
        args={**to_json(run), 'name': os.path.basename(run_dir)},
        variables=cluster.first(checkpoint.starting_weights, run_dir, config),
        allow_data_change=run.allow_data_change,
        data_cache=run.data_cache,
        stall_timeout=run.stall_timeout,
    )


if __name__ == '__main__':
    cli.run(main)
