"""Jobs of two processes with two virtual devices each, and how processes find each other."""

import dataclasses
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
from helpers import ROOT, read_rows, tiny_config
from job import augmented_pixels, sgd_task, with_accident

from bodycomp_jax.checkpoints.run import load_model
from bodycomp_jax.config import RunConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.errors import InputError, Stopped
from bodycomp_jax.runtime import processes
from bodycomp_jax.training import train

CONFIG = tiny_config(batch_size=4)
HEARTBEAT = 10  # seconds
# What Gloo prints, piece by piece: its threads write into each other's lines.
GLOO = (
    r'\[Gloo\] Rank | is connected to '
    r'| peer ranks\. Expected number of connected peer ranks is : |\d|\s'
)
SIGTERM, SIGSTOP = int(signal.SIGTERM), int(signal.SIGSTOP)


def run_job(data_dir, output_dir, *flags, accident='-', second=()):
    """Two processes with two devices each: [(exit code, what it printed)] by process.

    `second` are flags of the second process alone.
    """
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    shared = (
        f'-C 4,8 -M 4 -b {CONFIG.batch_size} -e {CONFIG.epochs} --num_processes 2 '
        f'--coordinator_address localhost:{port} --heartbeat_timeout {HEARTBEAT}'
    ).split()
    program = (sys.executable, ROOT / 'tests/job.py')
    where = (f'--data_dir={data_dir}', f'--model_output_dir={output_dir}')
    commands = [
        (*program, *where, *shared, *flags, '--process_id', '0', accident),
        (*program, *where, *shared, *flags, '--process_id', '1', *second, accident),
    ]
    environ = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '2'}
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True, 'env': environ}
    processes = [subprocess.Popen(command, **options) for command in commands]
    if accident.endswith(f':{SIGSTOP}'):
        stopped = int(accident[0])
        processes[1 - stopped].wait(timeout=300)
        processes[stopped].kill()
    printed = [process.communicate(timeout=300)[0] for process in processes]
    return [(p.returncode, text) for p, text in zip(processes, printed, strict=True)]


def run_here(data_dir, run_dir, *, num_devices, accident=None):
    """The same training in this process."""
    sets = open_sets(data_dir, CONFIG)
    devices = jax.local_devices()[:num_devices]
    task = sgd_task(CONFIG, devices, sets[0])
    if accident is not None:
        task = dataclasses.replace(task, metrics=with_accident(task.metrics, accident))
    train.train(task, CONFIG, *sets, run_dir, devices, RunConfig())
    return augmented_pixels(task, sets[0], CONFIG.batch_size, devices)


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
def two_by_two(data_dir, tmp_path_factory):
    """A finished job of two processes with two devices each, which keep the sets."""
    output_dir = tmp_path_factory.mktemp('two_by_two')
    results = run_job(data_dir, output_dir, '--name', 'run', '--data_cache', 'device')
    assert [code for code, _ in results] == [0, 0], results
    return types.SimpleNamespace(run_dir=output_dir / 'run', printed=[text for _, text in results])


@pytest.mark.parametrize('num_devices', [1, 4])
def test_two_by_two_is_one_by_four_is_one_by_one(data_dir, tmp_path, two_by_two, num_devices):
    pixels = run_here(data_dir, tmp_path / 'run', num_devices=num_devices)
    assert_same_rows(tmp_path / 'run', two_by_two.run_dir)
    for i in range(2):
        with np.load(two_by_two.run_dir / f'augmented_{i}.npz') as of_process:
            for name, expected in pixels.items():
                np.testing.assert_array_equal(of_process[name], expected)
    models = (load_model(folder) for folder in (tmp_path / 'run', two_by_two.run_dir))
    weights = [jax.device_get(model.variables) for model in models]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *weights)


