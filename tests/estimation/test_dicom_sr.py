"""Structured reports of what is measured."""

import highdicom
import numpy as np
import pytest
from scan_files import HU, write_slice

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.data.scans.dicom_file import write_dicom
from bodycomp_jax.estimation.dicom_seg import segmentation
from bodycomp_jax.estimation.dicom_source import read_source
from bodycomp_jax.estimation.dicom_sr import structured_report

NUMBERS = {
    'muscle_area_cm2': 170.25,
    'muscle_mean_hu': 41.5,
    'muscle_median_hu': 43.0,
    'muscle_std_hu': 20.5,
    'muscle_iqr_hu': 30.0,
    'visceral_fat_area_cm2': 90.5,
    'visceral_fat_mean_hu': None,
}


def report(tmp_path, level):
    write_slice(tmp_path / 'a.dcm', PatientName='Anna')
    source = read_source(find_series(tmp_path / 'a.dcm').series[0].slices[0])
    labels = np.zeros(HU.shape, np.uint8)
    labels[0], labels[2] = 1, 3
    made = segmentation(source, labels, level=level, model='runs/a')
    path = str(tmp_path / 'sr.dcm')
    write_dicom(path, structured_report(source, made, NUMBERS, level=level, model='runs/a'))
    return highdicom.sr.srread(path), made


def test_each_tissue_has_its_numbers_site_and_segment(tmp_path):
    found, made = report(tmp_path, 'L3')
    groups = found.content.get_planar_roi_measurement_groups()
    measured = [
        {
            (each.name.value, each.unit.value, getattr(each.derivation, 'value', '')): each.value
            for each in group.get_measurements()
        }
        for group in groups
    ]
    unit = "[hnsf'U]"
    assert measured == [
        {
            ('42798000', 'cm2', ''): 170.25,
            ('112031', unit, '373098007'): 41.5,
            ('112031', unit, '373099004'): 43,
            ('112031', unit, '386136009'): 20.5,
        },
        {('42798000', 'cm2', ''): 90.5},
    ]
    assert [group.finding_type.value for group in groups] == ['127954009', '55603005']
    assert {group.finding_sites[0].value.value for group in groups} == {'36470004'}
    assert (found.PatientName, found.StudyInstanceUID) == ('Anna', '1.2.3')
    references = {
        (str(item.ReferencedSOPInstanceUID), item.get('ReferencedFrameNumber'))
        for item in instances(found)
    }
    uid = str(made.SOPInstanceUID)
    assert references == {('1.2.3.4.0', None), (uid, None), (uid, 1), (uid, 2)}


def test_fat_in_muscle_that_is_labelled_apart_has_its_numbers(tmp_path):
    write_slice(tmp_path / 'a.dcm')
    source = read_source(find_series(tmp_path / 'a.dcm').series[0].slices[0])
    labels = np.full(HU.shape, 4, np.uint8)
    made = segmentation(source, labels, level='L3', model=None)
    numbers = {'intermuscular_fat_area_cm2': 10.25}
    path = str(tmp_path / 'sr.dcm')
    write_dicom(path, structured_report(source, made, numbers, level='L3', model=None))
    (group,) = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert [each.value for each in group.get_measurements()] == [10.25]


@pytest.mark.parametrize('level', ['slice', 'X9'])
def test_slices_at_no_vertebra_are_of_the_abdomen(tmp_path, level):
    found, _ = report(tmp_path, level)
    group, _ = found.content.get_planar_roi_measurement_groups()
    assert group.finding_sites[0].value.value == '818981001'


def instances(dataset):
    for element in dataset:
        if element.VR == 'SQ':
            for item in element.value:
                if 'ReferencedSOPInstanceUID' in item:
                    yield item
                yield from instances(item)
