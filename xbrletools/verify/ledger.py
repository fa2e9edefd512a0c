"""Columns that findings are made of: in memory while they are short, in an unnamed file from then on."""

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..table.columns import PIECE
from .marks import Mark
from .rules import Rule

HELD = 1 << 20  # bytes of a ledger that stay in memory


def room(count: int, dtype: DTypeLike) -> NDArray[Any]:
    """Zeros, (count,), to be written to: in an unnamed file where they are many and the disk can take them."""
    kind = np.dtype(dtype)
    size = count * kind.itemsize
    if size > HELD and hasattr(os, "posix_fallocate"):
        with suppress(OSError), tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # now, and not when a page of the map finds no place
            return np.frombuffer(mmap.mmap(file.fileno(), size), kind)
    return np.zeros(count, kind)


def pieces(count: int) -> Iterator[slice]:
    """Rows to be looked at together, until all ``count`` were."""
    return (slice(start, min(start + PIECE, count)) for start in range(0, count, PIECE))


def each(column: NDArray[np.int64]) -> Iterator[int]:
    """The numbers of a column, without a list of them all."""
    return (number for part in pieces(len(column)) for number in column[part].tolist())


def filled(count: int, dtype: DTypeLike, of: Callable[[slice], NDArray[Any]]) -> NDArray[Any]:
    """What ``of`` gives for each piece of ``count`` rows, one after the other, (count,), as `room` holds it."""
    out = room(count, dtype)
    for part in pieces(count):
        out[part] = of(part)
    return out


def chosen(count: int, of: Callable[[slice], NDArray[np.bool_]]) -> NDArray[np.int64]:
    """The places among ``count`` at which ``of`` is True, rising, (m,) int64, as `room` holds them.

    ``of`` gives a bool for each place of a piece. It is asked twice.
    """
    out = room(sum(int(np.count_nonzero(of(part))) for part in pieces(count)), np.int64)
    at = 0
    for part in pieces(count):
        found = np.flatnonzero(of(part)) + part.start
        out[at : at + len(found)] = found
        at += len(found)
    return out


def in_order(columns: Mapping[str, NDArray[Any]], by: str) -> dict[str, NDArray[Any]]:
    """Columns in the order of one of them. Rows that are equal in it stay as they stand.

    Its numbers are 0 or more, and about 2^31 at most.
    """
    count = len(columns[by])
    bits = count.bit_length()
    order = room(count, np.int64)  # numbers with their places, which one sort in place brings along
    for part in pieces(count):
        order[part] = columns[by][part] << bits | np.arange(part.start, part.stop)
    order.sort()
    ordered = {name: room(count, column.dtype) for name, column in columns.items()}
    for part in pieces(count):
        places = order[part] & ((1 << bits) - 1)
        for name, column in columns.items():
            ordered[name][part] = column[places]
    return ordered


class Ledger:
    """Columns that grow together, piece by piece. Raises OSError where the disk cannot take them."""

    def __init__(self) -> None:
        self._pieces: list[dict[str, NDArray[Any]]] = []
        self._held = 0
        self._files: dict[str, IO[bytes]] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}

    def __del__(self) -> None:
        for file in self._files.values():  # what was mapped from them stays
            file.close()

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append rows to every column. All pieces have the same columns."""
        if not self._dtypes:
            self._dtypes = {name: column.dtype for name, column in columns.items()}
        if not any(len(c) for c in columns.values()):
            return
        self._pieces.append(dict(columns))
        self._held += sum(c.nbytes for c in columns.values())
        if self._held > HELD:
            self._spill()

    def _spill(self) -> None:
        for name in self._dtypes:
            if name not in self._files:
                self._files[name] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the ledger goes
                weakref.finalize(self, self._files[name].close)
            for piece in self._pieces:
                self._files[name].write(np.ascontiguousarray(piece[name]).data)
        self._pieces, self._held = [], 0

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column whole. Those in a file are mapped from it."""
        if not self._files:
            empty = {name: np.empty(0, dtype) for name, dtype in self._dtypes.items()}
            return {n: np.concatenate([e, *(p[n] for p in self._pieces)], dtype=e.dtype) for n, e in empty.items()}
        self._spill()
        for file in self._files.values():
            file.flush()
        return {n: np.asarray(np.memmap(self._files[n], d, mode="r")) for n, d in self._dtypes.items()}


class Marks:
    """Marks gathered from the pieces of a table, in one ledger for each rule and message."""

    def __init__(self) -> None:
        self._ledgers: dict[tuple[Rule, str], Ledger] = {}

    def add(self, mark: Mark) -> None:
        """Append what one piece showed. Its rows come after those of earlier pieces."""
        errors = {} if mark.errors is None else {"?": mark.errors}
        ledger = self._ledgers.setdefault((mark.rule, mark.message), Ledger())
        ledger.add({"": mark.rows} | errors | mark.evidence)

    def whole(self) -> Iterator[Mark]:
        """Every rule's mark, in the order in which the rules came first."""
        for (rule, message), ledger in self._ledgers.items():
            columns = ledger.columns()
            rows, errors = columns.pop("", None), columns.pop("?", None)
            if rows is not None and len(rows):
                yield Mark(rule, rows, message, columns, errors)
