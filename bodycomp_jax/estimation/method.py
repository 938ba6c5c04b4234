"""How the series of a cohort are measured, by the flags of the program."""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from bodycomp_jax.config import as_flag
from bodycomp_jax.data.masks.labels import LabelMap, UnexplainedLabelError
from bodycomp_jax.data.scans import Series
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.estimate import (
    Labelling,
    by_mask,
    by_network,
    levels_of,
    measure_places,
)
from bodycomp_jax.estimation.heights import Height, height_of, read_heights
from bodycomp_jax.estimation.levels_table import LevelsTable, read_levels_table
from bodycomp_jax.estimation.masks import open_masks
from bodycomp_jax.estimation.options import EstimationConfig
from bodycomp_jax.estimation.outputs import write_outputs
from bodycomp_jax.estimation.places import Places, at_levels, every_slice, labelled_slices
from bodycomp_jax.estimation.result import Estimate, NotMeasured
from bodycomp_jax.estimation.rows import FAILED, Row, about, rows_of
from bodycomp_jax.inference import load
from bodycomp_jax.inference.predictors import Segmenter, SliceSelector
from bodycomp_jax.runtime import files

Network = TypeVar('Network', Segmenter, SliceSelector)


class Method(NamedTuple):
    """How series are measured.

    Attributes:
      config: the flags.
      levels: that are measured; none where slices are measured as they are.
      table: positions that overrule the network.
      heights: {patient: m}.
      selector: finds levels.
      segmenter: labels slices, unless masks do.
      members: its networks.
      meaning: of the values of masks.
      alone: whether there is a single series.
    """

    config: EstimationConfig
    levels: list[str]
    table: LevelsTable | None
    heights: dict[str, float]
    selector: SliceSelector | None
    segmenter: Segmenter | None
    members: list[Segmenter]
    meaning: LabelMap
    alone: bool

    def estimate(self, series: Series) -> tuple[Estimate, Height]:
        """What is found in a series. Raises InputError if it cannot be measured."""
        height = height_of(series.metadata)
        if (given := self.heights.get(series.patient_id)) is not None:
            height = Height(given)
        labelling, places = self._labelling(series)
        return measure_places(series, places, labelling, self.config.limits, height.m), height

    def rows(self, series: Series) -> list[Row]:
        """Writes the files of a series and returns its rows; one that says why, if it cannot be
        measured.

        Raises UnexplainedLabelError: other masks have labels that no flag explains, too; OSError
        if a file cannot be written.
        """
        reference = self.selector.config.reference if self.selector is not None else ''
        threshold = self.selector.config.threshold if self.selector is not None else 1.0
        try:
            found, height = self.estimate(series)
            written = write_outputs(self.config, found, model=self.model, threshold=threshold)
        except UnexplainedLabelError:
            raise
        except NotMeasured as error:
            return [{**about(series), 'status': error.status, 'reason': str(error)}]
        except InputError as error:
            return [{**about(series), 'status': FAILED, 'reason': str(error)}]
        return rows_of(
            found,
            self.config.limits,
            written,
            reference=reference,
            height_m=height.m,
            flag=height.flag,
            other_levels=self.other_levels,
        )

    @property
    def other_levels(self) -> list[str]:
        """The levels on which the segmentation network was not trained, as far as it is known."""
        if self.segmenter is None:
            return []
        return [level for level in self.levels if not self.segmenter.is_trained_on(level)]

    @property
    def model(self) -> str | None:
        """The runs of the segmentation networks, without the folders in which they lie."""
        if self.config.segmentation is None:
            return None
        return ','.join(load.short_names(load.paths_of(self.config.segmentation)))

    def _labelling(self, series: Series) -> tuple[Labelling, Places]:
        config = self.config
        if self.segmenter is not None:
            labelling = by_network(self.segmenter, self.members, config.size)
            return labelling, self._places(series) or every_slice(series)
        mask = open_masks(
            str(config.masks),
            series,
            self.meaning,
            alone=self.alone,
            resample=config.resample_masks,
        )
        places = self._places(series) or labelled_slices(series, mask)
        return by_mask(mask, self.meaning), places

    def _places(self, series: Series) -> Places | None:
        """The slices at levels; None if there are no levels."""
        if not self.levels:
            return None
        given = self.table.positions(series) if self.table is not None else {}
        return at_levels(series, self.selector, self.levels, given, self.config.slab_mm)


def method_of(config: EstimationConfig, *, alone: bool) -> Method:
    """Loads networks and tables.

    Args:
      config: the flags.
      alone: whether there is a single series.

    Raises InputError for those that cannot be used, also together.
    """
    table = read_levels_table(config.levels_table) if config.levels_table is not None else None
    heights = read_heights(config.patients) if config.patients is not None else {}
    selector = _network('slice_selection', config.slice_selection, SliceSelector)
    segmenter = _network('segmentation', config.segmentation, Segmenter)
    if segmenter is not None and config.size % segmenter.size_divisor:
        raise InputError(
            f'--size={config.size}: the network takes multiples of {segmenter.size_divisor}'
        )
    return Method(
        config,
        levels_of(selector, config.levels, table.levels if table is not None else ()),
        table,
        heights,
        selector,
        segmenter,
        segmenter.members() if segmenter is not None else [],
        config.meaning,
        alone,
    )


def fingerprints(config: EstimationConfig) -> dict[str, str]:
    """{`FLAG_fingerprint`: what identifies the content} of networks and tables.

    They decide the rows as the flags do. Raises InputError for those that are not there.
    """
    contents: dict[str, Callable[[str], str]] = {
        'segmentation': functools.partial(load.fingerprint, kind='segmentation'),
        'slice_selection': functools.partial(load.fingerprint, kind='slice_selection'),
        'levels_table': files.fingerprint,
        'patients': files.fingerprint,
    }
    paths = {flag: getattr(config, flag) for flag in contents}
    return {
        f'{flag}_fingerprint': contents[flag](path)
        for flag, path in paths.items()
        if path is not None
    }


def _network(name: str, path: str | None, wanted: type[Network]) -> Network | None:
    """The network of a flag. Raises InputError for one of another kind."""
    if path is None:
        return None
    network = load.load_model(path, kind=name, all_devices=True)
    if not isinstance(network, wanted):
        raise InputError(
            f'{as_flag(name, path)}: a {network.config.kind} network; give one that was trained '
            f'by bin/train_{name}.py'
        )
    return network
