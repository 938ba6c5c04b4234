"""Hyper-parameters of the networks."""

import dataclasses
import typing
from typing import Any

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.config.options import (
    as_flag,
    check,
    check_choices,
    check_positive,
    check_range,
    hashable,
    option,
    options,
)
from bodycomp_jax.errors import InputError, listed

ACTIVATIONS = (
    'relu', 'elu', 'selu', 'leaky_relu', 'gelu', 'silu', 'softplus', 'tanh', 'sigmoid',
)  # fmt: skip
DENSENET_SIDE = 256  # pixels, to which the slices for slice selection are resized
MAX_BLOCKS = 6  # of a DenseNet; each halves the 63 x 63 pixels that the first block sees
MAX_LEVELS = 12  # of a U-Net
MAX_LAYERS = 64  # of a level or a block
MAX_CHANNELS = 16384  # of a layer
SHUFFLES = (1, 2, 4, 8)  # pixels along a pixel of a U-Net
MAX_NETWORK_SIDE = 4096  # pixels of a slice in a network
MAX_NAMES = 64  # of vertebral levels


@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The segmentation network. Raises InputError for invalid values."""

    kind: typing.ClassVar[str] = 'segmentation'
    # Options that decide what the output says: networks that differ in them cannot be compared.
    meaning: typing.ClassVar[tuple[str, ...]] = ('thoracic_model', 'apply_window_function')

    thoracic_model: bool = option(
        False,
        'labels are 0 background, 1 muscle, 2 subcutaneous fat; no visceral fat',
        group='Network',
        short='t',
    )
    compression_channels: tuple[int, ...] = option(
        (16, 32, 64, 128, 256, 512),
        'channels of each level on the way down, the lowest level last',
        group='Network',
        short='C',
    )
    decompression_channels: tuple[int, ...] = option(
        (256, 128, 64, 32, 16),
        'channels of each level on the way up, one level fewer than on the way down',
        group='Network',
        short='M',
    )
    num_convs: int = option(1, 'convolutions per level', group='Network', short='N')
    activation: str = option(
        'relu',
        'activation after each batch norm',
        group='Network',
        short='A',
        choices=ACTIVATIONS,
    )
    network_size: int = option(
        0,
        'resize the slices to N x N in the network, and its output back to their size; a network '
        'that was trained at 256 segments slices of 512 x 512, in a quarter of the time. 0: '
        'slices as they are',
        group='Network',
    )
    pixel_shuffle: int = option(
        1,
        'N x N pixels of a slice, 1, 2, 4 or 8, are the channels of one pixel of the network, and '
        'its output has them again (Shi et al. 2016): with 2, the details of 512 x 512 in little '
        'more than the time of 256 x 256; with --load_weights, a network of --network_size=256 '
        'becomes one of 512',
        group='Network',
    )
    apply_window_function: bool = option(
        True,
        'map HU to grey values with the window 40/400; switch off only for images that already '
        'are grey values in 0..255',
        group='Network',
        short='p',
    )
    levels: tuple[str, ...] = option(
        (),
        'vertebral levels of the training slices; bin/estimate.py flags others (default: those of '
        'a set that was prepared with --slices=level, else unknown)',
        group='Network',
    )

    def __post_init__(self) -> None:
        check_choices(self)
        check_range(self, 'num_convs', MAX_LAYERS)
        for name in ('compression_channels', 'decompression_channels'):
            channels = getattr(self, name)
            check(len(channels) <= MAX_LEVELS, name, channels, f'use at most {MAX_LEVELS} levels')
            in_range = all(0 < n <= MAX_CHANNELS for n in channels)
            check(in_range, name, channels, f'use numbers in 1..{MAX_CHANNELS}')
        down, up = len(self.compression_channels), len(self.decompression_channels)
        if up != down - 1:
            raise InputError(
                f'--compression_channels has {down} levels and --decompression_channels {up}; '
                'the way up needs exactly one level fewer than the way down, for example '
                '-C 16,32,64 -M 32,16'
            )
        shuffle = self.pixel_shuffle
        check(shuffle in SHUFFLES, 'pixel_shuffle', shuffle, f'use one of {listed(SHUFFLES)}')
        size, divisor = self.network_size, shuffle * 2**up
        check(
            0 <= size <= MAX_NETWORK_SIDE and size % divisor == 0,
            'network_size',
            size,
            f'use a multiple of {divisor} (2 to the number of levels on the way up, times '
            f'--pixel_shuffle), at most {MAX_NETWORK_SIDE}, or 0',
        )
        _check_levels(self.levels)

    @property
    def tissues(self) -> tuple[str, ...]:
        """Names of the labels 1, 2, ..."""
        return ct.tissues(self.thoracic_model)

    @property
    def num_classes(self) -> int:
        """Tissues and background."""
        return 1 + len(self.tissues)

    @property
    def size_divisor(self) -> int:
        """Height and width of the slices must be multiples of this."""
        halvings = len(self.decompression_channels)
        return 1 if self.network_size else self.pixel_shuffle * 2**halvings

    def refuse_side(self, side: int, what: str) -> None:
        """Raises InputError about `what` if the network cannot take slices of so many pixels."""
        if side % self.size_divisor:
            shuffle = self.pixel_shuffle
            after = f' after {as_flag("pixel_shuffle", shuffle)}' if shuffle > 1 else ''
            raise InputError(
                f'{what}: slices of {side} x {side} cannot be halved '
                f'{len(self.decompression_channels)} times{after}; use fewer levels (-C and -M), '
                f'or a size that is a multiple of {self.size_divisor}'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """The slice-selection network. Raises InputError for invalid values."""

    kind: typing.ClassVar[str] = 'slice_selection'
    # As of `UNetConfig`.
    meaning: typing.ClassVar[tuple[str, ...]] = ('levels', 'threshold', 'reference')
    size_divisor: typing.ClassVar[int] = 1  # slices of any size are taken

    levels: tuple[str, ...] = option(
        ('L3',),
        'vertebral levels, each with a column ZOffset_<level> in the CSV files; may be repeated',
        group='Network',
        short='L',
    )
    threshold: float = option(
        10.0,
        'mm; the network learns sigmoid(offset / threshold), which is most precise within a few '
        'thresholds of the level',
        group='Network',
        short='t',
    )
    reference: str = option(
        'middle',
        'the point of a vertebra from which the offsets are; must be that of the data, if they '
        'were prepared from scans',
        group='Network',
        choices=vertebrae.REFERENCES,
    )
    nb_layers_per_block: int = option(12, 'layers in each dense block', group='Network')
    nb_blocks: int = option(4, 'dense blocks', group='Network')
    nb_initial_filters: int = option(16, 'channels before the first block', group='Network')
    growth_rate: int = option(12, 'channels that each layer adds', group='Network')
    compression_rate: float = option(
        0.5, 'fraction of the channels that the transition after a block keeps', group='Network'
    )
    activation: str = option(
        'relu',
        'activation of the transitions, the last block and the output; the other blocks always '
        'use relu',
        group='Network',
        short='A',
        choices=ACTIVATIONS,
    )
    omit_norm: bool = option(False, 'leave out all batch norms', group='Network', short='B')

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, 'threshold')
        check_range(self, 'nb_layers_per_block', MAX_LAYERS)
        check_range(self, 'nb_blocks', MAX_BLOCKS)
        check_range(self, 'nb_initial_filters', MAX_CHANNELS)
        check_range(self, 'growth_rate', MAX_CHANNELS)
        rate = self.compression_rate
        check(0 < rate <= 1, 'compression_rate', rate, 'use a number above 0, at most 1')
        channels = self.nb_initial_filters
        for _ in range(self.nb_blocks - 1):
            channels = int((channels + self.nb_layers_per_block * self.growth_rate) * rate)
            check(channels > 0, 'compression_rate', rate, 'no channels remain; use a higher rate')
        check(self.levels != (), 'levels', '', 'name at least one level, such as -L L3')
        _check_levels(self.levels)


def _check_levels(levels: tuple[str, ...]) -> None:
    check(len(levels) <= MAX_NAMES, 'levels', levels, f'name at most {MAX_NAMES}')
    for level in levels:
        check(levels.count(level) == 1, 'levels', level, 'name each level once')


NetworkConfig = UNetConfig | DenseNetConfig


def contradiction(values: dict[str, Any], overrides: dict[str, Any]) -> str | None:
    """A message about the first option that both `{option: value}` have, with different values."""
    for name, value in values.items():
        other = overrides.get(name, value)
        if hashable(other) != hashable(value):
            return f'this network has {as_flag(name, value)}, not {as_flag(name, other)}'
    return None


def refuse_unknown(path: str, config_class: type[NetworkConfig], overrides: dict[str, Any]) -> None:
    """Raises InputError if the network has no such option."""
    unknown = overrides.keys() - {field.name for field in options(config_class)}
    if unknown:
        raise InputError(
            f'{path}: --{min(unknown)} does not apply to a {config_class.kind} network; leave it '
            'out'
        )
