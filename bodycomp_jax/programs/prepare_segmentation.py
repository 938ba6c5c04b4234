"""Prepares the training set of the segmentation network from scans and masks.

The table has a row per scan: image and mask; optional are patient, split, fold and series.
"""

from bodycomp_jax.preparation.options import SegmentationPreparation
from bodycomp_jax.preparation.segmentation import prepare_segmentation_set
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags


def main(argv: list[str]) -> None:
    (config,), given = flags.parse(argv, __doc__, SegmentationPreparation)
    if config.slices != 'level':
        flags.refuse_without_effect(
            given & {'levels', 'reference', 'vertebra_numbers'}, '--slices=level'
        )
    prepare_segmentation_set(config)


if __name__ == '__main__':
    restart('prepare_segmentation')
