"""python -m bodycomp_jax.programs"""

import runpy

import pytest

from bodycomp_jax.programs import PROGRAMS


@pytest.mark.parametrize('arguments', [[], ['train'], ['--help']])
def test_other_programs_are_refused_with_those_that_there_are(monkeypatch, capsys, arguments):
    monkeypatch.setattr('sys.argv', ['-m', *arguments])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_module('bodycomp_jax.programs', run_name='__main__')
    assert '|'.join(PROGRAMS) in capsys.readouterr().err
