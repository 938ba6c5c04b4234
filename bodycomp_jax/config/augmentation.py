"""How training slices are changed at random."""

import dataclasses
import typing
from typing import Any

from bodycomp_jax.config.options import as_flag, check, check_choices, option


class Strengths(typing.NamedTuple):
    """How strongly each transform changes a training slice at most; 0 leaves it out."""

    rotation: float = 0.0  # degrees
    shift: float = 0.0  # of each side
    scale: float = 0.0
    aspect: float = 0.0
    flip: float = 0.0  # probability
    blur: float = 0.0  # of the height
    low_resolution: float = 0.0  # of the height
    noise: float = 0.0  # HU
    hu_gain: float = 0.0
    hu_offset: float = 0.0  # HU
    gamma: float = 0.0


LARGEST = Strengths(
    rotation=180.0, shift=0.5, scale=1.0, aspect=1.0, flip=1.0, blur=0.02, low_resolution=0.05,
    noise=500.0, hu_gain=0.9, hu_offset=500.0, gamma=5.0,
)  # fmt: skip
LIGHT = Strengths(rotation=5.0, shift=0.05)
STRONG = Strengths(
    rotation=8.0, shift=0.05, scale=0.1, aspect=0.05, blur=0.004, low_resolution=0.008,
    noise=25.0, hu_gain=0.15, hu_offset=25.0, gamma=0.3,
)  # fmt: skip
STRONG_ON_LEVELS = STRONG._replace(rotation=5.0, hu_gain=0.1)


def _strength(help: str) -> Any:
    return option(None, f'{help} (default: see --augmentation)', group='Augmentation')


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How the training slices are changed at random. Raises InputError for invalid values."""

    strengths_of: typing.ClassVar[dict[str, Strengths]] = {
        'none': Strengths(),
        'light': LIGHT,
        'strong': STRONG,
    }

    augmentation: str | None = option(
        None,
        'how strongly training slices are changed at random; light: rotation and shift only; '
        'strong: all, as between patients, scanners and protocols; docs/defaults.md lists the '
        'strengths, each of which has a flag (default: strong; reference: light)',
        group='Augmentation',
        choices=('none', 'light', 'strong'),
    )
    augment: bool | None = option(
        None,
        'the flag of older versions: --augment is --augmentation=light, --noaugment is '
        '--augmentation=none',
        group='Augmentation',
    )
    rotation: float | None = _strength('rotate by up to X degrees either way')
    shift: float | None = _strength('shift by up to X of each side, in both directions')
    scale: float | None = _strength('enlarge and shrink up to 1 + X times')
    aspect: float | None = _strength('stretch one side up to 1 + X times as far as the other')
    flip: float | None = _strength('mirror left and right with probability X')
    blur: float | None = _strength('blur with a standard deviation of up to X of the height')
    low_resolution: float | None = _strength('make pixels as wide as up to X of the height')
    noise: float | None = _strength('add noise with a standard deviation of up to X HU')
    hu_gain: float | None = _strength('multiply the HU by 1 - X to 1 + X')
    hu_offset: float | None = _strength('add up to X HU, or subtract them')
    gamma: float | None = _strength('bend the grey values of the window by exponents up to 1 + X')
    augmentation_probability: float = option(
        0.5,
        'probability with which each of the transforms from --blur to --gamma changes a slice',
        group='Augmentation',
    )

    def __post_init__(self) -> None:
        check_choices(self)
        if self.augment is not None:  # recorded as the level that it means
            level = 'light' if self.augment else 'none'
            same = self.augmentation in (None, level)
            remedy = (
                f'{as_flag("augment", self.augment)} means --augmentation={level}; leave one out'
            )
            check(same, 'augmentation', self.augmentation, remedy)
            object.__setattr__(self, 'augment', None)
            object.__setattr__(self, 'augmentation', level)
        elif self.augmentation is None:
            object.__setattr__(self, 'augmentation', 'strong')
        for name, value in self.strengths._asdict().items():
            largest = getattr(LARGEST, name)
            check(0 <= value <= largest, name, value, f'use a number in 0..{largest:g}')
        chance = self.augmentation_probability
        check(0 <= chance <= 1, 'augmentation_probability', chance, 'use a number in 0..1')

    @property
    def strengths(self) -> Strengths:
        """Those of the level, except for those that are given."""
        values = {name: getattr(self, name) for name in Strengths._fields}
        given = {name: value for name, value in values.items() if value is not None}
        return self.strengths_of[self.augmentation or 'strong']._replace(**given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceSelectionAugmentationConfig(AugmentationConfig):
    """The same with other strengths: the shape and the side of organs tell the levels apart."""

    strengths_of: typing.ClassVar[dict[str, Strengths]] = {
        'none': Strengths(),
        'light': LIGHT,
        'strong': STRONG_ON_LEVELS,
    }
