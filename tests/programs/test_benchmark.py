"""The benchmark's command line: which network it measures, and the two forms of its report."""

import json

import pytest

from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import benchmark

ABOUT = {'devices': '1 x cpu', 'versions': {'jax': '0.10.2'}}
ROWS = [{'what': 'read', 'images_per_second': 12345.6, 'device_megabytes': None}]


@pytest.fixture
def measured(monkeypatch):
    """What `measure` is called with; it returns ABOUT and ROWS."""
    calls = []

    def measure(*arguments):
        calls.append(arguments)
        return ABOUT, ROWS

    monkeypatch.setattr(benchmark, 'measure', measure)
    return calls


def test_the_first_argument_chooses_the_network(measured):
    for argument, config_class in (
        ([], SegmentationConfig),
        (['segmentation'], SegmentationConfig),
        (['slice_selection'], SliceSelectionConfig),
    ):
        benchmark.main(['benchmark.py', *argument, '-b', '4', '-g', '2', '--image_size', '64'])
        bench, config, devices = measured.pop()
        assert type(config) is config_class
        assert (config.batch_size, bench.image_size, len(devices)) == (4, 64, 2)
    with pytest.raises(InputError, match='densenet'):
        benchmark.main(['benchmark.py', 'densenet'])
    assert not measured


def test_it_compiles_for_devices_that_are_not_there(measured, monkeypatch):
    """And then starts none of this machine."""
    monkeypatch.setattr(benchmark, 'absent_devices', lambda *arguments: arguments)
    monkeypatch.setattr(benchmark, 'choose_devices', None)
    benchmark.main(['benchmark.py', 'slice_selection', '--ahead_of_time', 'v5e', '-b', '8'])
    benchmark.main(['benchmark.py', '--ahead_of_time=h100', '-b', '16', '--num_gpus', '2'])
    assert [devices for _, _, devices in measured] == [('v5e', None, 8), ('h100', 2, 16)]
    with pytest.raises(InputError, match=r'ahead_of_time=a100.*v5e.*h100'):
        benchmark.main(['benchmark.py', '--ahead_of_time', 'a100'])


def test_it_prints_a_table_or_a_line_of_json(measured, capsys):
    benchmark.main(['benchmark.py', '-g', '1', '--json'])
    assert json.loads(capsys.readouterr().out) == {**ABOUT, 'rows': ROWS}
    benchmark.main(['benchmark.py', '-g', '1'])
    printed = capsys.readouterr().out
    assert 'devices: 1 x cpu' in printed
    assert 'device megabytes' in printed
    assert '12,346' in printed
    assert 'versions' not in printed
