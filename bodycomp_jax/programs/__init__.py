"""The programs: flags in, one call out."""

import functools
import importlib
from typing import NoReturn

from bodycomp_jax.runtime import program


def run(name: str) -> NoReturn:
    """Runs the program in the module of this name; its imports are part of the run."""
    program.run(lambda argv: importlib.import_module(f'{__name__}.{name}').main(argv))


run_benchmark, run_convert_weights, run_demo, run_train_segmentation, run_train_slice_selection = (
    functools.partial(run, name)
    for name in (
        'benchmark', 'convert_weights', 'demo', 'train_segmentation', 'train_slice_selection',
    )
)  # fmt: skip
