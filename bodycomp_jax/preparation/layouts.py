"""Folders of data sets that many people have, as cases."""

import dataclasses
import glob
import os
import re

from bodycomp_jax.data.scans.nifti import is_nifti_name
from bodycomp_jax.data.table import read_table
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.json_files import read_json_object

TOTALSEGMENTATOR_MASKS = ('tissue_types', 'segmentations')  # the first that a subject has


@dataclasses.dataclass(frozen=True)
class Layout:
    """Values of each case by column, the preset of the labels, and their names by number."""

    cases: list[dict[str, str]]
    preset: str = ''
    names: dict[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def read_layout(folder: str) -> Layout:
    """The cases in a folder, sorted by name.

    nnU-Net raw: `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, and the names of the labels in
    `dataset.json`. TotalSegmentator: `CASE/ct.nii.gz` with `CASE/tissue_types` or
    `CASE/segmentations`, and the splits of `meta.csv`. SAROS: `CASE/image.nii.gz` with
    `CASE/body-regions.nii.gz`, and the folds, test set and patients of a CSV file beside.

    Raises InputError for any other folder.
    """
    if os.path.isdir(os.path.join(folder, 'labelsTr')):
        return _nnunet(folder)
    if glob.glob(os.path.join(glob.escape(folder), '*', 'ct.nii.gz')):
        return _totalsegmentator(folder)
    if glob.glob(os.path.join(glob.escape(folder), '*', 'body-regions.nii.gz')):
        return _saros(folder)
    raise InputError(
        f'{folder}: neither nnU-Net raw data (labelsTr), nor the data set of TotalSegmentator '
        '(*/ct.nii.gz) or SAROS (*/body-regions.nii.gz); write a table (CSV) with the columns '
        'image and mask, and give its path'
    )


def _nnunet(folder: str) -> Layout:
    about = read_json_object(os.path.join(folder, 'dataset.json'))
    ending = about.get('file_ending', '.nii.gz')
    labels = about.get('labels')
    if not isinstance(labels, dict) or not isinstance(ending, str):
        raise InputError(
            f'{folder}/dataset.json: no "labels" with a number for each name; write them as '
            'nnU-Net wants them, such as {"background": 0, "muscle": 1}'
        )
    if not is_nifti_name(ending):
        raise InputError(
            f'{folder}/dataset.json: the "file_ending" is {ending!r}; convert the images and '
            'labels to .nii.gz'
        )
    labels_folder = os.path.join(glob.escape(folder), 'labelsTr')
    cases = []
    for path in sorted(glob.glob(os.path.join(labels_folder, f'*{glob.escape(ending)}'))):
        name = os.path.basename(path).removesuffix(ending)
        image = os.path.join(folder, 'imagesTr', f'{name}_0000{ending}')
        cases.append({'image': image, 'mask': path, 'patient': name})
    return Layout(cases, names=_names(folder, labels))


def _names(folder: str, labels: dict[str, object]) -> dict[int, tuple[str, ...]]:
    """{number: (name,)}; older data sets have the numbers as keys."""
    names: dict[int, tuple[str, ...]] = {}
    for key, value in labels.items():
        name, number = (value, key) if str(key).isdecimal() else (key, value)
        if not isinstance(name, str) or not re.fullmatch(r'\d{1,9}', str(number), re.ASCII):
            raise InputError(
                f'{folder}/dataset.json: the label {key!r}: {value!r} is not a name with a number; '
                'regions of several labels are not read: write one number for each name'
            )
        names[int(str(number))] = (name,)
    return names


def _totalsegmentator(folder: str) -> Layout:
    table = os.path.join(folder, 'meta.csv')
    splits = _column_by_case(table, 'image_id', 'split', ';') if os.path.exists(table) else {}
    cases = []
    for image in sorted(glob.glob(os.path.join(glob.escape(folder), '*', 'ct.nii.gz'))):
        subject = os.path.dirname(image)
        name = os.path.basename(subject)
        masks = [os.path.join(subject, mask) for mask in TOTALSEGMENTATOR_MASKS]
        case = {'image': image, 'patient': name, 'split': splits.get(name, '')}
        case['mask'] = next(filter(os.path.isdir, masks), masks[-1])
        case['vertebrae'] = masks[-1] if os.path.isdir(masks[-1]) else ''
        cases.append(case)
    return Layout(cases, preset='totalsegmentator')


def _saros(folder: str) -> Layout:
    """Its table gives each case a fold, or the test set."""
    patients: dict[str, str] = {}
    splits: dict[str, str] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), '*.csv'))):
        header = read_table(path).header
        for values, column in ((patients, 'patient_id'), (splits, 'split')):
            if 'id' in header and column in header:
                values |= _column_by_case(path, 'id', column, ',')
    cases = []
    for mask in sorted(glob.glob(os.path.join(glob.escape(folder), '*', 'body-regions.nii.gz'))):
        subject = os.path.dirname(mask)
        name = os.path.basename(subject)
        split = splits.get(name, '')
        where = {'split': split} if split in ('', 'test') else {'fold': split}
        image = os.path.join(subject, 'image.nii.gz')
        cases.append({'image': image, 'mask': mask, 'patient': patients.get(name, name), **where})
    return Layout(cases, preset='saros')


def _column_by_case(path: str, key: str, column: str, separator: str) -> dict[str, str]:
    table = read_table(path, separator)
    missing = next((name for name in (key, column) if name not in table.header), None)
    if missing is not None:
        raise InputError(
            f'{path}: no column {missing}; take the table that belongs to this data set, or move '
            'it away'
        )
    keys, values = table.names_in(key), table.names_in(column)
    return dict(zip(keys, values, strict=True))
