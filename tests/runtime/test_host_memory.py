import psutil
import pytest

from bodycomp_jax.runtime import host_memory

GB = 1_000_000_000


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host of 64 GB, 16 GB of them free, with a process of 1 GB; sets its control groups."""
    memory = psutil.virtual_memory()._replace(total=64 * GB, available=16 * GB)
    used = psutil.Process().memory_info()._replace(rss=GB)
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: memory)
    monkeypatch.setattr(psutil.Process, 'memory_info', lambda self: used)
    monkeypatch.setattr(host_memory, 'CGROUPS', str(tmp_path))
    monkeypatch.setattr(host_memory, 'OWN_CGROUPS', str(tmp_path / 'own'))

    def set_groups(own, limits):
        (tmp_path / 'own').write_text(own)
        for path, text in limits.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f'{text}\n')

    return set_groups


def test_without_control_groups_the_memory_is_that_of_the_host(host):
    assert (host_memory.total_bytes(), host_memory.available_bytes()) == (64 * GB, 16 * GB)


@pytest.mark.parametrize(
    ('own', 'limits', 'total', 'available'),
    [
        ('0::/\n', {'memory.max': 8 * GB}, 8, 7),  # a container
        ('0::/\n', {'memory.max': 'max'}, 64, 16),
        ('0::/\n', {'memory.max': 40 * GB}, 40, 16),
        (  # a job of Slurm: the limit is that of the job, not of its step
            '0::/slurm/job_7/step_0/task_0\n',
            {'slurm/job_7/memory.max': 8 * GB, 'slurm/job_7/step_0/memory.max': 'max'},
            8,
            7,
        ),
        (  # the first version; its root has a limit beyond any memory
            '9:cpu,cpuacct:/x\n4:memory:/docker/5f\n0::/\n',
            {
                'memory/memory.limit_in_bytes': 9223372036854771712,
                'memory/docker/5f/memory.limit_in_bytes': 4 * GB,
            },
            4,
            3,
        ),
        ('4:memory:/docker/5f\n', {'memory/memory.limit_in_bytes': 8 * GB}, 8, 7),  # seen inside
        ('0::/\n', {'memory.max': GB // 2}, 0.5, 0),
    ],
)
def test_the_smallest_limit_of_the_control_groups_counts(host, own, limits, total, available):
    host(own, limits)
    assert host_memory.total_bytes() == total * GB
    assert host_memory.available_bytes() == available * GB
