from bodycomp_jax.runtime import arithmetic


def test_variables_that_change_results_are_dropped_and_named():
    environ = {'JAX_ENABLE_X64': '1', 'JAX_PLATFORMS': 'cpu', 'JAX_DEFAULT_PRNG_IMPL': 'rbg'}
    dropped = arithmetic.drop_variables(environ)
    assert sorted(dropped) == ['JAX_DEFAULT_PRNG_IMPL=rbg', 'JAX_ENABLE_X64=1']
    assert environ == {'JAX_PLATFORMS': 'cpu'}


def test_what_changed_is_named_and_what_was_not_recorded_is_not():
    before = arithmetic.describe(1, 'cpu', 'float32', {'NPROC': '2'})
    now = arithmetic.describe(
        2, 'cpu', 'float32', {'NPROC': '4', 'XLA_FLAGS': '--xla_cpu_enable_fast_math=true'}
    )
    assert arithmetic.differences(before, now) == [
        'devices 1, now 2',
        'XLA_FLAGS unset, now --xla_cpu_enable_fast_math=true',
        'CPU cores 2, now 4',
    ]
    assert arithmetic.differences(before, before) == []
    assert arithmetic.differences({}, now) == []


def test_cores_do_not_matter_on_other_devices():
    assert 'CPU cores' not in arithmetic.describe(1, 'H100', 'bfloat16', {})
