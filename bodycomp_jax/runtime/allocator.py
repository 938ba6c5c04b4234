"""Huge pages that stay with the process.

A training step on CPU fills hundreds of MB. By default glibc returns them to the system after each
step and asks for them again, as pages of 4 KB that must be zeroed. With this setting, which glibc
reads when a process starts, a step of the U-Net takes 15 % less time, one of the DenseNet 25 %.
"""

import contextlib
import os
import sys

VARIABLE = 'GLIBC_TUNABLES'
MALLOC = 'glibc.malloc.'
SETTING = f'{MALLOC}hugetlb=1:{MALLOC}mmap_max=0:{MALLOC}trim_threshold={1 << 40}'
RESTARTED = 'BODYCOMP_RESTARTED'  # against a restart without end, where the setting gets lost


def restart_with_huge_pages() -> None:
    """Starts this process again with the setting, unless it or the user's own is there.

    Call first: nothing that was done is kept. Without huge pages everything works, but slower.
    """
    present = os.environ.get(VARIABLE, '')
    if MALLOC in present or RESTARTED in os.environ or not (_is_glibc() and _can_restart()):
        return
    os.environ |= {VARIABLE: f'{present}:{SETTING}' if present else SETTING, RESTARTED: '1'}
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_glibc() -> bool:
    try:
        return (os.confstr('CS_GNU_LIBC_VERSION') or '').startswith('glibc')
    except (AttributeError, ValueError, OSError):
        return False


def _can_restart() -> bool:
    """Whether the program can be read again: not from standard input, nor of an embedded Python."""
    return bool(sys.executable) and sys.argv[0] not in ('', '-')
