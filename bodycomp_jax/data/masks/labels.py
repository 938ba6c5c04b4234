"""What the values of a mask mean: a tissue, background, or that nobody labelled the pixel."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError, listed

BACKGROUND = 0
OTHERS = 'others'  # as background: every value that nothing else explains
OWN_NAMES = {  # which need no flag; nnU-Net calls what it must not learn 'ignore'
    **{tissue: label for label, tissue in enumerate(ct.TISSUES, 1)},
    'background': BACKGROUND,
    'ignore': ct.NOT_LABELLED,
}
FLAGS = (*(f'--{tissue}' for tissue in ct.TISSUES), '--background')
UNSEEN = 'no mask that was read has such a label; check the spelling'
MAX_VALUE = 1 << 31
ROUNDING = 1e-3  # of labels that a file scales
Names = Mapping[int, Sequence[str]]  # that a mask gives to its values
Key = TypeVar('Key')


class UnexplainedLabelError(InputError):
    """A value of a mask, of which nothing says what it means."""


@dataclasses.dataclass(frozen=True)
class HULimits:
    """The lowest and the highest HU of each tissue; visceral fat as in the Alberta protocol."""

    muscle: tuple[int, int] = (-29, 150)
    subcutaneous_fat: tuple[int, int] = (-190, -30)
    visceral_fat: tuple[int, int] = (-150, -50)


HU_LIMITS = {  # conventions that differ in visceral fat
    'alberta': HULimits(),
    'boa': HULimits(visceral_fat=(-190, -30)),
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A convention: the labels of its numbers and of its class names.

    Attributes:
      numbers: {value: label} of values that the mask itself does not name.
      names: {class name: label}.
      regions: whether the values are regions, of which only HU limits make tissues.
    """

    numbers: Mapping[int, int]
    names: Mapping[str, int] = dataclasses.field(default_factory=dict)
    regions: bool = False


PRESETS = {
    'totalsegmentator': Preset(  # its tasks tissue_types and tissue_4_types
        {1: 2, 2: 3, 3: 1, 4: ct.INTERMUSCULAR_FAT},
        {
            'subcutaneous_fat': 2,
            'torso_fat': 3,
            'skeletal_muscle': 1,
            'intermuscular_fat': ct.INTERMUSCULAR_FAT,
        },
    ),
    'alberta': Preset({1: 1, 2: ct.INTERMUSCULAR_FAT, 5: 3, 7: 2}),
    'saros': Preset({1: 2, 2: 1, 3: 3, **dict.fromkeys(range(4, 14), BACKGROUND)}, regions=True),
}


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The label that each value of a mask becomes; made by `label_map`.

    Attributes:
      keys: {class name or number, as text: label}.
      numbers: {value: label} of values that the mask does not name.
      others: the label of all other values; None if they are errors.
      hu_limits: of the tissues within these regions; None if the values are tissues already.
      given: {key of `keys` that the user gave: the flag with it}.
    """

    keys: Mapping[str, int]
    numbers: Mapping[int, int]
    others: int | None
    hu_limits: HULimits | None
    given: Mapping[str, str] = dataclasses.field(default_factory=dict)
    _seen: set[str] = dataclasses.field(default_factory=set, compare=False, repr=False)

    def labels(self, values: np.ndarray, names: Names, path: str) -> np.ndarray:
        """The labels of values: an array of the same shape, uint8.

        Args:
          values: integers.
          names: of values.
          path: of the mask, for messages.

        Raises UnexplainedLabelError.
        """
        found = np.unique(values)
        labels = [self._label(int(value), names.get(int(value), ())) for value in found]
        unknown = [int(v) for v, label in zip(found, labels, strict=True) if label is None]
        if unknown:
            texts = [f'{v} ({names[v][0]})' if names.get(v) else str(v) for v in unknown]
            raise _unexplained(path, texts)
        return np.array(labels, np.uint8)[np.searchsorted(found, values)]

    def label_of_class(self, names: Sequence[str], path: str, number: int | None = None) -> int:
        """The label of a class to which a file or a segment belongs.

        Args:
          names: of the class, at least one.
          path: of the mask, for messages.
          number: of the segment.

        Raises UnexplainedLabelError.
        """
        label = self._label(number, names)
        if label is None:
            raise _unexplained(path, [names[0] if number is None else f'{number} ({names[0]})'])
        return label

    def tissues(self, labels: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """Labels whose tissues are within the HU limits, if there are any: `[H, W]` uint8.

        Args:
          labels: `[H, W]` uint8.
          hu: `[H, W]` HU of the same pixels.
        """
        if self.hu_limits is None:
            return labels
        within = labels.copy()
        for label, tissue in enumerate(ct.TISSUES, 1):
            lowest, highest = getattr(self.hu_limits, tissue)
            within[(labels == label) & ((hu < lowest) | (hu > highest))] = BACKGROUND
        return within

    def unseen(self) -> list[str]:
        """The flags with what no mask that was read so far has, such as a misspelt name."""
        return [flag for key, flag in self.given.items() if key not in self._seen]

    def _label(self, value: int | None, names: Sequence[str]) -> int | None:
        """The label of a value; its names take precedence over its number."""
        for key in (*map(plain, names), str(value)):
            if key in self.keys:
                self._seen.add(key)
                return self.keys[key]
        if value is not None and not names:
            if value in self.numbers:
                return self.numbers[value]
            if value == ct.NOT_LABELLED:
                return value
        return BACKGROUND if value == BACKGROUND else self.others


def label_map(
    preset: str | None = None,
    *,
    muscle: Sequence[str] = (),
    subcutaneous_fat: Sequence[str] = (),
    visceral_fat: Sequence[str] = (),
    background: Sequence[str] = (),
    intermuscular_fat: Sequence[str] | None = None,
    hu_limits: HULimits | None = None,
) -> LabelMap:
    """A label map from a convention and from numbers or class names, which take precedence.

    Names are the same with other cases and punctuation: 'Skeletal muscle' is 'skeletal_muscle'.

    Args:
      preset: one of `PRESETS`.
      muscle, subcutaneous_fat, visceral_fat: numbers or class names of this tissue.
      intermuscular_fat: those of fat within muscles, besides those of the preset; None if it is
        background, and not told apart.
      background: those of what is no tissue; `OTHERS`: all that nothing else explains.
      hu_limits: where the mask shows regions, the limits of the tissues within them.

    Raises InputError for an unknown preset, for one of regions without HU limits, and for a name
    that is empty or given twice.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(f'--labels={preset}: no such preset; choose {", ".join(PRESETS)}')
    convention = PRESETS[preset] if preset is not None else Preset({})
    if convention.regions and hu_limits is None:
        raise InputError(
            f'--labels={preset}: its labels are regions, not tissues; add --hu_limits=alberta'
        )
    given: dict[str, int] = {}
    flags: dict[str, str] = {}
    apart = BACKGROUND if intermuscular_fat is None else ct.INTERMUSCULAR_FAT
    for flag, label, keys in (
        ('--muscle', 1, muscle),
        ('--subcutaneous_fat', 2, subcutaneous_fat),
        ('--visceral_fat', 3, visceral_fat),
        ('--intermuscular_fat', apart, intermuscular_fat or ()),
        ('--background', BACKGROUND, background),
    ):
        for key in keys:
            if given.setdefault(plain(key), label) != label:
                raise InputError(f'{flag}: {key!r} is given to another flag too; keep one')
            flags.setdefault(plain(key), f'{flag}={key}')
    if '' in given:
        raise InputError(f'an empty name among those of {", ".join(FLAGS)}; give names or numbers')
    others, _ = given.pop(OTHERS, None), flags.pop(OTHERS, None)
    if others not in (None, BACKGROUND):
        raise InputError(f'{OTHERS!r} can only be background; give it with --background')
    own = OWN_NAMES if intermuscular_fat is None else {**OWN_NAMES, 'intermuscular_fat': apart}
    names = _with_fat_in_muscle(convention.names, apart)
    numbers = _with_fat_in_muscle(convention.numbers, apart)
    return LabelMap({**own, **names, **given}, numbers, others, hu_limits, flags)


