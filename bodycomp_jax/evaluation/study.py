"""What is evaluated: slices with a reference standard, and what is measured of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.data.table import Column


class Part(NamedTuple):
    """Slices that the same networks predict.

    Attributes:
      fold: of the cross-validation; None for a split.
      dataset: of the slices, with the reference standard.
      about: {column: value} of each slice.
      readers: the same slices with the labels of each reader who is compared.
    """

    fold: int | None
    dataset: Dataset
    about: Sequence[Mapping[str, str]]
    readers: Sequence[Dataset]


class Metric(NamedTuple):
    """A number by which candidates are compared.

    Attributes:
      column: of the examples.
      of: what it is measured of, such as a tissue.
      title: what people call it.
      unit: '' or such as mm.
      higher_is_better: else lower is.
      digits: behind the decimal point.
    """

    column: str
    of: str
    title: str
    unit: str
    higher_is_better: bool
    digits: int


class Pair(NamedTuple):
    """A number that is both measured and known.

    Attributes:
      measured, known: columns of the examples.
      of, title, unit: as of `Metric`.
      in_percent: whether differences in percent mean something.
    """

    measured: str
    known: str
    of: str
    title: str
    unit: str
    in_percent: bool


class Ranking(NamedTuple):
    """How examples are sorted, the worst first: by the worst of these columns."""

    title: str
    metrics: Sequence[Metric]


class Examples(NamedTuple):
    """Numbers of each example, a slice or a series.

    Attributes:
      about: {column: value} of each of the N examples.
      units: `[N]` names of what is resampled, such as patients.
      unit: what these are.
      columns: of the K numbers.
      numbers: `[N, M, K]` of each example and candidate; NaN where there is none.
    """

    about: Sequence[Mapping[str, str]]
    units: Sequence[str]
    unit: str
    columns: Mapping[str, Column]
    numbers: np.ndarray

    def of(self, column: str) -> np.ndarray:
        """`[N, M]` the numbers of a column."""
        return self.numbers[..., list(self.columns).index(column)]


class Study(Protocol):
    """What differs between the two kinds of networks.

    Attributes:
      example: what an example is, slice or series.
      parts: all slices, part by part.
      num_numbers: of the numbers of each slice and candidate.
      metrics: the first of each `of` decides the verdict.
      pairs: numbers whose agreement is shown.
      rankings: of the examples, for the pictures of the worst.
      definitions: {number: how it is defined}.
    """

    example: str
    parts: Sequence[Part]
    num_numbers: int
    metrics: Sequence[Metric]
    pairs: Sequence[Pair]
    rankings: Sequence[Ranking]
    definitions: Mapping[str, str]

    def measure(
        self, part: Part, rows: np.ndarray, batch: Mapping[str, np.ndarray], answers: Sequence[Any]
    ) -> np.ndarray:
        """`[B, M, num_numbers]` of the slices at some rows of a part.

        Args:
          part: of the slices.
          rows: `[B]` their indices in it.
          batch: of its dataset, at these rows.
          answers: of each candidate, at least B of them.
        """

    def examples(self, numbers: np.ndarray) -> Examples:
        """The examples, from the numbers of all slices, `[N, M, num_numbers]`."""

    def as_in_training(self, numbers: np.ndarray) -> list[dict[str, float]]:
        """The metrics of the training, of each candidate, from the numbers of all slices."""

    def figures(self, examples: Examples, names: Sequence[str]) -> Iterator[Any]:
        """Figures of where the errors are; None for those that would show nothing."""

    def slices_of(self, example: int) -> tuple[Part, int] | None:
        """Part and row of the slice that must be answered again to draw an example, if any."""

    def draw(self, example: int, candidate: int, batch: Any, answer: Any, numbers: Any) -> Any:
        """A picture `[h, w, 3]` uint8 of what a candidate says of an example.

        Args:
          example, candidate: indices.
          batch: {name: array} of this slice alone, of its dataset.
          answer: of the candidate, of this slice.
          numbers: of all slices.
        """
