"""Huge pages that are kept.

A training step on CPU fills hundreds of MB of memory. The C library of Linux gives them back to
the system and gets them again, in pages of 4 KB that are filled with zeros. Told otherwise, a step
of the U-Net takes 15 % less time, one of the DenseNet 25 %. It reads the setting when the process
starts.
"""

import os
import sys

VARIABLE = 'GLIBC_TUNABLES'
OURS = 'glibc.malloc.'
SETTING = f'{OURS}hugetlb=1:{OURS}mmap_max=0:{OURS}trim_threshold={1 << 40}'


def restart_with_huge_pages() -> None:
    """Starts this process again with the setting, unless it or another one is there.

    Call first: nothing that was done is kept. Does nothing where the C library is not glibc.
    """
    present = os.environ.get(VARIABLE, '')
    if OURS in present or not _is_glibc() or not sys.executable:
        return
    os.environ[VARIABLE] = f'{present}:{SETTING}' if present else SETTING
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_glibc() -> bool:
    try:
        return (os.confstr('CS_GNU_LIBC_VERSION') or '').startswith('glibc')
    except (AttributeError, ValueError, OSError):
        return False
