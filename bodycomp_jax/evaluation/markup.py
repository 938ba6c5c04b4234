"""HTML from values: everything that comes from outside is escaped here."""

import base64
import html
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

STYLE, BODY = '<!-- STYLE -->', '<!-- BODY -->'


class Bold(NamedTuple):
    """Text of a cell that stands out."""

    text: str


def page(body: Iterable[str]) -> str:
    """A whole page around its elements, which needs no other file."""
    folder = pathlib.Path(__file__).parent
    template = (folder / 'page.html').read_text('utf-8')
    head, end = template.replace(STYLE, (folder / 'page.css').read_text('utf-8')).split(BODY)
    return head + '\n'.join(body) + end


def element(tag: str, text: str, style: str = '') -> str:
    """An element with text."""
    attribute = f' class="{style}"' if style else ''
    return f'<{tag}{attribute}>{html.escape(text)}</{tag}>'


def bullets(texts: Iterable[str], style: str = '') -> str:
    """A list of sentences."""
    items = ''.join(element('li', text) for text in texts)
    return f'<ul class="{style}">{items}</ul>'


def table(header: Sequence[str], rows: Iterable[Sequence[str | Bold]]) -> str:
    """A table that scrolls where it is too wide."""
    head = ''.join(element('th', text) for text in header)
    body = ''.join(f'<tr>{"".join(map(_cell, row))}</tr>' for row in rows)
    rows_and_head = f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
    return f'<div class="wide"><table>{rows_and_head}</table></div>'


def figures(svgs: Iterable[str]) -> str:
    """Figures beside each other, as many as there is space for."""
    return f'<div class="figures">{"".join(svgs)}</div>'


def picture(caption: str, jpeg: bytes) -> str:
    """A picture with its caption, within the page."""
    source = f'data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}'
    image = f'<img src="{source}" alt="{html.escape(caption)}">'
    return f'<figure>{element("figcaption", caption)}{image}</figure>'


def _cell(value: str | Bold) -> str:
    if isinstance(value, Bold):
        return f'<td><b>{html.escape(value.text)}</b></td>'
    return element('td', value, 'long' if len(value) > 40 else '')
