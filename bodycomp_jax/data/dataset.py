"""The interface of a dataset, as training, evaluation and the benchmark use it."""

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from bodycomp_jax.config import TrainerConfig
from bodycomp_jax.errors import InputError

Example = dict[str, np.ndarray]  # or a batch of them, each array with a leading axis
# (items, their number, title) -> the same items, with progress shown
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


class Dataset(Protocol):
    """One split, read by row. Opening a dataset reads its tables and headers alone.

    Attributes:
      image_shape: (height, width) of the images that `read` returns.
    """

    image_shape: tuple[int, int]

    def __len__(self) -> int:
        """Number of examples that are stored; those of a `SyntheticSet` have no end."""

    def validate(self) -> None:
        """Reads the whole dataset. Raises InputError for invalid files and values."""

    def read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `rows`, `[B]` integers: {'image': ..., 'mask' or 'offset': ...}.

        Each array has a leading axis of length B. Thread-safe.
        """

    def describe(self) -> str:
        """A line about a validated dataset."""

    def warnings(self) -> list[str]:
        """What is improbable in a validated dataset, and where to look; [] if nothing is."""

    def refuse_changes(self) -> None:
        """Raises RunError if files that are still read have changed since `validate`.

        Cheap unless a file was touched.
        """

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """{array: {property: JSON value}} that identify the content of a validated dataset.

        A run continues only if every property recorded in its checkpoint is unchanged.
        """


class LevelledSet(Dataset, Protocol):
    """A set of slices with offsets.

    Attributes:
      offsets: `[N, L]` float32, mm from each level, positive towards the head.
      series: {name: `[n]` indices of its slices}.
    """

    offsets: np.ndarray
    series: dict[str, np.ndarray]


def refuse_less_than_a_batch(
    path: str | os.PathLike[str], count: int, config: TrainerConfig
) -> None:
    """Raises InputError for fewer training slices than each batch takes from the files."""
    stored = config.batch_size - config.num_synthetic
    if count < stored:
        raise InputError(
            f'{path}: {count} training slices are fewer than the {stored} of one batch; use '
            f'-b {count} or less'
        )
