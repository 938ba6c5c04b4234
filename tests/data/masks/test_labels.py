import dataclasses

import numpy as np
import pytest

from bodycomp_jax.data.masks.labels import (
    HULimits,
    UnexplainedLabelError,
    add_class,
    label_map,
    whole_numbers,
)
from bodycomp_jax.errors import InputError


def labels(values, names=(), **options):
    return label_map(**options).labels(np.array(values), dict(names), 'mask.nii').tolist()


def test_numbers_become_labels_and_what_is_not_labelled_stays_so():
    options = {'muscle': ['4', '7'], 'subcutaneous_fat': ['300'], 'visceral_fat': ['-1']}
    assert labels([[0, 4, 7], [300, -1, 255]], **options) == [[0, 1, 1], [2, 3, 255]]


def test_presets_know_their_numbers():
    assert labels([1, 2, 3, 4], preset='totalsegmentator') == [2, 3, 1, 0]
    assert labels([0, 1, 2, 5, 7, 255], preset='alberta') == [0, 1, 0, 3, 2, 255]
    limits = HULimits()
    saros = labels([1, 2, 3, *range(4, 14), 255], preset='saros', hu_limits=limits)
    assert saros == [2, 1, 3, *[0] * 10, 255]


def test_fat_in_muscle_is_background_or_a_label_of_its_own():
    names = {4: ('Intermuscular fat',)}
    for options in ({'preset': 'totalsegmentator'}, {'background': ['4']}):
        assert labels([4], **options) == [0]
    assert labels([4], preset='totalsegmentator', intermuscular_fat=()) == [4]
    assert labels([2], preset='alberta', intermuscular_fat=()) == [4]
    assert labels([9], intermuscular_fat=['9']) == [4]
    assert labels([4], names, intermuscular_fat=()) == [4]
    with pytest.raises(UnexplainedLabelError, match='Intermuscular fat'):
        labels([4], names)
    with pytest.raises(InputError, match=r'--intermuscular_fat: .* given to another flag too'):
        labels([4], muscle=['4'], intermuscular_fat=['4'])


def test_names_differ_in_case_and_punctuation_only():
    names = {5: ('Skeletal Muscle',), 6: ('subcutaneous-fat',), 7: ('Liver', 'SRT:T-62000')}
    assert labels([5, 6, 7], names, muscle=['skeletal_muscle'], background=['srt t 62000']) == [
        1,
        2,
        0,
    ]


def test_a_name_goes_before_the_numbers_of_a_preset():
    """Label 1 of TotalSegmentator's task 'total' is the spleen, of 'tissue_types' fat."""
    with pytest.raises(UnexplainedLabelError, match=r'label 1 \(spleen\) means'):
        labels([0, 1], {1: ('spleen',)}, preset='totalsegmentator')
    assert labels([9], {9: ('torso_fat',)}, preset='totalsegmentator') == [3]


def test_flags_go_before_a_preset():
    assert labels([2, 255], preset='alberta', muscle=['2'], visceral_fat=['255']) == [1, 3]
    names = {1: ('spleen',)}
    assert labels([1], names, preset='totalsegmentator', muscle=['1']) == [1]


def test_the_names_of_tissues_need_no_flag():
    names = {0: ('background',), 1: ('visceral fat',), 2: ('muscle',), 3: ('ignore',)}
    assert labels([0, 1, 2, 3], names) == [0, 3, 1, 255]


def test_a_class_with_a_name_is_never_what_nobody_labelled():
    with pytest.raises(UnexplainedLabelError, match=r'255 \(liver\)'):
        labels([255], {255: ('liver',)})


def test_labels_that_nothing_explains_are_named():
    message = r'mask\.nii: .* label 3, 9 means; .*--muscle, .*--background .*--labels'
    with pytest.raises(UnexplainedLabelError, match=message):
        labels([0, 1, 3, 9, 255], muscle=['1'])