def test_the_first_process_tells_and_writes_everything(two_by_two):
    first, second = two_by_two.printed
    assert '2 processes, started by flags, with 2 devices each: 4 x cpu' in first
    assert '4 x cpu in float32' in first
    assert first.count('images/s') == CONFIG.epochs
    assert not re.sub(GLOO, '', second)
    assert len(list((two_by_two.run_dir / 'tensorboard_log').iterdir())) == 1


def test_a_signal_to_one_ends_all_and_any_number_of_processes_continues(
    data_dir, tmp_path, two_by_two
):
    run_dir = tmp_path / 'run'
    results = run_job(data_dir, tmp_path, '--name', 'run', accident=f'1:1:{SIGTERM}')
    assert [code for code, _ in results] == [143, 143], results
    assert 'SIGTERM: stopped after step 7;' in results[0][1]
    with pytest.raises(Stopped):
        run_here(data_dir, run_dir, num_devices=1, accident=f'0:1:{SIGTERM}')
    results = run_job(data_dir, tmp_path, '--name', 'run')
    assert [code for code, _ in results] == [0, 0], results
    assert 'continues after epoch 2, 3 epochs in all' in results[0][1]
    assert_same_rows(run_dir, two_by_two.run_dir)


@pytest.mark.parametrize(
    ('who', 'what', 'codes'),
    [
        (1, signal.SIGKILL, {1}),
        (0, signal.SIGKILL, {1, -signal.SIGABRT}),
        (1, signal.SIGSTOP, {-signal.SIGABRT}),  # silent, as when its host is gone
    ],
)
def test_a_process_that_dies_ends_the_job(data_dir, tmp_path, who, what, codes):
    results = run_job(data_dir, tmp_path, '--name', 'run', accident=f'{who}:1:{int(what)}')
    code, printed = results[1 - who]
    assert code in codes, results
    assert 'Traceback' not in printed
    if code == 1:
        assert f'process {1 - who}: another process of the job did not answer' in printed


def test_what_one_process_refuses_all_refuse(data_dir, tmp_path):
    second = ('--num_gpus', '3')
    results = run_job(data_dir, tmp_path / 'out', '--name', 'run', second=second)
    assert [code for code, _ in results] == [2, 2], results
    assert 'process 1: --num_gpus: 3 devices asked for, but each process has 2' in results[0][1]
    assert 'asked for' not in results[1][1]  # said once
    assert not (tmp_path / 'out').exists()


def test_what_the_first_process_refuses_all_refuse(data_dir, two_by_two):
    results = run_job(data_dir, two_by_two.run_dir.parent, '--name', 'run', '--loss', 'dice_ce')
    assert [code for code, _ in results] == [2, 2], results
    assert 'begun with --loss dice, not dice_ce' in results[0][1]
    assert 'begun with' not in results[1][1]


@pytest.mark.parametrize(('flags', 'what'), [(('-l', '0.5'), 'flags'), (('-g', '1'), 'devices')])
def test_processes_that_differ_are_refused(data_dir, tmp_path, flags, what):
    results = run_job(data_dir, tmp_path / 'out', '--name', 'run', second=flags)
    assert [code for code, _ in results] == [2, 2], results
    assert f'process 1 has other {what} than process 0' in results[0][1]
    assert not (tmp_path / 'out').exists()


SLURM = {
    'SLURM_STEP_NODELIST': 'node[1-4]',
    'SLURM_STEP_NUM_TASKS': '4',
    'SLURM_NTASKS': '4',
    'SLURM_PROCID': '2',
    'SLURM_LOCALID': '0',
    'SLURM_NODEID': '2',
    'SLURM_STEP_TASKS_PER_NODE': '1(x4)',
    'SLURM_GPUS_ON_NODE': '8',
    'CUDA_VISIBLE_DEVICES': '0,1,2,3,4,5,6,7',
}
MPIRUN = {
    'OMPI_COMM_WORLD_SIZE': '4',
    'OMPI_COMM_WORLD_RANK': '3',
    'OMPI_COMM_WORLD_LOCAL_SIZE': '2',
    'OMPI_COMM_WORLD_LOCAL_RANK': '1',
    'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://10.96.0.1:34911',
    'CUDA_VISIBLE_DEVICES': '0,1,2,3',
}


