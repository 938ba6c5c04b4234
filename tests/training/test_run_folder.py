import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.training import run_folder


def test_a_folder_is_held_once_and_free_again_after(tmp_path):
    refused = pytest.raises(InputError, match='is training in this folder')
    with run_folder.held(tmp_path), refused, run_folder.held(tmp_path):
        pass
    with run_folder.held(tmp_path):
        pass
