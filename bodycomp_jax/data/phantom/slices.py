"""Synthetic CT of the abdomen with exact labels, drawn from a seed, for demos and tests.

Lengths are mm, intensities HU. x grows to the right of the picture, y downwards (to the
patient's back); the origin is the middle of the body. Tissues are painted from the outside in,
on a grid finer than the picture, so that pixels on a border hold a mixture, as in real CT.
"""

import os

import numpy as np

FIELD_OF_VIEW = 420.0  # mm, the side of a picture
OVERSAMPLING = 2

BACKGROUND, MUSCLE, SUBCUTANEOUS, VISCERAL = range(4)
AIR_HU, GAS_HU, SKIN_HU, FAT_HU, MUSCLE_HU, CORTICAL_HU = -1000, -850, 30, -102, 55, 400
SKIN_MM = 2.0
ANGLES = np.linspace(-np.pi, np.pi, 1025)  # 0 is the right of the picture, pi/2 the back
RIGHT, FRONT, BACK = 512, 256, 768  # their indices


def write_dataset(data_dir, *, train, val, side, seed=0):
    """Writes the four files of a training set of phantoms; no body is in both splits.

    Args:
      data_dir: an existing folder.
      train, val: slices in each split.
      side: of a slice, in pixels.
      seed: of the first body; the following bodies have the following seeds.
    """
    first = seed
    for split, n in (('train', train), ('val', val)):
        images, masks = zip(*(draw(s, side) for s in range(first, first + n)), strict=True)
        np.save(os.path.join(data_dir, f'{split}_images.npy'), np.stack(images)[..., None])
        np.save(os.path.join(data_dir, f'{split}_masks.npy'), np.stack(masks)[..., None])
        first += n


def draw(seed, side):
    """One slice through the body that belongs to `seed`.

    Returns:
      (`[side, side]` int16 HU, `[side, side]` uint8 labels).
    """
    rng = np.random.default_rng(seed)
    body = _Body(rng)
    canvas = _Canvas(side, body, rng)
    _paint_table(canvas, body)
    _paint_layers(canvas)
    _paint_organs(canvas, body, rng)
    _paint_bowel(canvas, body, rng)
    _paint_muscles(canvas, body, rng)
    _paint_bones(canvas, body, rng)
    return canvas.picture(rng, noise=rng.uniform(8, 16))


class _Body:
    """One body's outline and layers: radii at `ANGLES`, and the lengths that organs scale with."""

    def __init__(self, rng):
        half_width = rng.uniform(120, 185)
        half_depth = half_width * rng.uniform(0.62, 0.78)
        cos, sin = np.cos(ANGLES), np.sin(ANGLES)
        # A superellipse: flatter than an ellipse in front and behind.
        outline = (np.abs(cos / half_width) ** 2.3 + np.abs(sin / half_depth) ** 2.3) ** (-1 / 2.3)
        self.skin = outline * (1 + wave(rng, 0.02))
        # Fat is thickest behind and at the flanks, the wall thin in the middle of the front.
        fat = rng.uniform(0.05, 0.2) * half_width * (1 + 0.3 * sin**3 + 0.25 * cos**4)
        self.wall_outside = self.skin - SKIN_MM - fat * (1 + wave(rng, 0.15))
        thin = 1 - 0.75 * np.exp(-(((ANGLES + np.pi / 2) / 0.16) ** 2))
        wall = rng.uniform(8, 16) * thin * (1 + wave(rng, 0.1))
        self.wall_inside = self.wall_outside - wall
        self.width, self.depth = self.wall_inside[RIGHT], self.wall_inside[BACK]
        self.spine_y = 0.42 * self.depth
        self.scale = half_width / 150


