"""Devices that are not there, by a compiler that is replaced."""

import types

import jax
import pytest

from bodycomp_jax.benchmark import targets
from bodycomp_jax.benchmark.targets import TARGETS, absent_devices
from bodycomp_jax.errors import InputError


@pytest.fixture
def asked(monkeypatch, settings_of_jax):
    """What the compiler is asked for; it answers with eight devices, and raises `asked.error`."""
    asked = types.SimpleNamespace(calls=[], error=None)

    def get_topology_desc(*arguments, **options):
        asked.calls.append((arguments, options))
        if asked.error:
            raise asked.error
        return types.SimpleNamespace(devices=[f'device {i}' for i in range(8)])

    monkeypatch.setattr(targets.topologies, 'get_topology_desc', get_topology_desc)
    return asked


def test_devices_of_each_target(asked):
    assert absent_devices('v6e', 2, 16) == ['device 0', 'device 1']
    assert asked.calls.pop() == (('v6e:2x4', 'tpu'), {})
    assert absent_devices('h100', None, 1) == ['device 0']
    ((arguments, options),) = asked.calls
    assert arguments == ('1x1x8', 'cuda')
    assert 'name: "NVIDIA H100 80GB HBM3"' in options['target_config']
    assert jax.config.jax_platforms == 'cpu'  # no device of this machine is started


@pytest.mark.parametrize('target', TARGETS)
def test_a_missing_compiler(asked, target):
    asked.error = NotImplementedError('topology not implemented')
    extra = TARGETS[target].extra
    message = rf"--ahead_of_time={target}: .*not implemented.*pip install -e '\.\[{extra}\]'$"
    with pytest.raises(InputError, match=message):
        absent_devices(target, None, 16)


@pytest.mark.parametrize(
    ('devices', 'batch_size', 'message'),
    [
        (0, 16, 'invalid --num_gpus=0: v5e stands for 8 devices .*; use 1 to 8'),
        (9, 16, 'invalid --num_gpus=9: v5e stands for 8 devices .*; use 1 to 8'),
        (3, 16, '--batch_size=16 does not divide over 3 devices'),
    ],
)
def test_devices_and_batches_that_do_not_fit(asked, devices, batch_size, message):
    with pytest.raises(InputError, match=message):
        absent_devices('v5e', devices, batch_size)
