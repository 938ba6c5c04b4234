"""How processes find each other, in the environments that srun, mpirun and Cloud TPU set."""

import os
import subprocess
import sys

import jax
import pytest

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import launch
from bodycomp_jax.runtime.launch import Launch

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
MPIRUN_5 = {name: value for name, value in MPIRUN.items() if 'uri' not in name}


@pytest.mark.parametrize(
    ('environ', 'expected'),
    [
        ({}, None),
        (SLURM | {'SLURM_STEP_NUM_TASKS': '1'}, None),  # an interactive step of a larger job
        ({'SLURM_NTASKS': '4', 'SLURM_PROCID': '0'}, None),  # the batch script, not srun
        (SLURM, Launch('srun', None, 4, 2, ())),
        (SLURM | {'SLURM_NTASKS': '8'}, Launch('srun', None, 4, 2, ())),  # srun --preserve-env
        (MPIRUN, Launch('mpirun', None, 4, 3, (2, 3))),
        (SLURM | MPIRUN, Launch('mpirun', None, 4, 3, (2, 3))),  # mpirun in a Slurm job
        (
            SLURM | {'SLURM_STEP_TASKS_PER_NODE': '1,2,1', 'SLURM_NODEID': '1'},
            Launch('srun', None, 4, 2, (0, 1, 2, 3)),
        ),
    ],
)
def test_the_launcher_is_recognised(environ, expected):
    assert launch.detect(RunConfig(), environ) == expected


@pytest.mark.parametrize(
    ('environ', 'expected'),
    [
        ({}, Launch('Cloud TPU')),  # JAX asks the metadata server
        ({'TPU_SKIP_MDS_QUERY': '1'}, None),  # no TPU, or none with a metadata server
        ({'TPU_WORKER_HOSTNAMES': 'a,b'}, Launch('Cloud TPU')),
        ({'TPU_WORKER_HOSTNAMES': 'localhost'}, None),
        ({'TPU_PROCESS_ADDRESSES': 'a:1,b:1', 'TPU_SKIP_MDS_QUERY': '1'}, Launch('Cloud TPU')),
    ],
)
def test_the_hosts_of_a_tpu_are_left_to_jax(monkeypatch, environ, expected):
    platforms = jax.config.jax_platforms
    try:
        jax.config.update('jax_platforms', 'tpu,cpu')  # as JAX does on a TPU host
        monkeypatch.setattr(launch, '_answers', lambda address: True)
        assert launch.detect(RunConfig(), environ) == expected
        if not environ:
            monkeypatch.setattr(launch, '_answers', lambda address: False)
            assert launch.detect(RunConfig(), environ) is None
        jax.config.update('jax_platforms', 'cpu')
        assert launch.detect(RunConfig(), environ) is None
    finally:
        jax.config.update('jax_platforms', platforms)


def test_flags_take_precedence_over_the_environment():
    flags = {'coordinator_address': 'node7:1234', 'num_processes': 3, 'process_id': 1}
    assert launch.detect(RunConfig(**flags), SLURM) == Launch('flags', *flags.values())
    assert launch.detect(RunConfig(**flags | {'num_processes': 1, 'process_id': 0}), SLURM) is None
    assert launch.detect(RunConfig(num_processes=1), SLURM) is None
    assert launch.detect(RunConfig(num_processes=1), MPIRUN) is None
    run_config = RunConfig(coordinator_address='node7:1234')
    assert launch.detect(run_config, SLURM) == Launch('srun', 'node7:1234', 4, 2, ())
    assert launch.detect(run_config, MPIRUN_5) == Launch('mpirun', 'node7:1234', 4, 3, (2, 3))


