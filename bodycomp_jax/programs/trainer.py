"""The start of both trainers: flags, the other processes, the run folder and the devices."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from bodycomp_jax.checkpoints.run import load_pretrained
from bodycomp_jax.config import RunConfig
from bodycomp_jax.runtime import flags, launch
from bodycomp_jax.runtime.devices import cache_compiled_programs, choose_devices
from bodycomp_jax.runtime.processes import sync_errors
from bodycomp_jax.training.run_folder import run_folder


class Start(NamedTuple):
    """What the command line of a trainer describes.

    Attributes:
      settings: of the run.
      config: the hyper-parameters, with the options of pretrained weights.
      run_dir: the folder of the run.
      devices: of all processes, to train on.
      pretrained: variables to start from, or None.
    """

    settings: RunConfig
    config: Any
    run_dir: str
    devices: list[jax.Device]
    pretrained: dict[str, Any] | None


def start(argv: Sequence[str], description: str, config_class: type) -> Start:
    """Reads the command line, joins the other processes and finds folder, weights and devices.

    Args:
      argv, description: see `flags.parse`.
      config_class: of the trainer's hyper-parameters.

    Raises InputError for wrong usage.
    """
    (settings, config), given = flags.parse(argv, description, RunConfig, config_class)
    launch.join(settings)
    run_dir = run_folder(settings)
    config, pretrained = load_pretrained(run_dir, config, given)
    with sync_errors():
        devices = choose_devices(settings.num_gpus, config.batch_size)
        cache_compiled_programs(devices)
    return Start(settings, config, run_dir, devices, pretrained)
