"""Times the training and the prediction of the segmentation network, and the reading of its files.

Each number is the median of several windows, after a burn-in.
"""

import json

import numpy as np

from bodycomp_jax import benchmark, cli
from bodycomp_jax.config import BenchmarkConfig, SegmentationConfig
from bodycomp_jax.training import logs, segmentation


def main(argv):
    bench, config = cli.parse(argv, __doc__, BenchmarkConfig, SegmentationConfig)
    devices = cli.devices(bench.num_gpus, config.batch_size)
    cli.keep_compiled_programs(devices)
    task = segmentation.task(config, devices=devices, steps_per_epoch=1)
    about = {
        'devices': f'{len(devices)} x {devices[0].device_kind}',
        'compute_dtype': task.model.dtype.name,
        'batch_size': config.batch_size,
        'image_size': bench.image_size,
        'versions': logs.versions(),
    }
    with benchmark.written_set(bench, config) as dataset:
        if bench.collectives:
            rows = benchmark.collectives(task, dataset.read(np.arange(config.batch_size)), devices)
        elif bench.profile is not None:
            rows = benchmark.profile(task, bench, config, dataset, devices)
        else:
            floor, rows = benchmark.speeds(task, bench, config, dataset, devices)
            about |= floor
    if bench.json:
        print(json.dumps({**about, 'rows': rows}))
    else:
        logs.Terminal().report(about, rows)


if __name__ == '__main__':
    cli.run(main)
