"""What a trainer is made of: the loop knows nothing else of the network it trains."""

import dataclasses
from collections.abc import Callable

import optax
from flax import linen as nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A value that holds everything in which two trainers differ.

    A batch is {'image', 'weight', and what is to be predicted}, each `[B, ...]`; padding has
    weight 0. Losses and metrics are made from sums over examples, divided once, so that neither
    padding nor devices nor batches can bias them.

    Attributes:
      model: maps network inputs `[B, H, W, C]` to outputs.
      inputs: images `[B, ...]` as they are on disk -> network inputs.
      augment: key, example (a batch's entry without the axis B) -> example.
      optimizer: makes updates from gradients.
      loss_sums: outputs, batch -> pytree of sums from which the loss is made.
      loss: loss sums -> scalar.
      metric_sums: outputs, batch -> {name: sums} from which the metrics are made.
      metrics: metric sums as numpy arrays -> {name: float}.
      headline: {name of a metric: its label} for the terminal.
      pictured: how many validation examples the pictures are of, the same in every epoch.
      pictures: metric sums of the validation, outputs of these examples (None if there are none),
        and the examples, all as numpy arrays -> list of `[h, w, 3]` uint8 pictures.
      schedule: step -> learning rate, for the record; the optimizer has its own.
      seed: from which every random number of the step derives.
    """

    model: nn.Module
    inputs: Callable
    augment: Callable
    optimizer: optax.GradientTransformation
    loss_sums: Callable
    loss: Callable
    metric_sums: Callable
    metrics: Callable
    headline: dict[str, str]
    pictured: int
    pictures: Callable
    schedule: Callable
    seed: int
