"""The page of a cohort: its data, and what it does in a browser."""

import base64
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.estimation import report
from bodycomp_jax.estimation.ratings import identity, read_bad

UNITS = {
    'status': '', 'series': '', 'level': '', 'slice': '1', 'z_mm': 'mm', 'patient_id': '',
    'limits': 'HU', 'area': 'cm2', 'unused': 'cm2',
}  # fmt: skip
SHOWN = ('status', 'series', 'patient_id', 'area', 'unused')
HOSTILE = '</script><script>document.title = "broken"</script><img src=x onerror="alert(1)">'
ROWS = [
    {
        'status': 'measured', 'series': f'series {i}', 'level': 'L3', 'slice': i, 'z_mm': -0.5 * i,
        'patient_id': f'P{i}', 'limits': '-29..150', 'area': 100.0 + i % 10,
    }
    for i in range(130)
]  # fmt: skip
ROWS[0]['patient_id'] = HOSTILE
ROWS[7] = {'status': 'level_outside_scan', 'series': 'series 7', 'level': 'L3', 'area': ''}
ROWS[129]['area'] = '500.0'  # as read from a CSV file
BROWSER = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
)

# What a reader of the page does; what the page then shows is left in the element `found`.
READER = r"""
const found = {errors: []};
window.onerror = message => found.errors.push(message);
const rows = () => [...document.querySelectorAll('#list tbody tr')];
const column = i => rows().map(row => row.children[i].textContent);
const title = () => document.querySelector('#case strong').textContent;
const click = (label, within = document) =>
  [...within.querySelectorAll('button')].find(each => each.textContent.startsWith(label)).click();
const enter = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event('input'));
};
const press = key =>
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));

found.title = document.title;
found.counts = document.getElementById('counts').textContent;
found.heads = [...document.querySelectorAll('#list th')].map(each => each.textContent);
found.rows = rows().length;
found.patient = column(3)[0];
found.pictures = [document.images.length, document.images[0].src.slice(0, 22)];
click('Next');
found.next = column(2)[0];
click('area');
found.ascending = column(4);
click('area');
found.descending = column(4);
enter('find', 'LEVEL_OUTSIDE');
found.searched = column(2);
click('All cases');
const areas = [...document.querySelectorAll('figure')].at(-1);
found.caption = areas.querySelector('figcaption').textContent;
found.bars = areas.querySelectorAll('rect').length;
areas.querySelectorAll('rect')[1].dispatchEvent(new Event('click'));
found.bar = column(2);
click('All cases');
areas.querySelector('.outliers button').click();
found.outlier = title();
click('bad', document.getElementById('case'));
enter('comment', 'too "low",\u00a0moved');
press('ArrowUp');
found.above = title();
press('g');
found.pressed = document.querySelector('[data-rating=good]').getAttribute('aria-pressed');
found.rated = document.getElementById('rated').textContent;
URL.createObjectURL = file => {
  file.text().then(text => {
    found.saved = text;
    const element = document.createElement('pre');
    element.id = 'found';
    element.textContent = JSON.stringify(found);
    document.body.append(element);
  });
  return '#';
};
click('Save ratings');
"""


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'previews' / 'a b.jpg'
    path.parent.mkdir()
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(path)
    return path


def write(folder, rows, pictures=None):
    path = folder / 'report.html'
    report.write_report(
        str(path), rows, UNITS, shown=SHOWN, pictures=pictures or [None] * len(rows)
    )
    return path


def data_of(path):
    pattern = r'<script type="application/json" id="data">(.*?)</script>'
    return json.loads(re.search(pattern, path.read_text(), re.DOTALL)[1])


def test_the_page_has_the_values_that_are_known(tmp_path):
    data = data_of(write(tmp_path, ROWS))
    assert data['columns'] == [name for name in UNITS if name != 'unused']
    assert data['units'] == {'slice': '1', 'z_mm': 'mm', 'area': 'cm2'}
    assert data['shown'] == ['status', 'series', 'patient_id', 'area']
    assert data['rows'][129] == [
        'measured',
        'series 129',
        'L3',
        129,
        -64.5,
        'P129',
        '-29..150',
        500,
    ]
    assert data['rows'][7] == ['level_outside_scan', 'series 7', 'L3', None, None, '', '', None]


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 'nan', None, ''])
def test_what_is_no_number_is_unknown(tmp_path, value):
    rows = [ROWS[1], {**ROWS[2], 'area': value}]
    assert [row[-1] for row in data_of(write(tmp_path, rows))['rows']] == [101, None]


