import io
import struct
import tracemalloc
import zlib

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from scan_files import replace_bytes, write_slice

from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.tags import tag_of
from bodycomp_jax.errors import InputError

TAGS = [tag_of('Modality'), tag_of('Rows')]


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'slice.dcm'


def parsed(path, tags=TAGS):
    """The contents of a file, and the bytes of the rest."""
    with dicom_file.open_whole(str(path)) as stream:
        contents = dicom_file.parse(stream, tags, dicom_file.LAST_BEFORE_PIXELS)
        return contents, contents.rest.read()


@pytest.mark.parametrize('bare', [False, True])
@pytest.mark.parametrize('syntax', [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_elements_are_read_with_and_without_a_preamble(path, syntax, bare):
    write_slice(path, syntax=syntax, bare=bare)
    assert path.read_bytes().startswith(b'\x08\0' if bare else bytes(128))
    contents, rest = parsed(path)
    assert contents.elements.text('Modality') == 'CT'
    assert contents.elements.integer('Rows') == 6
    assert contents.syntax == syntax
    assert contents.implicit == syntax.is_implicit_VR
    assert struct.unpack('<HH', rest[:4]) == (0x7FE0, 0x0010)


@pytest.mark.parametrize('syntax', [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_elements_are_read_in_every_encoding(path, syntax):
    write_slice(path, syntax=syntax)
    contents, rest = parsed(path)
    assert contents.elements.integer('Rows') == 6
    assert rest[:4] in (b'\xe0\x7f\x10\0', b'\x7f\xe0\0\x10')


def test_a_file_whose_header_names_the_wrong_encoding_is_read(path):
    write_slice(path)
    explicit = ExplicitVRLittleEndian.encode() + b'\0'
    implicit = ImplicitVRLittleEndian.encode() + b'\0'
    replace_bytes(path, explicit, implicit.ljust(len(explicit), b'\0'))
    assert parsed(path)[0].elements.integer('Rows') == 6


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'not a DICOM file, but an empty file; copy it again'),
        (b'hello', 'not a DICOM file$'),
        (b'\x89PNG' + bytes(200), 'not a DICOM file, but a PNG picture; give DICOM files'),
        (b'\x1f\x8b' + bytes(200), 'a gzip file; unpack it'),
    ],
)
def test_other_files_are_told_apart_by_their_first_bytes(path, content, message):
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        dicom_file.open_start(str(path))


def test_the_start_of_a_file_is_enough_or_not(path, monkeypatch):
    write_slice(path)
    contents = dicom_file.parse_start(str(path), TAGS, TAGS[1])
    assert contents.elements.integer('Rows') == 6
    monkeypatch.setattr(dicom_file, 'START_BYTES', 400)
    assert dicom_file.parse_start(str(path), TAGS, TAGS[1]) is None
    path.write_bytes(path.read_bytes()[:300] + b'\xff' * 100)
    assert dicom_file.parse_start(str(path), TAGS, TAGS[1]) is None
    monkeypatch.setattr(dicom_file, 'START_BYTES', 401)
    with pytest.raises(InputError, match='not a readable DICOM file'):
        dicom_file.parse_start(str(path), TAGS, TAGS[1])


@pytest.mark.parametrize('length', [132, 140, 150, 170, 400])
def test_truncated_headers_end_in_fewer_elements_or_an_error(path, length):
    write_slice(path)
    path.write_bytes(path.read_bytes()[:length])
    try:
        assert parsed(path)[0].elements.integer('Rows') is None
    except InputError as error:
        assert 'not a readable DICOM file' in str(error)


def test_lengths_in_the_header_do_not_allocate_memory(path, monkeypatch):
    monkeypatch.setattr(dicom_file, 'WHOLE_BYTES', 64)  # the file is not read at once
    write_slice(path, PatientComments='comment')
    content = path.read_bytes()
    at = content.index(b'\x10\0\0\x40LT') + 6  # the length of the comments
    path.write_bytes(content[:at] + b'\xff\xff' + content[at + 2 :])
    replace_bytes(path, b'\x10\0\0\x40LT\xff\xff', b'\x10\0\0\x40UT\0\0\xf0\xff\xff\xff')
    tracemalloc.start()
    try:
        parsed(path, [*TAGS, tag_of('PatientComments')])
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_what_inflates_without_end_is_refused(path, monkeypatch):
    monkeypatch.setattr(dicom_file, 'MAX_INFLATED_BYTES', 1 << 20)
    write_slice(path, syntax=DeflatedExplicitVRLittleEndian)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflate.compress(bytes(1 << 22)) + deflate.flush()
    content = path.read_bytes()
    meta_bytes = 144 + int.from_bytes(content[140:144], 'little')
    path.write_bytes(content[:meta_bytes] + bomb)
    with pytest.raises(InputError, match='inflates to more than 1 MiB; inflate it first'):
        parsed(path)


def test_damaged_compression_is_an_error(path):
    write_slice(path, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    meta_bytes = 144 + int.from_bytes(content[140:144], 'little')
    path.write_bytes(content[:meta_bytes] + b'\xff' * 40)
    with pytest.raises(InputError, match=r'not a readable DICOM file .*; copy it again'):
        parsed(path)


def test_large_files_are_read_in_parts(path, monkeypatch):
    write_slice(path)
    whole = parsed(path)[1]
    monkeypatch.setattr(dicom_file, 'WHOLE_BYTES', 64)
    with dicom_file.open_whole(str(path)) as stream:
        assert not isinstance(stream, io.BytesIO)
    assert parsed(path)[1] == whole
