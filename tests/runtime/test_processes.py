"""Jobs of two processes with two virtual devices each."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from helpers import ROOT, read_rows, run_spec, tiny_config
from runtime.job import augmented_pixels, sgd_task, with_accident

from bodycomp_jax import load_model
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.errors import Stopped
from bodycomp_jax.training.train import train

pytestmark = pytest.mark.processes

CONFIG = tiny_config(batch_size=4)
HEARTBEAT = 10  # seconds
# What Gloo prints, piece by piece: its threads write into each other's lines.
GLOO = (
    r'\[Gloo\] Rank | is connected to '
    r'| peer ranks\.|Expected number of connected peer ranks is : |\d|\s'
)
SIGTERM, SIGSTOP = int(signal.SIGTERM), int(signal.SIGSTOP)


@dataclasses.dataclass
class Call:
    """A call of the trainer by both processes; `second` are flags of process 1 alone."""

    run_dir: os.PathLike
    flags: str = ''
    second: str = ''
    accident: str = '-'

    def arguments(self, process):
        """The arguments of one process."""
        return [
            *('--model_output_dir', str(self.run_dir.parent), '--name', self.run_dir.name),
            *self.flags.split(),
            *(self.second.split() if process == 1 else ()),
            self.accident,
        ]


def run_job(data_dir, calls):
    """Calls the trainer in two processes: [(exit code, printed) of each process] by call.

    A call is missing if a process ended before it.
    """
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    shared = (
        f'--data_dir {data_dir} -C 4,8 -M 4 -b {CONFIG.batch_size} -e {CONFIG.epochs} '
        '--preset reference '
        f'--num_processes 2 --coordinator_address localhost:{port} --heartbeat_timeout {HEARTBEAT}'
    ).split()
    environ = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '2'}
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True, 'env': environ}
    started = [
        subprocess.Popen(
            [
                *(sys.executable, '-u', ROOT / 'tests/runtime/job.py'),
                json.dumps([call.arguments(i) for call in calls]),
                *(*shared, '--process_id', str(i)),
            ],
            **options,
        )
        for i in range(2)
    ]
    accident = calls[-1].accident
    if accident.endswith(f':{SIGSTOP}'):
        stopped = int(accident[0])
        started[1 - stopped].wait(timeout=300)
        started[stopped].kill()
    ended = []
    for process in started:
        printed = process.communicate(timeout=300)[0]
        *others, last = re.split(r'<exit (\d+)>', printed)
        ended.append(
            [
                *((int(code), text) for text, code in zip(others[::2], others[1::2], strict=True)),
                (process.returncode, last),
            ]
        )
    return list(zip(*ended, strict=False))


def run_here(data_dir, run_dir, accident=None):
    """The same training in this process, on one device."""
    sets = open_sets(data_dir, CONFIG)
    devices = jax.local_devices()[:1]
    task = sgd_task(CONFIG, devices, sets[0])
    if accident is not None:
        task = dataclasses.replace(task, summarize=with_accident(task.summarize, accident))
    train(run_spec(task, CONFIG, sets, run_dir, devices))
    return augmented_pixels(task, sets[0], CONFIG.batch_size, devices)


def assert_codes(ended, *codes):
    """The exit codes of both processes, by call."""
    printed = '\n'.join(text for of_call in ended for _, text in of_call)
    assert [tuple(code for code, _ in of_call) for of_call in ended] == [*codes], printed


def assert_same_rows(run_dir, reference):
    """Losses and Dice of every epoch, to 1e-5."""
    rows, expected = (read_rows(folder / 'metrics.csv') for folder in (run_dir, reference))
    assert len(rows) == len(expected) == CONFIG.epochs
    compared = [name for name in rows[0] if 'loss' in name or 'dice' in name]
    assert len(compared) == 8
    for name in compared:
        values = ([float(row[name]) for row in table] for table in (rows, expected))
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture(scope='module')
def job(data_dir, tmp_path_factory):
    """A job with a finished run, a stopped run, and calls that are refused before and after."""
    output_dir = tmp_path_factory.mktemp('job')
    finished, stopped = output_dir / 'finished', output_dir / 'stopped'
    refused = output_dir / 'refused' / 'run'
    calls = {
        'too_many_devices': Call(refused, second='--num_gpus 3'),
        'different_flags': Call(refused, second='-l 0.5'),
        'different_weights': Call(refused, second='-w weights'),
        'different_devices': Call(refused, second='-g 1'),
        'finished': Call(finished, '--data_cache device'),
        'other_loss': Call(finished, '--loss dice_ce'),
        'stopped': Call(stopped, accident=f'1:1:{SIGTERM}'),
    }
    ended = run_job(data_dir, list(calls.values()))
    assert_codes(ended, (2, 2), (2, 2), (2, 2), (2, 2), (0, 0), (2, 2), (143, 143))
    printed = {
        name: [text for _, text in of_call] for name, of_call in zip(calls, ended, strict=True)
    }
    return types.SimpleNamespace(
        printed=printed, finished=finished, stopped=stopped, refused=refused
    )


def test_two_by_two_is_one_by_one(data_dir, tmp_path, job):
    pixels = run_here(data_dir, tmp_path / 'run')
    assert_same_rows(tmp_path / 'run', job.finished)
    for i in range(2):
        with np.load(job.finished / f'augmented_{i}.npz') as of_process:
            for name, expected in pixels.items():
                np.testing.assert_array_equal(of_process[name], expected)
    models = (load_model(folder) for folder in (tmp_path / 'run', job.finished))
    weights = [jax.device_get(model.variables) for model in models]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *weights)


def test_only_the_main_process_prints_and_writes(job):
    assert (
        '2 processes, started by flags, with 2 devices each: 4 x cpu'
        in job.printed['too_many_devices'][0]
    )
    main, second = job.printed['finished']
    assert '4 x cpu in float32' in main
    assert main.count('images/s') == CONFIG.epochs
    assert not re.sub(GLOO, '', second)
    assert len(list((job.finished / 'tensorboard_log').iterdir())) == 1


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            'too_many_devices',
            'process 1: invalid --num_gpus=3: each process has 2',
        ),
        ('different_flags', 'process 1 has different flags from process 0'),
        ('different_weights', 'process 1 has different flags from process 0'),
        ('different_devices', 'process 1 has different devices from process 0'),
        ('other_loss', 'started with --loss=dice, not --loss=dice_ce'),
    ],
)
def test_all_processes_refuse_together_and_print_it_once(job, call, message):
    main, second = job.printed[call]
    assert message in main
    assert not re.sub(GLOO, '', second)
    assert not job.refused.parent.exists()


def test_a_signal_to_one_stops_all_and_any_number_of_processes_continues(data_dir, job):
    """The job stopped the run in one process; it continues in one process, then in two."""
    assert 'SIGTERM: stopped after step 7;' in job.printed['stopped'][0]
    with pytest.raises(Stopped):
        run_here(data_dir, job.stopped, accident=f'0:1:{SIGTERM}')
    ended = run_job(data_dir, [Call(job.stopped)])
    assert_codes(ended, (0, 0))
    (_, continued), _ = ended[0]
    assert 'continues after epoch 2, 3 epochs in total' in continued
    assert_same_rows(job.stopped, job.finished)


@pytest.mark.parametrize(
    ('process', 'number', 'codes'),
    [
        (1, signal.SIGKILL, {1}),
        (0, signal.SIGKILL, {1, -signal.SIGABRT}),
        (1, signal.SIGSTOP, {-signal.SIGABRT}),  # silent, as when its host is gone
    ],
)
def test_a_process_that_dies_ends_the_job(data_dir, tmp_path, process, number, codes):
    ended = run_job(data_dir, [Call(tmp_path / 'run', accident=f'{process}:1:{int(number)}')])
    assert ended[-1][1 - process][0] in codes, ended
    assert_lost(ended, survivor=1 - process)


def assert_lost(ended, survivor):
    """The surviving process reports the loss of the other, unless JAX aborts it first."""
    code, printed = ended[-1][survivor]
    assert 'Traceback' not in printed
    if code == 1:
        assert f'process {survivor}: another process of the job did not answer' in printed
