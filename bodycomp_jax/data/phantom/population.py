"""From what distributions the people are drawn: one line a parameter.

The ranges are wider than those of patients, so that patients lie inside: B. Billot et al.,
"SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining",
Medical Image Analysis 2023.
"""

import dataclasses
from typing import Any, Self

import numpy as np


class Distribution:
    """Of one number."""

    def __init__(self, kind: str, low: float, high: float, share: float = 1.0) -> None:
        self.kind, self.low, self.high, self.share = kind, low, high, share

    def draw(self, rng: np.random.Generator) -> float:
        """A number; 0 in those subjects that do not have what it describes."""
        position, present = rng.random(), rng.random() < self.share
        if not present:
            return 0.0
        if self.kind == 'log':
            return float(self.low * (self.high / self.low) ** position)
        return float(self.low + (self.high - self.low) * position)


def uniform(low: float, high: float, about: str, share: float = 1.0) -> Any:
    """Between two limits, in that `share` of the subjects who have it at all."""
    return _field(Distribution('uniform', low, high, share), about)


def log(low: float, high: float, about: str, share: float = 1.0) -> Any:
    """Between two limits, its logarithm uniformly."""
    return _field(Distribution('log', low, high, share), about)


def _field(distribution: Distribution, about: str) -> Any:
    return dataclasses.field(metadata={'distribution': distribution, 'about': about})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """What is drawn once per subject. Lengths in mm, HU, shares of 1; t counts vertebrae from L5."""

    # Size and shape
    vertebra: float = uniform(28, 39, 'height of L5 with its disc, mm')
    build: float = uniform(0.92, 1.08, 'size of bones and organs, times that of the vertebrae')
    half_width: float = log(102, 172, 'half the width inside the subcutaneous fat at L3, mm')
    roundness: float = uniform(0.58, 0.86, 'depth by width of the same')
    squareness: float = uniform(2.0, 2.9, 'exponent of the superellipse of the trunk')
    belly: float = uniform(-0.12, 0.3, 'how much deeper the front is than the back')
    corner: float = uniform(-5, 18, 'how far the wall bulges between the side and the back, mm')
    asymmetry: float = uniform(0.002, 0.02, 'irregularity of the outlines')
    scoliosis: float = uniform(-14, 14, 'sideways bend of the spine, mm')
    bend: float = uniform(1.0, 4.5, 'displacement of all tissues by smooth fields, mm')
    # Subcutaneous fat
    fat: float = log(3, 48, 'mean thickness, mm')
    fat_front: float = uniform(0.45, 1.3, 'in front, times the mean')
    fat_side: float = uniform(0.5, 1.2, 'at the side')
    fat_flank: float = uniform(0.8, 2.3, 'at the flank, behind the side')
    fat_back: float = uniform(0.5, 1.6, 'beside the spine')
    fat_spine: float = uniform(0.15, 0.7, 'over the spinous processes')
    fat_hips: float = uniform(0.9, 2.0, 'at the hips, times that at L3')
    fat_chest: float = uniform(0.35, 1.0, 'at the chest, times that at L3')
    fat_uneven: float = uniform(0.03, 0.2, 'irregularity of the thickness')
    breasts: float = uniform(5, 45, 'thickness of the breasts, mm', share=0.4)
    flattened: float = uniform(0.0, 0.75, 'how much of the fat below is pressed flat by the couch')
    folds: float = uniform(2, 14, 'depth of folds of the skin, mm', share=0.25)
    fascia: float = uniform(0.25, 0.8, "place of Scarpa's fascia in the fat", share=0.5)
    septa: float = uniform(0.0, 1.0, 'septa and vessels in the fat')
    oedema: float = uniform(0.2, 1.0, 'water in the subcutaneous fat', share=0.12)
    # Muscle
    muscle: float = log(0.6, 1.25, 'thickness of all muscles')
    wall: float = log(0.55, 1.6, 'thickness of the abdominal wall besides')
    planes: float = log(0.1, 4.0, 'fat between the layers of the wall, mm')
    diastasis: float = log(2, 45, 'width of the linea alba, mm')
    fascia_hu: float = uniform(-50, 45, 'HU of the fascia inside and outside the wall')
    seams: float = log(0.3, 4.5, 'fat between the muscles of the back, mm')
    infiltration: float = uniform(0.0, 1.0, 'fat within the muscles', share=0.75)
    # Contents of the abdomen
    bowel: float = log(40, 240, 'loops of small bowel')
    colon: float = uniform(12, 33, 'radius of the colon, mm')
    stool: float = uniform(0.0, 1.0, 'share of the colon that is filled with stool')
    gas: float = uniform(0.1, 0.7, 'share of loops with gas')
    oral_contrast: float = log(80, 700, 'HU of contrast agent in the bowel', share=0.25)
    vessels: float = uniform(0.0, 1.0, 'vessels of the mesentery')
    stranding: float = uniform(0.0, 1.0, 'stranding of the visceral fat', share=0.5)
    soaked: float = uniform(0.2, 1.0, 'water in the visceral fat', share=0.1)
    ascites: float = uniform(2, 40, 'depth of free fluid, mm', share=0.12)
    masses: float = uniform(1, 8, 'lumps of any density', share=0.4)
    renal_fascia: float = uniform(0.3, 1.0, 'thickness of the renal fascia, mm', share=0.7)
    # Density
    fat_hu: float = uniform(-118, -88, 'HU of fat')
    muscle_hu: float = uniform(35, 75, 'HU of muscle')
    enhancement: float = uniform(0.1, 1.0, 'contrast agent in the vessels', share=0.75)
    phase: float = uniform(0.0, 1.0, 'from arterial (0) to delayed (1)')
    spongy_hu: float = uniform(60, 290, 'HU of spongy bone')
    cortical_hu: float = uniform(280, 800, 'HU of cortical bone')
    # Bones
    ribs: float = uniform(-0.1, 0.1, 'height of the ribs, t')
    last_rib: float = uniform(0.0, 0.5, 'length of the twelfth rib')
    crest: float = uniform(0.38, 0.82, 'height of the iliac crest, t')
    osteophytes: float = uniform(1, 8, 'length of osteophytes, mm', share=0.35)
    calcification: float = uniform(0.1, 1.0, 'calcified wall of the aorta', share=0.45)
    # What is not the trunk
    arms: float = uniform(0.8, 1.25, 'size of arms beside the trunk', share=0.25)
    screws: float = uniform(0.5, 1.0, 'screws in two neighbouring vertebrae', share=0.04)
    prosthesis: float = uniform(0.5, 1.0, 'prosthesis of a hip', share=0.04)
    tubes: float = uniform(1, 6, 'wires and tubes on the skin', share=0.3)
    blanket: float = uniform(2, 14, 'distance of clothes from the skin, mm', share=0.4)

    @classmethod
    def draw(cls, rng: np.random.Generator, **given: float) -> Self:
        """A person; the parameters that are `given` are not drawn."""
        drawn = {
            field.name: field.metadata['distribution'].draw(rng)
            for field in dataclasses.fields(cls)
        }
        return cls(**{**drawn, **given})
