"""HU of tissues, with and without contrast agent, and which of them have labels."""

import dataclasses

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data import phantom
from bodycomp_jax.data.phantom.tissue import Tissues

PERSON = phantom.PLAIN.draw_person(np.random.default_rng(0))


def tissues_with(**given):
    return Tissues.of(dataclasses.replace(PERSON, **given))


def test_muscle_and_both_fats_have_labels_and_nothing_else():
    labels = {
        name: tissue.label
        for name, tissue in tissues_with(sinus_fat=0.0)._asdict().items()
        if tissue.label
    }
    own = {name: label for label, name in enumerate(ct.TISSUES, start=1)}
    assert labels == {**own, 'aponeurosis': own['muscle']}


def test_without_contrast_agent_blood_is_like_an_organ():
    plain = tissues_with(enhancement=0.0)
    assert plain.blood.hu == plain.venous_blood.hu == 42
    assert max(plain.liver.hu, plain.spleen.hu, plain.renal_cortex.hu, plain.urine.hu) < 60


def test_contrast_agent_goes_from_arteries_to_veins_and_urine():
    early, venous, late = (tissues_with(enhancement=1.0, phase=phase) for phase in (0, 0.65, 1))
    assert early.blood.hu > venous.blood.hu > late.blood.hu > 100
    assert early.venous_blood.hu < 100 < venous.venous_blood.hu
    assert early.renal_cortex.hu - early.renal_medulla.hu > 100
    assert late.renal_cortex.hu - late.renal_medulla.hu < 50
    assert early.urine.hu == venous.urine.hu < 20 < 500 < late.urine.hu
    assert early.liver.hu < late.liver.hu


def test_without_contrast_agent_the_medulla_is_darker_than_the_cortex_by_as_much_as_is_drawn():
    for darker in (0.0, 15.0):
        tissues = tissues_with(enhancement=0.0, medulla=darker)
        assert tissues.renal_cortex.hu - tissues.renal_medulla.hu == darker


def test_the_renal_sinus_is_what_there_is_more_of():
    watery, fatty = tissues_with(sinus_fat=0.4), tissues_with(sinus_fat=0.5)
    fat = fatty.visceral_fat
    assert (watery.renal_sinus.label, fatty.renal_sinus.label) == (0, fat.label)
    assert fat.hu < fatty.renal_sinus.hu < watery.renal_sinus.hu < 10
    assert tissues_with(sinus_fat=1.0).renal_sinus == fat


def test_water_makes_fat_brighter():
    dry, wet = tissues_with(), tissues_with(oedema=1.0, soaked=1.0)
    assert wet.subcutaneous_fat.hu > dry.subcutaneous_fat.hu
    assert wet.visceral_fat.hu > dry.visceral_fat.hu + 50
