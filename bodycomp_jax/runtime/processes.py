"""The processes of a job: how they find each other, and how they decide as one.

A job is one process, or one on each host, or one for each GPU, all running the same program.
Each computes on its own devices; the first alone touches the folder of the run.
"""

import collections
import contextlib
import dataclasses
import glob
import importlib.util
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request

import jax
import numpy as np
from flax import serialization
from jax.experimental import multihost_utils

from bodycomp_jax.errors import InputError, WorkError, everywhere

START_TIMEOUT = 300  # seconds in which all processes of a job must have started
TPU_WORKERS = 'http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints'
LOST = ('Gloo', 'NCCL', 'UNAVAILABLE', 'DEADLINE_EXCEEDED')  # in JAX's errors: no answer

# Of this process among those of the job. JAX would start its devices to say it.
_index, _count = 0, 1


@dataclasses.dataclass(frozen=True)
class Launch:
    """How this process was started together with others; None where JAX finds it out itself.

    Attributes:
      by: who started it, for messages.
      coordinator_address: HOST:PORT at which the first process listens.
      num_processes, process_id: of the whole job.
      local_device_ids: of the visible GPUs, those that are this process's own; () for all.
    """

    by: str
    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device_ids: tuple[int, ...] = ()


def join(run):
    """Joins the other processes of the job, if there are any; before JAX starts its devices.

    Args:
      run: a `RunConfig`; its `coordinator_address`, `num_processes` and `process_id` go before
        what Slurm's srun, Open MPI's mpirun or a Cloud TPU says in the environment.

    Raises InputError where they do not say enough, where the first process cannot be reached,
    and where the processes have different numbers of devices.
    """
    global _index, _count
    launch = launched(run, os.environ)
    if launch is None:
        return
    if launch.process_id and launch.coordinator_address:  # JAX would end in a stack trace
        _wait_for(launch.coordinator_address)
    jax.config.update('jax_enable_preemption_service', False)  # it would take SIGTERM from us
    try:
        jax.distributed.initialize(
            launch.coordinator_address,
            launch.num_processes,
            launch.process_id,
            launch.local_device_ids,
            cluster_detection_method='deactivate' if launch.by == 'flags' else None,
            initialization_timeout=START_TIMEOUT,
            heartbeat_timeout_seconds=run.heartbeat_timeout,
            shutdown_timeout_seconds=run.heartbeat_timeout,
        )
        found = collections.Counter(device.process_index for device in jax.devices())
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f'this process could not join the others: {error}') from error
    _index, _count = jax.process_index(), jax.process_count()
    if len(set(found.values())) > 1:
        has = ', '.join(f'process {i} has {n}' for i, n in sorted(found.items()))
        raise everywhere(InputError(f'every process needs as many devices: {has}'))
    if is_first():
        print(
            f'{_count} processes, started by {launch.by}, with {found[0]} devices each: '
            f'{jax.device_count()} x {jax.devices()[0].device_kind}',
            flush=True,
        )


def launched(run, environ):
    """How this process was started together with others, a `Launch`; None if it is alone.

    Arguments as of `join`. Raises InputError.
    """
    flags = (run.coordinator_address, run.num_processes, run.process_id)
    if run.num_processes is not None or run.process_id is not None:
        if None in flags:
            raise InputError(
                '--coordinator_address, --num_processes and --process_id go together: give all '
                'three, or start the processes by srun or mpirun, which say it themselves'
            )
        return Launch('flags', *flags) if run.num_processes > 1 else None
    if int(environ.get('OMPI_COMM_WORLD_SIZE', 1)) > 1:
        return _by_mpirun(run, environ)
    if int(environ.get('SLURM_STEP_NUM_TASKS', 1)) > 1:
        return _by_srun(run, environ)
    if run.coordinator_address is not None:
        raise InputError('--coordinator_address: also give --num_processes and --process_id')
    return Launch('Cloud TPU') if _tpu_workers(environ) > 1 else None


def own_gpus(visible, on_host, processes, local_id):
    """Which of the visible GPUs are this process's own; () for all.

    Batch systems either bind each process to its GPUs or show all of the host's to each.

    Args:
      visible: number of GPUs that this process sees.
      on_host: number of GPUs that all of the job's processes have on this host; 0 if unknown.
      processes: number of the job's processes on this host.
      local_id: 0 for the first of them.

    Raises InputError if they cannot be shared out.
    """
    bound = visible * processes <= on_host or (visible == 1 and not on_host)
    if visible == 0 or processes == 1 or bound:
        return ()
    if visible % processes:
        raise InputError(
            f'{processes} processes on this host cannot share {visible} GPUs evenly; start one '
            'process a host, or one for each GPU'
        )
    share = visible // processes
    return tuple(range(local_id * share, (local_id + 1) * share))


def is_alone():
    """Whether this process is the whole job."""
    return _count == 1


def is_first():
    """Whether this process is the one that reads and writes the folder of the run."""
    return _index == 0


def said_by():
    """'process 3: ' to begin a message with; '' where no other process could have said it."""
    return '' if is_alone() else f'process {_index}: '


def first(function, *args, **kwargs):
    """`function(...)` in the first process; its result, or its error, in every process.

    Args:
      function: returns None, or nested dicts and lists of arrays and JSON values.

    Raises InputError or WorkError everywhere, if the first process does.
    """
    if is_alone():
        return function(*args, **kwargs)
    outcome = _broadcast(_outcome(function, *args, **kwargs) if is_first() else None)
    _raise_everywhere(outcome['error'])
    return outcome['result']


