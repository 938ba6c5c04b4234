"""Hyper-parameters of the networks and of their training, and the settings of a run.

Every default and every help text is written here once; `runtime.flags` makes the flags from it.
"""

import dataclasses
import json
import math
import os
import re
import types
import typing
from typing import Any

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.errors import InputError

ACTIVATIONS = (
    'relu', 'elu', 'selu', 'leaky_relu', 'gelu', 'silu', 'softplus', 'tanh', 'sigmoid',
)  # fmt: skip
INITIALIZERS = (
    'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal',
)  # fmt: skip
DENSENET_SIDE = 256  # pixels, to which the slices for slice selection are resized
MAX_EPOCHS = 1_000_000
MAX_BATCHES_PER_EPOCH = 1_000_000  # the order of an epoch is drawn at its start
SYNTHETIC_BATCHES = 100  # per epoch, where all slices are synthetic
SHIPPED = 'synthetic'  # the name of the networks that come with the package
RECOMMENDED, REFERENCE, FINE_TUNING = 'recommended', 'reference', 'fine_tuning'
OLD_OFFSET_LOSS = 'mae'  # of the reference system, and of all runs of older versions
MAX_BLOCKS = 6  # of a DenseNet; each halves the 63 x 63 pixels that the first block sees
MAX_LEVELS = 12  # of a U-Net
MAX_LAYERS = 64  # of a level or a block
MAX_CHANNELS = 16384  # of a layer
MAX_SIDE = 4096  # pixels of a slice
MAX_NAMES = 64  # of vertebral levels
MAX_SHOWN = 100  # letters of a value in a message
TYPE_NAMES = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    tuple[int, ...]: 'a list of whole numbers',
    tuple[str, ...]: 'a list of names',
}


