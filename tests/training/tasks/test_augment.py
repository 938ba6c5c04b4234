import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from bodycomp_jax import ct
from bodycomp_jax.config import LARGEST, LIGHT, STRONG, AugmentationConfig, Strengths
from bodycomp_jax.data import phantom
from bodycomp_jax.training.tasks import augment, resampling

SIDE = 64
KEYS = jax.random.split(jax.random.key(0), 64)


@pytest.fixture(scope='module')
def example():
    image, mask = phantom.draw_slice(0, SIDE)
    return {'image': jnp.asarray(image), 'mask': jnp.asarray(mask)}


@functools.partial(jax.jit, static_argnums=2)
def move(key, example, strengths):
    return augment.move(key, example, strengths, black_outside=False)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def source(key, H, W, strengths):
    return augment._source(key, H, W, strengths)


@functools.partial(jax.jit, static_argnums=(0, 2))
def with_each_key(transform, image, limit):
    """The image, changed with each key of `KEYS`."""
    return jax.vmap(lambda key: transform(key, image, limit))(KEYS)


def config_of(strengths, **options):
    return AugmentationConfig(**strengths._asdict(), **options)


def augmented(strengths, example, *, grey=False, **options):
    """The example, augmented with each key of `KEYS`."""
    transform = augment.augmentation(config_of(strengths, **options), grey=grey, platform='cpu')
    return jax.device_get(jax.jit(jax.vmap(lambda key: transform(key, example)))(KEYS))


@pytest.fixture(scope='module')
def moved(example):
    return augmented(LIGHT, example)


@pytest.fixture(scope='module')
def strongly_changed(example):
    return augmented(STRONG, example)


@pytest.mark.parametrize('strengths', [LIGHT, STRONG])
def test_pixels_are_those_of_scipy(example, strengths):
    key = jax.random.key(7)
    y, x = source(key, SIDE, SIDE, strengths)
    changed = move(key, example, strengths)
    options = {'mode': 'nearest', 'prefilter': False}
    image = scipy.ndimage.map_coordinates(
        np.asarray(example['image'], float), [y, x], order=1, **options
    )
    mask = scipy.ndimage.map_coordinates(np.asarray(example['mask']), [y, x], order=0, **options)
    np.testing.assert_allclose(changed['image'], image, atol=0.1)
    assert (changed['mask'] != mask).mean() < 1e-3  # rounding at exactly one half


def test_light_moves_as_versions_did_that_knew_no_other():
    for key in KEYS[:8]:
        u = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
        angle, middle = u[0] * np.deg2rad(5.0), 31.5
        y, x = np.arange(64)[:, None] - middle, np.arange(64)[None, :] - middle
        source_y, source_x = source(key, 64, 64, LIGHT)
        cos, sin = np.cos(angle), np.sin(angle)
        np.testing.assert_allclose(
            source_y, cos * y - sin * x + (middle + u[1] * 3.2), rtol=1e-5, atol=1e-4
        )
        np.testing.assert_allclose(
            source_x, sin * y + cos * x + (middle + u[2] * 3.2), rtol=1e-5, atol=1e-4
        )


@pytest.mark.parametrize('name', ['moved', 'strongly_changed'])
def test_no_label_appears_that_was_not_there(example, name, request):
    changed = request.getfixturevalue(name)
    assert changed['mask'].dtype == np.uint8
    assert set(np.unique(changed['mask'])) == set(np.unique(example['mask']))
    only_two = {**example, 'mask': jnp.where(example['mask'] == 3, 3, 0).astype(jnp.uint8)}
    for key in KEYS[:8]:
        assert set(np.unique(move(key, only_two, STRONG)['mask'])) <= {0, 3}


def test_what_a_move_uncovers_is_labelled_as_the_edge(example):
    known_inside = example['mask'].at[:1].set(ct.NOT_LABELLED)
    aside = Strengths(shift=0.5)
    for key in KEYS[:8]:
        y, _ = augment._source(key, SIDE, SIDE, aside)
        mask = np.asarray(move(key, {**example, 'mask': known_inside}, aside)['mask'])
        np.testing.assert_array_equal(mask == ct.NOT_LABELLED, np.asarray(y.round() <= 0))


def test_areas_keep_their_size(example, moved):
    for label in (1, 2, 3):
        areas = (moved['mask'] == label).sum((1, 2))
        assert areas.mean() == pytest.approx(int((example['mask'] == label).sum()), rel=0.02)


