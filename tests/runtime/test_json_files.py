"""JSON files of others."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import json_files
from bodycomp_jax.runtime.json_files import read_json_object


def test_an_object_is_read(tmp_path):
    (tmp_path / 'a.json').write_text('{"a": [1]}')
    assert read_json_object(str(tmp_path / 'a.json')) == {'a': [1]}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'not readable as JSON'),
        (b'\xff\xfe', 'not readable as JSON'),
        (b'[' * 100_000, 'not readable as JSON'),
        (b'3', 'not a JSON object, but int'),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    path = tmp_path / 'a.json'
    path.write_bytes(content)
    with pytest.raises(InputError, match=f'^{path}: {message}.*; write it again'):
        read_json_object(str(path))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match='not a regular file'):
        read_json_object(str(tmp_path))


def test_a_file_that_is_too_large_is_not_read_in_part(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    path.write_text('{"a": [1]}')
    monkeypatch.setattr(json_files, 'MAX_BYTES', 8)
    with pytest.raises(InputError, match='larger than'):
        read_json_object(str(path))
