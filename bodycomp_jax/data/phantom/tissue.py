"""HU and segmentation label of each tissue of a phantom."""

from typing import NamedTuple

from bodycomp_jax import ct

BACKGROUND = 0


class Tissue(NamedTuple):
    """HU and label in one value, so that image and labels agree."""

    hu: float
    label: int = BACKGROUND


FAT_HU = -102

MUSCLE = Tissue(55, 1 + ct.TISSUES.index('muscle'))
SUBCUTANEOUS_FAT = Tissue(FAT_HU, 1 + ct.TISSUES.index('subcutaneous_fat'))
VISCERAL_FAT = Tissue(FAT_HU, 1 + ct.TISSUES.index('visceral_fat'))
OTHER_FAT = Tissue(FAT_HU)  # between muscles, around the spinal cord, in the chest

AIR, GAS, LUNG = Tissue(-1000), Tissue(-850), Tissue(-850)
SKIN, SOFT, FLUID, CORD = Tissue(30), Tissue(40), Tissue(10), Tissue(25)
CORTICAL, ENDPLATE, DISC, CARTILAGE = Tissue(400), Tissue(320), Tissue(80), Tissue(120)
COUCH_FOAM, COUCH_SHELL = Tissue(-880), Tissue(-120)