class _Canvas:
    """HU and labels on the fine grid, and the ways of painting on it."""

    def __init__(self, side, body, rng):
        n = side * OVERSAMPLING
        self.side = side
        x0, y0 = rng.uniform(-12, 12, 2)
        positions = (np.arange(n) + 0.5) * (FIELD_OF_VIEW / n) - FIELD_OF_VIEW / 2
        self.x, self.y = positions[None, :] - x0, positions[:, None] - y0
        radius, angle = np.hypot(self.x, self.y), np.arctan2(self.y, self.x)
        self.in_skin = radius < np.interp(angle, ANGLES, body.skin)
        self.in_fat = radius < np.interp(angle, ANGLES, body.skin - SKIN_MM)
        self.in_wall = radius < np.interp(angle, ANGLES, body.wall_outside)
        self.in_cavity = radius < np.interp(angle, ANGLES, body.wall_inside)
        self.hu = np.full((n, n), AIR_HU, np.float32)
        self.labels = np.full((n, n), BACKGROUND, np.uint8)

    def fill(self, where, hu, label=BACKGROUND):
        self.hu[where] = hu
        self.labels[where] = label

    def ellipse(self, x, y, a, b, hu, label=BACKGROUND, *, turn=0.0, within=None, above=np.inf):
        """Fills an ellipse with half axes a and b, `turn` radians clockwise.

        Only where the mask `within` holds and in front of the line y = `above`.
        """
        reach = max(a, b)
        rows = slice(*np.searchsorted(self.y[:, 0], (y - reach, y + reach)))
        columns = slice(*np.searchsorted(self.x[0], (x - reach, x + reach)))
        dx, dy = self.x[:, columns] - x, self.y[rows] - y
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        inside = ((u / a) ** 2 + (v / b) ** 2 <= 1) & (self.y[rows] < above)
        if within is not None:
            inside &= within[rows, columns]
        self.hu[rows, columns][inside] = hu
        self.labels[rows, columns][inside] = label

    def picture(self, rng, noise):
        """The mean of each pixel's samples plus noise, and the label that most of them have."""
        fine = self.hu + smooth_noise(rng, self.hu.shape, 6.0, passes=2) * (self.hu > GAS_HU)
        shape = (self.side, OVERSAMPLING, self.side, OVERSAMPLING)
        hu = fine.reshape(shape).mean((1, 3))
        hu += smooth_noise(rng, hu.shape, noise, passes=1)
        shares = [(self.labels == label).reshape(shape).mean((1, 3)) for label in range(4)]
        hu = hu.round().clip(-1024, 3071).astype(np.int16)
        return hu, np.argmax(shares, 0).astype(np.uint8)


def _paint_table(canvas, body):
    """A curved couch top of two thin shells around foam, under the patient."""
    below = canvas.y - (body.skin[BACK] + 1.5) + canvas.x**2 / 1500
    on_table = np.abs(canvas.x) < 200
    canvas.fill(on_table & (below > 0) & (below < 16), -880)
    for shell in (1.2, 15.0):
        canvas.fill(on_table & (np.abs(below - shell) < 1.2), -120)


def _paint_layers(canvas):
    canvas.fill(canvas.in_skin, SKIN_HU)
    canvas.fill(canvas.in_fat, FAT_HU, SUBCUTANEOUS)
    canvas.fill(canvas.in_wall, MUSCLE_HU, MUSCLE)
    canvas.fill(canvas.in_cavity, FAT_HU, VISCERAL)


def _paint_organs(canvas, body, rng):
    """Liver on the left of the picture, spleen on the right, kidneys, aorta, vena cava."""
    w, d, inside = body.width, body.depth, canvas.in_cavity
    if rng.random() < 0.6:
        x, a = -w * rng.uniform(0.55, 0.8), w * rng.uniform(0.25, 0.5)
        liver_hu = rng.uniform(55, 110)
        canvas.ellipse(x, -d * 0.1, a, d * 0.65, liver_hu, turn=0.3, within=inside)
    if rng.random() < 0.5:
        y, spleen_hu = d * rng.uniform(-0.1, 0.2), rng.uniform(50, 110)
        canvas.ellipse(w * 0.8, y, w * 0.15, d * 0.35, spleen_hu, turn=-0.4, within=inside)
    kidney_hu = rng.uniform(40, 180)
    for side in (-1, 1):
        x, y = side * w * rng.uniform(0.5, 0.62), d * rng.uniform(0.3, 0.5)
        a, b = rng.uniform(18, 26), rng.uniform(20, 30)
        canvas.ellipse(x, y, a, b, kidney_hu, within=inside)
        sinus_x = x - side * a * 0.55
        canvas.ellipse(sinus_x, y, a * 0.4, b * 0.35, FAT_HU, VISCERAL, within=inside)
    blood_hu = rng.uniform(40, 190)
    canvas.ellipse(8, body.spine_y - 30, 10, 10, blood_hu)
    canvas.ellipse(-16, body.spine_y - 28, 12, 9, 0.8 * blood_hu)


