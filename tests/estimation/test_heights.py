"""How tall patients are."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.heights import height_of, read_heights


@pytest.mark.parametrize(
    ('text', 'metres', 'flag'),
    [
        ('', None, ''),
        ('0', None, ''),
        ('1.75', 1.75, ''),
        ('175', 1.75, 'height_in_cm'),
        ('0.2', None, 'height_improbable'),
        ('2.9', None, 'height_improbable'),
        ('17.5', None, 'height_improbable'),
        ('1750', None, 'height_improbable'),
        ('-1', None, 'height_improbable'),
    ],
)
def test_heights_in_files_are_in_metres_or_centimetres(text, metres, flag):
    assert height_of({'patient_size': text}) == (metres, flag)


@pytest.mark.parametrize('header', ['patient_id,height_m', 'height_m,patient_id,height_cm'])
def test_a_table_has_heights(tmp_path, header):
    path = tmp_path / 'patients.csv'
    rows = ['P1,1.5', 'P2,', 'P1,1.5'] if header[0] == 'p' else ['1.5,P1,9', ',P2,9']
    path.write_text('\n'.join([header, *rows]))
    assert read_heights(str(path)) == {'P1': 1.5}
    path.write_text('patient_id,height_cm\nP1,150')
    assert read_heights(str(path)) == {'P1': 1.5}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('patient_id,height\nP1,1.5', 'name them patient_id, and height_m or height_cm'),
        ('id,height_m\nP1,1.5', 'name them patient_id'),
        ('patient_id,height_m\nP1,150', "row 0, column height_m: '150' is not a height"),
        ('patient_id,height_m\nP1,nan', "'nan' is not a height"),
        ('patient_id,height_m\nP1,tall', "'tall' is not a height"),
        ('patient_id,height_m\n,1.5', 'row 0 names no patient_id'),
        ('patient_id,height_m\nP1,1.5\nP1,1.6', 'row 1: patient P1 has another height'),
    ],
)
def test_other_tables_are_refused(tmp_path, content, message):
    (tmp_path / 'patients.csv').write_text(content)
    with pytest.raises(InputError, match=f'patients.csv: .*{message}'):
        read_heights(str(tmp_path / 'patients.csv'))
