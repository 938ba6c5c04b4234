"""Reads a program that XLA compiled: which instructions run, and which arrays each of them moves.

The text is that of https://openxla.org/xla/hlo_dumps, with layouts as in
https://openxla.org/xla/tiled_layout. A fusion is one instruction; what a loop contains runs as
often as the loop. An instruction reads its operands from the memory of the device and writes its
results there, unless they stay in a memory on the chip.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

COLLECTIVES = (
    'all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute',
)  # fmt: skip
IN_DEVICE_MEMORY = ('', '0')  # of the memory spaces; others are on the chip or on the host
MOVES_NOTHING = (
    'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all',
    'opt-barrier', 'partition-id', 'replica-id',
)  # fmt: skip
ENTERED = ('while', 'conditional', 'call', 'async-start')  # run the instructions of computations
SLICES = ('slice', 'dynamic-slice')
ELEMENTWISE = (
    'abs', 'add', 'and', 'bitcast', 'cbrt', 'ceil', 'clamp', 'compare', 'convert', 'copy', 'cosine',
    'divide', 'erf', 'exponential', 'exponential-minus-one', 'floor', 'is-finite', 'log',
    'log-plus-one', 'logistic', 'maximum', 'minimum', 'multiply', 'negate', 'not', 'or', 'power',
    'reduce-precision', 'remainder', 'round-nearest-even', 'rsqrt', 'select', 'shift-left',
    'shift-right-arithmetic', 'shift-right-logical', 'sign', 'sine', 'sqrt', 'subtract', 'tanh',
    'xor',
)  # fmt: skip
COPIES = ('copy-start', 'slice-start')  # between memories, beside other instructions

COMPUTATION = re.compile(r'(ENTRY )?%?([\w.-]+) \(.*\{')
INSTRUCTION = re.compile(
    r'\s*(?:ROOT )?%([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*?)\)((?:, [\w-]+=.*)?)$'
)
ARRAY = re.compile(r'\b([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?')


class Array(NamedTuple):
    """An array of an XLA type."""

    bytes: int  # by its shape
    tiled: int  # bytes in memory, where it is padded to whole tiles
    space: str  # the number of its memory


class Share(NamedTuple):
    """How much of an array is read."""

    bytes: float
    tiled: float  # of the bytes in memory

    def of(self, array: Array) -> Array:
        """What is read of an array."""
        return Array(round(self.bytes * array.bytes), round(self.tiled * array.tiled), array.space)


WHOLE = Share(1, 1)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of a program: %NAME = TYPE OPCODE(ARGUMENTS)ATTRIBUTES."""

    name: str
    type: str
    opcode: str
    arguments: str
    attributes: str

    @property
    def operands(self) -> list[str]:
        """The names of the instructions whose results it takes."""
        return re.findall(r'%([\w.-]+)', self.arguments)

    @property
    def called(self) -> list[str]:
        """The names of the computations that it runs."""
        lists = re.findall(
            r'(?:calls|to_apply|condition|body|\w+_computations?)=\{?(%[^={} ]+(?:, %[^={} ]+)*)',
            self.attributes,
        )
        return [name for names in lists for name in re.findall(r'%([\w.-]+)', names)]

    @property
    def cycles(self) -> int:
        """XLA's estimate; 0 where it has none."""
        return int(self._attribute(r'"estimated_cycles":"(\d+)"', '0'))

    @property
    def source(self) -> str:
        """Which operation of the model it computes; '' where XLA does not know."""
        return self._attribute(r'op_name="([^"]*)"', '')

    @property
    def is_cudnn(self) -> bool:
        """Whether it is a call of cuDNN."""
        return 'custom_call_target="__cudnn' in self.attributes

    @property
    def window(self) -> int:
        """The longest side of a convolution's window; 0 of other instructions."""
        if self.opcode != 'convolution' and not self.is_cudnn:
            return 0
        return max(map(int, self._attribute(r'window=\{size=([\dx]+)', '0').split('x')))

    def _attribute(self, pattern: str, default: str) -> str:
        found = re.search(pattern, self.attributes)
        return found[1] if found else default


