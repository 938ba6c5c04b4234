"""Distributions of single numbers, and how they are written down."""

from typing import NamedTuple

import numpy as np


class Range(NamedTuple):
    """A uniform distribution, of the logarithm if `log`; with 1 - `chance` the value is 0."""

    what: str
    low: float
    high: float
    chance: float = 1.0
    log: bool = False

    def draw(self, rng: np.random.Generator, width: float = 1.0) -> float:
        """A value, within the middle `width` of the range; takes two numbers from `rng`."""
        chance, share = rng.random(2).tolist()
        if chance >= self.chance:
            return 0.0
        share = _within(share, width)
        if self.log:
            return self.low * (self.high / self.low) ** share
        return self.low + (self.high - self.low) * share

    def __str__(self) -> str:
        return f'{_sometimes(self.chance)}{self.low:g} to {self.high:g}{" (log)" * self.log}'


class Choice(NamedTuple):
    """One of some values, each as likely; with 1 - `chance` the value is 0."""

    what: str
    values: tuple[float, ...]
    chance: float = 1.0

    def draw(self, rng: np.random.Generator, width: float = 1.0) -> float:
        """A value, of the middle `width` of all; takes two numbers from `rng`."""
        chance, share = rng.random(2).tolist()
        if chance >= self.chance:
            return 0.0
        return self.values[int(_within(share, width) * len(self.values))]

    def __str__(self) -> str:
        return _sometimes(self.chance) + ', '.join(f'{value:g}' for value in self.values)


def _within(share: float, width: float) -> float:
    """A share between 0 and 1 that is in the middle `width`."""
    return 0.5 + width * (share - 0.5)


def _sometimes(chance: float) -> str:
    return '' if chance == 1 else f'in {chance:.0%}: '
