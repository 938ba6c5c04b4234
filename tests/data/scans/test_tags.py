import struct

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from bodycomp_jax.data.scans.tags import Elements, named, shown, tag_of
from bodycomp_jax.errors import InputError


def elements(little_endian=True, **values):
    return Elements(
        {
            tag_of(keyword): RawDataElement(
                BaseTag(tag_of(keyword)), 'UN', len(value), value, 0, False, little_endian
            )
            for keyword, value in values.items()
        }
    )


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(b'CT', 'CT'), (b'CT ', 'CT'), (b'1.2\0', '1.2'), (b'DERIVED \\PRIMARY', 'DERIVED\\PRIMARY')],
)
def test_codes_come_without_padding(value, expected):
    assert elements(Modality=value).text('Modality') == expected
    assert elements().text('Modality') == ''


@pytest.mark.parametrize(
    ('charset', 'value'),
    [
        (b'ISO_IR 192', 'Bäuche'.encode()),
        (b'ISO_IR 100', 'Bäuche'.encode('latin-1')),
        (b'\\ISO 2022 IR 100', b'\x1b-A' + 'Bäuche'.encode('latin-1')),
    ],
)
def test_texts_are_in_the_character_set_of_the_file(charset, value):
    of = elements(SpecificCharacterSet=charset, SeriesDescription=value + b' ')
    assert of.words('SeriesDescription') == 'Bäuche'


@pytest.mark.parametrize('charset', [b'ISO_IR 192', b'ISO_IR 999', b''])
def test_texts_that_are_not_in_it_are_read_all_the_same(charset):
    of = elements(SpecificCharacterSet=charset, SeriesDescription=b'A\xff\xfe')
    assert of.words('SeriesDescription').startswith('A')


def test_numbers_are_read_as_scanners_write_them():
    assert elements(RescaleIntercept=b'-01.024000E+03').number('RescaleIntercept') == -1024
    assert elements(PixelSpacing=b' 0.75 \\.5 ').numbers('PixelSpacing', 2) == (0.75, 0.5)
    assert elements(PixelSpacing=b'').numbers('PixelSpacing', 2) is None
    assert elements(PixelSpacing=b'\\').numbers('PixelSpacing', 2) is None


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (b'0,78\\0,78', r"PixelSpacing \(0028,0030\) is '0,78.*; expected numbers with a decimal"),
        (b'0.78', 'expected 2 finite numbers'),
        (b'0.78\\', 'expected numbers'),
        (b'1\\2\\3', 'expected 2 finite numbers'),
        (b'nan\\1', 'expected 2 finite numbers'),
        (b'1\\inf', 'expected 2 finite numbers'),
        (b'\xff\xfe', 'expected numbers'),
    ],
)
def test_the_error_for_other_numbers_names_tag_and_value(value, message):
    with pytest.raises(InputError, match=message):
        elements(PixelSpacing=value).numbers('PixelSpacing', 2)


@pytest.mark.parametrize('little_endian', [True, False])
def test_integers_have_the_byte_order_of_the_file(little_endian):
    value = (513).to_bytes(2, 'little' if little_endian else 'big')
    assert elements(little_endian, Rows=value).integer('Rows') == 513
    assert elements().integer('Rows') is None


@pytest.mark.parametrize('order', ['<', '>'])
def test_doubles_have_the_byte_order_of_the_file(order):
    of = elements(order == '<', ExposureInmAs=struct.pack(f'{order}d', 12.5))
    assert of.double('ExposureInmAs') == 12.5


@pytest.mark.parametrize('value', [b'', b'12.5', struct.pack('<d', float('nan'))])
def test_other_values_are_no_doubles(value):
    assert elements(ExposureInmAs=value).double('ExposureInmAs') is None


def test_integers_of_another_length_are_refused():
    with pytest.raises(InputError, match=r"Rows \(0028,0010\) is '01020304'; expected two bytes"):
        elements(Rows=b'\x01\x02\x03\x04').integer('Rows')


def test_what_is_no_sequence_is_refused():
    with pytest.raises(InputError, match=r'PlanePositionSequence .* expected a sequence'):
        elements(PlanePositionSequence=b'\x01\x02\x03').items('PlanePositionSequence')
    assert elements().items('PlanePositionSequence') == []


def test_elements_are_covered_where_others_have_a_value():
    below = elements(KVP=b'120', Modality=b'CT')
    merged = below.covered_by(elements(KVP=b''), elements(KVP=b'100'), elements(KVP=b'80'))
    assert (merged.text('KVP'), merged.text('Modality')) == ('100', 'CT')
    assert below.text('KVP') == '120'


def test_messages_show_the_beginning_of_a_long_value():
    assert len(shown('1' * 10**6)) < 200
    assert named('Rows') == 'Rows (0028,0010)'


def test_unknown_keywords_are_mistakes():
    with pytest.raises(KeyError, match='NoSuchKeyword'):
        tag_of('NoSuchKeyword')
