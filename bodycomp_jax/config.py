"""What can be set: hyper-parameters of each trainer, and where a run lives.

Every default and every help text is written here once; `cli.py` makes the flags from it.
"""

import dataclasses
import json
import math
import re
import types
import typing

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError

GROUPS = (  # as --help shows them
    'Benchmark', 'Input and output', 'Network', 'Training', 'Devices', 'Several processes',
)  # fmt: skip
ACTIVATIONS = (
    'relu', 'elu', 'selu', 'leaky_relu', 'gelu', 'silu', 'softplus', 'tanh', 'sigmoid',
)  # fmt: skip
MAX_BLOCKS = 6  # of a DenseNet; each halves what is 63 x 63 in the first
INITIALIZERS = (
    'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal',
)  # fmt: skip


def option(default, help, *, group, short=None, choices=None, positional=False):
    """A dataclass field that is also a flag, and if `positional` an argument without a name."""
    metadata = {
        'help': help,
        'group': group,
        'short': short,
        'choices': choices,
        'positional': positional,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run reads, writes and computes; it changes the result by rounding at most."""

    data_dir: str | None = option(
        None,
        'folder that holds the training data; also the first positional argument',
        group='Input and output',
        positional=True,
    )
    model_output_dir: str | None = option(
        None,
        'folder in which the folder of the run is made; also the second positional argument',
        group='Input and output',
        positional=True,
    )
    name: str | None = option(
        None,
        'name of the run and of its folder; a run that exists there continues '
        '(default: untitled_model_%Y_%m_%d_%H_%M_%S)',
        group='Input and output',
        short='a',
    )
    num_gpus: int | None = option(
        None,
        'number of devices of this machine, in a job of each process, to train on; on TPU and '
        'CPU it counts those (default: all)',
        group='Devices',
        short='g',
    )
    data_cache: str = option(
        'auto',
        'where the training and validation sets are while training: device keeps a copy on each '
        'device, host streams them from their files, auto is device on GPU and TPU if they take '
        'less than half of the free memory there; the result is the same',
        group='Devices',
        choices=('auto', 'device', 'host'),
    )
    stall_timeout: float = option(
        600.0,
        'say so when no step has finished for this many seconds, compilation aside',
        group='Devices',
    )
    coordinator_address: str | None = option(
        None,
        'HOST:PORT at which the first process of a job listens; only needed where the processes '
        'are not started by srun, mpirun or on a Cloud TPU, which say it themselves',
        group='Several processes',
    )
    num_processes: int | None = option(
        None,
        'how many processes the job has; needed where --coordinator_address is',
        group='Several processes',
    )
    process_id: int | None = option(
        None,
        'which of them this is, the first is 0; needed where --coordinator_address is',
        group='Several processes',
    )
    heartbeat_timeout: int = option(
        100,
        'a process that was silent for this many seconds ends the whole job',
        group='Several processes',
    )
    allow_data_change: bool = option(
        False,
        'continue a run although its training or validation set is not the one it began with',
        group='Input and output',
    )

    def __post_init__(self):
        _check_choices(self)
        for name in ('stall_timeout', 'heartbeat_timeout'):
            _check(getattr(self, name) > 0, name, getattr(self, name), 'use seconds above 0')
        count, index, address = self.num_processes, self.process_id, self.coordinator_address
        _check(count is None or count > 0, 'num_processes', count, 'use a number above 0')
        in_range = index is None or 0 <= index < (count or math.inf)
        _check(in_range, 'process_id', index, 'use 0 to --num_processes minus 1')
        named = address is None or re.fullmatch(r'.+:\d+', address)
        _check(named, 'coordinator_address', address, 'use HOST:PORT, such as node1:12345')


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is measured, and on what; raises InputError where that cannot be."""

    collectives: bool = option(
        False,
        'count what a training step sends between devices, instead of timing',
        group='Benchmark',
    )
    profile: str | None = option(
        None,
        'write a trace of a few training steps into this folder and print the ten operations '
        'that take longest, instead of timing',
        group='Benchmark',
    )
    json: bool = option(False, 'print one line of JSON instead of a table', group='Benchmark')
    image_size: int = option(512, 'pixels on each side of a slice', group='Benchmark')
    steps: int = option(10, 'steps in one timed window', group='Benchmark')
    windows: int = option(5, 'timed windows, of which the median counts', group='Benchmark')
    slices: int = option(256, 'slices in the files that are read', group='Benchmark')
    num_gpus: int | None = option(
        None,
        'number of devices of this machine to use; on TPU and CPU it counts those (default: all)',
        group='Devices',
        short='g',
    )

    def __post_init__(self):
        _check_positive(self, 'image_size', 'steps', 'windows', 'slices')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """Which network is converted, and what its file cannot tell, None where it can."""

    input: str | None = option(
        None,
        'a Keras file of the reference, or the folder of a run, one of its checkpoints or its '
        'final_model; also the first positional argument',
        group='Input and output',
        positional=True,
    )
    output: str | None = option(
        None,
        'what is written: a final_model folder from a Keras file, else a Keras 2 weights file; '
        'also the second positional argument',
        group='Input and output',
        positional=True,
    )
    activation: str | None = option(
        None,
        'activation of the network; a file of weights alone does not tell it (default: '
        'that in the file, else relu)',
        group='Network',
        short='A',
        choices=ACTIVATIONS,
    )
    apply_window_function: bool | None = option(
        None,
        'whether the segmentation network was trained on grey values made from HU by the window '
        '40/400 (default: on)',
        group='Network',
        short='p',
    )
    levels: tuple[str, ...] | None = option(
        None,
        'vertebral levels of the outputs of a slice-selection network, in their order (default: '
        'L3, or level_0, level_1, ... if there are several)',
        group='Network',
        short='L',
    )
    threshold: float | None = option(
        None,
        'mm by which the offsets of a slice-selection network are divided (default: 10)',
        group='Network',
        short='t',
    )

    @property
    def told(self):
        """{name: value} of what is told of the network."""
        fields = dataclasses.asdict(self)
        return {n: v for n, v in fields.items() if v is not None and n not in ('input', 'output')}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Hyper-parameters that both trainers have; raises InputError where they do not fit."""

    activation: str = option(
        'relu',
        'activation after each batch norm; in the slice-selection network in the transitions, the '
        'last block and the end, where the other blocks always have relu',
        group='Network',
        short='A',
        choices=ACTIVATIONS,
    )
    augment: bool = option(
        True,
        'rotate (up to 5 degrees) and shift (up to 5 % of each side) the training slices',
        group='Training',
    )
    batch_size: int = option(
        16, 'slices a step, over all devices together', group='Training', short='b'
    )
    epochs: int = option(
        100,
        'how often to validate and save; may be raised to continue a finished run',
        group='Training',
        short='e',
    )
    batches_per_epoch: int | None = option(
        None,
        'training steps in an epoch (default: as many as the training set has whole batches)',
        group='Training',
    )
    schedule: str = option(
        'step',
        'learning rate: step is x 0.1 after half of the epochs and x 0.01 after three quarters; '
        'cosine rises over the first 5 % of the steps, then falls to 0',
        group='Training',
        choices=('step', 'cosine'),
    )
    load_weights: str | None = option(
        None,
        'start from the weights in this run folder, checkpoint, final_model folder or Keras file '
        'of the reference; flags of the network that are not given are as its own',
        group='Training',
        short='w',
    )
    seed: int = option(
        0, 'seed of the initial weights, the order and the augmentation', group='Training'
    )
    precision: str = option(
        'auto',
        'arithmetic inside the network: auto is bfloat16 on GPU and TPU, float32 on CPU; '
        'weights, batch statistics and loss are always float32',
        group='Devices',
        choices=('auto', 'float32', 'bfloat16'),
    )

    def __post_init__(self):
        _check_choices(self)
        _check_positive(self, 'batch_size', 'epochs', 'learning_rate')
        count = self.batches_per_epoch
        _check(count is None or count > 0, 'batches_per_epoch', count, 'use a number above 0')
        finite = self.learning_rate < math.inf
        _check(finite, 'learning_rate', self.learning_rate, 'use a finite number')
        _check(0 <= self.seed < 2**32, 'seed', self.seed, 'use a whole number in 0..4294967295')

    def steps_per_epoch(self, n):
        """Training steps in an epoch, of a training set of n slices."""
        return self.batches_per_epoch or n // self.batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig(TrainerConfig):
    """Hyper-parameters of the segmentation trainer; raises InputError where they do not fit."""

    network: typing.ClassVar = 'segmentation'

    thoracic_model: bool = option(
        False,
        'labels are 0 background, 1 muscle, 2 subcutaneous fat; no visceral fat',
        group='Network',
        short='t',
    )
    compression_channels: tuple[int, ...] = option(
        (16, 32, 64, 128, 256, 512),
        'channels of each level on the way down, the lowest last',
        group='Network',
        short='C',
    )
    decompression_channels: tuple[int, ...] = option(
        (256, 128, 64, 32, 16),
        'channels of each level on the way up, one fewer than on the way down',
        group='Network',
        short='M',
    )
    num_convs: int = option(1, 'convolutions on each level', group='Network', short='N')
    apply_window_function: bool = option(
        True,
        'map HU to grey values by the window 40/400; switch off only for images that already '
        'are grey values in 0..255',
        group='Network',
        short='p',
    )
    learning_rate: float = option(
        0.01, 'initial learning rate of Adam', group='Training', short='l'
    )
    loss: str = option(
        'dice',
        'minus the sum of the soft Dice of each tissue over the batch, alone or plus the '
        'mean cross-entropy',
        group='Training',
        choices=('dice', 'dice_ce'),
    )

    def __post_init__(self):
        super().__post_init__()
        _check_positive(self, 'num_convs')
        for name in ('compression_channels', 'decompression_channels'):
            channels = getattr(self, name)
            _check(min(channels, default=1) > 0, name, channels, 'every number must be above 0')
        down, up = len(self.compression_channels), len(self.decompression_channels)
        if up != down - 1:
            raise InputError(
                f'--compression_channels has {down} levels and --decompression_channels {up}; '
                'the way up needs exactly one level fewer than the way down, for example '
                '-C 16,32,64 -M 32,16'
            )

    @property
    def tissues(self):
        """Names of the labels 1, 2, ..."""
        return ct.tissues(self.thoracic_model)

    @property
    def num_classes(self):
        """Tissues and background."""
        return 1 + len(self.tissues)

    @property
    def size_divisor(self):
        """The network halves the sides this often; they must be divisible by it."""
        return 2 ** len(self.decompression_channels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceSelectionConfig(TrainerConfig):
    """Hyper-parameters of the slice-selection trainer; raises InputError where they do not fit."""

    network: typing.ClassVar = 'slice_selection'

    levels: tuple[str, ...] = option(
        ('L3',),
        'vertebral levels to tell the distance from, each a column ZOffset_<level> of the CSV '
        'files; may be repeated',
        group='Network',
        short='L',
    )
    threshold: float = option(
        10.0,
        'mm; the network learns sigmoid(offset / threshold) and so is most exact within some '
        'thresholds of the level',
        group='Network',
        short='t',
    )
    nb_layers_per_block: int = option(12, 'layers in each dense block', group='Network')
    nb_blocks: int = option(4, 'dense blocks', group='Network')
    nb_initial_filters: int = option(16, 'channels before the first block', group='Network')
    growth_rate: int = option(12, 'channels that each layer adds', group='Network')
    compression_rate: float = option(
        0.5, 'share of the channels that the transition after a block keeps', group='Network'
    )
    omit_norm: bool = option(False, 'leave out all batch norms', group='Network', short='B')
    initializer: str = option(
        'glorot_uniform',
        'distribution of the initial kernels and biases of the convolutions',
        group='Training',
        short='I',
        choices=INITIALIZERS,
    )
    learning_rate: float = option(
        0.0001, 'initial learning rate of Adam', group='Training', short='l'
    )

    def __post_init__(self):
        super().__post_init__()
        _check_positive(
            self, 'threshold', 'nb_layers_per_block', 'nb_blocks', 'nb_initial_filters',
            'growth_rate',
        )  # fmt: skip
        _check(self.threshold < math.inf, 'threshold', self.threshold, 'use a finite number')
        rate = self.compression_rate
        _check(0 < rate <= 1, 'compression_rate', rate, 'use a number above 0, 1 at most')
        blocks = self.nb_blocks
        _check(blocks <= MAX_BLOCKS, 'nb_blocks', blocks, f'use {MAX_BLOCKS} at most')
        channels = self.nb_initial_filters
        for _ in range(blocks - 1):
            channels = int((channels + self.nb_layers_per_block * self.growth_rate) * rate)
            _check(
                channels > 0, 'compression_rate', rate, 'it leaves no channels; use a higher one'
            )
        _check(self.levels != (), 'levels', '', 'name at least one, such as -L L3')
        for level in self.levels:
            once = self.levels.count(level) == 1
            _check(once, 'levels', level, 'it is there twice; name each level once')


CONFIGS = {c.network: c for c in (SegmentationConfig, SliceSelectionConfig)}


def _check(holds, name, value, remedy):
    if not holds:
        raise InputError(f'--{name}: {value!r} is not possible; {remedy}')


def _check_positive(config, *names):
    for name in names:
        _check(getattr(config, name) > 0, name, getattr(config, name), 'use a number above 0')


def _check_choices(config):
    for field in dataclasses.fields(config):
        choices = field.metadata['choices']
        value = getattr(config, field.name)
        if choices is not None and value is not None:
            _check(value in choices, field.name, value, 'choose from ' + ', '.join(choices))


def field_type(field):
    """The type of a field's values, without the `| None` of a field that may be unset."""
    if isinstance(field.type, types.UnionType):
        return next(t for t in typing.get_args(field.type) if t is not type(None))
    return field.type


def to_json(config):
    """The fields as a dict of plain JSON values, and which network it is if it describes one."""
    network = {'network': config.network} if isinstance(config, TrainerConfig) else {}
    return network | json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(fields):
    """The inverse of `to_json`, for the hyper-parameters of a trainer.

    Fields that are missing, as in what an older version wrote, have their defaults; others that
    the trainer does not have are ignored.
    """
    config_class = CONFIGS[fields.get('network', SegmentationConfig.network)]
    names = {field.name for field in dataclasses.fields(config_class)} & set(fields)
    values = {name: fields[name] for name in names}
    return config_class(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


def as_flag(value):
    """A value as one would write it after its flag."""
    if isinstance(value, bool):
        return 'on' if value else 'off'
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)


def names(config_class, *, group=None):
    """Names of the fields of a config, of one group or of all."""
    fields = dataclasses.fields(config_class)
    return [field.name for field in fields if group in (None, field.metadata['group'])]


def contradiction(has, told):
    """In what a network, {name: value}, is not what was told of it, in words; None if in nothing.

    Only what is in both counts.
    """
    for name in has:
        if has[name] != told.get(name, has[name]):
            return f'this network has --{name} {as_flag(has[name])}, not {as_flag(told[name])}'
    return None


def differences(one, other, *, group=None):
    """Names of the fields in which two configs of one class differ, of one group or of all.

    Of configs of different networks, that alone: ['network'].
    """
    if type(one) is not type(other):
        return ['network']
    return [name for name in names(one, group=group) if getattr(one, name) != getattr(other, name)]
