"""HTML from values."""

import html.parser

from bodycomp_jax.evaluation import markup
from bodycomp_jax.evaluation.markup import Bold

HOSTILE = '</table><script>alert(1)</script>&"'
VOID = {'meta', 'img', 'br'}


class Elements(html.parser.HTMLParser):
    """Collects tags and text, and refuses tags that do not close in their order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(text):
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    return elements


def test_text_stays_text():
    found = parsed(
        markup.page(
            [
                markup.element('h1', HOSTILE),
                markup.bullets([HOSTILE]),
                markup.table([HOSTILE], [[HOSTILE], [Bold(HOSTILE)]]),
                markup.picture(HOSTILE, b'picture'),
            ]
        )
    )
    assert 'script' not in found.tags
    assert found.texts.count(HOSTILE) == 6
    assert ('alt', HOSTILE) in found.attributes


def test_the_page_needs_no_other_file():
    found = parsed(markup.page([markup.picture('a', b'\xff\xd8')]))
    assert {'link', 'script', 'iframe'}.isdisjoint(found.tags)
    sources = [value for name, value in found.attributes if name in ('src', 'href')]
    assert sources == ['data:image/jpeg;base64,/9g=']
