import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.data.png import SIDE, read_png, resized, write_png
from bodycomp_jax.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / '000000.png'
    Image.fromarray(PIXELS).save(path)
    return path


def test_pixels_come_as_they_are(path):
    np.testing.assert_array_equal(read_png(path), PIXELS)


@pytest.mark.parametrize('mode', ['1', 'P', 'RGB', 'LA', 'I;16'])
def test_pictures_that_are_not_8_bit_grey_are_refused(path, mode):
    Image.new(mode, (8, 8)).save(path)
    with pytest.raises(InputError, match=r'000000\.png: not an 8-bit grey picture'):
        read_png(path)


@pytest.mark.parametrize('kept', [0, 10, 40, 60, 300, -200])
def test_a_broken_picture_is_named(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r'000000\.png: '):
        read_png(path)


def test_damaged_pixels_are_refused(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r'000000\.png: '):
        read_png(path)


def test_a_decompression_bomb_is_not_decompressed(path):
    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 0, 0, 0, 0)
    chunk = struct.pack('>I', 13) + b'IHDR' + header
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', zlib.crc32(chunk[4:])) + bytes(100)
    )
    with pytest.raises(InputError, match='60000 x 60000'):
        read_png(path)


def test_shrinking_takes_the_mean_over_areas():
    image = np.zeros((2 * SIDE, 4 * SIDE), np.uint8)
    image[::2, ::4] = 240
    assert (resized(image) == 240 / 8).all()


def test_growing_is_linear_and_the_right_size_stays_as_it_is():
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 16, axis=0)
    grown = resized(ramp)
    assert grown.shape == (SIDE, SIDE)
    assert set(np.diff(grown[100, 8:-8].astype(int))) <= {0, 1, 2}
    same = np.resize(PIXELS, (SIDE, SIDE))
    np.testing.assert_array_equal(resized(same), same)


def test_a_picture_with_a_second_header_is_refused(tmp_path):
    path = tmp_path / 'two.png'
    write_png(path, np.zeros((4, 4), np.uint8))
    sound = path.read_bytes()
    body = b'IHDR' + struct.pack('>IIBBBBB', 8, 8, 8, 2, 0, 0, 0)
    second = struct.pack('>I', 13) + body + struct.pack('>I', zlib.crc32(body))
    path.write_bytes(sound[:33] + second + sound[33:])
    with pytest.raises(InputError, match=r'two\.png'):
        read_png(path)