def test_all_others_can_be_background():
    options = {'muscle': ['1'], 'background': ['others']}
    assert labels([0, 1, 3, 9, 255], **options) == [0, 1, 0, 0, 255]
    assert label_map(**options).label_of_class(('liver',), 'liver.nii') == 0


def test_names_that_no_mask_has_are_told():
    meaning = label_map(muscle=['Muscel', '1'], visceral_fat=['Fat'], background=['others', '9'])
    assert meaning.unseen() == [
        '--muscle=Muscel',
        '--muscle=1',
        '--visceral_fat=Fat',
        '--background=9',
    ]
    meaning.labels(np.array([0, 1, 2]), {2: ('fat',)}, 'a.nii')
    assert meaning.unseen() == ['--muscle=Muscel', '--background=9']
    meaning.label_of_class(('muscel',), 'muscel.nii')
    assert meaning.unseen() == ['--background=9']
    assert label_map('alberta').unseen() == []


def test_a_class_without_a_number_is_explained_by_its_name_alone():
    with pytest.raises(UnexplainedLabelError, match=r'liver\.nii: .* label liver means'):
        label_map(muscle=['1']).label_of_class(('liver',), 'liver.nii')
    assert label_map(muscle=['3']).label_of_class(('liver',), 'a.dcm', 3) == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'preset': 'slicer'}, '--labels=slicer: .* totalsegmentator, alberta, saros'),
        ({'preset': 'saros'}, '--labels=saros: .* regions, .* add --hu_limits'),
        ({'muscle': ['1'], 'background': ['1']}, "--background: '1' .* another flag"),
        ({'muscle': ['Fat'], 'visceral_fat': ['fat ']}, "--visceral_fat: 'fat ' .* another flag"),
        ({'muscle': [' ']}, 'an empty name'),
        ({'muscle': ['others']}, "'others' can only be background"),
    ],
)
def test_label_maps_that_contradict_themselves_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        label_map(**options)


def test_hu_limits_turn_regions_into_tissues():
    regions = np.array([[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3], [0, 255, 1, 2]], np.uint8)
    hu = np.array(
        [[-30, -29, 150, 151], [-191, -190, -30, -29], [-151, -150, -50, -49], [40, 40, -90, 40]]
    )
    expected = [[0, 1, 1, 0], [0, 2, 2, 0], [0, 3, 3, 0], [0, 255, 0, 0]]
    limited = label_map('saros', hu_limits=HULimits())
    assert limited.tissues(regions, hu).tolist() == expected
    wider = dataclasses.replace(HULimits(), visceral_fat=(-190, -30))
    assert label_map(hu_limits=wider).tissues(regions, hu)[2].tolist() == [3, 3, 3, 3]
    assert label_map('alberta').tissues(regions, hu) is regions


def test_what_nobody_labelled_covers_all_classes():
    labels = np.zeros(4, np.uint8)
    add_class(labels, np.array([True, True, False, False]), 1, 'a')
    add_class(labels, np.array([False, True, True, False]), 255, 'b')
    add_class(labels, np.array([False, True, False, True]), 2, 'c')
    add_class(labels, np.ones(4, bool), 0, 'd')
    assert labels.tolist() == [1, 255, 255, 2]


def test_pixels_of_two_tissues_are_refused():
    labels = np.array([1, 1, 0], np.uint8)
    with pytest.raises(InputError, match=r'fat\.nii: 2 of its pixels are also of another class'):
        add_class(labels, np.ones(3, bool), 2, 'fat.nii')


def test_floats_that_are_whole_numbers_are_labels():
    assert whole_numbers(np.array([0.0, 2.9999, 255.0]), 'a').tolist() == [0, 3, 255]


@pytest.mark.parametrize('value', [0.5, np.nan, np.inf, -1e30])
def test_other_floats_are_refused(value):
    with pytest.raises(InputError, match=r'a\.nii: has the value .*, but labels are whole numbers'):
        whole_numbers(np.array([0, value]), 'a.nii')
