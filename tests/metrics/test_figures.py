import numpy as np
import pytest
from PIL import ImageDraw

from bodycomp_jax import ct
from bodycomp_jax.metrics import figures
from bodycomp_jax.metrics.tinting import COLOURS, NOT_LABELLED, TINT

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')
SIDE = 64
ZOOM = figures.TILE // SIDE


def draw(prediction, mask, image=None):
    image = np.full(mask.shape, -1000, np.int16) if image is None else image
    logits = np.eye(4, dtype=np.float32)[prediction]
    (figure,) = figures.segmentation_figures(
        logits[None], image[None], mask[None], tissues=TISSUES, apply_window=True
    )
    return figure


def pixel(figure, tile, y, x):
    top = figures.FONT_SIZE + figures.MARGIN
    return tuple(figure[top + y * ZOOM, tile * figures.TILE + x * ZOOM])


@pytest.fixture
def case():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10, 10], mask[20, 20], mask[30, 30] = 1, 2, 3
    prediction = mask.copy()
    prediction[20, 20], prediction[30, 30], prediction[40, 40] = 0, 1, 2
    return prediction, mask


def test_differences_show_the_prediction(case):
    figure = draw(*case)
    assert pixel(figure, 3, 10, 10) == (0, 0, 0)
    assert pixel(figure, 3, 20, 20) == figures.MISSED
    assert pixel(figure, 3, 30, 30) == COLOURS['muscle']
    assert pixel(figure, 3, 40, 40) == COLOURS['subcutaneous_fat']


def test_labels_and_prediction_are_tinted_in_their_colours(case):
    figure = draw(*case)
    muscle = tuple(int(TINT * c) for c in COLOURS['muscle'])
    visceral = tuple(int(TINT * c) for c in COLOURS['visceral_fat'])
    assert pixel(figure, 1, 10, 10) == pixel(figure, 2, 10, 10) == muscle
    assert pixel(figure, 1, 30, 30) == visceral
    assert pixel(figure, 2, 30, 30) == muscle
    assert pixel(figure, 1, 50, 50) == (0, 0, 0)


def test_the_slice_is_shown_in_its_window(case):
    image = np.full((SIDE, SIDE), -1000, np.int16)
    image[50, 50], image[51, 51] = 40, 500
    figure = draw(*case, image)
    assert pixel(figure, 0, 50, 50) == (128, 128, 128)
    assert pixel(figure, 0, 51, 51) == (255, 255, 255)


def test_the_legend_names_tissues_with_their_dice(case):
    prediction, mask = case
    legend = figures._legend(mask, prediction, TISSUES)
    assert list(legend.items()) == [
        ('muscle, Dice 0.667', COLOURS['muscle']),
        ('subcutaneous fat, Dice 0.000', COLOURS['subcutaneous_fat']),
        ('visceral fat, Dice 0.000', COLOURS['visceral_fat']),
        ('predicted as background', figures.MISSED),
    ]


def test_what_is_not_labelled_is_grey_and_no_difference(case):
    prediction, mask = case
    mask[10:21] = ct.NOT_LABELLED
    figure = draw(prediction, mask)
    grey = tuple(int(TINT * c) for c in NOT_LABELLED)
    assert pixel(figure, 1, 10, 10) == pixel(figure, 1, 20, 20) == grey
    assert pixel(figure, 1, 30, 30) == tuple(int(TINT * c) for c in COLOURS['visceral_fat'])
    assert pixel(figure, 3, 10, 10) == pixel(figure, 3, 20, 20) == (0, 0, 0)
    legend = list(figures._legend(mask, prediction, TISSUES).items())
    assert legend[0][0] == 'muscle'  # no labelled pixel, no Dice
    assert legend[-1] == ('not labelled', NOT_LABELLED)


def test_curves_show_the_true_and_the_predicted_level():
    z = np.linspace(-100, 100, 60)[:, None]
    drawn = figures.level_figures(
        z - 30.0, offsets=z, series={'a': np.arange(60), 'b': np.arange(20, 40)},
        levels=('L3',), threshold=10.0,
    )  # fmt: skip
    assert [figure.shape for figure in drawn] == [(360, 800, 3)] * 2
    columns = [
        np.flatnonzero((drawn[0][60:300] == colour).all(-1).mean(0) > 0.6).mean()
        for colour in (figures.TRUE, figures.PREDICTED)
    ]
    width = 800 - 6 * figures.MARGIN - figures.MARGIN
    assert (columns[1] - columns[0]) / width * 200 == pytest.approx(30, abs=2)


def test_a_position_a_little_below_zero_is_written_as_zero(monkeypatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, 'text', lambda _, at, text, **__: texts.append(text))
    z = np.linspace(-100, 100, 41)[:, None]
    figures.level_figures(
        z + 0.02, offsets=z, series={'a': np.arange(41)}, levels=('L3',), threshold=10.0
    )
    assert texts[-1] == 'predicted: +0.0 mm'
