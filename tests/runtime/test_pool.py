"""Processes to which threads hand work."""

import math
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from bodycomp_jax.errors import RunError
from bodycomp_jax.runtime import pool as pool_module
from bodycomp_jax.runtime.pool import OWN_SIGNALS, Pool

pytestmark = pytest.mark.processes

INTERRUPTED = """
import math, os, signal
from bodycomp_jax.runtime.pool import Pool
signal.signal(signal.SIGINT, lambda *_: None)
if __name__ == '__main__':
    with Pool(1) as pool:
        pool.map(math.sqrt, [1.0])
        os.killpg(0, signal.SIGINT)
        print(pool.map(math.sqrt, [4.0]))
        print(flush=True)
        {then}
"""


SLEEPER = """
import time
from bodycomp_jax.runtime.pool import Pool
if __name__ == '__main__':
    with Pool(1) as pool:
        pool.map(time.sleep, [0.0])
        print('started', flush=True)
        pool.map(time.sleep, [600.0])
"""


class OddError(Exception):
    """Cannot be made again from what it says."""

    def __init__(self, one, other):
        super().__init__(one + other)


def workers_of(pid):
    children = psutil.Process(pid).children(recursive=True)
    return [each for each in children if 'spawn_main' in ' '.join(each.cmdline())]


def test_results_are_in_order_and_the_processes_stay_until_the_end():
    with Pool(2) as pool:
        numbers = [float(n) for n in range(20)]
        assert pool.map(math.sqrt, numbers) == [math.sqrt(n) for n in numbers]
        first = {*pool.map(_pid_after, [0.2] * 4)}
        assert first == {*pool.map(_pid_after, [0.2] * 4)}
        assert len(first) == 2
        assert os.getpid() not in first
        left = workers_of(os.getpid())
    assert psutil.wait_procs(left, timeout=60)[1] == []


def test_no_process_starts_without_work():
    with Pool(2) as pool:
        assert pool.map(math.sqrt, []) == []
        assert workers_of(os.getpid()) == []


def test_a_process_that_ends_is_an_error_of_all_work_that_waits_for_it():
    with Pool(1) as pool, pytest.raises(RunError, match=r'has ended; .*free some'):
        pool.map(os._exit, [9, 9, 9])


def test_results_come_as_they_are_done():
    with Pool(2) as pool:
        pool.map(_pid_after, [0.2] * 2)  # both are started
        assert list(pool.as_done(_slept, [0.5, 0.0])) == [0.0, 0.5]


@pytest.mark.parametrize('way', [Pool.map, Pool.as_done])
def test_what_a_function_raises_is_raised_here_and_its_process_stays(way):
    with Pool(1) as pool:
        with pytest.raises(ValueError, match='math domain error') as raised:
            list(way(pool, math.sqrt, [-1.0]))
        assert 'in _work' in raised.value.__notes__[0]
        assert list(way(pool, math.sqrt, [4.0])) == [2.0]


def test_errors_and_results_that_cannot_be_sent_are_told():
    with Pool(1) as pool:
        with pytest.raises(RuntimeError, match=r'(?s)OddError: ab\n.*in _fail_oddly'):
            pool.map(_fail_oddly, ['a'])
        with pytest.raises(Exception, match='pickle'):
            pool.map(_threading_lock, [0])


def test_no_process_can_start(monkeypatch):
    def refuse():
        raise OSError(24, 'Too many open files')

    monkeypatch.setattr(pool_module, '_started', refuse)
    with Pool(1) as fails, pytest.raises(RunError, match=r'no process .*Too many open files'):
        fails.map(math.sqrt, [1.0])


def test_a_process_that_is_at_work_ends_with_this_one(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(SLEEPER)
    started = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    started.stdout.readline()
    started.kill()
    assert started.stdout.read() == b''  # ends with the last process that has it
    started.stdout.close()
    started.wait()


def test_work_that_is_not_waited_for_ends_with_the_pool():
    began = time.monotonic()
    with Pool(1) as pool:
        next(iter(pool.as_done(_slept, [0.0, 600.0, 600.0])))
        left = workers_of(os.getpid())
    assert psutil.wait_procs(left, timeout=60)[1] == []
    assert time.monotonic() - began < 300


def test_signals_to_the_job_are_blocked_in_each_process():
    with Pool(2) as pool:
        for blocked in pool.map(_blocked_signals, [0.2] * 2):
            assert blocked >= {*OWN_SIGNALS}


@pytest.mark.parametrize('then', ['', 'os.kill(os.getpid(), signal.SIGKILL)'])
def test_signals_to_the_job_leave_them_and_they_end_with_this_process(tmp_path, then):
    script = tmp_path / 'script.py'
    script.write_text(INTERRUPTED.format(then=then))
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )  # ends with the last process that has its output
    assert (done.stdout.split('\n')[0], done.stderr) == ('[2.0]', '')
    assert done.returncode == (-signal.SIGKILL if then else 0)


def _fail_oddly(item):
    raise OddError(item, 'b')


def _threading_lock(_):
    return threading.Lock()


def _blocked_signals(seconds):
    time.sleep(seconds)
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _slept(seconds):
    time.sleep(seconds)
    return seconds


def _pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()
