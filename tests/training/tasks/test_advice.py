import functools
import types

import pytest

from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig, from_values
from bodycomp_jax.ct import TISSUES
from bodycomp_jax.training import messages
from bodycomp_jax.training.tasks.advice import segmentation_advice, slice_selection_advice

LEVELS = SliceSelectionConfig()


def rows(epochs, *, dice=(0.9, 0.9, 0.9), loss=lambda i: -2.5 - 0.02 * i, gap=0.1):
    tissues = {f'dice_{tissue}': value for tissue, value in zip(TISSUES, dice, strict=True)}
    return [
        {'train_loss': loss(i), 'val_loss': loss(i) + gap, **tissues} for i in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(
    ('history', 'expected'),
    [
        (rows(10), {}),
        (rows(9, dice=(0.9, 0.9, 0.0)), {}),
        (rows(10, dice=(0.9, 0.9, 0.0)), {'missed': 'no pixel of visceral fat is found'}),
        (rows(10, dice=(0.9, 0.9, float('nan'))), {}),  # without labels
        (rows(10, dice=(0.62, 0.9, 0.9)), {}),  # but still falling
        (rows(10, dice=(0.62, 0.9, 0.9), loss=lambda i: -2.2), {'plateau': 'below 0.8 for muscle'}),
        (rows(10, loss=lambda i: -2.2), {}),
        (rows(10, gap=1.2), {'overfit': 'validation is far behind training'}),
        (rows(10, gap=float('nan')), {}),
    ],
)
def test_advice_on_a_segmentation(history, expected):
    advice = segmentation_advice(history, SegmentationConfig())
    assert advice.keys() == expected.keys()
    assert all(text in advice[what] for what, text in expected.items())


@pytest.mark.parametrize(('loss', 'limit'), [('mae', 0.06), ('cross_entropy', 0.18)])
def test_advice_on_a_slice_selection(loss, limit):
    config = SliceSelectionConfig(loss=loss)
    losses = [{'train_loss': 0.02, 'val_loss': limit - 0.01}] * 10
    assert slice_selection_advice(losses, config) == {}
    worse = [{'train_loss': 0.02, 'val_loss': limit + 0.01}] * 10
    assert slice_selection_advice(worse[1:], config) == {}
    assert slice_selection_advice(worse, config).keys() == {'overfit'}


def test_advice_is_given_once():
    spec = types.SimpleNamespace(
        task=types.SimpleNamespace(advice=functools.partial(slice_selection_advice, config=LEVELS))
    )
    history = [{'train_loss': 0.02, 'val_loss': 0.19}] * 12
    given = [messages.describe_advice(spec, history[:n]) for n in range(1, 13)]
    assert [len(lines) for lines in given] == [0] * 9 + [1, 0, 0]


def test_what_a_training_already_has_is_not_advised():
    stuck = rows(10, dice=(0.62, 0.9, 0.9), loss=lambda i: -2.2, gap=1.2)
    reference = from_values(SegmentationConfig, SegmentationConfig.presets['reference'])
    for config, is_advised in ((reference, True), (SegmentationConfig(), False)):
        advice = segmentation_advice(stuck, config)
        assert ('--loss=dice_ce' in advice['plateau']) == is_advised
        assert ('--augmentation=strong' in advice['overfit']) == is_advised