def test_hu_stay_in_their_range_and_are_not_cut_to_bytes(example, moved):
    image = moved['image']
    assert image.dtype == np.float32
    assert example['image'].min() <= image.min() < -900
    assert 255 < image.max() <= example['image'].max()


def test_slice_and_labels_move_together(example):
    labels_as_image = {**example, 'image': 1000 * example['mask'].astype(jnp.int16)}
    for strengths in (LIGHT, STRONG):
        changed = move(jax.random.key(3), labels_as_image, strengths)
        on_plateau = np.isin(changed['image'], (0, 1000, 2000, 3000))
        assert on_plateau.mean() > 0.6
        np.testing.assert_array_equal(
            changed['image'][on_plateau], 1000.0 * changed['mask'][on_plateau]
        )


def test_every_move_fills_its_range():
    H, keys = 101, jax.random.split(jax.random.key(0), 500)
    strengths = Strengths(rotation=15.0, shift=0.08, scale=0.3, aspect=0.2, flip=0.25)
    y, x = jax.device_get(jax.vmap(lambda key: source(key, H, H, strengths))(keys))
    middle = (H - 1) // 2
    down = np.stack([v[:, middle + 9, middle] - v[:, middle, middle] for v in (y, x)]) / 9
    right = np.stack([v[:, middle, middle + 9] - v[:, middle, middle] for v in (y, x)]) / 9
    mirrored = down[0] * right[1] - down[1] * right[0] < 0
    assert mirrored.mean() == pytest.approx(0.25, abs=0.05)
    height, width = np.hypot(*down), np.hypot(*right)
    for values, bound in (
        (y[:, middle, middle] - middle, 0.08 * H),
        (x[:, middle, middle] - middle, 0.08 * H),
        (np.rad2deg(np.arctan2(down[1], down[0])), 15.0),
        (np.log(height * width) / 2, np.log(1.3)),
        (np.log(height / width), np.log(1.2)),
    ):
        assert np.abs(values).max() <= bound * (1 + 1e-3)
        assert values.min() < -0.95 * bound
        assert values.max() > 0.95 * bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)


def test_a_flip_mirrors_left_and_right_exactly(example):
    changed = augmented(Strengths(flip=1.0), example)
    np.testing.assert_array_equal(changed['image'][5], np.asarray(example['image'])[:, ::-1])
    np.testing.assert_array_equal(changed['mask'][5], np.asarray(example['mask'])[:, ::-1])


def test_outside_the_edge_repeats():
    example = {'image': jnp.full((32, 32), -1000, jnp.int16), 'mask': jnp.full((32, 32), 2)}
    for key in KEYS[:8]:
        changed = move(key, example, STRONG)
        np.testing.assert_allclose(changed['image'], -1000, rtol=1e-6)
        np.testing.assert_array_equal(changed['mask'], 2)


def test_outside_is_black_where_slices_are_grey():
    example = {'image': jnp.full((32, 32), 200, jnp.uint8)}
    transform = augment.augmentation(
        config_of(LIGHT), grey=True, platform='cpu', black_outside=True
    )
    image = jax.jit(jax.vmap(lambda key: transform(key, example)['image']))(KEYS[:8])
    assert image.min() == 0
    np.testing.assert_allclose(np.median(image), 200, rtol=1e-6)


def test_without_strengths_nothing_changes(example):
    same = augment.augmentation(config_of(Strengths()), grey=False, platform='cpu')(
        KEYS[0], example
    )
    assert same is example


LARGE_MOVES = LARGEST._replace(**dict.fromkeys((f.__name__ for f in augment.TRANSFORMS), 0.0))


@pytest.mark.parametrize(
    ('strengths', 'black_outside'), [(LIGHT, True), (STRONG, False), (LARGE_MOVES, True)]
)
def test_a_move_is_the_same_on_every_platform(monkeypatch, strengths, black_outside):
    shape = (72, 130)
    pixels = np.random.default_rng(0)
    example = {
        'image': jnp.asarray(pixels.integers(-1024, 3072, shape), jnp.int16),
        'mask': jnp.asarray(pixels.integers(0, 256, shape), jnp.uint8),
    }
    places = jax.vmap(lambda key: source(key, *shape, strengths))(KEYS[:8])
    monkeypatch.setattr(augment, '_source', lambda key, *_: key)  # two programs round differently

    @functools.partial(jax.jit, static_argnums=1)
    @functools.partial(jax.vmap, in_axes=(0, None))
    def moved(place, platform):
        return augment.move(
            place, example, strengths, black_outside=black_outside, platform=platform
        )

    expected = moved(places, 'gpu')
    for platform in ('cpu', 'tpu'):
        found = moved(places, platform)
        np.testing.assert_array_equal(found['mask'], expected['mask'])
        np.testing.assert_allclose(found['image'], expected['image'], rtol=0, atol=1e-3)


