"""Synthetic slices that several epochs see, so that a device need not wait for them."""

from collections.abc import Callable

import numpy as np

from bodycomp_jax.data.dataset import Example


class KeptSlices:
    """Drawn slices that several epochs in a row see, and the order in which each epoch sees them.

    An epoch begins some slices after the one before it. Each slice keeps its place in a batch, so
    that one process of a job reads it.

    Attributes:
      count: slices of an epoch, which are kept.
    """

    def __init__(self, steps: int, per_batch: int, epochs: int, seed: int) -> None:
        """Keeps nothing yet.

        Args:
          steps: of an epoch.
          per_batch: slices of each.
          epochs: that see the same slice.
          seed: of the order.
        """
        self.count = steps * per_batch
        self._steps, self._per_batch, self._epochs, self._seed = steps, per_batch, epochs, seed
        self._order = (-1, np.zeros(0, int))  # of the latest epoch
        self._numbers = np.full(self.count, -1)  # of the slice that each row of the arrays holds
        self._arrays: Example = {}

    def read(self, indices: np.ndarray, draw: Callable[[np.ndarray], Example]) -> Example:
        """The slices at these indices of the whole training; those that are not kept are drawn.

        Threads may read at once what differs and belongs to one epoch.

        Args:
          indices: `[n]`, from 0 in the first epoch.
          draw: draws the slices with some numbers.
        """
        numbers = self._numbers_at(indices)
        rows = numbers % self._per_batch * self._steps + numbers // self._per_batch % self._steps
        missing = self._numbers[rows] != numbers
        if missing.any():
            for name, array in draw(numbers[missing]).items():
                if name not in self._arrays:
                    empty = np.empty((self.count, *array.shape[1:]), array.dtype)
                    self._arrays.setdefault(name, empty)
                self._arrays[name][rows[missing]] = array
            self._numbers[rows[missing]] = numbers[missing]
        return {name: array[rows] for name, array in self._arrays.items()}

    def _numbers_at(self, indices: np.ndarray) -> np.ndarray:
        numbers = np.empty_like(indices)
        for epoch in np.unique(indices // self.count).tolist():
            of_epoch = indices // self.count == epoch
            numbers[of_epoch] = self._order_of(epoch)[indices[of_epoch] % self.count]
        return numbers

    def _order_of(self, epoch: int) -> np.ndarray:
        """Numbers of its slices, `count` in a row that are shuffled."""
        latest, order = self._order
        if latest != epoch:
            first, places = epoch * self.count // self._epochs, np.arange(self._per_batch)
            of_first_batch = first + (places - first) % self._per_batch
            order = of_first_batch + np.arange(self._steps)[:, None] * self._per_batch
            order = np.random.default_rng((self._seed, epoch)).permuted(order, axis=0).ravel()
            self._order = epoch, order
        return order