@contextlib.contextmanager
def agreed():
    """A block whose InputError or WorkError in one process is raised in every process.

    The block may not communicate: no `first`, `agreed` or `refuse_differences` in it.
    """
    if is_alone():
        yield
        return
    error = None
    try:
        yield
    except (InputError, WorkError, OSError) as caught:
        error = _as_fields(caught)
    errors = _gather(error)
    i = next((i for i, error in enumerate(errors) if error is not None), None)
    if i is not None:
        kind, message = errors[i]
        _raise_everywhere([kind, message if i == 0 else f'process {i}: {message}'])


def refuse_differences(**values):
    """Raises InputError everywhere if a process has other JSON values than the first."""
    if is_alone():
        return
    of_first, *of_others = _gather(values)
    for i, others in enumerate(of_others, start=1):
        for name in values:
            if others[name] != of_first[name]:
                message = (
                    f'process {i} has other {name} than process 0; start every process by the '
                    'same command, on the same data'
                )
                raise everywhere(InputError(message))


@contextlib.contextmanager
def lost_processes():
    """A block in which a WorkError says so if another process does not answer any more."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if is_alone() or not any(sign in str(error) for sign in LOST):
            raise
        raise WorkError(
            'another process of the job did not answer, most likely because it ended '
            f'({str(error).splitlines()[0]})'
        ) from error


def leave_at_once(code):
    """Ends a process that failed alone, without waiting for the others, who wait for it."""
    if not is_alone():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _by_mpirun(run, environ):
    if run.coordinator_address is None and 'OMPI_MCA_orte_hnp_uri' not in environ:
        raise InputError(
            'this version of mpirun does not say where the first process is; give '
            '--coordinator_address HOST:PORT, with the host of rank 0 and any free port'
        )
    local_id, processes = (
        int(environ[f'OMPI_COMM_WORLD_LOCAL_{name}']) for name in ('RANK', 'SIZE')
    )
    return Launch(
        'mpirun',
        run.coordinator_address,
        int(environ['OMPI_COMM_WORLD_SIZE']),
        int(environ['OMPI_COMM_WORLD_RANK']),
        own_gpus(_visible_gpus(environ), 0, processes, local_id),
    )


def _by_srun(run, environ):
    on_host = int(environ.get('SLURM_GPUS_ON_NODE', 0))
    processes = _tasks_of_nodes(environ['SLURM_STEP_TASKS_PER_NODE'])[int(environ['SLURM_NODEID'])]
    return Launch(
        'srun',
        run.coordinator_address,
        int(environ['SLURM_STEP_NUM_TASKS']),
        int(environ['SLURM_PROCID']),
        own_gpus(_visible_gpus(environ), on_host, processes, int(environ['SLURM_LOCALID'])),
    )


def _tasks_of_nodes(text):
    """Slurm's '2(x3),1' as [2, 2, 2, 1]."""
    counts = re.findall(r'(\d+)(?:\(x(\d+)\))?', text)
    return [int(tasks) for tasks, nodes in counts for _ in range(int(nodes or 1))]


def _visible_gpus(environ):
    platforms = environ.get('JAX_PLATFORMS') or 'cuda'
    if 'cuda' not in platforms and 'gpu' not in platforms:
        return 0
    visible = environ.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        return len(glob.glob('/dev/nvidia[0-9]*'))
    return len([gpu for gpu in visible.split(',') if gpu.strip() not in ('', '-1')])


def _tpu_workers(environ):
    """Number of hosts of the Cloud TPU that this host belongs to; 0 if it has none."""
    platforms = environ.get('JAX_PLATFORMS') or 'tpu'
    chips = glob.glob('/dev/accel[0-9]*') + glob.glob('/dev/vfio/[0-9]*')
    if 'tpu' not in platforms or not chips or importlib.util.find_spec('libtpu') is None:
        return 0
    workers = environ.get('TPU_PROCESS_ADDRESSES') or environ.get('TPU_WORKER_HOSTNAMES')
    if workers is None:
        request = urllib.request.Request(TPU_WORKERS, headers={'Metadata-Flavor': 'Google'})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                workers = answer.read().decode()
        except (urllib.error.URLError, TimeoutError):
            return 1
    return len(workers.split(','))


def _wait_for(address):
    """Returns as soon as somebody listens there. Raises InputError after `START_TIMEOUT`."""
    host, port = address.rsplit(':', 1)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f'--coordinator_address: nobody answered at {address} for {START_TIMEOUT} s '
                    f'({error}); is process 0 running, and is this its host?'
                ) from error
        time.sleep(0.2)


def _outcome(function, *args, **kwargs):
    try:
        return {'result': function(*args, **kwargs), 'error': None}
    except (InputError, WorkError, OSError) as error:
        return {'result': None, 'error': _as_fields(error)}


def _as_fields(error):
    return ['InputError' if isinstance(error, InputError) else 'WorkError', str(error)]


def _raise_everywhere(fields):
    """Raises the error that `_as_fields` described, if it described one."""
    if fields is not None:
        kind, message = fields
        raise everywhere({'InputError': InputError, 'WorkError': WorkError}[kind](message))


def _broadcast(value):
    """The first process's value, in every process; bytes, so that not a bit changes."""
    message = np.frombuffer(serialization.msgpack_serialize(value), np.uint8)
    with lost_processes():
        size = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
        message = message if is_first() else np.zeros(size, np.uint8)
        received = multihost_utils.broadcast_one_to_all(message)
    return serialization.msgpack_restore(np.asarray(received).tobytes())


def _gather(value):
    """The value of every process, in their order."""
    message = np.frombuffer(serialization.msgpack_serialize(value), np.uint8)
    with lost_processes():
        sizes = multihost_utils.process_allgather(np.int32(len(message)))
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: len(message)] = message
        rows = multihost_utils.process_allgather(padded)
    return [
        serialization.msgpack_restore(np.asarray(row[:size]).tobytes())
        for row, size in zip(rows, sizes, strict=True)
    ]
