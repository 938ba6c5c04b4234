"""Work that is shared out among processes."""

import math
import os
import signal
import subprocess
import sys

import psutil
import pytest

from bodycomp_jax.errors import RunError
from bodycomp_jax.runtime.workers import shared_out

SLEEPERS = """
import time
from bodycomp_jax.runtime.workers import shared_out
list(shared_out(time.sleep, [600.0] * 4, 2))
"""


def test_a_single_worker_is_this_process():
    assert {*shared_out(lambda _: os.getpid(), [1, 2], 1)} == {os.getpid()}


def test_a_single_item_needs_no_other_process():
    assert {*shared_out(lambda _: os.getpid(), [1], 8)} == {os.getpid()}


def test_nothing_to_do():
    assert list(shared_out(math.sqrt, [], 8)) == []


@pytest.mark.processes
def test_each_item_has_its_result():
    assert sorted(shared_out(math.sqrt, [1.0, 4.0, 9.0, 16.0, 25.0], 2)) == [1, 2, 3, 4, 5]


@pytest.mark.processes
def test_an_error_of_a_worker_is_raised_here():
    with pytest.raises(ValueError, match='math domain error'):
        list(shared_out(math.sqrt, [-1.0, 4.0, 9.0], 2))


@pytest.mark.processes
def test_a_worker_that_is_killed_is_an_error():
    with pytest.raises(RunError, match=r'was killed.*fewer --workers'):
        list(shared_out(os._exit, [9, 9], 2))


@pytest.mark.processes
def test_workers_end_with_a_process_that_is_killed():
    started = subprocess.Popen([sys.executable, '-c', SLEEPERS], stdout=subprocess.PIPE)
    workers = []
    while len(workers) < 2:
        children = psutil.Process(started.pid).children()
        workers = [each for each in children if 'spawn_main' in ' '.join(each.cmdline())]
    os.kill(started.pid, signal.SIGKILL)
    assert started.stdout.read() == b''  # ends with the last process that has it
    started.stdout.close()
    started.wait()
