import numpy as np
import pytest

from bodycomp_jax.data.masks.tag import read_tag
from bodycomp_jax.errors import InputError

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
LINES = ('* sliceOmatic', 'x:4', 'y:3', 'z:1', 'type:4', 'org_x:0.5', 'epais:5', 'uid: 1.2.3 * CT')


PIXELS = LABELS.tobytes()


def tag(lines=LINES, pixels=PIXELS, end=b'\x0c'):
    return '\r\n'.join(lines).encode() + b'\r\n' + end + pixels


def read(tmp_path, content):
    (tmp_path / 'a.tag').write_bytes(content)
    return read_tag(tmp_path / 'a.tag')


@pytest.mark.parametrize('end', [b'\x0c', b'\x0c\r\n'])
def test_rows_run_from_the_top(tmp_path, end):
    found = read(tmp_path, tag(end=end))
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.uid == '1.2.3'


def test_a_form_feed_among_the_labels_is_a_label(tmp_path):
    labels = np.full((3, 4), 0x0C, np.uint8)
    np.testing.assert_array_equal(read(tmp_path, tag(pixels=labels.tobytes())).labels, labels)


def test_a_header_without_an_identifier_has_none(tmp_path):
    assert read(tmp_path, tag(['X:4', 'Y:3'])).uid == ''


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'no TAG file .* an empty file'),
        (b'\x89PNG\r\n\x1a\n' + bytes(99), 'no TAG file .* a PNG picture'),
        (b'x:4\r\ny:3\r\n', 'no TAG file'),  # no form feed
        (b'hello\r\n\x0c', 'no TAG file'),
        (tag(LINES[2:]), "x is '', expected 1 to 8192 pixels"),
        (tag(['x:-4', 'y:3']), "x is '-4'"),
        (tag(['x:4', 'y:0']), "y is '0'"),
        (tag(['x:99999', 'y:99999']), "x is '99999'"),
        (tag(['x:4', 'y:3', 'z:2'], bytes(24)), 'z is 2, expected 1; save a file per slice'),
        (tag(pixels=bytes(11)), '11 bytes after the header, which describes 4 x 3 pixels'),
        (tag(pixels=bytes(24)), '24 bytes after the header'),  # two bytes per pixel
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=rf'a\.tag: {message}'):
        read(tmp_path, content)


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match=r'b\.tag: cannot be opened'):
        read_tag(tmp_path / 'b.tag')
