"""Random changes of a slice and its labels, as between patients, scanners and protocols.

A transform is a pure function of a key and of the pixels; batch and devices do not matter.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bodycomp_jax import ct
from bodycomp_jax.config import AugmentationConfig, Strengths
from bodycomp_jax.training.tasks import resampling

Example = dict[str, Any]

FIRST_KEY = 1000  # beyond the numbers that `_source` draws from the same key


def augmentation(
    config: AugmentationConfig, *, grey: bool, platform: str, black_outside: bool = False
) -> Callable[[jax.Array, Example], Example]:
    """All transforms with a strength, one after the other.

    Args:
      config: how strong each transform is, and how probable.
      grey: the images are grey values in 0..255, not HU.
      platform: of the devices, for whose speed it is written; see `resampling`.
      black_outside: what a move uncovers is 0, not the nearest pixel of the edge.

    Returns:
      A function of a key and an example: 'image' `[H, W]` of any real dtype, 'mask' `[H, W]`
      integers if it has labels, and more. It returns the example with 'image' float32 and 'mask'
      in its own dtype; without strengths, the example as it is.
    """
    strengths = config.strengths
    moves = strengths._replace(**dict.fromkeys(_names(TRANSFORMS), 0.0)) != Strengths()
    smoothed: dict[Callable, Callable] = {
        transform: functools.partial(transform, platform=platform)
        for transform in (blur, low_resolution)
    }
    limits = [getattr(strengths, name) for name in _names(TRANSFORMS)]
    transforms = [
        (FIRST_KEY + i, functools.partial(smoothed.get(transform, transform), limit=limit))
        for i, (transform, limit) in enumerate(zip(TRANSFORMS, limits, strict=True))
        if limit > 0
    ]

    def augmented(key: jax.Array, example: Example) -> Example:
        if moves:
            example = move(key, example, strengths, black_outside=black_outside, platform=platform)
        if not transforms:
            return example
        image = example['image'].astype(jnp.float32)
        image = ct.unwindow(image) if grey else image
        for number, transform in transforms:
            of_chance, of_transform = jax.random.split(jax.random.fold_in(key, number))
            chosen = jax.random.bernoulli(of_chance, config.augmentation_probability)
            image = jnp.where(chosen, transform(of_transform, image), image)
        return {**example, 'image': ct.window(image) if grey else image}

    return augmented


def move(
    key: jax.Array,
    example: Example,
    strengths: Strengths,
    *,
    black_outside: bool,
    platform: str = 'cpu',
) -> Example:
    """One random affine map for a slice and its labels: rotation, scale, aspect, flip and shift.

    The slice is interpolated linearly, in HU like partial volume unless it has grey values; the
    labels take the nearest neighbour, which keeps them labels. Outside the slice the nearest edge
    pixel repeats, or all is 0.
    """
    image = example['image']
    H, W = image.shape
    y, x = _source(key, H, W, strengths)
    by_products = functools.partial(
        resampling.by_products, reach=functools.partial(_reach, strengths)
    )
    of_platform: dict[str, Callable] = {'cpu': resampling.by_bands, 'tpu': by_products}
    sampled = of_platform.get(platform, resampling.by_index)
    rim = 1 if black_outside else 0
    moved = sampled(
        resampling.linear,
        jnp.pad(image, rim) if rim else image,
        (y + rim).clip(0, H - 1 + 2 * rim),
        (x + rim).clip(0, W - 1 + 2 * rim),
    )
    if 'mask' not in example:
        return {**example, 'image': moved}
    mask = example['mask']
    labels = sampled(resampling.nearest, mask, y.clip(0, H - 1), x.clip(0, W - 1))
    return {**example, 'image': moved, 'mask': labels.astype(mask.dtype)}


def blur(key: jax.Array, image: jax.Array, limit: float, *, platform: str = 'cpu') -> jax.Array:
    """A Gaussian blur with a standard deviation of up to `limit` of the height."""
    largest = limit * len(image)  # pixels
    sd = largest * jax.random.uniform(key, minval=0.01)
    return resampling.means(
        image,
        math.ceil(3 * largest),
        lambda centre, x: jax.scipy.special.ndtr((x - centre) * (1 / sd)),
        platform=platform,
    )


def low_resolution(
    key: jax.Array, image: jax.Array, limit: float, *, platform: str = 'cpu'
) -> jax.Array:
    """Means over pixels as wide as up to `limit` of the height, interpolated linearly between."""
    widest = max(1.0, limit * len(image))  # in pixels
    per_pixel = 1 / jax.random.uniform(key, minval=1.0, maxval=widest)

    def reached(centre, x):
        position = centre * per_pixel - 0.5  # counted in wide pixels
        first = jnp.floor(position)
        of_first, of_second = ((x * per_pixel - n).clip(0, 1) for n in (first, first + 1))
        return of_first + (position - first) * (of_second - of_first)

    return resampling.means(image, math.ceil(1.5 * widest), reached, platform=platform)


def noise(key: jax.Array, image: jax.Array, limit: float) -> jax.Array:
    """White noise with a standard deviation of up to `limit` HU."""
    of_sd, of_pixels = jax.random.split(key)
    sd = jax.random.uniform(of_sd, maxval=limit)
    return image + sd * jax.random.normal(of_pixels, image.shape)


def hu_gain(key: jax.Array, image: jax.Array, limit: float) -> jax.Array:
    """HU times 1 - `limit` to 1 + `limit`, as with another tube voltage."""
    return image * (1 + limit * _plus_minus(key))


def hu_offset(key: jax.Array, image: jax.Array, limit: float) -> jax.Array:
    """HU plus or minus up to `limit`, as with a contrast agent."""
    return image + limit * _plus_minus(key)


def gamma(key: jax.Array, image: jax.Array, limit: float) -> jax.Array:
    """The HU within the window bent by an exponent of 1 / (1 + `limit`) to 1 + `limit`."""
    fraction = (image - ct.WINDOW_LOWEST) / ct.WINDOW_WIDTH
    exponent = (1 + limit) ** _plus_minus(key)
    # The exponential of a logarithm: a power takes four times as long on CPU.
    bent = jnp.exp(exponent * jnp.log(fraction.clip(0, 1)))
    bent = ct.WINDOW_LOWEST + ct.WINDOW_WIDTH * bent
    return jnp.where((fraction > 0) & (fraction < 1), bent, image)


TRANSFORMS = (blur, low_resolution, noise, hu_gain, hu_offset, gamma)  # of the grey values


def _names(functions):
    return [function.__name__ for function in functions]


def _plus_minus(key: jax.Array) -> jax.Array:
    return jax.random.uniform(key, minval=-1.0, maxval=1.0)


def _source(key: jax.Array, H: int, W: int, strengths: Strengths) -> tuple[jax.Array, jax.Array]:
    """The source of each output pixel: two `[H, W]` arrays of rows and columns."""
    u = jax.random.uniform(key, (6,), minval=-1.0, maxval=1.0)
    angle = u[0] * jnp.deg2rad(strengths.rotation)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    size = (1 + strengths.scale) ** u[3]
    aspect = (1 + strengths.aspect) ** (u[4] / 2)
    mirror = jnp.where(u[5] >= 1 - 2 * strengths.flip, -1, 1)
    middle_y, middle_x = (H - 1) / 2, (W - 1) / 2
    y = (jnp.arange(H)[:, None] - middle_y) * (size * aspect)
    x = (jnp.arange(W)[None, :] - middle_x) * (size / aspect * mirror)
    source_y = cos * y - sin * x + (middle_y + u[1] * strengths.shift * H)
    source_x = sin * y + cos * x + (middle_x + u[2] * strengths.shift * W)
    return source_y, source_x


def _reach(strengths: Strengths, length: int, breadth: int) -> int:
    """How many rows of a slice `length` rows by `breadth` columns come from, or the reverse.

    An interval meets two more than the whole numbers of its length at most, and linear
    interpolation takes one more; 0.01 is more than rounding adds.
    """
    stretch = (1 + strengths.scale) * math.sqrt(1 + strengths.aspect)
    slope = math.sin(math.radians(min(strengths.rotation, 90)))
    return math.floor(stretch * (length - 1 + slope * (breadth - 1)) + 0.01) + 3
