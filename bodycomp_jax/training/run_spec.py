"""Everything that defines a run."""

import dataclasses
from collections.abc import Sequence

import jax

from bodycomp_jax.config import RunConfig, TrainerConfig
from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.training.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What to train, on which data, where.

    Attributes:
      task: what is trained, and how.
      config: its hyper-parameters.
      settings: where the run reads, writes and computes.
      train_set, val_set: the data.
      run_dir: the folder of the run.
      devices: the devices of all processes to train on; must divide the batch size.
    """

    task: Task
    config: TrainerConfig
    settings: RunConfig
    train_set: Dataset
    val_set: Dataset
    run_dir: str
    devices: Sequence[jax.Device]

    @property
    def steps_per_epoch(self) -> int:
        """Training steps per epoch."""
        return self.config.steps_per_epoch(len(self.train_set))
