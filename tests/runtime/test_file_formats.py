import gzip
import io
import pickle
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.runtime.file_formats import START_BYTES, other_format


def written(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def picture(kind):
    return written(lambda file: Image.new('L', (8, 8)).save(file, kind))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'an empty file; copy it again'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\n', 'git lfs pull'),
        (b'\n<!DOCTYPE html>\n<html>', 'a web page, .*; download the file itself'),
        (b'<html lang="en">', 'a web page, .*; download the file itself'),
        (gzip.compress(b'array', mtime=0), 'a gzip file; unpack it'),
        (written(lambda file: np.savez(file, np.zeros(3))), r'a ZIP archive .*; export it again'),
        (written(lambda file: zipfile.ZipFile(file, 'w').writestr('a', 'b')), 'a ZIP archive'),
        (b'\x89HDF\r\n\x1a\n' + bytes(120), 'an HDF5 file; export it again'),
        (written(lambda file: np.save(file, np.zeros(3))), r'a \.npy file; export it again'),
        (pickle.dumps([1, 2]), 'a Python pickle; export it again'),
        (picture('PNG'), 'a PNG picture'),
        (picture('JPEG'), 'a JPEG picture'),
        (picture('TIFF'), 'a TIFF picture'),
        (bytes(128) + b'DICM', 'a DICOM file; export it again'),
        ((348).to_bytes(4, 'little') + bytes(344), 'a NIfTI file; export it again'),
    ],
)
def test_a_file_of_another_format_is_recognised(content, message):
    found = other_format(content[:START_BYTES], 'export it again')
    assert found is not None
    assert re.search(message, found)


@pytest.mark.parametrize('content', [b'series,ZOffset_L3\n', b'\xef\xbb\xbfseries', bytes(200)])
def test_unknown_bytes_have_no_name(content):
    assert other_format(content, 'export it again') is None