def _paint_bowel(canvas, body, rng):
    """Loops of bowel in the front of the cavity: fluid, stool, or gas above a fluid level."""
    wall_mm = 2.5
    for _ in range(rng.integers(8, 30)):
        x, y = rng.uniform(-0.75, 0.75) * body.width, rng.uniform(-0.75, 0.1) * body.depth
        a, b, turn = rng.uniform(9, 22), rng.uniform(9, 22), rng.uniform(0, np.pi)
        inside = canvas.in_cavity
        canvas.ellipse(x, y, a, b, 40, turn=turn, within=inside)
        a, b = a - wall_mm, b - wall_mm
        canvas.ellipse(x, y, a, b, rng.uniform(-30, 45), turn=turn, within=inside)
        if rng.random() < 0.35:
            level = y + rng.uniform(-0.6, 0.8) * b
            canvas.ellipse(x, y, a, b, GAS_HU, turn=turn, within=inside, above=level)


def _paint_muscles(canvas, body, rng):
    """Psoas beside the spine, and the muscles of the back with seams of fat between them."""
    y, s = body.spine_y, body.scale * rng.uniform(0.85, 1.15)
    for side in (-1, 1):
        x = side * 37 * s
        canvas.ellipse(x, y, 15 * s, 21 * s, MUSCLE_HU, MUSCLE, turn=side * 0.35)
        lateral = (side * 62 * s, y + 26 * s, 24 * s, 15 * s)
        medial = (side * 29 * s, y + 40 * s, 27 * s, 21 * s)
        for x, back_y, a, b in (lateral, medial):
            turn, seam = side * 0.35, 1.5
            canvas.ellipse(
                x, back_y, a + seam, b + seam, FAT_HU, turn=turn, within=canvas.in_cavity
            )
            canvas.ellipse(x, back_y, a, b, MUSCLE_HU, MUSCLE, turn=turn, within=canvas.in_wall)


def _paint_bones(canvas, body, rng):
    """A vertebra with its canal and processes, and ribs in the wall."""
    y, s = body.spine_y, rng.uniform(0.9, 1.1)
    canvas.ellipse(0, y + 36 * s, 4.5, 20 * s, CORTICAL_HU, within=canvas.in_wall)
    for side in (-1, 1):
        canvas.ellipse(side * 24 * s, y + 20 * s, 22 * s, 4.5, CORTICAL_HU, turn=side * 0.25)
    canvas.ellipse(0, y, 25 * s, 19 * s, CORTICAL_HU)
    canvas.ellipse(0, y, 22.5 * s, 16.5 * s, rng.uniform(130, 220))
    canvas.ellipse(0, y + 22 * s, 15 * s, 11 * s, CORTICAL_HU)
    canvas.ellipse(0, y + 22 * s, 11 * s, 8 * s, 25)
    middle_of_wall = (body.wall_outside + body.wall_inside) / 2
    for i in rng.integers(-150, 150, rng.integers(0, 8)) + RIGHT * rng.integers(0, 2):
        x, rib_y = middle_of_wall[i] * np.cos(ANGLES[i]), middle_of_wall[i] * np.sin(ANGLES[i])
        canvas.ellipse(x, rib_y, 3.5, 7.0, CORTICAL_HU, turn=ANGLES[i])


def wave(rng, amplitude):
    """A smooth periodic function with zero mean, at `ANGLES`."""
    k = np.arange(1, 5)[:, None]
    a, b = rng.normal(0, amplitude, (2, 4, 1)) / k
    return (a * np.cos(k * ANGLES) + b * np.sin(k * ANGLES)).sum(0)


def smooth_noise(rng, shape, sigma, passes):
    """Gaussian noise whose neighbours resemble each other, as reconstructed CT noise does."""
    noise = rng.standard_normal(shape, np.float32)
    for _ in range(passes):
        for axis in (0, 1):
            noise = noise + np.roll(noise, 1, axis)
    return noise * (sigma / noise.std())