@pytest.mark.parametrize('strengths', [STRONG, LARGE_MOVES._replace(rotation=60.0)])
def test_the_largest_moves_reach_no_further_than_is_known(monkeypatch, strengths):
    draws = np.array(list(itertools.product((-1.0, 1.0), repeat=6)), np.float32)
    monkeypatch.setattr(jax.random, 'uniform', lambda draw, *_, **__: draw)
    found = jax.vmap(lambda draw: jnp.stack(augment._source(draw, 70, 130, strengths)))(draws)
    for places, length, breadth in ((found[:, 0], 32, 64), (found[:, 1].swapaxes(1, 2), 64, 32)):
        known = augment._reach(strengths, length, breadth)
        parts = places[:, :length, :breadth]
        reached = 2 + jnp.floor(parts.max((1, 2))) - jnp.floor(parts.min((1, 2)))
        assert reached.max() <= known <= 2 * reached.max()


@pytest.mark.parametrize('grey', [False, True])
def test_no_pixel_is_taken_by_its_index_on_a_tpu(example, grey):
    transform = augment.augmentation(
        config_of(STRONG), grey=grey, platform='tpu', black_outside=grey
    )
    program = jax.make_jaxpr(jax.vmap(lambda key: transform(key, example)))(KEYS)
    assert 'gather' not in str(program)
    assert 'dot_general' in str(program)


@pytest.mark.parametrize('transform', [augment.blur, augment.low_resolution])
@pytest.mark.parametrize(('shape', 'limit'), [((64, 40), 0.05), ((12, 20), 0.9)])
def test_means_are_the_same_on_every_platform(transform, shape, limit, monkeypatch):
    monkeypatch.setattr(resampling, 'UNROLLED', 3)  # compiles in a fifth of the time
    image = jnp.asarray(np.random.default_rng(0).uniform(-1000, 1000, shape), jnp.float32)
    by_loop, *others = (
        jax.jit(
            jax.vmap(lambda key, platform=platform: transform(key, image, limit, platform=platform))
        )(KEYS)
        for platform in ('cpu', 'gpu', 'tpu')
    )
    for values in others:
        np.testing.assert_allclose(values, by_loop, rtol=0, atol=0.01)


WIDE = STRONG._replace(blur=0.02, low_resolution=0.03)  # more than a pixel of these slices


@pytest.mark.parametrize('transform', augment.TRANSFORMS)
def test_half_of_the_slices_have_their_grey_values_changed(example, transform):
    name = transform.__name__
    changed = augmented(Strengths(**{name: getattr(WIDE, name)}), example)
    np.testing.assert_array_equal(changed['mask'], np.stack([example['mask']] * len(KEYS)))
    is_changed = (changed['image'] != np.asarray(example['image'])).any((1, 2))
    assert 0.3 < is_changed.mean() < 0.7


@pytest.mark.parametrize('transform', [augment.blur, augment.low_resolution])
def test_weights_are_those_of_a_mean(transform):
    H = 24
    even = np.full((H, 30), -900, np.float32)
    ramp = np.broadcast_to(10 * np.arange(30, dtype=np.float32), (24, 30))
    spot = np.zeros((24, 30), np.float32)
    spot[11, 14] = 1000
    images = np.stack([even, ramp, spot])
    even, ramps, spots = (with_each_key(transform, image, 3.0 / H) for image in images)
    np.testing.assert_allclose(even, -900, rtol=1e-5)
    inside = slice(8, -8)
    np.testing.assert_allclose(
        ramps[:, :, inside], np.broadcast_to(ramp[:, inside], (64, 24, 14)), atol=1
    )
    assert spots.min() >= -1e-3
    highest = spots.max((1, 2))
    assert highest.min() < 200
    assert 500 < highest.max() <= 1000.01