def option(
    default: Any,
    help: str,
    *,
    group: str,
    short: str | None = None,
    choices: tuple[str, ...] | None = None,
    positional: bool = False,
    path: bool = False,
) -> Any:
    """A dataclass field that is also a flag and, if `positional`, a positional argument.

    In a `path` the shell's ~ is expanded.
    """
    metadata = {
        'help': help,
        'group': group,
        'short': short,
        'choices': choices,
        'positional': positional,
        'path': path,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run reads, writes and computes.

    Apart from --allow_data_change it changes the result by rounding at most.
    """

    data_dir: str | None = option(
        None,
        'folder of the training data; also the first of two positional arguments; not needed with '
        '--synthetic',
        group='Input and output',
        positional=True,
        path=True,
    )
    model_output_dir: str = option(
        None,
        'folder for the folder of the run; also the last positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    name: str | None = option(
        None,
        'name of the run and of its folder; an existing run continues '
        '(default: untitled_model_<time>)',
        group='Input and output',
        short='a',
    )
    allow_data_change: bool = option(
        False,
        'continue a run on training or validation data other than it was started on',
        group='Input and output',
    )
    check_values: bool = option(
        True,
        'refuse data with values that cannot be right, such as images in other units or images '
        'that are in both splits, and warn of improbable ones',
        group='Input and output',
    )
    num_gpus: int | None = option(
        None,
        'number of devices per process to train on; counts TPU cores and CPU devices as well '
        '(default: all)',
        group='Devices',
        short='g',
    )
    data_cache: str = option(
        'auto',
        'device: keep the training and validation sets in the memory of each device; host: stream '
        'them from disk; auto: device on GPU and TPU if the sets need less than half of the free '
        'memory. The results are identical',
        group='Devices',
        choices=('auto', 'device', 'host'),
    )
    stall_timeout: float = option(
        600.0,
        'warn if no step finishes for this many seconds, not counting compilation',
        group='Devices',
    )
    coordinator_address: str | None = option(
        None,
        'HOST:PORT on which process 0 listens; only needed without srun, mpirun or Cloud TPU',
        group='Several processes',
    )
    num_processes: int | None = option(
        None,
        'number of processes of the job; required with --coordinator_address',
        group='Several processes',
    )
    process_id: int | None = option(
        None,
        'index of this process, starting at 0; required with --coordinator_address',
        group='Several processes',
    )
    heartbeat_timeout: int = option(
        100,
        'end the job if a process is silent for this many seconds',
        group='Several processes',
    )

    def __post_init__(self) -> None:
        _check_choices(self)
        for name in ('stall_timeout', 'heartbeat_timeout'):
            _check(
                getattr(self, name) > 0,
                name,
                getattr(self, name),
                'use a positive number of seconds',
            )
        count, index, address = self.num_processes, self.process_id, self.coordinator_address
        _check(count is None or count > 0, 'num_processes', count, 'use a positive number')
        in_range = index is None or 0 <= index < (count or math.inf)
        _check(in_range, 'process_id', index, 'use 0 to --num_processes minus 1')
        named = address is None or re.fullmatch(r'.+:\d+', address)
        _check(named, 'coordinator_address', address, 'use HOST:PORT, such as node1:12345')


@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The segmentation network. Raises InputError for invalid values."""

    kind: typing.ClassVar[str] = 'segmentation'

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
        _check_choices(self)
        _check_range(self, 'num_convs', MAX_LAYERS)
        for name in ('compression_channels', 'decompression_channels'):
            channels = getattr(self, name)
            _check(len(channels) <= MAX_LEVELS, name, channels, f'use at most {MAX_LEVELS} levels')
            in_range = all(0 < n <= MAX_CHANNELS for n in channels)
            _check(in_range, name, channels, f'use numbers in 1..{MAX_CHANNELS}')
        down, up = len(self.compression_channels), len(self.decompression_channels)
        if up != down - 1:
            raise InputError(
                f'--compression_channels has {down} levels and --decompression_channels {up}; '
                'the way up needs exactly one level fewer than the way down, for example '
                '-C 16,32,64 -M 32,16'
            )
        size, divisor = self.network_size, 2**up
        _check(
            0 <= size <= MAX_SIDE and size % divisor == 0,
            'network_size',
            size,
            f'use a multiple of {divisor} (2 to the number of levels on the way up), at most '
            f'{MAX_SIDE}, or 0',
        )

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
        return 1 if self.network_size else 2 ** len(self.decompression_channels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """The slice-selection network. Raises InputError for invalid values."""

    kind: typing.ClassVar[str] = 'slice_selection'

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
        _check_choices(self)
        check_positive(self, 'threshold')
        _check(self.threshold < math.inf, 'threshold', self.threshold, 'use a finite number')
        _check_range(self, 'nb_layers_per_block', MAX_LAYERS)
        _check_range(self, 'nb_blocks', MAX_BLOCKS)
        _check_range(self, 'nb_initial_filters', MAX_CHANNELS)
        _check_range(self, 'growth_rate', MAX_CHANNELS)
        rate = self.compression_rate
        _check(0 < rate <= 1, 'compression_rate', rate, 'use a number above 0, at most 1')
        channels = self.nb_initial_filters
        for _ in range(self.nb_blocks - 1):
            channels = int((channels + self.nb_layers_per_block * self.growth_rate) * rate)
            _check(channels > 0, 'compression_rate', rate, 'no channels remain; use a higher rate')
        _check(self.levels != (), 'levels', '', 'name at least one level, such as -L L3')
        _check(len(self.levels) <= MAX_NAMES, 'levels', self.levels, f'name at most {MAX_NAMES}')
        for level in self.levels:
            _check(self.levels.count(level) == 1, 'levels', level, 'name each level once')


NetworkConfig = UNetConfig | DenseNetConfig


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
        _check_choices(self)
        if self.augment is not None:  # recorded as the level that it means
            level = 'light' if self.augment else 'none'
            same = self.augmentation in (None, level)
            remedy = (
                f'{as_flag("augment", self.augment)} means --augmentation={level}; leave one out'
            )
            _check(same, 'augmentation', self.augmentation, remedy)
            object.__setattr__(self, 'augment', None)
            object.__setattr__(self, 'augmentation', level)
        elif self.augmentation is None:
            object.__setattr__(self, 'augmentation', 'strong')
        for name, value in self.strengths._asdict().items():
            largest = getattr(LARGEST, name)
            _check(0 <= value <= largest, name, value, f'use a number in 0..{largest:g}')
        chance = self.augmentation_probability
        _check(0 <= chance <= 1, 'augmentation_probability', chance, 'use a number in 0..1')

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Hyper-parameters that both trainers share. Raises InputError for invalid values."""

    presets: typing.ClassVar[dict[str, dict[str, Any]]]  # {preset: what it changes of the defaults}

    network: NetworkConfig
    augmentation: AugmentationConfig
    learning_rate: float
    preset: str = option(
        RECOMMENDED,
        'defaults of other options; recommended: those that hold best on other patients and '
        'scanners; reference: augmentation, learning rate, loss and schedule of the reference '
        'system, also the default with --load_weights; fine_tuning: a small rate and half of '
        f'each batch synthetic, the default with --load_weights={SHIPPED}',
        group='Training',
        choices=(RECOMMENDED, REFERENCE, FINE_TUNING),
    )
    batch_size: int = option(
        16, 'slices per step, over all devices together', group='Training', short='b'
    )
    epochs: int = option(
        100,
        'number of epochs, each with a validation and a checkpoint; may be raised to continue a '
        'finished run',
        group='Training',
        short='e',
    )
    batches_per_epoch: int | None = option(
        None,
        'training steps per epoch (default: as many as the training set has whole batches; '
        f'{SYNTHETIC_BATCHES} with --synthetic)',
        group='Training',
    )
    schedule: str = option(
        'cosine',
        'learning rate schedule; cosine: linear warm-up over the first 5 % of the steps, then '
        'cosine decay to 0; step: x 0.1 after half of the epochs and x 0.01 after three quarters',
        group='Training',
        choices=('cosine', 'step'),
    )
    load_weights: str | None = option(
        None,
        'start from the weights in this run folder, checkpoint, final_model folder or Keras file, '
        f'or those that come with the package ({SHIPPED}); network flags that are not given are '
        'taken from it',
        group='Training',
        short='w',
        path=True,
    )
    folds: int | None = option(
        None,
        'cross-validation: share out the patients of both splits among N folds, and validate on '
        'the one of --fold',
        group='Training',
    )
    fold: int | None = option(
        None, 'the fold of --folds that validates, from 0; the others train', group='Training'
    )
    synthetic: bool = option(
        False,
        'train on synthetic slices, drawn while training, so that none is seen twice; the '
        'validation set of DATA_DIR, if given, validates, else synthetic subjects',
        group='Training',
    )
    mix_synthetic: float = option(
        0.0,
        'share of synthetic slices in each batch, beside those of DATA_DIR; 0.5 is half',
        group='Training',
    )
    seed: int = option(
        0, 'seed of the initial weights, the shuffling and the augmentation', group='Training'
    )
    precision: str = option(
        'auto',
        'arithmetic of the network; auto: bfloat16 on GPU and TPU, float32 on CPU. Weights, batch '
        'statistics and loss are always float32',
        group='Devices',
        choices=('auto', 'float32', 'bfloat16'),
    )

    def __post_init__(self) -> None:
        _check_choices(self)
        check_positive(self, 'batch_size', 'epochs', 'learning_rate')
        epochs, count = self.epochs, self.batches_per_epoch
        _check(epochs <= MAX_EPOCHS, 'epochs', epochs, f'use at most {MAX_EPOCHS}')
        _check(
            count is None or 0 < count <= MAX_BATCHES_PER_EPOCH,
            'batches_per_epoch',
            count,
            f'use a number in 1..{MAX_BATCHES_PER_EPOCH}; for a longer training raise --epochs',
        )
        finite = self.learning_rate < math.inf
        _check(finite, 'learning_rate', self.learning_rate, 'use a finite number')
        _check(0 <= self.seed < 2**32, 'seed', self.seed, 'use a whole number in 0..4294967295')
        folds, fold = self.folds, self.fold
        _check(folds is None or folds > 1, 'folds', folds, 'use 2 or more')
        both = (folds is None) == (fold is None)
        _check(both, 'fold', fold, f'give both --folds and --fold ({as_flag("folds", folds)})')
        _check(fold is None or 0 <= fold < (folds or 0), 'fold', fold, 'use 0 to --folds minus 1')
        self._refuse_invalid_mix()

    def _refuse_invalid_mix(self) -> None:
        share, size = self.mix_synthetic, self.batch_size
        remedy = 'use a share of 0 to less than 1, or --synthetic alone for all slices'
        _check(0 <= share < 1 and not (share and self.synthetic), 'mix_synthetic', share, remedy)
        _check(
            share == 0 or 0 < self.num_synthetic < size,
            'mix_synthetic',
            share,
            f'that is {self.num_synthetic} of {as_flag("batch_size", size)}; use a share that '
            'leaves slices of both kinds in a batch',
        )

    @property
    def num_synthetic(self) -> int:
        """Synthetic slices in each batch."""
        return self.batch_size if self.synthetic else round(self.mix_synthetic * self.batch_size)

    @property
    def validating_fold(self) -> tuple[int, int] | None:
        """(--fold, --folds); None without a cross-validation."""
        return None if self.fold is None or self.folds is None else (self.fold, self.folds)

    def steps_per_epoch(self, num_examples: int) -> int:
        """Training steps per epoch, for `num_examples` training slices that are stored."""
        stored = self.batch_size - self.num_synthetic
        whole = num_examples // stored if stored else SYNTHETIC_BATCHES
        return self.batches_per_epoch or whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig(TrainerConfig):
    """Hyper-parameters of the segmentation trainer. Raises InputError for invalid values."""

    presets: typing.ClassVar[dict[str, dict[str, Any]]] = {
        RECOMMENDED: {},
        REFERENCE: {'augmentation': 'light', 'loss': 'dice', 'schedule': 'step'},
        FINE_TUNING: {'learning_rate': 0.001, 'mix_synthetic': 0.5},
    }

    network: UNetConfig = dataclasses.field(default_factory=UNetConfig)
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    learning_rate: float = option(
        0.01, 'initial learning rate of Adam', group='Training', short='l'
    )
    loss: str = option(
        'dice_ce',
        'dice: minus the sum of the soft Dice of each tissue over the batch; dice_ce: plus the '
        'mean cross-entropy',
        group='Training',
        choices=('dice', 'dice_ce'),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceSelectionConfig(TrainerConfig):
    """Hyper-parameters of the slice-selection trainer. Raises InputError for invalid values."""

    presets: typing.ClassVar[dict[str, dict[str, Any]]] = {
        RECOMMENDED: {},
        REFERENCE: {
            'augmentation': 'light',
            'learning_rate': 0.0001,
            'loss': OLD_OFFSET_LOSS,
            'schedule': 'step',
        },
        FINE_TUNING: {'learning_rate': 0.0003, 'mix_synthetic': 0.5},
    }

    network: DenseNetConfig = dataclasses.field(default_factory=DenseNetConfig)
    augmentation: SliceSelectionAugmentationConfig = dataclasses.field(
        default_factory=SliceSelectionAugmentationConfig
    )
    learning_rate: float = option(
        0.001, 'initial learning rate of Adam', group='Training', short='l'
    )
    loss: str = option(
        'cross_entropy',
        'of sigmoid(offset / threshold); mae: mean absolute error; cross_entropy: mean '
        'cross-entropy, less that of the true offsets with themselves',
        group='Training',
        choices=(OLD_OFFSET_LOSS, 'cross_entropy'),
    )
    initializer: str = option(
        'glorot_uniform',
        'distribution of the initial kernels and biases of the convolutions',
        group='Training',
        short='I',
        choices=INITIALIZERS,
    )


TRAINERS: dict[str, type[TrainerConfig]] = {
    UNetConfig.kind: SegmentationConfig,
    DenseNetConfig.kind: SliceSelectionConfig,
}


def with_preset(config: TrainerConfig, given: set[str]) -> TrainerConfig:
    """The config with the values of its preset for the options that the user did not give."""
    preset = config.preset
    if config.load_weights is not None and 'preset' not in given:
        preset = FINE_TUNING if names_shipped(config.load_weights) else REFERENCE
    return with_values(config, {'preset': preset} | config.presets[preset], given)


def names_shipped(path: str) -> bool:
    """Whether this names a network of the package: `synthetic` or `synthetic/KIND`.

    A path that exists goes before.
    """
    name, _, kind = path.partition('/')
    return name == SHIPPED and kind in ('', *TRAINERS) and not os.path.lexists(path)


def with_values(config: TrainerConfig, values: dict[str, Any], given: set[str]) -> TrainerConfig:
    """The config with these `{option: value}`, but for the options that the user gave."""
    return from_values(type(config), to_values(config) | _without(values, given))


def _without(values: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """The values of the options that are not given, --augmentation also as --augment."""
    given = given | ({'augmentation'} if 'augment' in given else set())
    return {name: value for name, value in values.items() if name not in given}


def options(config_class: Any) -> list[dataclasses.Field]:
    """The fields of a config class that are flags, those of its network first."""
    found = []
    for field in dataclasses.fields(config_class):
        found += options(field.type) if dataclasses.is_dataclass(field.type) else [field]
    return found


def value_types(field: dataclasses.Field) -> tuple[Any, ...]:
    """The types of an option's values: one of `TYPE_NAMES`, and that of None if it may be unset."""
    return typing.get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,)


def from_values(config_class: Any, values: dict[str, Any]) -> Any:
    """The config with these `{option: value}`; options that are missing have their defaults.

    Values of other options are ignored, lists become tuples. Raises InputError for values of
    another type, or that the class refuses.
    """
    fields = {}
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            fields[field.name] = from_values(field.type, values)
        elif field.name in values:
            value = _hashable(values[field.name])
            fits = any(_is_of_type(value, each) for each in value_types(field))
            _check(fits, field.name, value, f'use {TYPE_NAMES[value_types(field)[0]]}')
            fields[field.name] = value
    return config_class(**fields)


def to_values(config: Any) -> dict[str, Any]:
    """`{option: value}` of a config, its network included, as plain JSON values."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= to_values(value) if dataclasses.is_dataclass(field.type) else {field.name: value}
    return json.loads(json.dumps(values))


def to_json(config: TrainerConfig) -> dict[str, Any]:
    """`to_values`, and the kind of the network as 'network'."""
    return {'network': config.network.kind, **to_values(config)}


def from_json(fields: dict[str, Any]) -> TrainerConfig:
    """The inverse of `to_json`; also reads what older versions wrote, with fewer or more fields.

    Raises InputError for anything else.
    """
    kind = fields.get('network', UNetConfig.kind) if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in TRAINERS:
        raise InputError(f'unknown network {str(kind)[:80]!r}, expected {" or ".join(TRAINERS)}')
    if kind == DenseNetConfig.kind:
        fields = {'loss': OLD_OFFSET_LOSS} | fields
    if 'preset' not in fields:  # an older version wrote them
        as_then = _without(TRAINERS[kind].presets[REFERENCE], set(fields))
        fields = fields | as_then | {'preset': REFERENCE}
    return from_values(TRAINERS[kind], fields)


def as_flag(name: str, value: Any) -> str:
    """An option as written on the command line."""
    if isinstance(value, bool):
        return f'--{name}' if value else f'--no{name}'
    return f'no --{name}' if value is None else f'--{name}={as_text(value)}'


def as_text(value: Any) -> str:
    """A value as written after its flag."""
    if isinstance(value, bool):
        return 'on' if value else 'off'
    return ','.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def contradiction(values: dict[str, Any], overrides: dict[str, Any]) -> str | None:
    """A message about the first option that both `{option: value}` have, with different values."""
    for name, value in values.items():
        other = overrides.get(name, value)
        if _hashable(other) != _hashable(value):
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


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_of_type(value: Any, wanted: Any) -> bool:
    """Whether a value is of one of `TYPE_NAMES`, or None; whole numbers are also floats."""
    if typing.get_origin(wanted) is tuple:
        of = typing.get_args(wanted)[0]
        return isinstance(value, tuple) and all(_is_of_type(each, of) for each in value)
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, int | float if wanted is float else wanted)


def _check(holds: Any, name: str, value: Any, remedy: str) -> None:
    if not holds:
        given = as_flag(name, value)
        shown = given if len(given) <= MAX_SHOWN else f'{given[:MAX_SHOWN]}...'
        raise InputError(f'invalid {shown}: {remedy}')


def _check_range(config: Any, name: str, most: int) -> None:
    value = getattr(config, name)
    _check(0 < value <= most, name, value, f'use a number in 1..{most}')


def check_positive(config: Any, *names: str) -> None:
    for name in names:
        _check(getattr(config, name) > 0, name, getattr(config, name), 'use a positive number')


def _check_choices(config: Any) -> None:
    for field in dataclasses.fields(config):
        choices = field.metadata.get('choices')
        value = getattr(config, field.name)
        if choices is not None and value is not None:
            _check(value in choices, field.name, value, 'choose from ' + ', '.join(choices))
