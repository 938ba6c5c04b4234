"""A page for a cohort: table, previews, ratings and histograms in one HTML file."""

import base64
import hashlib
import json
import math
import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax.runtime.files import replacing

IDENTITY = ('series', 'level', 'slice')  # columns by which a rating finds its row again
MAX_PICTURE_BYTES = 200_000_000  # that are put into the page; more are linked
BINS = 20
FENCE = 1.5  # interquartile ranges beyond the quartiles, from where on values are outliers
ROUNDING = 1e-9  # relative differences up to which values are the same
MIN_VALUES = 5  # of which quartiles are taken
PAGE, PICTURES, DATA = 'report.html', '<!-- PICTURES -->', '<!-- DATA -->'
PARTS = {'<!-- STYLE -->': 'report.css', '<!-- SCRIPT -->': 'report.js'}  # of the page

Value = str | float | None


class Histogram(NamedTuple):
    """How the values of a column are distributed at a level.

    Attributes:
      title: the column, and the level if the column has values at several.
      column, level: which values it counts.
      edges: of the bins.
      counts: of the values in each bin.
      outliers: indices of their rows, the farthest first.
    """

    title: str
    column: str
    level: str
    edges: list[float]
    counts: list[int]
    outliers: list[int]


def write_report(
    path: str,
    rows: Sequence[Mapping[str, Value]],
    units: Mapping[str, str],
    *,
    shown: Sequence[str],
    pictures: Sequence[str | None],
) -> None:
    """Writes the page, which needs no other file, no server and no network.

    The pictures are within the page, unless they have more than `MAX_PICTURE_BYTES`: then it links
    them.

    Args:
      path: of the page.
      rows: {column: value} of each slice, or of a series without one; None, '' and what is missing
        are unknown. Numbers may be texts, as in CSV files.
      units: {column: unit} of all columns in their order, among them `IDENTITY` and status; '' of
        texts.
      shown: the columns of the table; the page lists all that are known of the chosen row.
      pictures: path of the JPEG file of each row; None if there is none.

    Raises OSError that names the path.
    """
    columns = {name: _values([row.get(name) for row in rows], unit) for name, unit in units.items()}
    needed = (*IDENTITY, 'status')
    columns = {
        name: values
        for name, values in columns.items()
        if name in needed or any(value not in (None, '') for value in values)
    }
    numbers = [name for name in columns if units[name] and not _has_texts(columns[name])]
    identities = list(zip(*(columns[name] for name in IDENTITY), strict=True))
    levels = [str(level) for level in columns['level']]
    sizes = [os.path.getsize(picture) for picture in pictures if picture is not None]
    inside = sum(sizes) <= MAX_PICTURE_BYTES
    data = {
        'columns': list(columns),
        'units': {name: units[name] for name in numbers},
        'shown': [name for name in shown if name in columns],
        'identity': IDENTITY,
        'rows': list(zip(*columns.values(), strict=True)),
        'histograms': [
            each._asdict() for name in numbers for each in histograms(name, columns[name], levels)
        ],
        'links': [None if inside or each is None else _link(each, path) for each in pictures],
        'key': hashlib.sha256(json.dumps(identities).encode()).hexdigest(),
    }
    head, body, end = _page()
    with replacing(path, binary=True) as file:
        file.write(head)
        for i, picture in enumerate(pictures if inside else ()):
            if picture is not None:
                file.write(_inline(i, picture))
        file.write(body)
        file.write(_json_in_html(data))
        file.write(end)


def histograms(column: str, values: Sequence[Value], levels: Sequence[str]) -> list[Histogram]:
    """A histogram of the values of a column at each level, where they vary.

    Args:
      column: its name.
      values: number of each row; None if unknown.
      levels: of each row.
    """
    rows_of: dict[str, list[int]] = {}
    for i, (value, level) in enumerate(zip(values, levels, strict=True)):
        if value is not None:
            rows_of.setdefault(level, []).append(i)
    made = []
    for level, rows in rows_of.items():
        known = np.array([values[i] for i in rows], float)
        if np.ptp(known) > ROUNDING * np.abs(known).max():
            counts, edges = np.histogram(known, BINS)
            outliers = [rows[i] for i in _outliers(known)]
            title = column if len(rows_of) == 1 else f'{column}, {level}'
            made.append(Histogram(title, column, level, edges.tolist(), counts.tolist(), outliers))
    return made


def _outliers(values: np.ndarray) -> list[int]:
    """The indices of values beyond the fences, the farthest first."""
    if len(values) < MIN_VALUES:
        return []
    lower, upper = np.quantile(values, (0.25, 0.75))
    beyond = np.maximum(lower - values, values - upper)
    order = np.argsort(-beyond, kind='stable')
    return [int(i) for i in order if beyond[i] > FENCE * (upper - lower)]


def _values(values: Sequence[Value], unit: str) -> list[Value]:
    """Numbers, None where unknown, of a column with a unit whose known values are numbers; texts of
    others."""
    if unit:
        numbers = [_number(value) for value in values]
        if all(n is not None or v in (None, '') for n, v in zip(numbers, values, strict=True)):
            return [n if n is not None and math.isfinite(n) else None for n in numbers]
    return ['' if value is None else str(value) for value in values]


def _number(value: Value) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _has_texts(values: Sequence[Value]) -> bool:
    return any(isinstance(value, str) for value in values)


def _page() -> tuple[bytes, bytes, bytes]:
    """What comes before the pictures, between them and the data, and after the data."""
    folder = pathlib.Path(__file__).parent
    page = (folder / PAGE).read_text('utf-8')
    for mark, name in PARTS.items():
        page = page.replace(mark, (folder / name).read_text('utf-8'))
    head, rest = page.split(PICTURES)
    body, end = rest.split(DATA)
    return head.encode(), body.encode(), end.encode()


def _inline(i: int, picture: str) -> bytes:
    """The picture of row i as an element that shows nothing."""
    with open(picture, 'rb') as file:
        content = base64.b64encode(file.read())
    return b'<script type="text/plain" id="picture-%d">%s</script>\n' % (i, content)


def _link(picture: str, page: str) -> str:
    """The address of a picture, relative to the page."""
    return urllib.parse.quote(os.path.relpath(picture, os.path.dirname(page) or os.curdir))


def _json_in_html(data: object) -> bytes:
    """JSON in ASCII that cannot end the element that it is in."""
    text = json.dumps(data, allow_nan=False, separators=(',', ':'))
    for character in '<>&':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return text.encode('ascii')
