"""Prepares the training set of the slice-selection network from scans and positions of levels.

The table has a row per scan: image, and for each level its z in mm (L3), its slice (L3_file or
L3_sop_instance_uid), or a column vertebrae with a mask; optional are patient, split, fold, series.
"""

from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.preparation.slice_selection import prepare_slice_selection_set
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags


def main(argv: list[str]) -> None:
    (config,), _ = flags.parse(argv, __doc__, PreparationConfig)
    prepare_slice_selection_set(config)


if __name__ == '__main__':
    restart('prepare_slice_selection')
