"""A replay as plain as it can be, one byte at a time, to hold the array code against.

It shares with the package the record table and nothing else: the deltas are decoded here, from format-facts alone.
A byte is a number, or None where it is unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import xbrletools
from xbrletools.formats.dialects import Encoding
from xbrletools.formats.ram import Kind

Bytes = list[int | None]


def _pairs(payload: bytes) -> list[tuple[int, int]]:
    return [(payload[i], payload[i + 1]) for i in range(0, len(payload) - 1, 2)]


def _doubled(payload: bytes) -> list[tuple[int, int]] | None:
    runs, before, i = [], None, 0
    while i < len(payload):
        byte = payload[i]
        i += 1
        if byte == before:
            if i == len(payload):
                return None
            runs.append((1 + payload[i], byte))
            i += 1
            before = None
        else:
            runs.append((1, byte))
            before = byte
    return runs


def xor_of(encoding: Encoding, payload: bytes, size: int) -> list[int] | None:
    """Old XOR new, or None where the payload is not one page."""
    runs = _pairs(payload) if encoding is Encoding.RLE else _doubled(payload)
    out = [byte for run, byte in runs for _ in range(run)] if runs is not None else []
    return out if len(out) == size else None


def literals_of(payload: bytes, size: int) -> dict[int, int] | None:
    """The new bytes of an XBZRLE payload by their place, or None where it is not well formed."""
    out: dict[int, int] = {}
    i = to = 0

    def number() -> int | None:
        nonlocal i
        if i + 2 > len(payload):  # no number can be the last byte
            return None
        value = payload[i]
        i += 1
        if value >= 0x80:
            if payload[i] >= 0x80:
                return None
            value += (payload[i] - 1) * 0x80
            i += 1
        return value

    while i < len(payload):
        skip = number()
        if skip is None or (skip == 0 and i > 1):
            return None
        count = number()
        if not count or to + skip + count > size or i + count > len(payload):
            return None
        to += skip
        for k in range(count):
            out[to + k] = payload[i + k]
        to, i = to + count, i + count
    return out


@dataclass
class Page:
    """One page: its bytes, and the record that each comes from (0: none)."""

    size: int
    data: Bytes = field(default_factory=list)
    author: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = [None] * self.size
        self.author = [0] * self.size

    def apply(self, record: int, kind: Kind, payload: bytes, encoding: Encoding | None) -> None:
        if kind is Kind.PAGE:
            self.data[: len(payload)] = payload
            self.author[: len(payload)] = [record] * len(payload)
        elif kind is Kind.DUP:
            self.data, self.author = [payload[0]] * self.size, [record] * self.size
        elif encoding is Encoding.ZRUN:
            new = literals_of(payload, self.size)
            self._delta(record, new)
        else:
            assert encoding is not None
            xor = xor_of(encoding, payload, self.size)
            changes = None
            if xor is not None:
                old = self.data
                changes = {i: None if old[i] is None else old[i] ^ x for i, x in enumerate(xor) if x}
            self._delta(record, changes)

    def _delta(self, record: int, changes: "dict[int, int] | dict[int, int | None] | None") -> None:
        if changes is None:
            self.data, self.author = [None] * self.size, [record] * self.size
            return
        for i, byte in changes.items():
            self.data[i], self.author[i] = byte, record


class Memory:
    """All pages that ``wanted`` chooses, as one end of the migration had them. ``step`` goes on by one record."""

    def __init__(self, capture: xbrletools.Capture, sender: bool = False) -> None:
        dialect = capture.dialect
        self.capture = capture
        self.encoding = dialect.encoding if dialect else None
        self.forgets = sender and dialect is not None and not dialect.caches_dup
        self.cached: dict[tuple[int, int], Page] = {}
        self.pages: dict[tuple[int, int], Page] = {}

    def records(self, wanted: set[tuple[int, int]] | None = None) -> Iterator[tuple[int, tuple[int, int]]]:
        """Apply the records in order. Yields each one's number and page, once it was applied."""
        table = self.capture.records
        c = table.columns
        size = self.capture.page_size
        everything = self.capture.data.tobytes()
        for row in table.by_number.tolist():
            key = (int(c.block[row]), int(c.address[row]))
            record = int(table.number[row])
            if wanted is None or key in wanted:
                at = int(c.offset[row]) + int(c.head[row])
                payload = everything[at : at + int(c.length[row])]
                kind = Kind(int(c.kind[row]))
                if key not in self.cached:
                    self.cached[key] = Page(size)
                page = Page(size) if self.forgets and kind is Kind.DUP else self.cached[key]
                page.apply(record, kind, payload, self.encoding)
                self.pages[key] = page
            yield record, key
