"""Times training, prediction and reading: of the segmentation network or, if the first argument is
slice_selection, of the slice-selection network.

Each number is the median of several windows, after a burn-in.
"""

import json

from bodycomp_jax import benchmark, cli
from bodycomp_jax.config import BenchmarkConfig
from bodycomp_jax.training import logs


def main(argv):
    config_class, argv = cli.trainer_config(argv)
    bench, config = cli.parse(argv, __doc__, BenchmarkConfig, config_class)
    devices = cli.devices(bench.num_gpus, config.batch_size)
    cli.keep_compiled_programs(devices)
    about, rows = benchmark.measure(bench, config, devices)
    if bench.json:
        print(json.dumps({**about, 'rows': rows}))
    else:
        logs.Terminal().report(about, rows)


if __name__ == '__main__':
    cli.run(main)
