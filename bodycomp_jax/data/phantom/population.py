"""From what distributions the people are drawn: one line a parameter.

The ranges are wider than those of patients, so that patients are inside: B. Billot et al.,
"SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining",
Medical Image Analysis 2023.
"""

import dataclasses
from typing import Any, Self

import numpy as np

from bodycomp_jax.data.phantom.distributions import Choice, Range


def drawn(what: str, low: float, high: float, chance: float = 1.0, *, log: bool = False) -> Any:
    """A field of `Person`, uniform between two limits."""
    return _field(Range(what, low, high, chance, log))


def chosen(what: str, *values: float, chance: float = 1.0) -> Any:
    """A field of `Person` that is one of some values."""
    return _field(Choice(what, values, chance))


def _field(distribution: Range | Choice) -> Any:
    return dataclasses.field(metadata={'distribution': distribution})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """What is drawn once per subject. Lengths in mm; t counts vertebrae, see `curves`."""

    # Size and shape
    vertebra: float = drawn('height of L5 with its disc, mm', 31, 44)
    build: float = drawn('size of bones and organs, times that of the vertebrae', 0.92, 1.08)
    half_width: float = drawn(
        'half the width inside the subcutaneous fat at L3, mm', 102, 172, log=True
    )
    roundness: float = drawn('depth by width of the same', 0.58, 0.86)
    squareness: float = drawn('exponent of the superellipse of the trunk', 2.0, 2.9)
    belly: float = drawn('how much deeper the front is than the back', -0.12, 0.3)
    corner: float = drawn('how far the wall bulges between the side and the back, mm', -5, 18)
    asymmetry: float = drawn('irregularity of the outlines', 0.002, 0.02)
    scoliosis: float = drawn('sideways bend of the spine, mm', -14, 14)
    lopsided: float = drawn('how much larger muscles and joints are on one side', -0.1, 0.1)
    bend: float = drawn('displacement of all tissues by smooth fields, mm', 1.0, 4.5)
    # Subcutaneous fat
    fat: float = drawn('mean thickness, mm', 3, 48, log=True)
    fat_front: float = drawn('in front, times the mean', 0.45, 1.3)
    fat_side: float = drawn('at the side', 0.5, 1.2)
    fat_flank: float = drawn('at the flank, behind the side', 0.8, 4.0, log=True)
    fat_back: float = drawn('beside the spine', 0.5, 1.6)
    fat_spine: float = drawn('over the spinous processes', 0.15, 0.7)
    fat_hips: float = drawn('at the hips, times that at L3', 0.9, 2.0)
    fat_chest: float = drawn('at the chest, times that at L3', 0.35, 1.0)
    fat_uneven: float = drawn('irregularity of the thickness', 0.03, 0.2)
    breasts: float = drawn('thickness of the breasts, mm', 5, 45, 0.4)
    flattened: float = drawn('how much of the fat below is pressed flat by the couch', 0.0, 0.75)
    folds: float = drawn('depth of folds of the skin, mm', 2, 14, 0.25)
    fascia: float = drawn("place of Scarpa's fascia in the fat", 0.25, 0.8, 0.5)
    septa: float = drawn('septa and vessels in the fat', 0.0, 1.0)
    oedema: float = drawn('oedema of the subcutaneous fat', 0.2, 1.0, 0.12)
    # Muscle
    muscle: float = drawn('thickness of all muscles', 0.6, 1.5, log=True)
    wall: float = drawn('additional factor: thickness of the abdominal wall', 0.55, 1.9, log=True)
    psoas: float = drawn('additional factor: thickness of the psoas', 0.7, 1.4, log=True)
    psoas_apart: float = drawn(
        'distance of the psoas from the midline below L4, times the usual', 0.92, 1.1
    )
    back: float = drawn(
        'additional factor: thickness of the muscles along the spine', 0.85, 1.18, log=True
    )
    multifidus: float = drawn('additional factor: thickness of the multifidus', 0.75, 1.3, log=True)
    quadratus: float = drawn(
        'additional factor: thickness of the quadratus lumborum', 0.5, 1.15, log=True
    )
    planes: float = drawn('fat between the layers of the wall, mm', 0.1, 2.5, log=True)
    diastasis: float = drawn('width of the linea alba, mm', 2, 45, log=True)
    fascia_hu: float = drawn('HU of the fascia inside and outside the wall', -50, 45)
    seams: float = drawn('fat between the muscles of the back, mm', 0.1, 3.5, log=True)
    infiltration: float = drawn('fat within the muscles', 0.0, 1.0, 0.75)
    # Contents of the abdomen
    bowel: float = drawn('loops of small bowel', 40, 240, log=True)
    colon: float = drawn('radius of the colon, mm', 12, 33)
    stool: float = drawn('share of the colon that is filled with stool', 0.0, 1.0)
    stool_hu: float = drawn('HU of stool without its gas', -120, 70)
    stool_gas: float = drawn('bubbles in stool, HU', 30, 700, log=True)
    gas: float = drawn('share of the colon with gas, of small bowel 0.4 times that', 0.1, 0.7)
    oral_contrast: float = drawn('HU of contrast agent in the bowel', 80, 700, 0.25, log=True)
    properitoneal: float = drawn('fat between the wall and the organs, mm', 0.5, 6, 0.6, log=True)
    vessels: float = drawn('vessels of the mesentery', 0.0, 1.0)
    stranding: float = drawn('stranding of the visceral fat', 0.0, 1.0, 0.5)
    soaked: float = drawn('oedema of the visceral fat', 0.2, 1.0, 0.1)
    ascites: float = drawn('depth of free fluid, mm', 2, 40, 0.12)
    masses: float = drawn('masses of any density', 1, 8, 0.4)
    renal_fascia: float = drawn('thickness of the renal fascia, mm', 0.3, 1.0, 0.7)
    renal_capsule: float = drawn('fat between a kidney and what it touches, mm', 0.1, 2.5)
    renal_fat: float = drawn('fat around the kidneys, mm', 2, 24, log=True)
    # Density
    fat_hu: float = drawn('HU of fat', -118, -88)
    muscle_hu: float = drawn('HU of muscle', 12, 75)
    liver_hu: float = drawn('HU of the liver without contrast agent', 5, 75)
    renal_hu: float = drawn('HU of the kidneys without contrast agent', 12, 42)
    medulla: float = drawn('how much less their medulla has, HU', 0, 20)
    sinus_fat: float = drawn('share of fat in the renal sinus', 0.0, 1.0)
    enhancement: float = drawn('contrast agent in the vessels', 0.05, 1.0, 0.6)
    phase: float = drawn('from arterial (0) to delayed (1)', 0.0, 1.0)
    spongy_hu: float = drawn('HU of spongy bone', 40, 230)
    cortical_hu: float = drawn('HU of cortical bone', 280, 800)
    cartilage_hu: float = drawn('HU of the cartilage of ribs', 70, 170)
    # Bones, and where organs are along them
    landmarks: float = drawn(
        'spread of the heights of organs, vessels, muscles and hips, times the usual', 0.4, 1.2
    )
    diaphragm: float = drawn('how much higher than usual the diaphragm is, t', -1.3, 0.3)
    discs: float = drawn('share of the discs in the height of the spine', 0.18, 0.3)
    lordosis: float = drawn('tilts of the vertebrae, times the usual', 0.2, 1.4)
    lean: float = drawn('tilt of all vertebrae, degrees', -6, 6)
    bodies: float = drawn('depth of the vertebral bodies, times the usual', 0.92, 1.15)
    taper: float = drawn('how much narrower each vertebra is than the one below, mm', 0.8, 2.6)
    processes: float = drawn('length of the processes of vertebrae, times the usual', 0.8, 1.2)
    process_width: float = drawn('thickness of these processes, times the usual', 0.4, 1.0)
    transverse: float = drawn('extent of the transverse processes along the spine, t', 0.2, 0.45)
    spinous: float = drawn('extent of the spinous processes along the spine, t', 0.4, 0.8)
    arches: float = drawn('how much higher than usual the arches of vertebrae are, t', -0.15, 0.15)
    uneven: float = drawn('how much vertebrae differ from each other, times the usual', 0.0, 1.5)
    ribs: float = drawn('height of the ribs, t', -0.2, 0.2)
    rib_fall: float = drawn('how far the ribs fall, times the usual', 0.93, 1.07)
    last_rib: float = drawn('length of the twelfth rib', 0.0, 0.5)
    crest: float = drawn('height of the iliac crest, t', 0.3, 1.25)
    osteophytes: float = drawn('length of osteophytes, mm', 1, 8, 0.35)
    lumbar: float = chosen('lumbar vertebrae more than five', -1, 1, chance=0.08)
    lumbar_rib: float = drawn('length of a rib of L1', 0.05, 0.4, 0.04)
    sacralisation: float = drawn(
        'how far the transverse processes of the last vertebra join the sacrum', 0.7, 1.0, 0.06
    )
    calcification: float = drawn('calcified wall of the aorta', 0.1, 1.0, 0.45)
    # What is not the trunk
    arms: float = drawn('size of arms beside the trunk', 0.8, 1.25, 0.25)
    screws: float = drawn('screws in two neighbouring vertebrae', 0.5, 1.0, 0.04)
    prosthesis: float = drawn('prosthesis of a hip', 0.5, 1.0, 0.04)
    tubes: float = drawn('wires and tubes on the skin', 1, 6, 0.3)
    blanket: float = drawn('distance of clothes from the skin, mm', 2, 14, 0.4)

    @property
    def back_muscle(self) -> float:
        """Thickness of the muscles along the spine."""
        return self.muscle * self.back

    @property
    def depth_of_back(self) -> float:
        """From the spine to the fascia behind the muscles along it, times the usual."""
        return 0.6 + 0.4 * self.back_muscle

    @classmethod
    def draw(cls, rng: np.random.Generator, width: float = 1.0, **given: float) -> Self:
        """A person, within the middle `width` of each range.

        The parameters that are `given` are not drawn.
        """
        values = {
            field.name: field.metadata['distribution'].draw(rng, width)
            for field in dataclasses.fields(cls)
        }
        return cls(**{**values, **given})
