"""Fuzzes the .npy reader with broken headers: python tests/data/fuzz_npy.py [INPUTS] [SEED].

Each input is a valid file with bytes changed, deleted, or replaced by fragments of headers; the
reader must return an array or raise InputError, with little memory.
"""

import pathlib
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.errors import InputError

PIECES = (
    b"'descr': '<i2'", b"'descr': '|O'", b"'descr': [('a', '<i2')]", b"'descr': '<V999999999'",
    b"'fortran_order': True", b"'shape': (-1, 4, 4)", b"'shape': (99999999999999999999, 9)",
    b"'shape': ()", b"'shape': (4,)", b"'shape': (0, 4, 4)", b"'shape': (True, 4)", b'(' * 5000,
    b'[' * 200, b'{', b'}', b',', b'\n', b'\x00', b'\xff' * 8, b'9' * 4000, b'1e999', b'lambda: 0',
)  # fmt: skip
MAX_GROWTH_MB = 64


def mutate(rng: random.Random, content: bytes) -> bytes:
    """Makes one to four random changes, most of them in the header."""
    mutated = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(mutated), 140) if rng.random() < 0.9 else len(mutated))
        kind = rng.randrange(5)
        if kind == 0:
            mutated[at] = rng.randrange(256)
        elif kind == 1:
            del mutated[at : at + rng.randint(1, 40)]
        elif kind == 2:
            piece = rng.choice(PIECES)
            mutated[at : at + len(piece)] = piece
        elif kind == 3:
            mutated[at:at] = rng.choice(PIECES)
        else:
            mutated[8:12] = rng.randrange(2 ** rng.choice((8, 16, 32))).to_bytes(4, 'little')
        if not mutated:
            mutated = bytearray(b'\x93')
    return bytes(mutated)


def valid_files() -> Iterator[bytes]:
    array = np.arange(48, dtype=np.int16).reshape(3, 4, 4)
    for version in ((1, 0), (2, 0), (3, 0)):
        for in_order in (np.ascontiguousarray, np.asfortranarray):
            with tempfile.TemporaryFile() as file:
                np.lib.format.write_array(file, in_order(array), version)
                file.seek(0)
                yield file.read()


def fuzz(inputs: int, seed: int) -> tuple[int, int, float, float]:
    """Returns (arrays accepted, inputs refused, slowest seconds, growth of memory in MB)."""
    rng = random.Random(seed)
    seeds = list(valid_files())
    accepted, slowest = 0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'fuzzed.npy'
        for _ in range(inputs):
            path.write_bytes(mutate(rng, rng.choice(seeds)))
            began = time.perf_counter()
            try:
                rows = NpyRows(path)
                rows.read(range(min(len(rows), 2)))
                accepted += 1
            except InputError:
                pass
            slowest = max(slowest, time.perf_counter() - began)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert growth < MAX_GROWTH_MB, f'{growth} MB'
    return accepted, inputs - accepted, slowest, growth


if __name__ == '__main__':
    numbers = [int(argument) for argument in sys.argv[1:]]
    inputs, seed = (numbers + [100_000, 0][len(numbers) :])[:2]
    accepted, refused, slowest, growth = fuzz(inputs, seed)
    print(
        f'{inputs} inputs: {accepted} read, {refused} refused, '
        f'slowest {slowest * 1000:.1f} ms, memory grew by {growth:.1f} MB'
    )
