"""What both trainers do: from the command line to a training."""

from collections.abc import Callable, Sequence
from typing import Any

from bodycomp_jax.checkpoints.continuing import load_pretrained
from bodycomp_jax.config import RunConfig, TrainerConfig
from bodycomp_jax.errors import InputError, on_all_processes
from bodycomp_jax.runtime import flags, launch
from bodycomp_jax.runtime.arithmetic import own_cores
from bodycomp_jax.runtime.devices import (
    cache_compiled_programs,
    choose_devices,
    compute_in_this_thread,
)
from bodycomp_jax.runtime.pool import Pool
from bodycomp_jax.runtime.processes import sync_errors
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training.run_folder import run_folder
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.tasks.task import Task
from bodycomp_jax.training.train import train

MAX_STEPS = 2**31 - 1  # an int32 counts them


def run_trainer(
    argv: Sequence[str],
    description: str | None,
    config_class: type,
    open_sets: Callable[[RunConfig, Any, str, Pool], tuple[Any, Any]],
    make_task: Callable[[Any, Sequence[Any], int, Any], Task],
    options_of_data: Callable[[str], dict[str, Any]] = lambda data_dir: {},
) -> None:
    """Trains what the command line describes.

    Args:
      argv, description: see `flags.parse`.
      config_class: of the hyper-parameters.
      open_sets: settings, config, run folder, processes that draw -> training and validation set.
      make_task: config, devices, steps per epoch, validation set -> task.
      options_of_data: folder of the data -> {option: value} that it determines.

    Raises InputError for wrong usage, and as `train`.
    """
    (settings, config), given = flags.parse(argv, description, RunConfig, config_class)
    _refuse_missing_data(settings, config)
    compute_in_this_thread()
    launch.join(settings)
    run_dir = run_folder(settings)
    with sync_errors():
        of_data = {} if settings.data_dir is None else options_of_data(settings.data_dir)
    config, pretrained = load_pretrained(run_dir, config, given, Terminal().warn, of_data)
    if not config.num_synthetic:  # with the share of the preset
        flags.refuse_without_effect(given & {'synthetic_epochs'}, '--synthetic or --mix_synthetic')
    with Pool(own_cores()) as pool:
        with sync_errors():
            devices = choose_devices(settings.num_gpus, config.batch_size)
            cache_compiled_programs(devices)
            train_set, val_set = open_sets(settings, config, run_dir, pool)
        steps_per_epoch = config.steps_per_epoch(len(train_set))
        _refuse_uncountable_steps(config, steps_per_epoch)
        spec = RunSpec(
            task=make_task(config, devices, steps_per_epoch, val_set),
            config=config,
            settings=settings,
            train_set=train_set,
            val_set=val_set,
            run_dir=run_dir,
            devices=devices,
        )
        train(spec, pretrained)


def _refuse_missing_data(settings: RunConfig, config: TrainerConfig) -> None:
    if settings.data_dir is not None:
        return
    if not config.synthetic:
        raise InputError(
            'DATA_DIR or MODEL_OUTPUT_DIR is missing; give both, or train on synthetic slices '
            'alone (--synthetic)'
        )
    flags.refuse_without_effect({'folds'} if config.folds is not None else set(), 'DATA_DIR')


def _refuse_uncountable_steps(config: TrainerConfig, steps_per_epoch: int) -> None:
    if config.epochs * steps_per_epoch > MAX_STEPS:
        raise on_all_processes(
            InputError(
                f'--epochs={config.epochs} with {steps_per_epoch} steps each: more than '
                f'{MAX_STEPS} steps cannot be counted; lower --epochs or --batches_per_epoch'
            )
        )
