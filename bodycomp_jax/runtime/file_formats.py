"""Files of another format than the expected one, recognised by their first bytes."""

DICOM_MARK = slice(128, 132)
SIGNATURES = (  # (first bytes, what such a file is, remedy; None: that of the expected format)
    (b'version https://git-lfs', 'a Git LFS pointer', 'fetch the file itself with git lfs pull'),
    (b'\x1f\x8b', 'a gzip file', 'unpack it'),
    (b'BZh', 'a bzip2 file', 'unpack it'),
    (b'\xfd7zXZ', 'an xz file', 'unpack it'),
    (b'PK\x03\x04', 'a ZIP archive (.npz, .xlsx and .keras files are such)', None),
    (b'\x93NUMPY', 'a .npy file', None),
    (b'\x89HDF\r\n', 'an HDF5 file', None),
    (b'\x89PNG', 'a PNG picture', None),
    (b'\xff\xd8\xff', 'a JPEG picture', None),
    (b'II*\0', 'a TIFF picture', None),
    (b'MM\0*', 'a TIFF picture', None),
    (b'\x5c\x01\0\0', 'a NIfTI file', None),
    (b'\x80', 'a Python pickle', None),
)
START_BYTES = 132  # of a file, which tell its format
WEB_PAGES = (b'<!doctype html', b'<html')


def other_format(start: bytes, remedy: str) -> str | None:
    """What a file is, and the remedy, such as 'a gzip file; unpack it'; None for unknown bytes.

    Args:
      start: the first `START_BYTES` of the file or more, or all of a shorter one.
      remedy: how to make a file of the expected format.
    """
    if not start:
        return 'an empty file; copy it again'
    if start.lstrip().lower().startswith(WEB_PAGES):
        return 'a web page, such as that of a login; download the file itself'
    if start[DICOM_MARK] == b'DICM':
        return f'a DICOM file; {remedy}'
    for signature, what, own_remedy in SIGNATURES:
        if start.startswith(signature):
            return f'{what}; {own_remedy or remedy}'
    return None