@pytest.mark.parametrize(
    ('environ', 'expected'),
    [
        ({}, None),
        (SLURM | {'SLURM_STEP_NUM_TASKS': '1'}, None),  # an interactive step of a larger job
        ({'SLURM_NTASKS': '4', 'SLURM_PROCID': '0'}, None),  # the batch script, not srun
        (SLURM, processes.Launch('srun', None, 4, 2, ())),
        (MPIRUN, processes.Launch('mpirun', None, 4, 3, (2, 3))),
        (
            SLURM | {'SLURM_STEP_TASKS_PER_NODE': '1,2,1', 'SLURM_NODEID': '1'},
            processes.Launch('srun', None, 4, 2, (0, 1, 2, 3)),
        ),
    ],
)
def test_it_recognises_who_started_it(environ, expected):
    assert processes.launched(RunConfig(), environ) == expected


def test_flags_go_before_the_surroundings():
    flags = {'coordinator_address': 'node7:1234', 'num_processes': 3, 'process_id': 1}
    assert processes.launched(RunConfig(**flags), SLURM) == processes.Launch(
        'flags', *flags.values()
    )
    address = processes.launched(
        RunConfig(coordinator_address='node7:1234'), SLURM
    ).coordinator_address
    assert address == 'node7:1234'


@pytest.mark.parametrize(
    ('flags', 'environ', 'message'),
    [
        ({'num_processes': 2}, {}, 'go together'),
        ({'coordinator_address': 'node7:1'}, {}, 'also give --num_processes'),
        ({}, {**MPIRUN, 'OMPI_COMM_WORLD_LOCAL_SIZE': '3'}, '3 processes .* share 4 GPUs'),
        ({}, {k: v for k, v in MPIRUN.items() if 'uri' not in k}, '--coordinator_address HOST'),
    ],
)
def test_half_an_answer_is_refused(flags, environ, message):
    with pytest.raises(InputError, match=message):
        processes.launched(RunConfig(**flags), environ)


def test_a_first_process_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(processes, 'START_TIMEOUT', 0.1)
    run = RunConfig(coordinator_address='localhost:1', num_processes=2, process_id=1)
    with pytest.raises(InputError, match='nobody answered at localhost:1'):
        processes.join(run)


def test_gpus_that_jax_may_not_use_are_not_shared_out():
    environ = {**MPIRUN, 'OMPI_COMM_WORLD_LOCAL_SIZE': '3', 'JAX_PLATFORMS': 'cpu'}
    assert processes.launched(RunConfig(), environ).local_device_ids == ()


@pytest.mark.parametrize(
    'flags',
    [
        {'coordinator_address': 'node7'},
        {'num_processes': 0},
        {'process_id': 2, 'num_processes': 2, 'coordinator_address': 'node7:1'},
        {'heartbeat_timeout': 0},
    ],
)
def test_impossible_flags_are_refused(flags):
    with pytest.raises(InputError, match='is not possible'):
        RunConfig(**flags)


@pytest.mark.parametrize(
    ('visible', 'on_host', 'processes', 'local_id', 'expected'),
    [
        (8, 8, 1, 0, ()),  # one task a node has all
        (8, 8, 8, 3, (3,)),  # each task sees all: one each
        (8, 8, 2, 1, (4, 5, 6, 7)),
        (4, 0, 2, 1, (2, 3)),
        (1, 8, 8, 3, ()),  # bound by the batch system, one each
        (1, 0, 8, 3, ()),
        (4, 8, 2, 1, ()),  # bound, four each
        (4, 4, 2, 1, (2, 3)),
        (0, 0, 4, 1, ()),  # no GPU
    ],
)
def test_gpus_are_shared_out(visible, on_host, processes, local_id, expected):
    assert processes.own_gpus(visible, on_host, processes, local_id) == expected