def test_a_blur_is_that_of_scipy(example):
    key = KEYS[2]
    sd = 3 * float(jax.random.uniform(key, minval=0.01))
    assert sd > 1
    image = np.asarray(example['image'], np.float32)
    of_pixels = np.sqrt(sd**2 + 1 / 12)  # a pixel is the mean over its width
    expected = scipy.ndimage.gaussian_filter(image, of_pixels, mode='nearest', truncate=6)
    np.testing.assert_allclose(augment.blur(key, image, 3 / SIDE), expected, atol=2)


def test_wide_pixels_are_means_of_pixels(example, monkeypatch):
    monkeypatch.setattr(jax.random, 'uniform', lambda *_, **__: jnp.float32(2.0))
    image = np.asarray(example['image'], np.float32)
    means = image.reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3))
    where = np.arange(SIDE) / 2 - 0.25
    expected = scipy.ndimage.map_coordinates(
        means, np.meshgrid(where, where, indexing='ij'), order=1, mode='nearest'
    )
    found = augment.low_resolution(KEYS[0], image, 2 / SIDE)
    np.testing.assert_allclose(found[2:-2, 2:-2], expected[2:-2, 2:-2], atol=0.1)


def test_noise_gain_and_offset_fill_their_ranges():
    image = jnp.full((32, 32), 100.0)

    sds = np.asarray(with_each_key(augment.noise, image, 25.0) - 100).std((1, 2))
    assert sds.min() < 3
    assert 22 < sds.max() < 27
    for transform, limit, bound in ((augment.hu_gain, 0.15, 15), (augment.hu_offset, 25.0, 25)):
        changes = np.asarray(with_each_key(transform, image, limit)) - 100
        assert np.ptp(changes, (1, 2)).max() == 0
        assert np.abs(changes).max() <= bound * 1.001
        assert changes.min() < -0.9 * bound
        assert changes.max() > 0.9 * bound


def test_gamma_bends_the_window_and_nothing_else():
    hu = jnp.linspace(-1000, 1000, 501)[None]
    bent = np.asarray(with_each_key(augment.gamma, hu, 0.3))[:, 0]
    inside = (hu[0] > -160) & (hu[0] < 240)
    np.testing.assert_array_equal(bent[:, ~inside], np.stack([hu[0][~inside]] * len(KEYS)))
    assert (np.diff(bent) > 0).all()
    middle = 40 - 400 * (0.5 - 0.5 ** np.array([1.3, 1 / 1.3]))
    at_40 = bent[:, np.abs(hu[0] - 40).argmin()]
    np.testing.assert_allclose([at_40.min(), at_40.max()], middle, atol=4)


def test_a_blur_is_as_wide_at_any_resolution():
    def remaining_amplitude(H):
        x = 2 * np.pi * (np.arange(H) + 0.5) / H
        waves = jnp.asarray(1000 * np.sin(6 * x)[:, None] * np.cos(5 * x)[None, :], jnp.float32)
        return float(augment.blur(KEYS[3], waves, 0.05).std() / waves.std())

    assert remaining_amplitude(64) == pytest.approx(remaining_amplitude(256), rel=0.1)
    assert remaining_amplitude(64) < 0.9


def test_pixels_that_are_wide_already_stay(example):
    image = np.asarray(example['image'], np.float32)
    for limit in (0.5 / SIDE, 1 / SIDE):
        np.testing.assert_allclose(augment.low_resolution(KEYS[0], image, limit), image, atol=1e-3)


@pytest.mark.parametrize('probability', [0.0, 1.0])
def test_the_probability_is_that_of_a_change(example, probability):
    changed = augmented(Strengths(noise=25.0), example, augmentation_probability=probability)
    is_changed = (changed['image'] != np.asarray(example['image'])).any((1, 2))
    assert is_changed.mean() == probability


def test_grey_values_change_as_their_hu_do(example):
    strengths = Strengths(hu_gain=0.15, hu_offset=25.0)
    within = {'image': example['image'].clip(-150, 230)}
    of_hu = augmented(strengths, within)['image']
    of_grey = augmented(strengths, {'image': ct.window(within['image'])}, grey=True)['image']
    np.testing.assert_allclose(of_grey, ct.window(of_hu), atol=0.01)
    assert of_grey.min() == 0
    assert of_grey.max() <= 255
