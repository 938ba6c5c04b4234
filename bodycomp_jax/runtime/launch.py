"""How the processes of a job find each other: by srun, mpirun, Cloud TPU or flags."""

import collections
import contextlib
import dataclasses
import glob
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping

import jax

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError, on_all_processes
from bodycomp_jax.runtime import job

METADATA_SERVER = ('metadata.google.internal', 80)  # of Google's virtual machines
START_TIMEOUT = 300  # seconds within which all processes of a job must start
ALONE = 'to train in this process alone, add --num_processes=1'
FIRST_NOTICE = 10  # seconds of waiting until a line says so
NOTICES = 30  # seconds between such lines


@dataclasses.dataclass(frozen=True)
class Launch:
    """How this process was started together with others; None for what JAX detects.

    Under srun and mpirun JAX detects the address only. It cannot count the processes of Open MPI 5,
    nor those of `srun --preserve-env`, which shows the task count of the whole allocation.

    Attributes:
      launcher: 'srun', 'mpirun', 'Cloud TPU' or 'flags', for messages.
      coordinator_address: HOST:PORT on which process 0 listens.
      num_processes, process_id: of the whole job.
      local_device_ids: which of the visible GPUs belong to this process; () for all.
    """

    launcher: str
    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device_ids: tuple[int, ...] = ()


def join(run_config: RunConfig) -> None:
    """Connects to the other processes of the job, if any; call before JAX starts its devices.

    The process flags of `run_config` take precedence over srun, mpirun and Cloud TPU.

    Raises InputError if the launch information is incomplete, if process 0 cannot be reached, or
    if the processes have different numbers of devices.
    """
    launch = detect(run_config, os.environ)
    if launch is None:
        return
    jax.config.update('jax_enable_preemption_service', False)  # it would take SIGTERM from us
    with _notices(launch):
        if launch.process_id and launch.coordinator_address:
            _wait_for(launch.coordinator_address)
        try:
            jax.distributed.initialize(
                launch.coordinator_address,
                launch.num_processes,
                launch.process_id,
                launch.local_device_ids,
                initialization_timeout=2 * START_TIMEOUT,  # JAX would abort with a stack trace
                heartbeat_timeout_seconds=run_config.heartbeat_timeout,
                shutdown_timeout_seconds=run_config.heartbeat_timeout,
            )
            found = collections.Counter(device.process_index for device in jax.devices())
        except (RuntimeError, ValueError, AssertionError, OSError) as error:
            who, whom = _parties(launch)
            raise InputError(
                f'{who}: cannot join {whom} ({error}); start them all with the same launcher, or '
                f'give --coordinator_address=HOST:PORT of process 0; {ALONE}'
            ) from error
    job.set_job(jax.process_index(), jax.process_count())
    if len(set(found.values())) > 1:
        counts = ', '.join(f'process {i} has {n}' for i, n in sorted(found.items()))
        raise on_all_processes(
            InputError(
                f'all processes need the same number of devices, but {counts}; give the same '
                'number of GPUs to each'
            )
        )
    if job.is_main_process() and not job.is_alone():
        print(
            f'{len(found)} processes, started by {launch.launcher}, with {found[0]} devices each: '
            f'{jax.device_count()} x {jax.devices()[0].device_kind}',
            flush=True,
        )


def leave() -> None:
    """Tells the other processes of the job that this one ends."""
    with contextlib.suppress(RuntimeError):  # they may be gone
        jax.distributed.shutdown()


def detect(run_config: RunConfig, environ: Mapping[str, str]) -> Launch | None:
    """How this process was started together with others; None if it is alone.

    Raises InputError if the flags or the environment are incomplete.
    """
    address, count, index = (
        run_config.coordinator_address, run_config.num_processes, run_config.process_id,
    )  # fmt: skip
    if count == 1:
        return None
    if count is None and index is None:
        if _number(environ, 'OMPI_COMM_WORLD_SIZE', 1) > 1:
            return _from_mpirun(address, environ)
        if _number(environ, 'SLURM_STEP_NUM_TASKS', 1) > 1:
            return _from_srun(address, environ)
        if address is None:
            return Launch('Cloud TPU') if _on_cloud_tpu(environ) else None
    if address is None or count is None or index is None:
        raise InputError(
            '--coordinator_address, --num_processes and --process_id belong together: give all '
            'three, or start the processes with srun or mpirun, which provide them; to train in '
            'this process alone, give --num_processes=1 only'
        )
    return Launch('flags', address, count, index)


def own_gpus(visible: int, on_host: int, tasks: int, local_id: int) -> tuple[int, ...]:
    """Which of the visible GPUs belong to this process; () for all.

    Batch systems either bind each process to its GPUs or show all GPUs of the host to each.

    Args:
      visible: number of GPUs that this process sees.
      on_host: number of GPUs of the job on this host; 0 if unknown.
      tasks: number of processes of the job on this host.
      local_id: index of this process among them.

    Raises InputError if the GPUs do not divide over the processes.
    """
    bound = visible * tasks <= on_host or (visible == 1 and not on_host)
    if visible == 0 or tasks == 1 or bound:
        return ()
    if visible % tasks:
        raise InputError(
            f'{tasks} processes on this host cannot share {visible} GPUs evenly; start one '
            'process per host or one per GPU'
        )
    share = visible // tasks
    return tuple(range(local_id * share, (local_id + 1) * share))