@dataclasses.dataclass(frozen=True)
class Execution:
    """An instruction that runs.

    Attributes:
      instruction: a fusion is one.
      times: how often it runs.
      operands: the XLA types of its operands.
      moved: the arrays, or the parts of arrays, that it reads from and writes to the memory of
        the device each time.
    """

    instruction: Instruction
    times: int
    operands: list[str]
    moved: list[Array]

    @property
    def cycles(self) -> int:
        """XLA's estimate for all times."""
        return self.times * self.instruction.cycles

    @property
    def bytes(self) -> int:
        """That it moves, by the shapes of arrays."""
        return self.times * sum(array.bytes for array in self.moved)

    @property
    def tiled(self) -> int:
        """Bytes that it moves, with the padding of arrays in memory."""
        return self.times * sum(array.tiled for array in self.moved)


class Program:
    """A compiled program.

    Attributes:
      computations: {name: its instructions}; the program itself, bodies of loops, fusions.
      entry: the name of the program itself.
    """

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ''
        current: list[Instruction] = []
        for line in text.splitlines():
            if head := COMPUTATION.match(line):
                current = self.computations.setdefault(head[2], [])
                self.entry = head[2] if head[1] else self.entry
            elif found := INSTRUCTION.match(line):
                current.append(Instruction(*found.groups()))

    def instructions(self) -> Iterator[Instruction]:
        """All of them, those within fusions too, each once."""
        for instructions in self.computations.values():
            yield from instructions

    def executions(self) -> Iterator[Execution]:
        """What runs, in this order; of a condition every branch."""
        return self._executions(self.entry, 1)

    def sent(self) -> list[int]:
        """Bytes that a device gives to each collective."""
        return [
            sum(array.bytes for operand in run.operands for array in arrays_of(operand))
            for run in self.executions()
            if run.instruction.opcode.removesuffix('-start') in COLLECTIVES
            for _ in range(run.times)
        ]

    def _executions(self, computation: str, times: int) -> Iterator[Execution]:
        types = {each.name: each.type for each in self.computations[computation]}
        for each in self.computations[computation]:
            if each.opcode in ENTERED:
                rounds = self._rounds(each) if each.opcode == 'while' else 1
                for called in each.called:
                    yield from self._executions(called, times * rounds)
            elif not _moves_nothing(each):
                operands = [types[name] for name in each.operands]
                yield Execution(each, times, operands, self._moved(each, operands))

    def _rounds(self, loop: Instruction) -> int:
        """Of a loop: what XLA knows, or the limit to which its condition counts."""
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes):
            return int(known[1])
        condition, _ = loop.called
        limits = [
            int(each.arguments)
            for each in self._within(condition)
            if each.opcode == 'constant' and each.type.startswith('s32[]')
        ]
        return max(limits, default=1)

    def _within(self, computation: str) -> Iterator[Instruction]:
        """The instructions of a computation and of those that it calls."""
        for each in self.computations[computation]:
            yield each
            for called in each.called:
                yield from self._within(called)

    def _moved(self, each: Instruction, operands: list[str]) -> list[Array]:
        if each.opcode in COPIES:
            ends = arrays_of(each.type)[:2]
            return [min(ends)] * len(_in_memory(ends))
        moved = self._written(each)
        for name, operand in dict(zip(each.operands, operands, strict=True)).items():
            share = self._share(each, name, operand)
            moved += [share.of(array) for array in arrays_of(operand)]
        return _in_memory(moved)

    def _written(self, each: Instruction) -> list[Array]:
        """The results; in an array that is updated in place, the part that changes."""
        if not _in_memory(arrays_of(each.type)):
            return []
        inside = self.computations[each.called[0]] if each.opcode == 'fusion' else [each]
        by_name = {one.name: one for one in inside}
        root = inside[-1]
        if root.opcode == 'dynamic-update-slice' and root.operands[1] in by_name:
            return arrays_of(by_name[root.operands[1]].type)
        return arrays_of(each.type)

    def _share(self, each: Instruction, name: str, whole: str) -> Share:
        """How much it reads of an operand of type `whole`: slices, where it slices it, or all."""
        if each.opcode != 'fusion':
            return self._share_within([each], name, whole)
        inside = self.computations[each.called[0]]
        return _sum_of_shares(
            self._share_within(inside, _parameter(inside, position), whole)
            for position, operand in enumerate(each.operands)
            if operand == name
        )

    def _share_within(self, inside: list[Instruction], name: str, whole: str) -> Share:
        """How much of a value the last of these instructions needs.

        A fusion computes the elements that its result needs: what it does to each element of an
        array before it slices it, it does to the slice alone.
        """
        shares = []
        values = {name: whole}  # types of the value and of what has an element for each of its
        for each in inside:
            taken = [i for i, operand in enumerate(each.operands) if operand in values]
            is_last = each is inside[-1]
            if not taken:
                continue
            if each.opcode in SLICES and taken == [0]:
                shares.append(_share_of(each.type, values[each.operands[0]]))
            elif each.opcode == 'fusion':
                taken_names = {each.operands[i] for i in taken}
                shares += [self._share(each, name, values[name]) for name in taken_names]
            elif each.opcode in ELEMENTWISE and not is_last:
                values[each.name] = each.type
            elif not (is_last and each.opcode == 'dynamic-update-slice' and taken == [0]):
                return WHOLE
        return _sum_of_shares(shares)


