"""Hyper-parameters of the trainers, and their presets."""

import dataclasses
import os
import typing
from typing import Any

from bodycomp_jax.config.augmentation import AugmentationConfig, SliceSelectionAugmentationConfig
from bodycomp_jax.config.networks import DenseNetConfig, NetworkConfig, UNetConfig
from bodycomp_jax.config.options import (
    as_flag,
    check,
    check_choices,
    check_positive,
    from_values,
    option,
    to_values,
)
from bodycomp_jax.errors import InputError

INITIALIZERS = (
    'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal',
)  # fmt: skip
MAX_EPOCHS = 1_000_000
MAX_BATCHES_PER_EPOCH = 1_000_000  # the order of an epoch is drawn at its start
SYNTHETIC_BATCHES = 100  # per epoch, where all slices are synthetic
SHIPPED = 'synthetic'  # the name of the networks that come with the package
RECOMMENDED, REFERENCE, FINE_TUNING = 'recommended', 'reference', 'fine_tuning'
OLD_OFFSET_LOSS = 'mae'  # of the reference system, and of all runs of older versions


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
        'train on synthetic slices, drawn while training; none is seen twice unless '
        '--synthetic_epochs says so; the validation set of DATA_DIR, if given, validates, else '
        'synthetic subjects',
        group='Training',
    )
    mix_synthetic: float = option(
        0.0,
        'share of synthetic slices in each batch, beside those of DATA_DIR; 0.5 is half',
        group='Training',
    )
    synthetic_epochs: int = option(
        1,
        'epochs in a row that see the same synthetic slice, changed at random in another way in '
        'each; more than 1 where a device waits for slices to be drawn, as a GPU does',
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
        check_choices(self)
        check_positive(self, 'batch_size', 'epochs', 'learning_rate', 'synthetic_epochs')
        epochs, count = self.epochs, self.batches_per_epoch
        check(epochs <= MAX_EPOCHS, 'epochs', epochs, f'use at most {MAX_EPOCHS}')
        check(
            count is None or 0 < count <= MAX_BATCHES_PER_EPOCH,
            'batches_per_epoch',
            count,
            f'use a number in 1..{MAX_BATCHES_PER_EPOCH}; for a longer training raise --epochs',
        )
        check(0 <= self.seed < 2**32, 'seed', self.seed, 'use a whole number in 0..4294967295')
        folds, fold = self.folds, self.fold
        check(folds is None or folds > 1, 'folds', folds, 'use 2 or more')
        both = (folds is None) == (fold is None)
        check(both, 'fold', fold, f'give both --folds and --fold ({as_flag("folds", folds)})')
        check(fold is None or 0 <= fold < (folds or 0), 'fold', fold, 'use 0 to --folds minus 1')
        self._refuse_invalid_mix()

    def _refuse_invalid_mix(self) -> None:
        share, size = self.mix_synthetic, self.batch_size
        remedy = 'use a share of 0 to less than 1, or --synthetic alone for all slices'
        check(0 <= share < 1 and not (share and self.synthetic), 'mix_synthetic', share, remedy)
        check(
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
    values = {'preset': preset} | config.presets[preset]
    if config.synthetic:
        values.pop('mix_synthetic', None)  # all slices are
    return with_values(config, values, given)


def names_shipped(path: str) -> bool:
    """Whether this names a network of the package: `synthetic` or `synthetic/KIND`.

    A path that exists takes precedence.
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
