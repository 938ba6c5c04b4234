"""Throws broken headers at the .npy reader: python tests/fuzz_npy.py [INPUTS] [SEED].

Each input is a sound file with bytes flipped, cut, repeated or replaced by what a header may
hold; the reader must answer with an array or an InputError, in little memory and time.
"""

import pathlib
import random
import resource
import sys
import tempfile
import time

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


def mutate(rng, content):
    """One to four random changes, most of them in the header."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(content), 140) if rng.random() < 0.9 else len(content))
        kind = rng.randrange(5)
        if kind == 0:
            content[at] = rng.randrange(256)
        elif kind == 1:
            del content[at : at + rng.randint(1, 40)]
        elif kind == 2:
            piece = rng.choice(PIECES)
            content[at : at + len(piece)] = piece
        elif kind == 3:
            content[at:at] = rng.choice(PIECES)
        else:
            content[8:12] = rng.randrange(2 ** rng.choice((8, 16, 32))).to_bytes(4, 'little')
        if not content:
            content = bytearray(b'\x93')
    return bytes(content)


def sound_files():
    array = np.arange(48, dtype=np.int16).reshape(3, 4, 4)
    for version in ((1, 0), (2, 0), (3, 0)):
        for order in 'CF':
            with tempfile.TemporaryFile() as file:
                np.lib.format.write_array(file, np.asarray(array, order=order), version)
                file.seek(0)
                yield file.read()


def fuzz(inputs, seed):
    """Returns (arrays accepted, inputs refused, slowest seconds, growth of memory in MB)."""
    rng = random.Random(seed)
    seeds = list(sound_files())
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
