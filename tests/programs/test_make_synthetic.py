"""The program that makes synthetic training sets, interrupted and killed."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from helpers import command, run_program

from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import make_synthetic

FLAGS = ('--subjects=6', '--size=64', '--slice_spacing=10', '--seed=3')
WORKERS = '--workers=2'


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def end_with(number, folder):
    """Starts the program and sends a signal to all its processes once a subject is drawn."""
    before = set(folder.glob('parts/*.json'))
    process = subprocess.Popen(
        command(folder, *FLAGS, WORKERS, program='make_synthetic'),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not {*folder.glob('parts/*.json')} - before:
        time.sleep(0.01)
    if number == signal.SIGKILL:
        os.kill(process.pid, number)
    else:
        os.killpg(process.pid, number)
    _, printed = process.communicate()
    return process.returncode, printed


@pytest.mark.processes
def test_an_interrupted_and_a_killed_run_end_in_the_same_bits(tmp_path):
    whole, folder = tmp_path / 'whole', tmp_path / 'sets'
    make_synthetic.main(['x', str(whole), *FLAGS, '--workers=1'])
    assert end_with(signal.SIGINT, folder) == (130, 'make_synthetic.py: interrupted\n')
    assert end_with(signal.SIGKILL, folder) == (-signal.SIGKILL, '')
    assert not (folder / 'segmentation').exists()
    done = run_program(folder, *FLAGS, WORKERS, program='make_synthetic')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'of 6 subjects are drawn already' in done.stdout
    assert contents(folder) == contents(whole)


def test_the_flags_are_those_of_the_sets(tmp_path):
    flags = ['-n', '2', '--size=32', '--slice_spacing=20', '--slices=3', '--workers=1']
    make_synthetic.main(['x', str(tmp_path / 'sets'), *flags, '-L', 'L5,T9'])
    images = np.load(tmp_path / 'sets/segmentation/train_images.npy')
    assert (images.shape, images.dtype) == ((3, 32, 32, 1), np.int16)
    header = (tmp_path / 'sets/slice_selection/meta/val.csv').read_text().partition('\n')[0]
    assert header == 'series,patient,SOPInstanceUID,z,ZOffset_L5,ZOffset_T9'


@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--subjects=1', 'invalid --subjects=1: use 2 to 1,000,000'),
        ('--size=16', 'invalid --size=16: use 32 to 4096'),
        ('--slice_spacing=nan', 'invalid --slice_spacing=nan: use 0.5 to 30 mm'),
        ('--slices=0', 'invalid --slices=0: use a positive number'),
        ('--workers=0', 'invalid --workers=0: use a positive number'),
        ('--levels=L3,L3', 'invalid --levels=L3,L3: name some of L5, L4'),
        ('--levels=C1', 'invalid --levels=C1: name some of L5, L4'),
        ('--val_share=1', 'invalid --val_share=1.0: use a number above 0 and below 1'),
        ('--seed=-1', 'invalid --seed=-1: use 0 or more'),
    ],
)
def test_wrong_flags(tmp_path, flag, message):
    with pytest.raises(InputError, match=message):
        make_synthetic.main(['x', str(tmp_path / 'sets'), flag])
    assert not (tmp_path / 'sets').exists()
