"""The program that compares networks, from the command line."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import evaluate

MODEL = '--models=a'


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'nothing is to be compared; give --models, or --masks'),
        (['--models=a,a'], '--models: a is given twice; name each once'),
        (['--masks=m'], r'--masks=m: a single reader; put the reference standard before it'),
        ([MODEL, '--pixel_mm=0'], 'invalid --pixel_mm=0: use a positive number of mm'),
        ([MODEL, '--pixel_mm=nan'], 'invalid --pixel_mm=nan'),
        ([MODEL, '--seed=-1'], 'invalid --seed=-1: use a whole number in'),
        ([MODEL, '--fold=1'], '--fold=1 is one of --folds; give both'),
        ([MODEL, '--folds=1', '--fold=0'], 'invalid --folds=1: use 2 or more'),
        ([MODEL, '--folds=3', '--fold=3'], 'invalid --fold=3: use 0 to 2'),
        ([MODEL, '--folds=3'], r'a is one network, .* such as OUT/fold_\{fold\}, or add --fold'),
        (['--models=a_{fold}'], r'a_\{fold\} names a fold, but --folds is not given'),
        ([MODEL, '--split=all'], 'split'),
        ([MODEL], 'a: there is no such file or folder'),
    ],
)
def test_wrong_flags(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        evaluate.main(['x', str(tmp_path / 'data'), str(tmp_path / 'out'), *flags])
    assert not (tmp_path / 'out').exists()


def test_help_names_no_empty_defaults(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(['bin/evaluate.py', '--help'])
    help_text = capsys.readouterr().out
    assert '(default: val)' in help_text
    assert '(default: )' not in help_text
