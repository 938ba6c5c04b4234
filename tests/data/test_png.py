import errno
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.data.png import read_label_png, read_png, write_png
from bodycomp_jax.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / '000000.png'
    Image.fromarray(PIXELS).save(path)
    return path


def test_pixels_are_unchanged(path):
    np.testing.assert_array_equal(read_png(path), PIXELS)


@pytest.mark.parametrize('mode', ['1', 'P', 'RGB', 'LA', 'I;16'])
def test_pictures_other_than_8_bit_greyscale_are_refused(path, mode):
    Image.new(mode, (8, 8)).save(path)
    with pytest.raises(InputError, match=r'000000\.png: bit depth .*, expected 8-bit greyscale'):
        read_png(path)


@pytest.mark.parametrize('kept', [0, 10, 40, 60, 300, -200])
def test_the_error_for_a_corrupt_picture_names_it(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r'000000\.png: '):
        read_png(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'\xff\xd8\xff\xe0' + bytes(200), 'not a PNG file, but a JPEG picture; export'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'a Git LFS pointer; .* git lfs pull'),
        (b'\x89PNG\n\x1a\n' + bytes(200), 'not a PNG file; export'),  # copied as text
    ],
)
def test_the_error_for_a_file_of_another_format_says_which(path, content, message):
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_png(path)


def test_corrupt_pixels_are_refused(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r'000000\.png: '):
        read_png(path)


def test_a_decompression_bomb_is_refused(path):
    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 0, 0, 0, 0)
    chunk = struct.pack('>I', 13) + b'IHDR' + header
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', zlib.crc32(chunk[4:])) + bytes(100)
    )
    with pytest.raises(InputError, match=r'000000\.png: invalid size 60000 x 60000'):
        read_png(path)


def test_a_picture_with_a_second_header_is_refused(tmp_path):
    path = tmp_path / 'two.png'
    write_png(path, np.zeros((4, 4), np.uint8))
    valid = path.read_bytes()
    body = b'IHDR' + struct.pack('>IIBBBBB', 8, 8, 8, 2, 0, 0, 0)
    second = struct.pack('>I', 13) + body + struct.pack('>I', zlib.crc32(body))
    path.write_bytes(valid[:33] + second + valid[33:])
    with pytest.raises(InputError, match=r'two\.png: corrupt PNG'):
        read_png(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / '000000.png')
    with pytest.raises(InputError, match=r'000000\.png: not a regular file'):
        read_png(tmp_path / '000000.png')


def test_an_error_of_the_disk_is_not_taken_for_a_corrupt_picture(path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Image, 'open', fail)
    with pytest.raises(
        InputError, match=r'000000\.png: cannot be read \(Input/output error; the d'
    ):
        read_png(path)


@pytest.mark.parametrize('colours', [2, 4, 16, 255])
def test_labels_are_the_indices_of_a_palette(path, colours):
    labels = PIXELS % np.uint8(colours)
    image = Image.frombytes('P', labels.shape[::-1], labels.tobytes())
    image.putpalette(bytes(range(255, 255 - colours, -1)) * 3)
    image.save(path)
    np.testing.assert_array_equal(read_label_png(path), labels)


def test_labels_may_have_16_bits(path):
    labels = PIXELS.astype(np.uint16) + 1000
    Image.fromarray(labels).save(path)
    np.testing.assert_array_equal(read_label_png(path), labels)


@pytest.mark.parametrize('mode', ['1', 'RGB', 'LA'])
def test_labels_in_colour_or_of_scaled_bits_are_refused(path, mode):
    Image.new(mode, (8, 8)).save(path)
    with pytest.raises(InputError, match=r'000000\.png: .* labels are numbers and not colours'):
        read_label_png(path)