def test_texts_cannot_leave_their_element(tmp_path):
    page = write(tmp_path, ROWS)
    assert HOSTILE not in page.read_text()
    assert data_of(page)['rows'][0][5] == HOSTILE


def test_pictures_are_in_the_page(tmp_path, picture):
    page = write(tmp_path, ROWS[:2], [None, str(picture)])
    inline = re.search(r'id="picture-1">(.*?)<', page.read_text())[1]
    assert base64.b64decode(inline) == picture.read_bytes()
    assert data_of(page)['links'] == [None, None]


def test_too_many_pictures_are_linked(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(report, 'MAX_PICTURE_BYTES', 100)
    page = write(tmp_path, ROWS[:2], [None, str(picture)])
    assert 'id="picture-1"' not in page.read_text()
    assert data_of(page)['links'] == [None, 'previews/a%20b.jpg']


def test_histograms_count_each_level_apart():
    values = [*range(10), None, 50.0, *[3.0] * 9]
    levels = [*['L3'] * 12, *['T12'] * 8, 'L1']
    (l3,) = report.histograms('area', values, levels)
    assert (l3.title, l3.column, l3.level) == ('area, L3', 'area', 'L3')
    assert (sum(l3.counts), l3.edges[0], l3.edges[-1]) == (11, 0, 50)
    assert l3.outliers == [11]


def test_values_that_differ_by_rounding_have_no_histogram():
    assert report.histograms('area', [0.1 + 0.2, 0.3], ['L3'] * 2) == []


def test_outliers_are_beyond_the_fences_the_farthest_first():
    values = [0.0, 10, 10, 11, 11, 12, 12, 13, 18, 40]  # quartiles 10.25 and 12.75
    (found,) = report.histograms('area', values, ['L3'] * 10)
    assert found.title == 'area'
    assert found.outliers == [9, 0, 8]
    (few,) = report.histograms('area', [1.0, 1, 1, 100], ['L3'] * 4)
    assert few.outliers == []


def test_an_empty_cohort_has_a_page(tmp_path):
    assert data_of(write(tmp_path, []))['rows'] == []


@pytest.mark.processes
@pytest.mark.skipif(BROWSER is None, reason='needs Chromium or Chrome')
def test_a_reader_sorts_finds_rates_and_saves(tmp_path, picture):
    page = write(tmp_path, ROWS, [str(picture), *[None] * 129])
    page.write_text(page.read_text().replace('</body>', f'<script>{READER}</script></body>'))
    shown = subprocess.run(
        [
            BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=5000',
            f'--user-data-dir={tmp_path / "browser"}', '--dump-dom', page.as_uri(),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', shown.stdout)[1]))
    assert found['errors'] == []
    assert found['title'] == 'Body composition'
    assert found['counts'].split() == ['129', 'measured', '1', 'level_outside_scan']
    assert found['heads'] == ['rating', 'status', 'series', 'patient_id', 'area']
    assert (found['rows'], found['next']) == (100, 'series 100')
    assert found['patient'] == HOSTILE
    assert found['pictures'] == [1, 'data:image/jpeg;base64']
    assert found['ascending'][:2] == ['100', '100']
    assert found['descending'][:2] == ['500', '109']
    assert found['searched'] == ['series 7']
    assert (found['caption'], found['bars']) == ('area, cm2', 2)
    assert found['bar'] == ['series 129']
    assert found['outlier'] == 'series 129, L3'
    assert found['above'] == 'series 128, L3'
    assert (found['pressed'], found['rated']) == ('true', '2 of 130 rated')
    ratings = tmp_path / 'ratings.csv'
    ratings.write_text(found['saved'], newline='')
    assert found['saved'].splitlines()[0] == 'series,level,slice,z_mm,rating,comment'
    assert 'series 129,L3,129,-64.5,bad,"too ""low"",\u00a0moved"' in found['saved']
    assert read_bad(str(ratings)) == {identity(ROWS[129])}
