"""Settings of the benchmark that are refused."""

import pytest

from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.errors import InputError


def test_invalid_numbers_are_refused():
    with pytest.raises(InputError, match='invalid --windows=0: use a positive number'):
        BenchmarkConfig(windows=0)


def test_one_kind_of_report_at_a_time():
    with pytest.raises(InputError, match='--ahead_of_time and --collectives exclude each other'):
        BenchmarkConfig(ahead_of_time='v5e', collectives=True)
    with pytest.raises(InputError, match='--collectives and --profile exclude each other'):
        BenchmarkConfig(collectives=True, profile='trace')
