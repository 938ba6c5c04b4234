"""Measures muscle and fat in CT scans at vertebral levels.

Finds the series in a folder, the slice of each level, and the tissues in it, and writes a table
with a row for each series and level.
"""

from bodycomp_jax.config import options
from bodycomp_jax.data.masks.options import MaskOptions
from bodycomp_jax.estimation.cohort import estimate_cohort
from bodycomp_jax.estimation.options import EstimationConfig
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags

OF_MASKS = {field.name for field in options(MaskOptions)} | {'intermuscular_fat'}


def main(argv: list[str]) -> None:
    (config,), given = flags.parse(argv, __doc__, EstimationConfig)
    if config.masks is None:
        flags.refuse_without_effect(given & OF_MASKS, '--masks')
    else:
        flags.refuse_without_effect(given & {'size'}, '--segmentation')
    if config.slice_selection is None:
        flags.refuse_without_effect(given & {'all_series'}, '--slice_selection')
        if config.levels_table is None:
            flags.refuse_without_effect(given & {'levels', 'slab_mm'}, '--slice_selection')
    estimate_cohort(config)


if __name__ == '__main__':
    restart('estimate')
