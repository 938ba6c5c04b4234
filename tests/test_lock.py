import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.training import lock


def test_a_folder_is_held_once_and_free_again_after(tmp_path):
    refused = pytest.raises(InputError, match='is training in this folder')
    with lock.held(tmp_path), refused, lock.held(tmp_path):
        pass
    with lock.held(tmp_path):
        pass
