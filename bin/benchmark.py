"""Times training, prediction and reading: of the segmentation network or, if the first argument is
slice_selection, of the slice-selection network.

Each number is the median of several windows, after a burn-in.
"""

import json

from bodycomp_jax.benchmark import measure
from bodycomp_jax.config import BenchmarkConfig
from bodycomp_jax.runtime import flags
from bodycomp_jax.training import metrics_log


def main(argv):
    config_class, argv = flags.trainer_config(argv)
    bench, config = flags.parse(argv, __doc__, BenchmarkConfig, config_class)
    devices = flags.devices(bench.num_gpus, config.batch_size)
    flags.keep_compiled_programs(devices)
    about, rows = measure.measure(bench, config, devices)
    if bench.json:
        print(json.dumps({**about, 'rows': rows}))
    else:
        metrics_log.Terminal().report(about, rows)


if __name__ == '__main__':
    flags.run(main)
