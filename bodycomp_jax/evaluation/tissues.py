"""The evaluation of segmentations: an example is a slice."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.config import UNetConfig
from bodycomp_jax.data.file_names import SPLITS, TRAINING_SPLITS, images_file, slices_table
from bodycomp_jax.data.folds import share_out
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.rows import Rows
from bodycomp_jax.data.segmentation import SegmentationSet
from bodycomp_jax.data.segmentation_files import open_files, open_fold
from bodycomp_jax.data.slices_table import read_slices_table
from bodycomp_jax.data.table import Column
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.figures import Figure, heights, scatter
from bodycomp_jax.evaluation.options import EvaluationConfig
from bodycomp_jax.evaluation.spacing import Spacing, read_spacing
from bodycomp_jax.evaluation.study import Examples, Metric, Pair, Part, Ranking, Study
from bodycomp_jax.evaluation.units import about_rows, units_of
from bodycomp_jax.metrics import slices, surfaces
from bodycomp_jax.metrics.figures import comparison_figure
from bodycomp_jax.metrics.tissues import summarize_tissues


class TissueStudy(Study):
    """A `Study` of the slices of a set of the segmentation network."""

    example = 'slice'

    def __init__(self, config: EvaluationConfig, network: UNetConfig) -> None:
        """Reads headers and tables alone.

        Raises InputError where they do not fit each other, the network or the flags.
        """
        self._tissues, self._window = network.tissues, network.apply_window_function
        for folder in config.masks:
            _refuse_other_images(config.data_dir, folder)
        self.parts = [_open_part(config, fold, network) for fold in config.evaluated_folds]
        sides = {part.dataset.image_shape[0] for part in self.parts}
        for side in sides:
            if config.models and side % network.size_divisor:
                raise InputError(
                    f'{config.data_dir}: slices of {side} x {side}, but the network needs a '
                    f'multiple of {network.size_divisor}; prepare the data with another --size'
                )
        self._about = [row for part in self.parts for row in part.about]
        self._units, self._unit = units_of(self._about)
        self._spacing = read_spacing(self._about, config.pixel_mm)
        self._starts = np.cumsum([0, *(len(part.about) for part in self.parts)])
        self.num_numbers = len(self._tissues) * len(slices.NUMBERS)
        self.metrics = [
            each for tissue in self._tissues for each in _metrics(tissue, self._spacing)
        ]
        self.pairs = [
            pair for tissue in self._tissues for pair in _pairs(tissue, self._spacing, self._window)
        ]
        self.rankings = [
            Ranking(title, [metric for metric in self.metrics if metric.title == title])
            for title in ('area error', 'Dice')
        ]
        self.definitions = _definitions(self._spacing)

    def measure(
        self, part: Part, rows: np.ndarray, batch: Mapping[str, np.ndarray], answers: Sequence[Any]
    ) -> np.ndarray:
        """See `Study`."""
        start = self._starts[self.parts.index(part)]
        found = np.empty((len(rows), len(answers), self.num_numbers))
        for i, row in enumerate(rows):
            image, mask = batch['image'][i].astype(np.float32), batch['mask'][i]
            options: dict[str, Any] = {
                'spacing': tuple(self._spacing.values[start + row]),
                'pixel_area': self._spacing.pixel_area(start + row),
                'tissues': self._tissues,
            }
            labelled = slices.regions(slices.without_unlabelled(mask, mask), image, **options)
            for m, answer in enumerate(answers):
                labels = slices.without_unlabelled(answer[i], mask)
                pairs = zip(slices.regions(labels, image, **options), labelled, strict=True)
                found[i, m] = [number for pair in pairs for number in slices.compare(*pair)]
        return found

    def examples(self, numbers: np.ndarray) -> Examples:
        """See `Study`."""
        columns = {
            f'{tissue}_{name}': Column(unit, f'{meaning} of {ct.spaced(tissue)}')
            for tissue in self._tissues
            for name, (unit, meaning) in _columns(self._spacing).items()
        }
        if not self._window:
            hidden = [i for i, name in enumerate(columns) if name.endswith('_hu')]
            numbers = numbers.copy()
            numbers[..., hidden] = np.nan  # grey values are no HU
        return Examples(self._about, self._units, self._unit, columns, numbers)

    def as_in_training(self, numbers: np.ndarray) -> list[dict[str, float]]:
        """See `Study`."""
        of_tissues = numbers.reshape(*numbers.shape[:2], len(self._tissues), -1)
        return [
            summarize_tissues(
                {name: of_tissues[:, m, :, i] for i, name in enumerate(slices.COUNTS)},
                tissues=self._tissues,
            )
            for m in range(numbers.shape[1])
        ]

    def figures(self, examples: Examples, names: Sequence[str]) -> Iterator[Figure | None]:
        """See `Study`."""
        height = heights(self._about)
        for metric in (each for each in self.metrics if each.title == 'Dice'):
            area = examples.of(f'{metric.of}_labelled_area_{self._spacing.area}')[:, 0]
            area = np.where(area > 0, area, np.nan)
            label = f'labelled area, {self._spacing.area}'
            yield scatter(examples, metric, 'area', area, names, label=label)
            label = 'height above the lowest slice of the series, mm'
            yield scatter(examples, metric, 'height', height, names, label=label)

    def slices_of(self, example: int) -> tuple[Part, int]:
        """See `Study`."""
        number = int(np.searchsorted(self._starts, example, side='right')) - 1
        return self.parts[number], int(example - self._starts[number])

    def draw(self, example: int, candidate: int, batch: Any, answer: Any, numbers: Any) -> Any:
        """See `Study`."""
        return comparison_figure(
            batch['image'],
            batch['mask'],
            answer,
            tissues=self._tissues,
            apply_window=self._window,
        )


def _open_part(config: EvaluationConfig, fold: int | None, network: UNetConfig) -> Part:
    reference, *readers = config.masks or (config.data_dir,)

    def open_part(masks_dir: str) -> tuple[Rows, Rows]:
        options: dict[str, Any] = {
            'apply_window': network.apply_window_function,
            'masks_dir': masks_dir,
        }
        if fold is None or config.folds is None:
            return open_files(config.data_dir, config.split, **options)
        return open_fold(config.data_dir, fold, config.folds, **options)[1]

    def labelled_by(masks_dir: str, check_values: bool) -> SegmentationSet:
        return SegmentationSet(
            *open_part(masks_dir),
            network.tissues,
            apply_window=network.apply_window_function,
            check_values=check_values,
        )

    return Part(
        fold,
        labelled_by(reference, config.check_values),
        _about(config, fold),
        [labelled_by(folder, False) for folder in readers],
    )


def _about(config: EvaluationConfig, fold: int | None) -> list[dict[str, str]]:
    """What `slices.csv`, if it is there, says of the slices of a part."""
    splits = (config.split,) if fold is None else TRAINING_SPLITS
    lengths = {split: len(NpyRows(images_file(config.data_dir, split))) for split in splits}
    about = [{'split': split, 'row': str(row)} for split, n in lengths.items() for row in range(n)]
    path = slices_table(config.data_dir)
    if not os.path.lexists(path):
        return about
    table = read_slices_table(path, lengths)
    about = [place | row for place, row in zip(about, about_rows(table), strict=True)]
    if fold is None or config.folds is None:
        return about
    return [about[row] for row in share_out([table], fold, config.folds)[1].rows]


def _refuse_other_images(data_dir: str, masks_dir: str) -> None:
    """Raises InputError if a folder of masks has images, and they are others."""
    for split in SPLITS:
        path, own = (images_file(folder, split) for folder in (masks_dir, data_dir))
        if (
            os.path.lexists(path)
            and os.path.lexists(own)
            and NpyRows(path).fingerprint() != NpyRows(own).fingerprint()
        ):
            raise InputError(
                f'{path}: other images than those of {data_dir}; give the labels of the same '
                'slices in the same order'
            )


def _columns(spacing: Spacing) -> dict[str, Column]:
    """The columns of a tissue, without its name, in the order of `slices.NUMBERS`."""
    mm, cm2 = spacing.length, spacing.area
    return {
        'intersection_pixels': Column('pixels', 'pixels both predicted and labelled'),
        'predicted_pixels': Column('pixels', 'predicted pixels'),
        'labelled_pixels': Column('pixels', 'labelled pixels'),
        'dice': Column('', 'Dice'),
        **{
            f'surface_dice_{t}_{mm}': Column('', f'surface Dice at {t} {mm}')
            for t in surfaces.TOLERANCES
        },
        f'hd95_{mm}': Column(mm, '95th percentile of the distances of the outlines'),
        f'area_error_{cm2}': Column(cm2, 'absolute difference of the areas'),
        f'area_{cm2}': Column(cm2, 'predicted area'),
        'mean_hu': Column('HU', 'mean of the predicted pixels'),
        f'labelled_area_{cm2}': Column(cm2, 'labelled area'),
        'labelled_mean_hu': Column('HU', 'mean of the labelled pixels'),
    }


def _metrics(tissue: str, spacing: Spacing) -> list[Metric]:
    mm, cm2 = spacing.length, spacing.area
    surface = [(f'surface_dice_{t}_{mm}', f'surface Dice {t} {mm}') for t in surfaces.TOLERANCES]
    return [
        Metric(f'{tissue}_dice', tissue, 'Dice', '', True, 3),
        *(Metric(f'{tissue}_{name}', tissue, title, '', True, 3) for name, title in surface),
        Metric(f'{tissue}_hd95_{mm}', tissue, 'HD95', mm, False, 2),
        Metric(f'{tissue}_area_error_{cm2}', tissue, 'area error', cm2, False, 2),
    ]


def _pairs(tissue: str, spacing: Spacing, window: bool) -> list[Pair]:
    """The numbers whose agreement is shown; without the window there are no HU."""
    cm2 = spacing.area
    area = f'{tissue}_area_{cm2}', f'{tissue}_labelled_area_{cm2}'
    hu = f'{tissue}_mean_hu', f'{tissue}_labelled_mean_hu'
    return [
        Pair(*area, of=tissue, title='area', unit=cm2, in_percent=True),
        *([Pair(*hu, of=tissue, title='mean HU', unit='HU', in_percent=False)] if window else []),
    ]


def _definitions(spacing: Spacing) -> dict[str, str]:
    unit = spacing.length
    return {
        'Dice': '2 I / (P + T) of a slice, where I, P and T are the pixels of both, of the '
        'prediction and of the labels. Unknown where the tissue is not labelled.',
        'surface Dice': f'The share of the length of both outlines that lies within 1 or 2 {unit} '
        'of the other (Nikolov et al., JMIR 2021). Unknown where the tissue is not labelled.',
        'HD95': 'The 95th percentile, by length, of the distances from one outline to the other; '
        'the larger of both directions. Unknown where the tissue is not labelled, or not predicted '
        '(there Dice and surface Dice are 0). Programs that pool both directions, or count pixels, '
        'get other numbers.',
        'area': f'The pixels of a label times the area of a pixel, in {spacing.area}, without HU '
        f'limits. Area error: the absolute difference to the labelled area. {spacing.source}',
        'mean HU': 'The mean of the pixels of a label.',
        'pixels that are not labelled': 'Those of the label 255 count nowhere; what a '
        'reader who is compared did not label counts as background.',
    }