def _from_mpirun(address: str | None, environ: Mapping[str, str]) -> Launch:
    if address is None and 'OMPI_MCA_orte_hnp_uri' not in environ:
        raise InputError(
            'this version of mpirun does not publish the host of rank 0; give '
            '--coordinator_address HOST:PORT with that host and any free port'
        )
    count, index, tasks, local_id = (
        _number(environ, f'OMPI_COMM_WORLD_{name}')
        for name in ('SIZE', 'RANK', 'LOCAL_SIZE', 'LOCAL_RANK')
    )
    gpus = own_gpus(_visible_gpus(environ), 0, tasks, local_id)
    return Launch('mpirun', address, count, index, gpus)


def _from_srun(address: str | None, environ: Mapping[str, str]) -> Launch:
    count, index, node, local_id = (
        _number(environ, f'SLURM_{name}')
        for name in ('STEP_NUM_TASKS', 'PROCID', 'NODEID', 'LOCALID')
    )
    on_host = _number(environ, 'SLURM_GPUS_ON_NODE', 0)
    tasks = _tasks_per_node(environ.get('SLURM_STEP_TASKS_PER_NODE', ''))
    if node >= len(tasks):
        raise _unusable('SLURM_STEP_TASKS_PER_NODE', environ)
    gpus = own_gpus(_visible_gpus(environ), on_host, tasks[node], local_id)
    return Launch('srun', address, count, index, gpus)


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    """The whole number in a variable of the launcher. Raises InputError if there is none."""
    if name not in environ and default is not None:
        return default
    if not re.fullmatch(r'\d+', environ.get(name, '')):
        raise _unusable(name, environ)
    return int(environ[name])


def _unusable(name: str, environ: Mapping[str, str]) -> InputError:
    return InputError(
        f'{name}={environ.get(name, "")}: this variable of srun or mpirun is missing or unusable; '
        f'{ALONE}, otherwise give --coordinator_address, --num_processes and --process_id'
    )


def _tasks_per_node(text: str) -> list[int]:
    """Slurm's '2(x3),1' as [2, 2, 2, 1]."""
    counts = re.findall(r'(\d+)(?:\(x(\d+)\))?', text)
    return [int(tasks) for tasks, nodes in counts for _ in range(int(nodes or 1))]


def _visible_gpus(environ: Mapping[str, str]) -> int:
    platforms = environ.get('JAX_PLATFORMS') or 'cuda'
    if 'cuda' not in platforms and 'gpu' not in platforms:
        return 0
    visible = environ.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        return len(glob.glob('/dev/nvidia[0-9]*'))
    return len([gpu for gpu in visible.split(',') if gpu.strip() not in ('', '-1')])


def _on_cloud_tpu(environ: Mapping[str, str]) -> bool:
    """Whether JAX can find the hosts of a Cloud TPU, which may turn out to be this one alone."""
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
    if 'tpu' not in (platforms or ''):  # JAX itself adds it on a TPU host
        return False
    hosts = environ.get('TPU_PROCESS_ADDRESSES') or environ.get('TPU_WORKER_HOSTNAMES')
    if hosts is None:  # then JAX asks the metadata server
        return 'TPU_SKIP_MDS_QUERY' not in environ and _answers(METADATA_SERVER)
    return ',' in hosts


def _answers(address: tuple[str, int]) -> bool:
    """Whether a server listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _notices(launch: Launch) -> Iterator[None]:
    """A block that waits for the other processes: says so, and ends this one after `START_TIMEOUT`.

    JAX itself would wait in silence, and end with a stack trace.
    """
    joined = threading.Event()
    who, whom = _parties(launch)

    def watch() -> None:
        began, pause = time.monotonic(), float(FIRST_NOTICE)
        while not joined.wait(pause):
            left = START_TIMEOUT - (time.monotonic() - began)
            if left < -FIRST_NOTICE:  # `_wait_for` says more
                _say(f'{who}: no answer from {whom} for {START_TIMEOUT} s; start them all; {ALONE}')
                os._exit(2)
            _say(f'{who}: waiting for {whom}, {max(0, left):.0f} s more; {ALONE}')
            pause = min(NOTICES, max(0, left) + 2 * FIRST_NOTICE)

    thread = threading.Thread(target=watch, name='notices', daemon=True)
    thread.start()
    try:
        yield
    finally:
        joined.set()
        thread.join()


def _parties(launch: Launch) -> tuple[str, str]:
    """(this process, those that it waits for), for messages."""
    count, index, address = launch.num_processes, launch.process_id, launch.coordinator_address
    if count is None:
        return f'started by {launch.launcher}', 'the other processes of the job'
    others = 'the other process' if count == 2 else f'{count - 1} other processes'
    whom = 'process 0' if index else others
    who = f'process {index} of {count}, started by {launch.launcher}'
    return who, f'{whom} at {address}' if address else whom


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _wait_for(address: str) -> None:
    """Returns once a process listens there. Raises InputError after `START_TIMEOUT`."""
    host, port = address.rsplit(':', 1)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f'--coordinator_address={address}: no answer for {START_TIMEOUT} s ({error}); '
                    'check that process 0 is running and that this is its host'
                ) from error
        time.sleep(0.2)
