"""The evaluation of the positions of vertebral levels: an example is a series."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.config import DenseNetConfig
from bodycomp_jax.data.file_names import TRAINING_SPLITS, offsets_table
from bodycomp_jax.data.folds import share_out
from bodycomp_jax.data.prepared import refuse_other_reference
from bodycomp_jax.data.slice_selection import SliceSelectionSet
from bodycomp_jax.data.slice_selection_files import list_fold, list_split
from bodycomp_jax.data.table import Column, number_in, read_table
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.areas import Areas, read_areas
from bodycomp_jax.evaluation.figures import Figure, cumulative
from bodycomp_jax.evaluation.options import EvaluationConfig
from bodycomp_jax.evaluation.study import Examples, Metric, Pair, Part, Ranking, Study
from bodycomp_jax.evaluation.units import PATIENT, SERIES, SLICE, about_rows, units_of
from bodycomp_jax.metrics.figures import level_figures
from bodycomp_jax.metrics.levels import WITHIN_MM, summarize_levels
from bodycomp_jax.runtime.files import existing_folder
from bodycomp_jax.runtime.terminal import Terminal

COLUMNS = {
    'error_mm': Column('mm', 'found minus true position, towards the head, of {}'),
    'absolute_error_mm': Column('mm', 'distance of the found from the true position of {}'),
    f'within_{WITHIN_MM}mm': Column('', f'1 if {{}} is found within {WITHIN_MM} mm, else 0'),
    'within_one_slice': Column('', '1 if {} is found in the true slice or next to it, else 0'),
}
AREAS = {
    f'{tissue}_{which}_cm2': Column(
        'cm2', f'labelled area of {ct.spaced(tissue)} in the {which} slice of {{}}'
    )
    for tissue in ct.TISSUES
    for which in ('found', 'true')
}


class LevelStudy(Study):
    """A `Study` of the series of a set of the slice-selection network."""

    example = 'series'

    def __init__(self, config: EvaluationConfig, network: DenseNetConfig) -> None:
        """Reads tables alone, and the labels of `labelled_slices`.

        Raises InputError where they do not fit each other, the network or the flags.
        """
        self._levels, self._threshold = network.levels, network.threshold
        refuse_other_reference(config.data_dir, network.reference)
        self.parts = [_open_part(config, fold, network) for fold in config.evaluated_folds]
        self._slices = [row for part in self.parts for row in part.about]
        of_slices, unit = units_of(self._slices)
        self._unit = SERIES if unit == SLICE else unit
        sets: Any = [part.dataset for part in self.parts]
        starts = np.cumsum([0, *map(len, sets)])
        self._series = [
            (name, start + rows)
            for start, each in zip(starts, sets, strict=False)
            for name, rows in each.series.items()
        ]
        self._offsets = np.concatenate([each.offsets for each in sets])
        self._units = [of_slices[rows[0]] for _, rows in self._series]
        self._areas: Mapping[str, Areas] = {}
        if config.labelled_slices is not None:
            self._areas = read_areas(config.labelled_slices)
            self._refuse_no_areas(config)
        self._columns = {
            f'{level}_{name}': Column(unit, meaning.format(level))
            for level in self._levels
            for name, (unit, meaning) in {**COLUMNS, **(AREAS if self._areas else {})}.items()
        }
        self.num_numbers = len(self._levels)
        self.metrics = [metric for level in self._levels for metric in _metrics(level)]
        self.pairs = [
            Pair(
                f'{level}_{tissue}_found_cm2',
                f'{level}_{tissue}_true_cm2',
                of=tissue,
                title=f'area at {level} as found',
                unit='cm2',
                in_percent=True,
            )
            for level in self._levels
            for tissue in (ct.TISSUES if self._areas else ())
        ]
        errors = [metric for metric in self.metrics if metric.title == 'position error']
        self.rankings = [Ranking('position error', errors)]
        self.definitions = _definitions(bool(self._areas))

    def measure(
        self, part: Part, rows: np.ndarray, batch: Mapping[str, np.ndarray], answers: Sequence[Any]
    ) -> np.ndarray:
        """See `Study`: the predicted offsets."""
        return np.stack([np.asarray(answer)[: len(rows)] for answer in answers], axis=1)

    def examples(self, numbers: np.ndarray) -> Examples:
        """See `Study`."""
        candidates = numbers.shape[1]
        found = np.full((len(self._series), candidates, len(self._columns)), np.nan)
        for i, (name, rows) in enumerate(self._series):
            for m in range(candidates):
                found[i, m] = [
                    number
                    for level in range(len(self._levels))
                    for number in self._of_level(name, rows, level, numbers[rows, m, level])
                ]
        return Examples(self._about(), self._units, self._unit, self._columns, found)

    def as_in_training(self, numbers: np.ndarray) -> list[dict[str, float]]:
        """See `Study`."""
        return [
            summarize_levels(
                numbers[:, m].astype(np.float32),
                offsets=self._offsets,
                series={str(i): rows for i, (_, rows) in enumerate(self._series)},
                levels=self._levels,
                threshold=self._threshold,
            )
            for m in range(numbers.shape[1])
        ]

    def figures(self, examples: Examples, names: Sequence[str]) -> Iterator[Figure | None]:
        """See `Study`."""
        for metric in self.rankings[0].metrics:
            yield cumulative(examples, metric, names)

    def slices_of(self, example: int) -> None:
        """See `Study`: the curves are drawn from the numbers of all slices."""

    def draw(self, example: int, candidate: int, batch: Any, answer: Any, numbers: Any) -> Any:
        """See `Study`."""
        name, rows = self._series[example]
        figures = level_figures(
            numbers[:, candidate],
            offsets=self._offsets,
            series={name: rows},
            levels=self._levels,
            threshold=self._threshold,
        )
        return figures[0]

    def _about(self) -> list[dict[str, str]]:
        """Of each series what the tables say of its first slice, and how many it has."""
        return [
            {
                'series': name,
                **{
                    key: value
                    for key, value in self._slices[rows[0]].items()
                    if key in ('split', PATIENT)
                },
                'slices': str(len(rows)),
            }
            for name, rows in self._series
        ]

    def _of_level(
        self, series: str, rows: np.ndarray, level: int, predicted: np.ndarray
    ) -> list[float]:
        """`COLUMNS`, and `AREAS` if any are known, of a level in a series.

        NaN if the series does not contain the level.
        """
        columns = len(self._columns) // len(self._levels)
        true = self._offsets[rows, level].astype(float)
        if not true.min() <= 0 <= true.max():
            return [np.nan] * columns
        found = vertebrae.find_level(true, predicted, self._threshold).z
        if not np.isfinite(found):
            return [np.nan, np.nan, 0.0, 0.0] + [np.nan] * (columns - len(COLUMNS))
        at_found, at_level = (int(np.abs(true - mm).argmin()) for mm in (found, 0))
        place = np.argsort(np.argsort(true, kind='stable'))
        is_near = abs(place[at_found] - place[at_level]) <= 1
        numbers = [found, abs(found), float(abs(found) <= WITHIN_MM), float(is_near)]
        return numbers + self._areas_at(series, rows[[at_found, at_level]])

    def _areas_at(self, series: str, rows: np.ndarray) -> list[float]:
        """`AREAS` in the slices at two rows, if any are known."""
        if not self._areas:
            return []
        areas = self._areas.get(series)
        z = [number_in(self._slices[row].get('z', '')) for row in rows]
        if areas is None or not np.isfinite(z).all():
            return [np.nan] * len(AREAS)
        return np.stack([areas.at(mm) for mm in z], axis=1).ravel().tolist()

    def _refuse_no_areas(self, config: EvaluationConfig) -> None:
        names = [name for name, _ in self._series]
        if not self._areas.keys() & {*names}:
            raise InputError(
                f'{config.labelled_slices}: none of its series is in {config.data_dir}, such as '
                f'{names[0]}; prepare both from the same scans'
            )
        if 'z' not in self._slices[0]:
            raise InputError(
                f'{config.data_dir}: no column z in meta, so that no slice of '
                f'{config.labelled_slices} can be found; prepare the set from scans'
            )


def _open_part(config: EvaluationConfig, fold: int | None, network: DenseNetConfig) -> Part:
    splits = (config.split,) if fold is None else TRAINING_SPLITS
    tables = [read_table(offsets_table(config.data_dir, split)) for split in splits]
    about = [
        {'split': split, 'row': str(i), **row}
        for split, table in zip(splits, tables, strict=True)
        for i, row in enumerate(about_rows(table))
    ]
    options: dict[str, Any] = {'check_values': config.check_values}
    if fold is None or config.folds is None:
        pictures = list_split(config.data_dir, config.split, network.levels, **options)
    else:
        pictures = list_fold(config.data_dir, fold, config.folds, network.levels, **options)[1]
        about = [about[row] for row in share_out(tables, fold, config.folds)[1].rows]
    dataset = SliceSelectionSet(
        pictures,
        is_training=False,
        cache_dir=existing_folder(config.output_dir),
        track=Terminal().track,
        **options,
    )
    return Part(fold, dataset, about, [])


def _metrics(level: str) -> list[Metric]:
    within = f'within {WITHIN_MM} mm'
    return [
        Metric(f'{level}_absolute_error_mm', level, 'position error', 'mm', False, 2),
        Metric(f'{level}_within_{WITHIN_MM}mm', level, within, '', True, 3),
        Metric(f'{level}_within_one_slice', level, 'within one slice', '', True, 3),
    ]


def _definitions(has_areas: bool) -> dict[str, str]:
    areas = (
        'The labelled area in the slice nearest to the found position, against that in the slice '
        'nearest to the true one. Unknown where one of them is not labelled.'
    )
    return {
        'position error': 'The distance in mm between the position that the predicted curve of the '
        'level gives, without those of other levels, and the true one. Unknown where the series '
        'does not contain the level.',
        'within': f'The share of the series in which it is at most {WITHIN_MM} mm, or in which the '
        'slice nearest to the found position is the one nearest to the true position, or a '
        'neighbour of it.',
        **({'area as found': areas} if has_areas else {}),
    }
