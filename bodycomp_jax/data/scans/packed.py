"""Descriptions of many slices in little memory: some 30 bytes a slice instead of 1,500."""

import dataclasses
import functools
import json
import zlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from bodycomp_jax.data.scans.headers import Header
from bodycomp_jax.data.scans.series import Series, Slice

FAST = 1  # level of the compression
MAX_PENDING = 4096  # headers that are not packed yet

Described = TypeVar('Described', Header, Slice)


class PackedHeaders:
    """Headers by what only those of one series share, in the order in which they came."""

    def __init__(self) -> None:
        self._packed: dict[Hashable, list[bytes]] = {}
        self._pending: list[Header] = []

    def add(self, headers: Iterable[Header]) -> None:
        """Takes headers of a file."""
        self._pending += headers
        if len(self._pending) >= MAX_PENDING:
            self._pack()

    def groups(self) -> Iterator[list[Header]]:
        """The headers of a series, or of several that share its identifiers, after the others."""
        self._pack()
        for parts in self._packed.values():
            yield [header for part in parts for header in unpacked(Header, part)]

    def _pack(self) -> None:
        groups: dict[Hashable, list[Header]] = {}
        for header in self._pending:
            groups.setdefault((header.series_uid, header.common), []).append(header)
        for key, headers in groups.items():
            self._packed.setdefault(key, []).append(packed(headers))
        self._pending = []


@dataclasses.dataclass(frozen=True)
class PackedSeries:
    """A series, without its slices, and these packed."""

    name: str
    _series: Series
    _slices: bytes

    @classmethod
    def of(cls, series: Series) -> 'PackedSeries':
        """Packs a series."""
        return cls(series.name, dataclasses.replace(series, slices=()), packed(series.slices))

    def unpacked(self) -> Series:
        """The series, made anew."""
        slices = tuple(unpacked(Slice, self._slices))
        return dataclasses.replace(self._series, name=self.name, slices=slices)


class SeriesSequence(Sequence[Series]):
    """Series, each made anew whenever it is asked for: those not in use take little memory.

    Attributes:
      names: of the series.
    """

    def __init__(self, series: Sequence[PackedSeries]) -> None:
        self._packed = series
        self.names = [each.name for each in series]

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, i: int) -> Series: ...

    @overload
    def __getitem__(self, i: slice) -> Sequence[Series]: ...

    def __getitem__(self, i: int | slice) -> Series | Sequence[Series]:
        if isinstance(i, slice):
            return SeriesSequence(self._packed[i])
        return self._packed[i].unpacked()


def packed(described: Sequence[Described]) -> bytes:
    """Headers or slices as bytes; neighbours repeat most of each other."""
    return zlib.compress(
        json.dumps([_values(type(each), each) for each in described]).encode(), FAST
    )


def unpacked(kind: type[Described], content: bytes) -> list[Described]:
    """The inverse of `packed`."""
    return [_made(kind, values) for values in json.loads(zlib.decompress(content))]


@functools.cache
def _fields(kind: Any) -> list[tuple[str, Any]]:
    """(name, its type if it has fields itself, else None) of each field."""
    fields = dataclasses.fields(kind)
    return [
        (each.name, each.type if dataclasses.is_dataclass(each.type) else None) for each in fields
    ]


def _values(kind: Any, described: Any) -> list[Any]:
    values = ((inner, getattr(described, name)) for name, inner in _fields(kind))
    return [_values(inner, value) if inner else value for inner, value in values]


def _made(kind: Any, values: Sequence[Any]) -> Any:
    made = []
    for (_, inner), value in zip(_fields(kind), values, strict=True):
        if inner:
            made.append(_made(inner, value))
        else:
            made.append(tuple(value) if isinstance(value, list) else value)
    return kind(*made)
