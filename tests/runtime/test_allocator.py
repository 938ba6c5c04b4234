"""A program keeps huge pages, unless its user has chosen otherwise."""

import os
import subprocess
import sys

import pytest

from bodycomp_jax.runtime import allocator
from bodycomp_jax.runtime.allocator import SETTING, VARIABLE

glibc = pytest.mark.skipif(not allocator._is_glibc(), reason='needs glibc')
PROGRAM = f"""
import os, sys
from bodycomp_jax.runtime.allocator import restart_with_huge_pages
restart_with_huge_pages()
print(os.getpid(), os.environ.get({VARIABLE!r}, ''), *sys.argv[1:])
"""


def printed(setting='', arguments=('-c', PROGRAM, 'an argument'), stdin=None, **variables):
    """What the program prints, but for its process, which must be the one that was started."""
    environ = {k: v for k, v in os.environ.items() if k != allocator.RESTARTED}
    child = subprocess.Popen(
        [sys.executable, *arguments],
        env={**environ, VARIABLE: setting, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, _, rest = child.communicate(stdin)[0].partition(' ')
    assert int(pid) == child.pid
    return rest.strip()


@glibc
def test_the_process_has_the_setting_and_its_arguments():
    assert printed() == f'{SETTING} an argument'
    assert printed('glibc.rtld.nns=4') == f'glibc.rtld.nns=4:{SETTING} an argument'


def test_a_setting_of_the_user_stays():
    assert printed('glibc.malloc.hugetlb=0') == 'glibc.malloc.hugetlb=0 an argument'


def test_it_does_not_restart_twice():
    assert printed(**{allocator.RESTARTED: '1'}) == 'an argument'


def test_a_program_that_cannot_be_read_again_goes_on():
    assert printed(arguments=['-'], stdin=PROGRAM) == ''
