import resource
import threading

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import limits


def test_the_limits_of_this_process_suffice_and_no_thread_is_left():
    threads = threading.active_count()
    limits.refuse_small_limits()
    assert threading.active_count() == threads


@pytest.mark.parametrize(('nproc', 'needed'), [('1', '2,953'), ('8', '4,832')])
def test_the_memory_needed_depends_on_the_cores_that_may_be_used(monkeypatch, nproc, needed):
    monkeypatch.setenv('NPROC', nproc)
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (2_900_000_000, -1))
    with pytest.raises(InputError, match=rf'JAX needs {needed} MB on {nproc} cores'):
        limits.refuse_small_limits()


def test_too_few_threads_are_refused_with_their_number(monkeypatch):
    start, started = threading.Thread.start, []

    def start_some(thread):
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, 'start', start_some)
    with pytest.raises(InputError, match='only 3 threads could be started'):
        limits.refuse_small_limits()
    assert not any(thread.is_alive() for thread in started)


def test_the_soft_limit_of_open_files_is_raised(monkeypatch):
    limit, set_limits = {resource.RLIMIT_AS: (-1, -1), resource.RLIMIT_NOFILE: (16, 1000)}, []
    monkeypatch.setattr(resource, 'getrlimit', limit.get)
    monkeypatch.setattr(resource, 'setrlimit', lambda *args: set_limits.append(args))
    limits.refuse_small_limits()
    assert set_limits == [(resource.RLIMIT_NOFILE, (1000, 1000))]
