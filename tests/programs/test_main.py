"""python -m bodycomp_jax.programs"""

import os
import runpy
import sys

import pytest

from bodycomp_jax.programs import PROGRAMS


@pytest.mark.parametrize('arguments', [[], ['train'], ['--help']])
def test_other_programs_are_refused_with_those_that_there_are(monkeypatch, capsys, arguments):
    monkeypatch.setattr('sys.argv', ['-m', *arguments])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_module('bodycomp_jax.programs', run_name='__main__')
    assert '|'.join(PROGRAMS) in capsys.readouterr().err


@pytest.mark.parametrize('name', PROGRAMS)
def test_a_module_that_is_started_itself_runs_its_program(monkeypatch, name):
    started = []
    monkeypatch.setattr(os, 'execv', lambda *command: started.append(command))
    monkeypatch.setattr(sys, 'argv', ['module', 'a', '-b', '3'])
    monkeypatch.delitem(sys.modules, f'bodycomp_jax.programs.{name}', raising=False)
    runpy.run_module(f'bodycomp_jax.programs.{name}', run_name='__main__')
    command = [sys.executable, '-m', 'bodycomp_jax.programs', name, 'a', '-b', '3']
    assert started == [(sys.executable, command)]
