"""Options of the programs that read masks."""

import dataclasses

from bodycomp_jax.config import option
from bodycomp_jax.data.masks.labels import PRESETS

GROUP = 'Slices and labels'
CONVENTIONS = (  # `HU_LIMITS`
    'muscle -29..150, subcutaneous fat -190..-30, visceral fat -150..-50 (alberta) or '
    '-190..-30 (boa)'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """What the values of masks mean, and whether they are resampled."""

    labels: str | None = option(
        None,
        'what the labels in masks mean; flags for single tissues take precedence (default: that of '
        'a known data set, else the names in the masks)',
        group=GROUP,
        choices=tuple(PRESETS),
    )
    muscle: tuple[str, ...] = option((), 'numbers or class names of muscle in masks', group=GROUP)
    subcutaneous_fat: tuple[str, ...] = option(
        (), 'numbers or class names of subcutaneous fat', group=GROUP
    )
    visceral_fat: tuple[str, ...] = option(
        (), 'numbers or class names of visceral fat', group=GROUP
    )
    background: tuple[str, ...] = option(
        (),
        'numbers or class names of what is no tissue; others: all that no other flag explains',
        group=GROUP,
    )
    resample_masks: bool = option(
        False,
        'bring masks of another grid onto the pixels of their image by the nearest label; '
        'otherwise such a case is left out',
        group=GROUP,
    )
