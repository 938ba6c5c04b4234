import pytest

from bodycomp_jax.data.scans.reasons import naming, skipped
from bodycomp_jax.errors import InputError


@pytest.mark.parametrize('message', ['no pixels', 'a.dcm: no pixels'])
def test_errors_name_their_file_once(message):
    with pytest.raises(InputError) as caught, naming('a.dcm'):
        raise InputError(message)
    assert str(caught.value) == 'a.dcm: no pixels'
    assert str(skipped('a.dcm', caught.value)) == 'a.dcm: no pixels'


def test_errors_of_the_system_become_input_errors(tmp_path):
    path = tmp_path / 'a.dcm'
    with (
        pytest.raises(InputError, match=r'a\.dcm: No such file or directory; check the path'),
        naming(str(path)),
    ):
        path.read_bytes()
