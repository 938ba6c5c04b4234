import re

import numpy as np
import pytest

from bodycomp_jax.data.scans.hu import Span, to_hu
from bodycomp_jax.errors import InputError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ('dtype', 'slope', 'intercept'),
    [
        (np.int16, 1, 0),
        (np.int16, 1, -1024),
        (np.uint16, 1, -1024),
        (np.uint16, 1, -3024),
        (np.uint16, 1, -8192),
        (np.uint16, 1, 0),  # air itself cannot be stored
        (np.uint16, 1, -1000.5),
        (np.int16, 0.5, -100),
        (np.int16, -1, 200),
        (np.int32, 1, -1024),
        (np.uint8, 8, -1024),
        (np.float32, 1, 0),
    ],
)
def test_hu_are_rescaled_rounded_and_at_least_air(dtype, slope, intercept):
    highest = 255 if dtype == np.uint8 else 9000
    lowest = 0 if np.issubdtype(dtype, np.unsignedinteger) else -2000
    stored = RNG.integers(lowest, highest, (16, 16)).astype(dtype)
    hu = to_hu(stored, slope, intercept)
    assert hu.dtype == np.int16
    exact = stored.astype(float) * slope + intercept
    np.testing.assert_array_equal(hu, np.maximum(np.rint(exact), -1024))


@pytest.mark.parametrize(('dtype', 'slope', 'stored'), [
    (np.uint16, 1, 63536), (np.int16, 1, -32768), (np.int16, -2, 32767), (np.uint16, 1, 0),
])  # fmt: skip
@pytest.mark.parametrize('intercept', [0, -1024])
def test_padding_is_air_whatever_its_number_would_be(dtype, slope, stored, intercept):
    pixels = np.array([[stored, 500]], dtype)
    hu = to_hu(pixels, slope, intercept, pixels == stored)
    np.testing.assert_array_equal(hu, [[-1024, max(-1024, 500 * slope + intercept)]])


def test_nan_is_air():
    assert to_hu(np.array([[np.nan, 7]], np.float32), 1, 0).tolist() == [[-1024, 7]]


@pytest.mark.parametrize('stored', [[-30000, 0], [0, 20000]])
@pytest.mark.parametrize('slope', [1, 1.5])
def test_values_that_no_scanner_writes_are_refused(stored, slope):
    with pytest.raises(InputError, match=r'HU; expected -11000 to 12000'):
        to_hu(np.array(stored, np.int16), slope, 0)


@pytest.mark.parametrize(
    ('lowest', 'highest', 'expected'),
    [
        (-1024, 1500, True),
        (-110, 200, True),  # a crop inside the body
        (0, 117, False),  # a mask
        (0, 4095, False),  # not rescaled
        (-3.2, 4.1, False),  # standardised
        (-1024, -1024, False),
        (-32768, 1000, False),
        (float('inf'), float('-inf'), False),
    ],
)
def test_images_in_hu_are_recognised(lowest, highest, expected):
    assert (Span(lowest, max(lowest, -1023), highest).fault == '') == expected


@pytest.mark.parametrize('padding', [-1024, -2000])
def test_padding_does_not_make_an_image_look_like_hu(padding):
    stored = np.array([padding, 0, 1100, 2000], np.int16)
    assert 'above -1024 they begin at 0, HU below -50' in Span.of(stored).fault
    assert Span.of(stored - np.int16(100)).fault == ''


def test_what_is_padding_for_other_programs_is_named():
    fault = 'values from -32768 to 400 .* HU are at least -11000; write -1024 where'
    assert re.match(fault, Span.of(np.array([-32768, -100, 400], np.int16)).fault)
    assert 'from -inf' in Span.of(np.array([-np.inf, -100, 400], np.float32)).fault


def test_the_span_of_parts_is_that_of_the_whole():
    values = RNG.normal(0, 1000, 99).astype(np.float32)
    values[7] = np.nan
    whole = Span.of(values)
    assert Span.of(values[:40]).joined(Span.of(values[40:])) == whole
    assert whole.lowest == np.nanmin(values) < -1024 < whole.lowest_inside
    assert Span().joined(whole) == whole == whole.joined(Span.of(np.full(3, np.nan)))
