"""The programs: flags in, one call out."""

import functools
import importlib
import os
import signal
import sys
from typing import NoReturn

PROGRAMS = (
    'benchmark', 'convert_weights', 'demo', 'estimate', 'evaluate', 'make_synthetic',
    'prepare_segmentation', 'prepare_slice_selection', 'ship_network', 'train_segmentation',
    'train_slice_selection',
)  # fmt: skip


def run(name: str) -> NoReturn:
    """Runs the program in the module of this name; its imports are part of the run.

    During them Ctrl-C ends the process at once: they cannot be interrupted by an exception.
    """
    from bodycomp_jax.runtime import allocator

    allocator.restart_with_huge_pages()
    interruptible = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bodycomp_jax.runtime import program

    def main(argv: list[str]) -> None:
        module = importlib.import_module(f'{__name__}.{name}')
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        module.main(argv)

    program.run(main)


def restart(name: str) -> NoReturn:
    """Runs the program of this name, whose module was started by `python -m`.

    Its imports came before `run` could prepare them.
    """
    os.execv(sys.executable, [sys.executable, '-m', __name__, name, *sys.argv[1:]])


run_benchmark = functools.partial(run, 'benchmark')
run_convert_weights = functools.partial(run, 'convert_weights')
run_demo = functools.partial(run, 'demo')
run_estimate = functools.partial(run, 'estimate')
run_evaluate = functools.partial(run, 'evaluate')
run_make_synthetic = functools.partial(run, 'make_synthetic')
run_prepare_segmentation = functools.partial(run, 'prepare_segmentation')
run_prepare_slice_selection = functools.partial(run, 'prepare_slice_selection')
run_train_segmentation = functools.partial(run, 'train_segmentation')
run_train_slice_selection = functools.partial(run, 'train_slice_selection')
