"""What is not the trunk has no label: couch, clothes, wires, arms."""

import numpy as np
import pytest
from phantoms import mm2, paint, plain_subject

from bodycomp_jax.data.phantom import surroundings
from bodycomp_jax.data.phantom.tissue import AIR


def test_the_couch_is_below_the_body_and_differs():
    pictures = []
    for seed in range(5):
        canvas, cut = paint(plain_subject(seed), 2.0, [surroundings.paint_couch])
        couch = canvas.hu > -950
        assert mm2(canvas, couch) > 1000
        assert (canvas.in_skin[couch] < 1).mean() > 0.95  # the body is painted over it
        rows = np.broadcast_to(canvas.rows[:, None], couch.shape)[couch]
        assert rows.min() > cut.couch_y - 80
        assert not canvas.labels.any()
        pictures.append(canvas.hu.tobytes())
    assert len(set(pictures)) == 5


@pytest.mark.parametrize(
    'name, value, painter',
    [
        ('arms', 1.0, surroundings.paint_arms),
        ('blanket', 10.0, surroundings.paint_clothes),
        ('tubes', 6.0, surroundings.paint_clothes),
    ],
)
def test_what_a_person_has_is_outside_the_body_without_a_label(name, value, painter):
    none, _ = paint(plain_subject(half_width=105.0, fat=10.0), 2.0, [painter], side=210)
    assert (none.hu == AIR.hu).all()
    canvas, _ = paint(
        plain_subject(half_width=105.0, fat=10.0, **{name: value}), 2.0, [painter], side=210
    )
    there = canvas.hu > -900
    assert mm2(canvas, there) > 50
    assert canvas.in_skin[there].mean() < 0.1
    assert not canvas.labels.any()


def test_arms_are_beside_the_trunk_with_muscle_and_bone():
    canvas, _ = paint(
        plain_subject(half_width=105.0, fat=10.0, arms=1.0, bend=0.0),
        2.0,
        [surroundings.paint_arms],
        side=210,
    )
    sides = [mm2(canvas, (canvas.hu > 0) & (canvas.x * side > 0)) for side in (-1, 1)]
    assert min(sides) > 500
    assert np.abs(canvas.x[canvas.hu > -500]).min() > 100
    assert canvas.hu.max() > 250


def test_clothes_are_thin_and_light():
    canvas, _ = paint(
        plain_subject(half_width=105.0, fat=10.0, blanket=10.0),
        2.0,
        [surroundings.paint_clothes],
        side=210,
    )
    assert -900 < canvas.hu.max() < -600
