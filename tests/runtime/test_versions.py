import importlib.metadata

from bodycomp_jax.runtime.versions import versions


def test_a_package_that_runs_from_its_folder_has_no_version():
    found = versions(('numpy', 'no_such_package'))
    known = importlib.metadata.version('numpy')
    assert found == {'numpy': known, 'no_such_package': 'not installed'}
