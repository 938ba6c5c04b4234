"""What a scanner makes of simple objects: noise, kernels, artefacts, the same at every side."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.acquisition import acquire, outside_circle
from bodycomp_jax.data.phantom.scanner import Scanner

SIDE = 256


def water(side=SIDE):
    return np.zeros((side, side), np.float32)


def disc(side=SIDE, inside=100.0, outside=0.0, mm=60.0, x=0.0):
    """HU of a disc with a smooth border of one pixel, mm of its radius."""
    pixel = Scanner().field_of_view / side
    axis = (np.arange(side) + 0.5 - side / 2) * pixel
    share = ((mm - np.hypot(axis - x, axis[:, None])) / pixel + 0.5).clip(0, 1)
    return (outside + share * (inside - outside)).astype(np.float32)


def scan(hu, seed=0, **fields):
    return acquire(Scanner(**fields), np.random.default_rng(seed), hu)


def halved(image):
    n = len(image) // 2
    return image.reshape(n, 2, n, 2).mean((1, 3))


def middle(image):
    n = len(image)
    return image[3 * n // 8 : 5 * n // 8, 3 * n // 8 : 5 * n // 8]


def power(image):
    """Of waves along x and along y: (`[n // 2 + 1, n // 2 + 1]`, |fy| by fx)."""
    n = len(image)
    spectrum = np.abs(np.fft.rfft2(image)) ** 2
    return spectrum[: n // 2 + 1]


def test_a_seed_gives_one_image():
    one, same, other = (scan(water(), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert one.dtype == np.float32


@pytest.mark.parametrize('fields', [{}, {'resolution': 0.25, 'grain': 2.0}, {'sharpening': 2.0}])
def test_noise_is_what_is_wanted_in_the_middle_at_512(fields):
    image = middle(scan(water(512), noise=20.0, **fields))
    assert image.std() == pytest.approx(20, rel=0.1)
    assert image.mean() == pytest.approx(0, abs=1)


def test_noise_of_half_as_many_pixels_is_that_of_their_means():
    for side in (512, 256):
        fine, coarse = (scan(water(n), noise=20.0, resolution=0.4) for n in (side, side // 2))
        assert middle(coarse).std() == pytest.approx(middle(halved(fine)).std(), rel=0.15)


@pytest.mark.parametrize('fields', [{'resolution': 0.25}, {'sharpening': 2.0}])
def test_a_slice_of_half_as_many_pixels_holds_the_means_of_a_larger_one(fields):
    fine, coarse = (scan(disc(side), noise=0.0, **fields) for side in (512, 256))
    np.testing.assert_allclose(coarse, halved(fine), atol=8)


def test_noise_is_weak_in_air():
    image = scan(disc(inside=0, outside=-900), noise=10.0)
    assert image[:16, :16].std() < 0.6 * middle(image)[28:36, 28:36].std()


def test_soft_kernels_and_grain_give_coarse_noise_and_long_waves_are_weak():
    def share_of_short_waves(**fields):
        spectrum = power(scan(water(), noise=20.0, **fields))
        return spectrum[SIDE // 4 :].sum() / spectrum.sum()

    assert share_of_short_waves(resolution=0.8) > 1.5 * share_of_short_waves(resolution=0.25)
    assert share_of_short_waves() > 1.5 * share_of_short_waves(grain=2.0)
    spectrum = power(scan(water(), noise=20.0, resolution=0.9))
    assert spectrum[1:6, 1:6].mean() < 0.3 * spectrum[50:60, 50:60].mean()


def test_photon_starvation_makes_horizontal_streaks():
    def lengthwise(image):
        across, along = (np.diff(image, axis=axis).std() for axis in (0, 1))
        return across / along

    assert lengthwise(scan(water())) == pytest.approx(1, rel=0.1)
    assert lengthwise(scan(water(), streaks=5.0)) > 1.5


def test_soft_kernels_blur_and_sharp_ones_overshoot():
    def peak(**fields):
        image = scan(disc(512), noise=0.0, **fields)
        return image.max() - 100, np.abs(np.diff(image, axis=1)).max()

    ideal, soft, sharp = peak(resolution=5.0), peak(resolution=0.2), peak(sharpening=3.0)
    assert abs(soft[0]) < 0.5 < 5 < sharp[0]
    assert soft[1] < 0.5 * ideal[1]
    assert sharp[1] > 2 * soft[1]


def test_a_low_voltage_brightens_contrast_agent_and_darkens_fat():
    for hu, change in ((400, 100), (-100, -30), (20, 0), (-1000, 0)):
        image = scan(water() + np.float32(hu), noise=0.0, voltage=80.0)
        assert image.mean() - hu == pytest.approx(change, rel=0.6, abs=1)
        image = scan(water() + np.float32(hu), noise=0.0, gain=1.02, offset=5.0)
        assert image.mean() == pytest.approx(max(1.02 * hu + 5, -1024), abs=0.1)


def test_motion_adds_a_shifted_copy():
    alone, image = (scan(disc(), noise=0.0, ghost=g, motion=20.0) for g in (0, 0.25))
    half = (image > 20) & (image < 30) & (alone < 1)  # the copy alone
    rest = (image > 70) & (image < 80) & (alone > 99)
    crescent = 2 * 60 * 20 * (SIDE / Scanner().field_of_view) ** 2
    for share in (half, rest):
        assert share.sum() == pytest.approx(crescent, rel=0.25)


def test_rings_go_around_the_middle_of_the_gantry():
    image = scan(water(), noise=0.0, rings=30.0, middle=(60.0, -40.0))
    pixel = Scanner().field_of_view / SIDE
    axis = (np.arange(SIDE) + 0.5 - SIDE / 2) * pixel
    radius = np.hypot(axis + 60, axis[:, None] - 40)
    bins = (radius / (pixel / 2)).astype(int)
    mean = np.bincount(bins.ravel(), image.ravel()) / np.bincount(bins.ravel()).clip(1)
    assert image.std() > 0.3
    assert (image - mean[bins]).std() < 0.2 * image.std()


def test_values_are_limited_and_padded_outside_the_circle():
    image = scan(disc(inside=9000, outside=-1010), noise=40.0)
    assert (image.min(), image.max()) == (-1024, 3071)
    padded = scan(water(), padding=-3024.0)
    np.testing.assert_array_equal(padded == -3024, outside_circle(SIDE))


def test_the_circle_touches_the_sides():
    outside = outside_circle(100)
    assert outside[0, 0] and not outside[0, 50] and not outside[50, 99]
    assert (~outside).mean() == pytest.approx(np.pi / 4, abs=0.01)
