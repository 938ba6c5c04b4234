"""Counts what a training step of the segmentation network sends between devices.

JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=8 NPROC=16 makes eight devices of one.
"""

import numpy as np

from bodycomp_jax import benchmark, cli
from bodycomp_jax.config import BenchmarkConfig, SegmentationConfig
from bodycomp_jax.data import phantom
from bodycomp_jax.training import logs, segmentation


def main(argv):
    bench, config = cli.parse(argv, __doc__, BenchmarkConfig, SegmentationConfig)
    devices = cli.devices(bench.num_gpus, config.batch_size)
    task = segmentation.task(config, devices=devices, steps_per_epoch=1)
    image, mask = phantom.draw(0, bench.image_size)
    batch = {
        'image': np.stack([image] * config.batch_size),
        'mask': np.stack([mask] * config.batch_size),
        'weight': np.ones(config.batch_size, np.float32),
    }
    rows = benchmark.collectives(task, batch, devices)
    table = [[f'{v:,}' if isinstance(v, int) else v for v in row.values()] for row in rows]
    logs.Terminal().table(tuple(rows[0]), table)


if __name__ == '__main__':
    cli.run(main)
