"""Times the training and the prediction of the segmentation network, and the reading of its files.

Each number is the median of several windows, after a burn-in.
"""

import json

from bodycomp_jax import benchmark, cli
from bodycomp_jax.config import BenchmarkConfig, SegmentationConfig
from bodycomp_jax.training import logs, segmentation


def main(argv):
    bench, config = cli.parse(argv, __doc__, BenchmarkConfig, SegmentationConfig)
    devices = cli.devices(bench.num_gpus, config.batch_size)
    cli.keep_compiled_programs(devices)
    task = segmentation.task(config, devices=devices, steps_per_epoch=1)
    about, rows = benchmark.measure(task, bench, config, devices)
    if bench.json:
        print(json.dumps({**about, 'rows': rows}))
    else:
        logs.Terminal().report(about, rows)


if __name__ == '__main__':
    cli.run(main)
