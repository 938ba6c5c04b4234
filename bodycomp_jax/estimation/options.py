"""Options of the program that measures scans."""

import dataclasses
import os
import re

from bodycomp_jax.config import as_flag, option, to_values
from bodycomp_jax.data.masks.labels import HU_LIMITS, PRESETS, HULimits, LabelMap, label_map
from bodycomp_jax.data.masks.options import CONVENTIONS, MaskOptions
from bodycomp_jax.data.masks.options import GROUP as LABELS
from bodycomp_jax.data.squares import refuse_invalid_size
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.estimate import SIDE

MAX_SLAB_MM = 500.0
FILES, LEVELS, MEASURING = 'Input and output', 'Networks and levels', 'Measuring'
NOT_OF_ROWS = ('output_dir', 'shard', 'overwrite', 'exclude')  # applied to rows, if at all


@dataclasses.dataclass(frozen=True, kw_only=True)
class EstimationConfig(MaskOptions):
    """Which scans are measured, where, and by which networks or masks."""

    scans: str = option(
        None,
        'folder of CT scans in DICOM or NIfTI files at any depth, or one file; also the first '
        'positional argument',
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
    shard: str | None = option(
        None,
        'measure a part of the series, such as 1/8, for jobs that share the work; after the last '
        'one, the same command without --shard writes the tables of all',
        group=FILES,
    )
    nifti: bool = option(False, 'write the labels as NIfTI files as well', group=FILES)
    png: bool = option(False, 'write the labels as PNG files as well', group=FILES)
    sr: bool = option(
        False, 'write the numbers as DICOM structured reports (TID 1500) as well', group=FILES
    )
    exclude: str | None = option(
        None,
        'ratings (CSV) that the page report.html saved: slices that are rated bad have no numbers',
        group=FILES,
        path=True,
    )
    segmentation: str | None = option(
        None,
        'a trained segmentation network: the folder of its run, a Keras file, or synthetic for the '
        'one that comes with the package; several, separated by commas, vote by the mean of their '
        'probabilities',
        group=LEVELS,
        path=True,
    )
    slice_selection: str | None = option(
        None,
        'a trained slice-selection network, or several, or synthetic, which find the levels',
        group=LEVELS,
        path=True,
    )
    levels: tuple[str, ...] = option(
        (),
        'vertebral levels, such as -L L3,T12 (default: all that are known)',
        group=LEVELS,
        short='L',
    )
    levels_table: str | None = option(
        None,
        'a table (CSV) with the columns series, level, and z_mm or file, which overrules the '
        'network; results.csv is one',
        group=LEVELS,
        path=True,
    )
    single_slices: bool = option(
        False, 'measure each slice as it is, instead of those at levels', group=LEVELS
    )
    all_series: bool = option(
        False, 'measure all series of a study, not only the best one', group=LEVELS
    )
    masks: str | None = option(
        None,
        'measure these masks instead of predicting: a folder with a file or folder for each '
        'series, by its name; for a single series also its mask. Without levels, all labelled '
        'slices are measured',
        group=LABELS,
        path=True,
    )
    intermuscular_fat: tuple[str, ...] = option(
        (), 'numbers or class names of fat in muscle, where masks show it apart', group=LABELS
    )
    hu_limits: str = option(
        'alberta',
        f'HU limits of the tissues: {CONVENTIONS}; areas without limits are given as well',
        group=MEASURING,
        choices=tuple(HU_LIMITS),
    )
    size: int = option(
        SIDE, 'rows and columns of the slices that the network was trained on', group=MEASURING
    )
    slab_mm: float = option(
        0.0,
        'measure all slices within a slab of this thickness around each level as well: a row for '
        'each, and one for their mean',
        group=MEASURING,
    )
    patients: str | None = option(
        None,
        'a table (CSV) with the columns patient_id, and height_m or height_cm; it takes '
        'precedence over the heights in the files',
        group=MEASURING,
        path=True,
    )

    def __post_init__(self) -> None:
        refuse_invalid_size(self.size)
        if not 0 <= self.slab_mm <= MAX_SLAB_MM:
            raise InputError(f'invalid --slab_mm={self.slab_mm:g}: use mm in 0..{MAX_SLAB_MM:g}')
        if len({*self.levels}) != len(self.levels):
            raise InputError(f'invalid {as_flag("levels", self.levels)}: name each level once')
        if (self.segmentation is None) == (self.masks is None):
            raise InputError('give --segmentation, or --masks to measure masks that exist')
        places = self.slice_selection is not None or self.levels_table is not None
        if self.single_slices and places:
            raise InputError(
                '--single_slices measures all slices, but --slice_selection and --levels_table '
                'say which; give one or the other'
            )
        if not (self.single_slices or places or self.masks):
            raise InputError(
                'nothing says which slices are measured; give --slice_selection, --levels_table or '
                '--single_slices'
            )
        if self.masks is not None and _is_within(self.masks, self.output_dir):
            raise InputError(
                f'--masks={self.masks}: files in the output folder {self.output_dir} are written '
                'by this run; choose another output folder'
            )
        self._refuse_invalid_shard()

    @property
    def part(self) -> tuple[int, int]:
        """(i, n): this is part i of n, from 1."""
        i, n = map(int, (self.shard or '1/1').split('/'))
        return i, n

    @property
    def limits(self) -> HULimits:
        """The HU limits of the tissues."""
        return HU_LIMITS[self.hu_limits]

    @property
    def meaning(self) -> LabelMap:
        """What the values of the masks mean. Raises InputError for flags that contradict."""
        regions = self.labels is not None and PRESETS[self.labels].regions
        return label_map(
            self.labels,
            muscle=self.muscle,
            subcutaneous_fat=self.subcutaneous_fat,
            visceral_fat=self.visceral_fat,
            background=self.background,
            intermuscular_fat=self.intermuscular_fat,
            hu_limits=self.limits if regions else None,
        )

    @property
    def of_rows(self) -> dict[str, object]:
        """{option: value} of those that decide what is in a row."""
        return {name: value for name, value in to_values(self).items() if name not in NOT_OF_ROWS}

    def _refuse_invalid_shard(self) -> None:
        if self.shard is None:
            return
        if self.overwrite:
            raise InputError(
                '--overwrite would remove what other parts have done; remove the output folder '
                'instead, before the first --shard'
            )
        found = re.fullmatch(r'([1-9]\d{0,5})/([1-9]\d{0,5})', self.shard, re.ASCII)
        if found is None or int(found[1]) > int(found[2]):
            raise InputError(f'invalid --shard={self.shard}: use I/N with I in 1..N, such as 1/8')


def _is_within(path: str, folder: str) -> bool:
    path, folder = map(os.path.realpath, (path, folder))
    return os.path.commonpath([path, folder]) == folder