def arrays_of(xla_type: str) -> list[Array]:
    """The arrays of a type such as '(f32[3]{0}, bf16[8,16]{1,0:T(8,128)(2,1)S(1)})'."""
    return [_array(*found.groups(default='')) for found in ARRAY.finditer(xla_type)]


def _array(kind: str, shape: str, minor_to_major: str, layout: str) -> Array:
    """For example 'bf16', '8,16', '1,0', 'T(8,128)(2,1)S(1)'."""
    lengths = [int(length) for length in shape.split(',') if length]
    digits = re.search(r'\d+', 'i8' if kind == 'pred' else kind)
    bits = int(digits[0]) if digits else 0  # a token has no size
    size = math.prod(lengths) * bits // 8
    if lengths and (tile := re.search(r'T\(([\d,]+)\)', layout)):
        tile_lengths = map(int, reversed(tile[1].split(',')))
        for axis, length in zip(map(int, minor_to_major.split(',')), tile_lengths, strict=False):
            lengths[axis] = -(-lengths[axis] // length) * length
    space = re.search(r'S\((\d+)\)', layout)
    return Array(size, math.prod(lengths) * bits // 8, space[1] if space else '')


def _in_memory(arrays: list[Array]) -> list[Array]:
    return [array for array in arrays if array.space in IN_DEVICE_MEMORY]


def _share_of(part: str, whole: str) -> Share:
    """By their types."""
    (part_of,), (all_of,) = arrays_of(part), arrays_of(whole)
    return Share(part_of.bytes / all_of.bytes, part_of.tiled / all_of.tiled)


def _sum_of_shares(shares: Iterable[Share]) -> Share:
    """Of several slices, which may overlap."""
    of_bytes, of_tiled = zip(Share(0, 0), *shares, strict=True)
    return Share(min(1, sum(of_bytes)), min(1, sum(of_tiled)))


def _moves_nothing(each: Instruction) -> bool:
    is_done = each.opcode.endswith('-done')
    return is_done or each.opcode in MOVES_NOTHING or '"AllocateBuffer"' in each.attributes


def _parameter(inside: list[Instruction], position: int) -> str:
    """The name of a parameter of a computation."""
    return next(
        each.name
        for each in inside
        if each.opcode == 'parameter' and each.arguments == str(position)
    )
