"""A program keeps huge pages, unless its user has chosen otherwise."""

import os
import subprocess
import sys

import pytest

from bodycomp_jax.runtime.allocator import SETTING, VARIABLE

glibc = pytest.mark.skipif(
    'CS_GNU_LIBC_VERSION' not in getattr(os, 'confstr_names', {}), reason='needs glibc'
)
PROGRAM = f"""
import os, sys
from bodycomp_jax.runtime.allocator import restart_with_huge_pages
restart_with_huge_pages()
print(os.getpid(), os.environ.get({VARIABLE!r}, ''), *sys.argv[1:])
"""


def printed(setting):
    environ = {**os.environ, VARIABLE: setting}
    child = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, 'an argument'],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, *rest = child.communicate()[0].split(maxsplit=1)
    assert int(pid) == child.pid
    return rest[0].strip()


@glibc
def test_the_process_has_the_setting_and_its_arguments():
    assert printed('') == f'{SETTING} an argument'
    assert printed('glibc.rtld.nns=4') == f'glibc.rtld.nns=4:{SETTING} an argument'


def test_a_setting_of_the_user_stays():
    assert printed('glibc.malloc.hugetlb=0') == 'glibc.malloc.hugetlb=0 an argument'
