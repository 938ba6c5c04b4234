"""What is trained: a value that holds everything in which the trainers differ."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import optax
from flax import linen as nn


class SummaryMetric(NamedTuple):
    """How the terminal shows a metric: its label, and the format of its value with the unit."""

    label: str
    number: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A network, its loss and its metrics.

    A batch is {'image', and what is predicted: 'mask' or 'offset'}, each `[B, ...]`. Loss and
    metrics are computed from sums over examples, divided once, so that batches and devices cannot
    bias them.

    Attributes:
      model: maps `models.build.as_inputs` of a batch to outputs.
      augment: key, example (an entry of a batch) -> example.
      optimizer: maps gradients to updates.
      learning_rate_fn: number of earlier updates -> learning rate; the optimizer has its own.
      loss_sums: outputs, batch -> {name: sum over the batch}.
      loss: these sums, over any number of examples -> scalar.
      example_metrics: outputs, batch -> {name: `[B, ...]`}.
      summarize: {name: `[N, ...]` example metrics of a set} as numpy arrays -> {metric: float}.
      advice: rows of the epochs so far -> {what: a sentence with what to try}.
      summary_metrics: {metric: how the terminal shows it}.
      num_figures: number of validation examples that the figures show, the same in every epoch.
      draw_figures: example metrics of the validation set, outputs of the `num_figures` examples
        (None if there are none), these examples; numpy arrays -> list of `[h, w, 3]` uint8.
      figure_bytes: shape `(H, W)` of the slices -> about the size of these figures as PNG files.
      seed: of all random numbers of a step.
    """

    model: nn.Module
    augment: Callable
    optimizer: optax.GradientTransformation
    learning_rate_fn: Callable
    loss_sums: Callable
    loss: Callable
    example_metrics: Callable
    summarize: Callable
    advice: Callable
    summary_metrics: dict[str, SummaryMetric]
    num_figures: int
    draw_figures: Callable
    figure_bytes: Callable
    seed: int
