"""HU and segmentation label of each tissue of a phantom."""

from typing import NamedTuple, Self

from bodycomp_jax import ct
from bodycomp_jax.data.phantom.population import Person

BACKGROUND = 0


class Tissue(NamedTuple):
    """HU and label in one value, so that image and labels agree."""

    hu: float
    label: int = BACKGROUND


MUSCLE_LABEL, SUBCUTANEOUS_LABEL, VISCERAL_LABEL = (
    1 + ct.TISSUES.index(name) for name in ('muscle', 'subcutaneous_fat', 'visceral_fat')
)

AIR, GAS, LUNG = Tissue(-1000), Tissue(-850), Tissue(-850)
SKIN, SOFT, FLUID, CORD = Tissue(30), Tissue(40), Tissue(10), Tissue(25)
DISC = Tissue(80)
METAL, CLOTH, PLASTIC = Tissue(3000), Tissue(-600), Tissue(250)
COUCH_FOAM, COUCH_SHELL = Tissue(-880), Tissue(-120)


class Tissues(NamedTuple):
    """Those whose HU differ from subject to subject."""

    muscle: Tissue
    subcutaneous_fat: Tissue
    visceral_fat: Tissue
    aponeurosis: Tissue  # outside the wall
    fascia: Tissue  # inside it
    other_fat: Tissue  # between muscles, around the spinal cord, in the arms
    unlabelled_muscle: Tissue  # of the arms and the diaphragm
    blood: Tissue
    venous_blood: Tissue
    bowel_wall: Tissue
    liver: Tissue
    spleen: Tissue
    renal_cortex: Tissue
    renal_medulla: Tissue
    renal_sinus: Tissue
    urine: Tissue
    spongy: Tissue
    cortical: Tissue
    endplate: Tissue
    cartilage: Tissue

    @classmethod
    def of(cls, person: Person) -> Self:
        """Contrast agent fills the arteries, then the cortex of the kidneys, veins, and urine."""
        agent, late = person.enhancement, person.phase
        early = 1 - late
        visceral_fat = Tissue(person.fat_hu + 65 * person.soaked, VISCERAL_LABEL)
        return cls(
            muscle=Tissue(person.muscle_hu, MUSCLE_LABEL),
            subcutaneous_fat=Tissue(person.fat_hu + 20 * person.oedema, SUBCUTANEOUS_LABEL),
            visceral_fat=visceral_fat,
            aponeurosis=Tissue(person.fascia_hu, MUSCLE_LABEL),
            fascia=Tissue(person.fascia_hu),
            other_fat=Tissue(person.fat_hu + 10),
            unlabelled_muscle=Tissue(person.muscle_hu),
            blood=Tissue(42 + agent * (110 + 230 * early)),
            venous_blood=Tissue(42 + agent * (20 + 130 * min(1.0, 1.5 * late))),
            bowel_wall=Tissue(40 + 65 * agent),
            liver=Tissue(person.liver_hu + 60 * agent * late),
            spleen=Tissue(48 + 80 * agent),
            renal_cortex=Tissue(person.renal_hu + 170 * agent),
            renal_medulla=Tissue(person.renal_hu - person.medulla + 150 * agent * late),
            renal_sinus=_mixed_with_fat(FLUID, visceral_fat, person.sinus_fat),
            urine=Tissue(8 + (600 * agent if late > 0.8 else 0)),
            spongy=Tissue(person.spongy_hu),
            cortical=Tissue(person.cortical_hu + 0.5 * person.spongy_hu),
            endplate=Tissue(0.6 * person.cortical_hu + 0.5 * person.spongy_hu),
            cartilage=Tissue(person.cartilage_hu),
        )


def _mixed_with_fat(tissue: Tissue, fat: Tissue, share: float) -> Tissue:
    """A tissue with a share of fat in it; it has the label of what there is more of."""
    label = fat.label if share >= 0.5 else tissue.label
    return Tissue(tissue.hu + share * (fat.hu - tissue.hu), label)
