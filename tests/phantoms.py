"""Subjects of the phantom with the parameters that a test is about, and single slices of them."""

import dataclasses

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.scanner import Scanner
from bodycomp_jax.data.phantom.subject import Subject
from bodycomp_jax.data.phantom.trunk import PAINTERS
from bodycomp_jax.data.phantom.variety import plain_person

FIELD_OF_VIEW = Scanner().field_of_view


def plain_subject(seed=1, **given):
    """A plain subject, but for the fields of `Person` that are given."""
    rng = np.random.default_rng(seed)
    return Subject(rng, dataclasses.replace(plain_person(rng), **given))


def paint(subject, t, painters=PAINTERS, side=140):
    """The canvas of a subject at the height t, and its `Cut`."""
    cut = Cut(subject, t)
    canvas = Canvas(side, cut, FIELD_OF_VIEW)
    for painter in painters:
        painter(canvas, cut)
    return canvas, cut


def without(*left_out):
    """All painters but these."""
    return tuple(painter for painter in PAINTERS if painter not in left_out)


def mm2(canvas, where):
    """The area of the pixels that are true."""
    return where.sum() * canvas.pixel**2
