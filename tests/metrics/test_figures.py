import numpy as np
import pytest

from bodycomp_jax.metrics import figures

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')
SIDE = 64
ZOOM = figures.TILE // SIDE


def draw(prediction, mask, image=None):
    image = np.full(mask.shape, -1000, np.int16) if image is None else image
    logits = np.eye(4, dtype=np.float32)[prediction]
    (picture,) = figures.segmentation(
        logits[None],
        {'image': image[None], 'mask': mask[None]},
        tissues=TISSUES,
        apply_window=True,
    )
    return picture


def pixel(picture, tile, y, x):
    top = figures.FONT_SIZE + figures.MARGIN
    return tuple(picture[top + y * ZOOM, tile * figures.TILE + x * ZOOM])


@pytest.fixture
def case():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10, 10], mask[20, 20], mask[30, 30] = 1, 2, 3
    prediction = mask.copy()
    prediction[20, 20], prediction[30, 30], prediction[40, 40] = 0, 1, 2
    return prediction, mask


def test_differences_show_what_the_network_said(case):
    picture = draw(*case)
    assert pixel(picture, 3, 10, 10) == (0, 0, 0)
    assert pixel(picture, 3, 20, 20) == figures.MISSED
    assert pixel(picture, 3, 30, 30) == figures.COLOURS['muscle']
    assert pixel(picture, 3, 40, 40) == figures.COLOURS['subcutaneous_fat']


def test_labels_and_prediction_are_tinted_in_their_colours(case):
    picture = draw(*case)
    muscle = tuple(int(figures.TINT * c) for c in figures.COLOURS['muscle'])
    visceral = tuple(int(figures.TINT * c) for c in figures.COLOURS['visceral_fat'])
    assert pixel(picture, 1, 10, 10) == pixel(picture, 2, 10, 10) == muscle
    assert pixel(picture, 1, 30, 30) == visceral
    assert pixel(picture, 2, 30, 30) == muscle
    assert pixel(picture, 1, 50, 50) == (0, 0, 0)


def test_the_slice_is_shown_in_its_window(case):
    image = np.full((SIDE, SIDE), -1000, np.int16)
    image[50, 50], image[51, 51] = 40, 500
    picture = draw(*case, image)
    assert pixel(picture, 0, 50, 50) == (128, 128, 128)
    assert pixel(picture, 0, 51, 51) == (255, 255, 255)


def test_the_legend_names_what_the_colours_mean(case):
    prediction, mask = case
    legend = figures._legend(mask, prediction, TISSUES)
    assert legend == [
        (figures.COLOURS['muscle'], 'muscle, Dice 0.667'),
        (figures.COLOURS['subcutaneous_fat'], 'subcutaneous fat, Dice 0.000'),
        (figures.COLOURS['visceral_fat'], 'visceral fat, Dice 0.000'),
        (figures.MISSED, 'predicted as background'),
    ]
