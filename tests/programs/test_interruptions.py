"""What can happen to a training, done to real processes and real files.

BODYCOMP_KILLS=24 kills the training 24 times, not twice.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import (
    command,
    events_of,
    final_state,
    read_rows,
    run_program,
    tiny_config,
    train_tiny,
)

from bodycomp_jax.errors import InputError
from bodycomp_jax.training.run_folder import RunLock
from bodycomp_jax.training.stop_signals import StopSignals

pytestmark = pytest.mark.processes

KILLS = int(os.environ.get('BODYCOMP_KILLS', '2'))
TIMING = ('images_per_second', 'data_wait_share', 'seconds')
STOPS = {'SIGTERM': 143, 'SIGINT': 130, 'SIGUSR1': 138, 'SIGHUP': 129}  # signals and exit codes
EPOCHS = 5 * KILLS + 4 * len(STOPS)  # more than the interrupted processes can do in their lives
LIFE = 0.6  # seconds after compilation, at most
FLAGS = ('-C', '4,8', '-M', '4', '-b', '1', '-l', '0.01', '-e', EPOCHS, '--name', 'run')
CONFIG = tiny_config(batch_size=1, epochs=EPOCHS)


def start(data_dir, output_dir):
    """A training under way, past its compilation: (process, what it printed)."""
    process = subprocess.Popen(
        command(data_dir, output_dir, *FLAGS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, wait_for(process, 'compiled')


def wait_for(process, start_of_line):
    """What is printed up to this line."""
    printed = ''
    for line in process.stdout:
        printed += line
        if line.startswith(start_of_line):
            return printed
    raise AssertionError(f'no line {start_of_line!r} in {printed}')


def finish(data_dir, output_dir):
    done = run_program(data_dir, output_dir, *FLAGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tensorboard_steps(run_dir):
    """(step, tag) of each scalar that TensorBoard shows: restarts drop what came before."""
    shown = []
    for event in events_of(run_dir / 'tensorboard_log'):
        if event.HasField('session_log'):
            shown = [(step, tag) for step, tag in shown if step < event.step]
        shown += [(event.step, v.tag) for v in event.summary.value if v.HasField('simple_value')]
    return shown


def assert_same_run(run_dir, reference):
    """Equal in every bit, timing aside; every epoch once; nothing half-written left."""
    rows, expected = (read_rows(folder / 'metrics.csv') for folder in (run_dir, reference))
    for row in (*rows, *expected):
        for column in TIMING:
            del row[column]
    assert rows == expected
    states = [final_state(folder, CONFIG) for folder in (run_dir, reference)]
    jax.tree.map(np.testing.assert_array_equal, *states)
    steps = tensorboard_steps(run_dir)
    assert len(steps) == len(set(steps))
    assert {step for step, _ in steps} == set(range(1, CONFIG.epochs + 1))
    left = [path.name for path in run_dir.rglob('*') if 'tmp' in path.name]
    assert not left


@pytest.fixture(scope='module')
def reference(data_dir, tmp_path_factory):
    """An undisturbed run."""
    output_dir = tmp_path_factory.mktemp('reference')
    finish(data_dir, output_dir)
    return output_dir / 'run'


def test_killed_and_stopped_by_every_signal_it_ends_in_the_same_bits(data_dir, tmp_path, reference):
    """Killed at any moment, stopped after the current step."""
    moments = random.Random(KILLS)
    for _ in range(KILLS):
        process, _ = start(data_dir, tmp_path)
        time.sleep(moments.uniform(0, LIFE))
        process.kill()
        process.communicate()
    expected = ['']
    for name, code in STOPS.items():
        process, printed = start(data_dir, tmp_path)
        assert any(each in printed for each in expected)
        wait_for(process, 'epoch')
        time.sleep(moments.uniform(0, 0.2))
        process.send_signal(signal.Signals[name])
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == code
        assert f'{name}: stopped after step' in printed
        epochs, steps = divmod(int(printed.split('stopped after step ')[1].split(';')[0]), 21)
        expected = [f'continues after epoch {epochs}' + f' and {steps} steps' * (steps > 0)]
        expected += [f'continues after epoch {epochs - 1} and 21 steps'] * (steps == 0)
    printed = finish(data_dir, tmp_path)
    assert any(each in printed for each in expected)
    assert_same_run(tmp_path / 'run', reference)


def test_a_second_signal_ends_it_at_once():
    program = (
        'import os, signal\n'
        'from bodycomp_jax.training.stop_signals import StopSignals\n'
        'with StopSignals() as stop:\n'
        '    os.kill(os.getpid(), signal.SIGTERM)\n'
        '    print(stop.received, flush=True)\n'
        '    os.kill(os.getpid(), signal.SIGTERM)\n'
        '    print("alive")\n'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ('15\n', -15)


def test_a_terminal_that_closes_stops_it_however_often_it_says_so():
    before = signal.getsignal(signal.SIGHUP)
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stop.stop_signal == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == before


def test_under_nohup_a_terminal_may_close():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert stop.stop_signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


# Disks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB of its own."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', folder], check=False
    )
    if mounted.returncode:
        pytest.skip('this user may not mount a small disk')
    yield folder
    subprocess.run(['umount', '-l', folder], check=True)


def fill(folder):
    """Fills the disk; returns the file that does."""
    ballast = folder / 'ballast'
    with open(ballast, 'wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def test_full_disks_are_survived_and_a_last_save_that_fails_can_be_repaired(
    data_dir, small_disk, reference
):
    process, _ = start(data_dir, small_disk)
    wait_for(process, 'epoch  2')
    ballast = fill(small_disk)
    wait_for(process, 'WARNING: a checkpoint could not be saved')
    wait_for(process, 'epoch')
    ballast.unlink()
    first = wait_for(process, 'epoch')
    for _ in range(3):
        wait_for(process, 'epoch')
    ballast = fill(small_disk)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert 'the last checkpoint could not be saved' in printed
    assert 'Traceback' not in printed
    ballast.unlink()
    continued = finish(data_dir, small_disk)
    saved, freed = (
        int(re.search(pattern, text)[1])
        for pattern, text in ((r'continues after epoch (\d+)', continued), (r'epoch +(\d+)', first))
    )
    assert saved >= freed  # all saves fail on a full disk
    states = [final_state(folder, CONFIG) for folder in (small_disk / 'run', reference)]
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert len(read_rows(small_disk / 'run' / 'metrics.csv')) == CONFIG.epochs
    assert not [path for path in small_disk.rglob('*') if 'tmp' in path.name]


# Data and locks


def test_data_truncated_during_a_run_is_an_error_not_a_crash(data_dir, tmp_path):
    own = tmp_path / 'data'
    shutil.copytree(data_dir, own)
    process, _ = start(own, tmp_path)
    wait_for(process, 'epoch  2')
    os.truncate(own / 'train_images.npy', 1000)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'train_images.npy: the file ends at byte' in printed
    assert 'Traceback' not in printed


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_runs(run_copy, data_dir):
    program = (
        'import sys, time\n'
        'from bodycomp_jax.training.run_folder import RunLock\n'
        'with RunLock(sys.argv[1], print):\n'
        '    print("held", flush=True)\n'
        '    time.sleep(600)\n'
    )
    first = subprocess.Popen(
        [sys.executable, '-c', program, run_copy], stdout=subprocess.PIPE, text=True
    )
    wait_for(first, 'held')
    with pytest.raises(InputError, match=f'process {first.pid} on .* is training in this folder'):
        train_tiny(data_dir, run_copy, tiny_config())
    first.kill()
    first.communicate()
    with RunLock(run_copy, print):
        pass
