"""The evaluation of a whole set, as numbers of each example."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np


def evaluate(
    step: Callable[[Any], Any],
    batches: Iterable[Any],
    num_examples: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Any:
    """Evaluates batch by batch.

    Args:
      step: a batch on the devices -> pytree of `[B, ...]` arrays, such as `eval_step`.
      batches: of the whole set in order; padding follows the last example.
      num_examples: N.
      should_stop: called after each batch.

    Returns:
      The pytree of `[N, ...]` numpy arrays; None if stopped.
    """
    results = []
    for result in one_behind(map(step, batches)):
        results.append(result)
        if should_stop():
            return None
    return jax.tree.map(lambda *rows: np.concatenate(rows)[:num_examples], *results)


def one_behind(results: Iterable[Any]) -> Iterator[Any]:
    """Results of device programs as numpy arrays, each fetched when the next one is under way.

    GPUs and TPUs thus always have work, but never more than two steps.
    """
    for result, _ in itertools.pairwise(itertools.chain(results, [None])):
        yield jax.tree.map(np.asarray, result)
