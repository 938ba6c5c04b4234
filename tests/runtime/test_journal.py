"""What a killed run leaves."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.journal import appending, forget, read_done

OPTIONS = {'size': 512, 'levels': ['L3']}
ROWS = {
    'S1': [{'status': 'measured', 'z_mm': 0.1 + 0.2, 'reason': 'größer'}],
    'S2': [{'status': 'measured', 'z_mm': None}],
}


def write(folder, rows, part='1-of-1'):
    with appending(str(folder), part, OPTIONS) as note:
        for name, of_series in rows.items():
            note(name, of_series)


def test_what_is_done_is_read_to_the_bit(tmp_path):
    assert read_done(str(tmp_path), OPTIONS) == {}
    write(tmp_path, ROWS)
    assert read_done(str(tmp_path), OPTIONS) == ROWS


def test_parts_of_a_job_have_files_of_their_own(tmp_path):
    for i, (name, rows) in enumerate(ROWS.items(), 1):
        write(tmp_path, {name: rows}, f'{i}-of-2')
    assert read_done(str(tmp_path), OPTIONS) == ROWS
    forget(str(tmp_path))
    assert read_done(str(tmp_path), OPTIONS) == {}


@pytest.mark.parametrize('left', range(1, 40))
def test_a_line_that_is_not_finished_is_not_done(tmp_path, left):
    write(tmp_path, ROWS)
    path = tmp_path / 'journal' / '1-of-1' / 'rows.jsonl'
    path.write_bytes(path.read_bytes()[:-left])
    assert read_done(str(tmp_path), OPTIONS) == {'S1': ROWS['S1']}
    write(tmp_path, {'S2': ROWS['S2']})
    assert read_done(str(tmp_path), OPTIONS) == ROWS


def test_the_last_rows_of_a_name_count(tmp_path):
    write(tmp_path, ROWS)
    write(tmp_path, {'S2': [{'status': 'failed'}]})
    assert read_done(str(tmp_path), OPTIONS) == {**ROWS, 'S2': [{'status': 'failed'}]}


def test_two_processes_do_not_do_the_same_part(tmp_path):
    with appending(str(tmp_path), '1-of-2', OPTIONS):
        write(tmp_path, ROWS, '2-of-2')
        with pytest.raises(InputError, match='another process writes this folder'):
            write(tmp_path, ROWS, '1-of-2')


def test_other_options_are_refused(tmp_path):
    write(tmp_path, ROWS)
    with pytest.raises(InputError, match=r'was begun with size=512, not 256; .*--overwrite'):
        read_done(str(tmp_path), OPTIONS | {'size': 256})


@pytest.mark.parametrize('content', ['{}\n', '[]\n', 'x\n', '{"options": 1}\n', '\x00\n', '1\n2\n'])
def test_other_files_are_refused(tmp_path, content):
    folder = tmp_path / 'journal' / '1-of-1'
    folder.mkdir(parents=True)
    (folder / 'rows.jsonl').write_text(content)
    with pytest.raises(InputError, match='not what this program wrote'):
        read_done(str(tmp_path), OPTIONS)
