"""Options of the program that compares networks and readers."""

import dataclasses
import math
import os

from bodycomp_jax.config import as_flag, option
from bodycomp_jax.data.file_names import SPLITS
from bodycomp_jax.errors import InputError

FILES, CANDIDATES, MEASURING = 'Input and output', 'Networks and levels', 'Measuring'
FOLD = '{fold}'  # in the path of a model, one of the networks of a cross-validation


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is compared, on which data. Raises InputError for invalid values."""

    data_dir: str = option(
        None,
        'folder of the data, in the format of the trainers; also the first positional argument',
        group=FILES,
        positional=True,
        path=True,
    )
    output_dir: str = option(
        None,
        'folder for the results; a run that was killed continues; also the second positional '
        'argument',
        group=FILES,
        positional=True,
        path=True,
    )
    overwrite: bool = option(False, 'begin again in a folder with results', group=FILES)
    split: str = option('val', 'which slices of the data', group=FILES, choices=SPLITS)
    folds: int | None = option(
        None,
        'instead of a split: the folds of a cross-validation, as the trainers share them out; each '
        f'patient is measured by the network that did not see it, in whose path {FOLD} is the fold',
        group=FILES,
    )
    fold: int | None = option(
        None, 'only this fold of --folds, from 0, with the networks that it validates', group=FILES
    )
    check_values: bool = option(
        True, 'refuse data with values that cannot be right, as the trainers do', group=FILES
    )
    models: tuple[str, ...] = option(
        (),
        'trained networks of one kind: folders of runs, or Keras files; with --folds '
        f"'OUT/fold_{FOLD}'",
        group=CANDIDATES,
    )
    masks: tuple[str, ...] = option(
        (),
        'labels of several readers: folders with <split>_masks.npy for the images of the data. The '
        'first is the reference standard instead of the labels of the data, the others are '
        'compared with it, as the models are',
        group=CANDIDATES,
    )
    pixel_mm: float | None = option(
        None,
        'mm from pixel to pixel, for data whose slices.csv does not have it (default: distances '
        'and areas are in pixels)',
        group=MEASURING,
    )
    groups: str | None = option(
        None,
        'a table (CSV) with a column patient and others, such as sex or scanner, by whose values '
        'the results are also given',
        group=MEASURING,
        path=True,
    )
    labelled_slices: str | None = option(
        None,
        'for slice selection: data of the segmentation network from the same scans, whose labels '
        'give the areas at the found and at the true slice',
        group=MEASURING,
        path=True,
    )
    seed: int = option(0, 'seed of the resamples of the intervals', group=MEASURING)
    num_gpus: int | None = option(
        None, 'number of devices to predict on (default: all)', group='Devices', short='g'
    )

    def __post_init__(self) -> None:
        for name in ('models', 'masks'):
            paths = tuple(map(os.path.expanduser, getattr(self, name)))
            object.__setattr__(self, name, paths)
            twice = next((path for path in paths if paths.count(path) > 1), None)
            if twice is not None:
                raise InputError(f'--{name}: {twice} is given twice; name each once')
        if not (self.models or self.masks):
            raise InputError('nothing is to be compared; give --models, or --masks')
        if len(self.masks) == 1:
            raise InputError(
                f'--masks={self.masks[0]}: a single reader; put the reference standard before it, '
                f'such as --masks=READER,{self.masks[0]}'
            )
        if self.pixel_mm is not None and not 0 < self.pixel_mm < math.inf:
            raise InputError(f'invalid --pixel_mm={self.pixel_mm:g}: use a positive number of mm')
        if not 0 <= self.seed < 2**32:
            raise InputError(f'invalid --seed={self.seed}: use a whole number in 0..4294967295')
        self._refuse_invalid_folds()

    @property
    def evaluated_folds(self) -> tuple[int | None, ...]:
        """The folds that are measured; (None,) for a split."""
        if self.folds is None:
            return (None,)
        return tuple(range(self.folds)) if self.fold is None else (self.fold,)

    @property
    def where(self) -> str:
        """What is measured of the data, for people."""
        if self.folds is None:
            return f'the split {self.split}'
        if self.fold is None:
            return f'all {self.folds} folds, each by the network that did not see it'
        return f'fold {self.fold} of {self.folds}'

    def _refuse_invalid_folds(self) -> None:
        folds, fold = self.folds, self.fold
        if folds is None:
            if fold is not None:
                raise InputError(f'--fold={fold} is one of --folds; give both')
            wrong = next((path for path in self.models if FOLD in path), None)
            if wrong is not None:
                raise InputError(
                    f'--models: {wrong} names a fold, but --folds is not given; add it'
                )
            return
        if folds < 2:
            raise InputError(f'invalid {as_flag("folds", folds)}: use 2 or more')
        if fold is not None and not 0 <= fold < folds:
            raise InputError(f'invalid --fold={fold}: use 0 to {folds - 1}')
        same = next((path for path in self.models if FOLD not in path), None)
        if fold is None and same is not None:
            raise InputError(
                f'--models: {same} is one network, which has seen the patients of {folds - 1} of '
                f'{folds} folds; name those of all folds, such as OUT/fold_{FOLD}, or add --fold'
            )
