"""A receiver as plain as it can be, which shares nothing with the package: it reads bytes with `struct` alone.

It reads what `structured` builds: a container with or without footers, one RAM section of version 4, and deltas of one
dialect that it is told. It stops where a receiver would, or where it cannot tell, and says which.
"""

import struct
from dataclasses import dataclass, field

PAGE = 4096
START, PART, END, FULL, CONFIGURATION, COMMAND, FOOTER = 1, 2, 3, 4, 7, 8, 0x7E
ZERO, MEM_SIZE, NORMAL, EOS, CONTINUE, DELTA, FLUSH = 2, 4, 8, 0x10, 0x20, 0x40, 0x200

Bytes = list[int | None]


class StopError(Exception):
    """A receiver would stop here, or the bytes end."""


@dataclass
class Received:
    """Memory after ``records`` records that carry a page: each page by block and address, each byte or None.

    ``whole`` says that the RAM section was read to the end of its END, without anything out of order.
    """

    blocks: dict[bytes, int] = field(default_factory=dict)
    pages: dict[tuple[bytes, int], Bytes] = field(default_factory=dict)
    records: int = 0
    whole: bool = False


class Receiver:
    """Reads a stream into `Received`. ``xbzrle`` says which of two dialects it is in. The other is posted, little."""

    def __init__(self, data: bytes, xbzrle: bool, footers: bool) -> None:
        self.data, self.xbzrle, self.footers = data, xbzrle, footers
        self.at = 0
        self.block: bytes | None = None
        self.got = Received()

    def take(self, form: str) -> int:
        """The next number."""
        size = struct.calcsize(form)
        if self.at + size > len(self.data):
            raise StopError
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return value

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if self.at + count > len(self.data):
            raise StopError
        self.at += count
        return self.data[self.at - count : self.at]

    def name(self) -> bytes:
        """A name behind its length."""
        return self.bytes(self.take("B"))

    def run(self) -> Received:
        """Read as far as it goes."""
        try:
            if self.bytes(4) != b"QEVM" or self.take(">I") != 3:
                raise StopError
            ram: int | None = None
            while not self.got.whole:
                kind = self.take("B")
                if kind == CONFIGURATION:
                    self.bytes(self.take(">I"))
                elif kind == COMMAND:
                    self.take(">H")
                    self.bytes(self.take(">H"))
                elif kind in (START, PART, END):
                    number = self.take(">I")
                    if kind == START:
                        if ram is not None or self.name() != b"ram":
                            raise StopError
                        self.take(">I")
                        if self.take(">I") != 4:
                            raise StopError
                        ram = number
                    if number != ram:
                        raise StopError
                    self.section()
                    if self.footers and (self.take("B") != FOOTER or self.take(">I") != number):
                        raise StopError
                    self.got.whole = kind == END
                else:
                    raise StopError
        except StopError:
            pass
        return self.got

    def section(self) -> None:
        """Records up to the EOS."""
        while True:
            word = self.take(">Q")
            flags, address = word & (PAGE - 1), word & ~(PAGE - 1)
            if flags == EOS:
                return
            if flags == MEM_SIZE:
                self.block_list(address)
                continue
            kind = flags & ~CONTINUE
            if kind not in (ZERO, NORMAL, DELTA):
                raise StopError
            if not flags & CONTINUE:
                self.block = self.name()
            if self.block is None or self.block not in self.got.blocks:
                raise StopError
            if address + PAGE > self.got.blocks[self.block]:
                raise StopError
            self.page(kind, (self.block, address))
            self.got.records += 1

    def block_list(self, total: int) -> None:
        """The blocks, whose lengths must come to the total."""
        if self.got.blocks:
            raise StopError
        while total > 0:
            name, length = self.name(), self.take(">Q")
            if name in self.got.blocks or length % PAGE or not 0 < length <= total:
                raise StopError
            self.got.blocks[name] = length
            total -= length

    def page(self, kind: int, key: tuple[bytes, int]) -> None:
        """One record's payload."""
        if kind == ZERO:
            self.got.pages[key] = [self.take("B")] * PAGE
        elif kind == NORMAL:
            self.got.pages[key] = list(self.bytes(PAGE))
        else:
            old = self.got.pages.get(key, [None] * PAGE)
            self.got.pages[key] = self.literals(old) if self.xbzrle else self.runs(old)

    def runs(self, old: Bytes) -> Bytes:
        """A delta as posted: runs of one byte over old XOR new."""
        flags = self.take("B")
        self.take("B")
        length = self.take("<H")
        self.take("<I")
        if not flags & 1 or length > PAGE:
            raise StopError
        payload = self.bytes(length)
        change = b"".join(bytes([payload[i + 1]]) * payload[i] for i in range(0, length - 1, 2))
        if len(change) != PAGE:
            self.at -= length
            raise StopError
        return [o if not c else None if o is None else o ^ c for o, c in zip(old, change, strict=True)]

    def literals(self, old: Bytes) -> Bytes:
        """A delta of today: runs that stay, and runs of new bytes."""
        if self.take("B") != 1:
            raise StopError
        length = self.take(">H")
        if length > PAGE:
            raise StopError
        payload, out, at, to = self.bytes(length), list(old), 0, 0
        while at < length:
            skip, at_ = self.number(payload, at)
            count, at_ = self.number(payload, at_)
            if (not skip and at) or not count or to + skip + count > PAGE or at_ + count > length:
                self.at -= length
                raise StopError
            to += skip
            out[to : to + count] = payload[at_ : at_ + count]
            to, at = to + count, at_ + count
        return out

    def number(self, payload: bytes, at: int) -> tuple[int, int]:
        """A ULEB128 of at most two bytes, and the place after it."""
        if at + 1 < len(payload) and payload[at] >= 0x80 and payload[at + 1] < 0x80:
            return payload[at] & 0x7F | payload[at + 1] << 7, at + 2
        if at >= len(payload) or payload[at] >= 0x80:
            raise StopError
        return payload[at], at + 1
