"""Measures the speed of training, prediction and reading.

Measures the segmentation network or, if the first argument is slice_selection, the slice-selection
network. Each time is the median of several windows, after a warm-up.
"""

import json

from bodycomp_jax.benchmark.measure import measure
from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.benchmark.targets import absent_devices
from bodycomp_jax.config import TRAINERS, UNetConfig, with_preset
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags
from bodycomp_jax.runtime.devices import (
    cache_compiled_programs,
    choose_devices,
    compute_in_this_thread,
)
from bodycomp_jax.runtime.terminal import Terminal


def main(argv: list[str]) -> None:
    kind = UNetConfig.kind
    if argv[1:2] and argv[1] in TRAINERS:
        argv = argv.copy()
        kind = argv.pop(1)
    (bench, config), given = flags.parse(argv, __doc__, BenchmarkConfig, TRAINERS[kind])
    config = with_preset(config, given)
    if bench.ahead_of_time is not None:
        devices = absent_devices(bench.ahead_of_time, bench.num_gpus, config.batch_size)
    else:
        compute_in_this_thread()
        devices = choose_devices(bench.num_gpus, config.batch_size)
        cache_compiled_programs(devices)
    about, rows = measure(bench, config, devices)
    if bench.json:
        print(json.dumps({**about, 'rows': rows}))
    else:
        Terminal().report(about, rows)


if __name__ == '__main__':
    restart('benchmark')