def whole_numbers(values: np.ndarray, path: str) -> np.ndarray:
    """The values of a mask as integers. Raises InputError if they are something else."""
    if values.dtype.kind in 'biu':
        return values
    whole = np.rint(values)
    with np.errstate(invalid='ignore'):  # of infinite values
        is_label = (np.abs(values - whole) <= ROUNDING) & (np.abs(whole) <= MAX_VALUE)
    if not is_label.all():
        raise InputError(
            f'{path}: has the value {values[~is_label][0]:g}, but labels are whole numbers; give '
            'labels, not probabilities, and resample them with nearest neighbours'
        )
    return whole.astype(np.int64)


def add_class(labels: np.ndarray, pixels: np.ndarray, label: int, path: str) -> None:
    """Gives the pixels of a class its label; what is not labelled stays so.

    Args:
      labels: of the classes before, changed in place; background where there is none.
      pixels: booleans of the same shape.
      label: of the class.
      path: of the class, for messages.

    Raises InputError where another tissue is.
    """
    if label == BACKGROUND:
        return
    if label != ct.NOT_LABELLED:
        pixels = pixels & (labels != ct.NOT_LABELLED)
        overlap = int(((labels != BACKGROUND) & (labels != label))[pixels].sum())
        if overlap:
            raise InputError(
                f'{path}: {overlap:,} of its pixels are also of another class; give each pixel to '
                'one of them, or name one as --background'
            )
    labels[pixels] = label


def plain(name: str) -> str:
    """A number as Python writes it; a class name without case and punctuation."""
    if re.fullmatch(r'\s*-?\d{1,18}\s*', name, re.ASCII):
        return str(int(name))
    return re.sub(r'[\W_]+', '_', name.casefold()).strip('_')


def _with_fat_in_muscle(labels: Mapping[Key, int], label: int) -> dict[Key, int]:
    """The labels of a convention with this one for fat in muscle."""
    return {key: label if own == ct.INTERMUSCULAR_FAT else own for key, own in labels.items()}


def _unexplained(path: str, labels: Sequence[str]) -> UnexplainedLabelError:
    return UnexplainedLabelError(
        f'{path}: nothing says what the label {listed(labels)} means; give its number or name '
        f'with {", ".join(FLAGS)} ({OTHERS}: all that remain), or a convention with --labels'
    )
