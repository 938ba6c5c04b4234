"""Measures training and prediction: speed, the costliest operations, and communication."""

import dataclasses
from collections.abc import Sequence

import jax

from bodycomp_jax.benchmark.ahead_of_time import ahead_of_time
from bodycomp_jax.benchmark.cases import Row, Training, prepared
from bodycomp_jax.benchmark.collectives import collectives
from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.benchmark.profiles import profile
from bodycomp_jax.benchmark.speeds import speeds
from bodycomp_jax.config import TrainerConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import refuse_unwritable
from bodycomp_jax.runtime.versions import versions


def measure(
    bench: BenchmarkConfig, config: TrainerConfig, devices: Sequence[jax.Device]
) -> tuple[Row, list[Row]]:
    """Measures a trainer.

    Returns:
      ({property of the measurement: text or number}, rows with the same keys).

    Raises InputError for settings that do not fit the network, the batch or the devices.
    """
    if bench.collectives and len(devices) < 2:
        raise InputError(
            'invalid --collectives: one device sends nothing; set JAX_PLATFORMS=cpu '
            'JAX_NUM_CPU_DEVICES=8 NPROC=16 before the command for eight virtual devices'
        )
    if bench.profile is not None:
        refuse_unwritable(bench.profile)
    if bench.ahead_of_time is not None:  # of slices their shape alone matters
        bench = dataclasses.replace(bench, slices=config.batch_size)
    with prepared(bench, config, devices) as case:
        about = _about(case)
        if bench.ahead_of_time is not None:
            numbers, rows = ahead_of_time(case, bench.ahead_of_time)
            return about | numbers, rows
        training = Training(case)
        if bench.collectives:
            return about, collectives(case, training)
        if bench.profile is not None:
            return about, profile(training, bench.profile, bench.steps)
        rates, rows = speeds(case, training)
        return about | rates, rows


def _about(case):
    return {
        'network': case.config.network.kind,
        'devices': f'{len(case.devices)} x {case.devices[0].device_kind}',
        'compute_dtype': case.task.model.dtype.name,
        'batch_size': case.config.batch_size,
        'image_size': case.bench.image_size,
        'versions': versions(),
    }
