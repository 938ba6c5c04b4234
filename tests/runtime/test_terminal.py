import pytest

from bodycomp_jax.runtime.terminal import Terminal


def test_output_to_a_file_has_no_control_characters_and_no_broken_lines(capsys):
    terminal = Terminal()
    terminal.line('x' * 300)
    terminal.line("it's:100:[red]")
    with terminal.bar('epoch 1/2', 2, 8) as advance:
        advance(-0.5, 0)
    terminal.table(('', 'Dice muscle'), [('best', '0.9')])
    printed = capsys.readouterr().out
    assert 'x' * 300 in printed
    assert "it's:100:[red]" in printed
    assert 'Dice muscle' in printed
    assert all(character.isprintable() or character == '\n' for character in printed)


@pytest.mark.parametrize('terminal', ['0', '1'])
def test_items_that_are_tracked_stay_the_same(monkeypatch, capsys, terminal):
    monkeypatch.setenv('FORCE_COLOR' if terminal == '1' else 'NO_COLOR', '1')
    items = Terminal().track(iter('abc'), 3, 'scans[1]')
    assert ''.join(items) == 'abc'
    printed = capsys.readouterr().out
    for text in ('scans[1]', '3/3', '/s'):
        assert (text in printed) == (terminal == '1')


def test_progress_within_progress_is_shown(monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')
    terminal = Terminal()
    tracked = [
        list(terminal.track(range(count), count, f'inner {count}'))
        for count in terminal.track((1, 2), 2, 'outer')
    ]
    assert tracked == [[0], [0, 1]]
    printed = capsys.readouterr().out
    assert all(title in printed for title in ('outer', 'inner 1', 'inner 2'))


@pytest.mark.parametrize(
    ('value', 'text'),
    [(1234567, '1,234,567'), (1234.5, '1,234'), (0.12345, '0.123'), (None, ''), ('cpu', 'cpu')],
)
def test_reports_show_numbers_with_three_digits(capsys, value, text):
    Terminal().report({'rate_per_second': value}, [{'what': 'train', 'value': value}])
    printed = capsys.readouterr().out
    assert f'rate per second: {text}' in printed
    assert ['train', *text.split()] in [line.split() for line in printed.splitlines()]


def test_a_terminal_without_columns_shows_lines(monkeypatch, capsys):
    monkeypatch.setenv('COLUMNS', '0')
    monkeypatch.setenv('FORCE_COLOR', '1')  # counts as a terminal
    terminal = Terminal()
    terminal.line('epoch 1')
    assert 'epoch 1' in capsys.readouterr().out


def test_cells_of_a_table_are_no_markup(capsys):
    Terminal().table(('run[bold]x',), [('run[/b]y',)])
    printed = capsys.readouterr().out
    assert 'run[bold]x' in printed
    assert 'run[/b]y' in printed