@pytest.mark.parametrize(
    ('flags', 'environ', 'message'),
    [
        ({'num_processes': 2}, {}, 'belong together'),
        ({'num_processes': 2, 'process_id': 1}, SLURM, 'belong together'),
        ({'coordinator_address': 'node7:1'}, {}, '--num_processes and --process_id'),
        ({}, {**MPIRUN, 'OMPI_COMM_WORLD_LOCAL_SIZE': '3'}, '3 processes .* share 4 GPUs'),
        ({}, MPIRUN_5, '--coordinator_address HOST'),
        ({}, {**SLURM, 'SLURM_PROCID': ''}, 'SLURM_PROCID=: .* alone, add --num_processes=1'),
        ({}, {**SLURM, 'SLURM_STEP_TASKS_PER_NODE': '4'}, 'SLURM_STEP_TASKS_PER_NODE=4: '),
        ({}, {'OMPI_COMM_WORLD_SIZE': 'many'}, 'OMPI_COMM_WORLD_SIZE=many'),
    ],
)
def test_incomplete_launch_information_is_refused(flags, environ, message):
    with pytest.raises(InputError, match=message):
        launch.detect(RunConfig(**flags), environ)


def test_a_missing_main_process_is_reported(monkeypatch):
    monkeypatch.setattr(launch, 'START_TIMEOUT', 0.1)
    run_config = RunConfig(coordinator_address='localhost:1', num_processes=2, process_id=1)
    with pytest.raises(InputError, match=r'--coordinator_address=localhost:1: no answer for 0\.1'):
        launch.join(run_config)


def test_what_jax_cannot_detect_is_asked_for(monkeypatch):
    def fail(*_, **__):
        raise ValueError('coordinator_address should be defined.')

    monkeypatch.setattr(jax.distributed, 'initialize', fail)
    monkeypatch.setattr(launch, 'detect', lambda *_: Launch('srun', None, 4, 2))
    message = r'process 2 of 4, started by srun: cannot join .* --coordinator_address=HOST:PORT'
    with pytest.raises(InputError, match=rf'{message}.* alone, add --num_processes=1'):
        launch.join(RunConfig())


def test_gpus_that_jax_may_not_use_are_not_shared_out():
    environ = {**MPIRUN, 'OMPI_COMM_WORLD_LOCAL_SIZE': '3', 'JAX_PLATFORMS': 'cpu'}
    assert launch.detect(RunConfig(), environ).local_device_ids == ()


@pytest.mark.parametrize(
    'flags',
    [
        {'coordinator_address': 'node7'},
        {'num_processes': 0},
        {'process_id': 2, 'num_processes': 2, 'coordinator_address': 'node7:1'},
        {'heartbeat_timeout': 0},
    ],
)
def test_invalid_flags_are_refused(flags):
    with pytest.raises(InputError, match=f'invalid --{next(iter(flags))}='):
        RunConfig(**flags)


@pytest.mark.parametrize(
    ('visible', 'on_host', 'tasks', 'local_id', 'expected'),
    [
        (8, 8, 1, 0, ()),  # one task per node has all
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
def test_the_gpus_of_a_host_are_shared_out(visible, on_host, tasks, local_id, expected):
    assert launch.own_gpus(visible, on_host, tasks, local_id) == expected


@pytest.mark.processes
def test_process_0_says_what_it_waits_for_and_gives_up_with_a_message():
    code = (
        'from bodycomp_jax.config import RunConfig\n'
        'from bodycomp_jax.runtime import launch\n'
        'launch.START_TIMEOUT, launch.FIRST_NOTICE, launch.NOTICES = 2, 0.2, 1\n'
        'launch.join(RunConfig())\n'
    )
    environ = SLURM | {'SLURM_PROCID': '0', 'SLURM_NODEID': '0', 'SLURM_JOB_ID': '77'}
    environ |= {'SLURM_STEP_NODELIST': 'localhost', 'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, **environ}, capture_output=True, text=True
    )
    assert done.returncode == 2
    first, *_, last = done.stderr.splitlines()
    assert first == (
        'process 0 of 4, started by srun: waiting for 3 other processes, 2 s more; '
        'to train in this process alone, add --num_processes=1'
    )
    assert 'no answer from 3 other processes for 2 s; start them all' in last
