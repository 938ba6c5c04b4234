"""Which operations a trace says take longest."""

import collections
import gzip
import json
import os
import re

import pytest

from bodycomp_jax.benchmark import profiles
from bodycomp_jax.errors import RunError


def test_a_profile_lists_the_costliest_operations(training, tmp_path, monkeypatch):
    rows = profiles.profile(training, str(tmp_path), steps=2)
    program = training.compiled.as_text()
    assert len(rows) == 10
    assert all(f'%{row["operation"]} = ' in program for row in rows)
    psum = re.search(r'%(\S+) = .*op_name="(\S+/compression_0/norm_0/psum)"', program)
    operations = [psum[1], *(f'operation {i}' for i in range(1, 11))]
    microseconds = {operation: 1000 * (11 - i) for i, operation in enumerate(operations)}
    counter = collections.Counter(microseconds)
    monkeypatch.setattr(profiles, 'operation_microseconds', lambda folder: counter)
    rows = profiles.profile(training, str(tmp_path), steps=2)
    assert [row['operation'] for row in rows] == operations[:10]
    assert [row['milliseconds'] for row in rows] == [i / 2 for i in range(11, 1, -1)]
    assert [row['share'] for row in rows] == [i / 66 for i in range(11, 1, -1)]
    assert [row['computes'] for row in rows] == [psum[2], *[''] * 9]
    counter.clear()
    with pytest.raises(RunError, match='XLA_FLAGS=--xla_gpu_enable_command_buffer= before'):
        profiles.profile(training, str(tmp_path), steps=1)


@pytest.mark.parametrize('name', ['trace', 't[1]'])
def test_a_trace_is_summed_by_operation(tmp_path, name):
    """The latest trace of the folder; events of other kinds do not count."""
    events = [
        {'args': {'hlo_op': 'conv.1'}, 'dur': 3.0},
        {'args': {'hlo_op': 'add.2'}, 'dur': 1.5},
        {'args': {'hlo_op': 'conv.1'}, 'dur': 4.0},
        {'args': {'name': 'python'}, 'dur': 9.0},
        {'dur': 9.0},
    ]
    for age, in_trace in ((1000, events[:1]), (0, events)):
        path = tmp_path / name / f'plugins/profile/{age}/host.trace.json.gz'
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(json.dumps({'traceEvents': in_trace}).encode()))
        os.utime(path, (2000 - age, 2000 - age))
    assert profiles.operation_microseconds(str(tmp_path / name)) == {'conv.1': 7.0, 'add.2': 1.5}
