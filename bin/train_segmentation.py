"""Trains the network that labels muscle, subcutaneous and visceral fat on CT slices."""

import os

from bodycomp_jax import checkpoint, cli, cluster
from bodycomp_jax.config import RunConfig, SegmentationConfig, to_json
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.training import loop, segmentation


def main(argv):
    run, config = cli.parse(argv, __doc__, RunConfig, SegmentationConfig)
    cluster.join(run)
    run_dir = cluster.first(cli.run_folder, run)
    network = cluster.first(checkpoint.starting_network, run_dir, config)
    run, config = cli.parse(argv, __doc__, RunConfig, SegmentationConfig, **network)
    with cluster.agreed():
        devices = cli.devices(run.num_gpus, config.batch_size)
        cli.keep_compiled_programs(devices)
        train_set, val_set = open_sets(run.data_dir, config)
    if not config.apply_window_function and cluster.is_first():
        print('WARNING: no HU window: the images must be grey values in 0..255 already')
    steps = config.steps_per_epoch(len(train_set))
    loop.train(
        segmentation.task(config, devices=devices, steps_per_epoch=steps),
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
