"""Streams that a fuzzer's few bytes describe, since a page alone is longer than its inputs. Also plain readings of
them.

What is here is written from the facts alone: neither the walk nor the replay of the package.
"""

import struct
from functools import cache

import numpy as np

import xbrletools
from tests.codec import wire
from xbrletools.capture import Capture
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS, Dialect, Encoding
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag, Kind
from xbrletools.table.table import RecordTable

PAGE = ram.MIN_PAGE_SIZE
BITS = PAGE.bit_length() - 1
BLOCKS = ((b"pc.ram", 8 * PAGE), (b"vga", 4 * PAGE))
NOISE = wire.noise(1, PAGE, seed=9)[0]
EOS = struct.pack(">Q", Flag.EOS)
ZRUN_DIALECT = "xbzrle"
PROGRAMMED = ("posted", "lm2", ZRUN_DIALECT)


def _configuration() -> bytes:
    bits = {"type": 5, "idstr": b"configuration/target-page-bits", "version_id": 1}
    head = bytes([SectionType.CONFIGURATION]) + struct.pack(">I", 2) + b"pc"
    return head + qevm.SubsectionHeader.build(bits) + struct.pack(">I", BITS)


#: The file header, and CONFIGURATION with the page size.
FILE = qevm.FileHeader.build({"version": qevm.VERSION}) + _configuration()


def _start(version: int) -> bytes:
    owner = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": version}
    return bytes([SectionType.START]) + qevm.SectionStart.build(owner)


RAM_START = _start(ram.VERSION_NAMED)


def _next(kind: SectionType) -> bytes:
    return bytes([kind]) + qevm.SectionPart.build({"section_id": 2})


def prefix(version: int) -> bytes:
    """A stream up to where the records of its first PART section begin."""
    out = FILE + _start(version) + struct.pack(">Q", sum(n for _, n in BLOCKS) | Flag.MEM_SIZE)
    if version == ram.VERSION_NAMED:
        out += b"".join(ram.BlockEntry.build({"idstr": name, "length": length}) for name, length in BLOCKS)
    return out + EOS + _next(SectionType.PART)


def walked(stream: bytes, at: int, dialect: Dialect) -> list[tuple[int, int, int, int, int]]:
    """The records from ``at`` as far as they are plain and whole: offset, address, kind, head, payload length."""
    named = dialect.ram_version == ram.VERSION_NAMED
    delta = Flag.XBRLE if named else Flag.CONTINUE
    header = dialect.header("little")
    out = []
    while at + 8 <= len(stream):
        word = int.from_bytes(stream[at : at + 8], "big")
        flags, address, head = word % PAGE, word // PAGE * PAGE, 8
        if flags == Flag.EOS:
            out.append((at, address, int(Kind.EOS), head, 0))
            break
        if named:
            kept = flags & Flag.CONTINUE
            flags -= kept
        if flags not in (Flag.COMPRESS, delta):
            break
        if named and not kept:
            if at + head >= len(stream):
                break
            head += 1 + stream[at + head]
        if flags == Flag.COMPRESS:
            kind, length = Kind.DUP, 1
        else:
            kind = Kind.XBZRLE if dialect.encoding is Encoding.ZRUN else Kind.XBRLE
            raw = stream[at + head : at + head + header.sizeof()]
            if len(raw) < header.sizeof():
                break
            length = header.parse(raw).length - dialect.length_counts
            head += header.sizeof()
            if not 0 <= length <= dialect.page_limit * PAGE:
                break
        if at + head + length > len(stream):
            break
        out.append((at, address, int(kind), head, length))
        at += head + length
    return out


class Program:
    """A stream from a few bytes: the first chooses the dialect, each operation is a byte and its arguments.

    ``plain``: it has nothing but whole records of the pages that its blocks have.
    """

    def __init__(self, data: bytes) -> None:
        self.plain = True
        self.dialect = PROGRAMMED[data[0] % len(PROGRAMMED)] if data else PROGRAMMED[0]
        self.records: list[tuple[str, int, int, bytes]] = []
        self._data, self._at = data, 1
        self._selected = -1
        out = bytearray(prefix(ram.VERSION_NAMED))
        while self._at < len(data):
            out += self._operation(self._byte())
        self.stream = bytes(out + EOS + b"\0")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def _bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _operation(self, chosen: int) -> bytes:
        chosen &= 7
        if chosen == 4:
            return EOS + _next(SectionType.PART)
        if chosen == 5:
            return EOS + _next(SectionType.END)
        if chosen == 6:
            self.plain = False
            return self._bytes(self._byte() & 0x1F)
        if chosen == 7:
            self.plain = False
            return self._bytes(8)
        place = self._byte()
        block, page = place >> 7, place & 0xF
        argument = self._byte()
        if chosen == 0:
            content = (NOISE ^ argument).tobytes()
            return self._record(Flag.PAGE, "page", block, page, content, content)
        if chosen == 1:
            return self._record(Flag.COMPRESS, "dup", block, page, bytes([argument]), bytes([argument]) * PAGE)
        payload = self._bytes(argument & 0x3F) if chosen == 2 else self._one_byte(argument)
        header = DIALECTS[self.dialect].header("little")
        fields = {"flags": 1, "padding": 0, "length": len(payload), "checksum": 0}
        return self._record(Flag.XBRLE, "delta", block, page, header.build(fields) + payload, payload)

    def _one_byte(self, value: int) -> bytes:
        """A payload that changes one byte of a page."""
        if self.dialect == ZRUN_DIALECT:
            return bytes([value & 0x7F, 1, value])
        full, left = divmod(PAGE - 1, 255)
        return bytes([255, 0]) * full + bytes([left, 0, 1, value])

    def _record(self, flag: Flag, what: str, block: int, page: int, body: bytes, content: bytes) -> bytes:
        name = BLOCKS[block][0]
        kept = Flag.CONTINUE if block == self._selected else Flag(0)
        self._selected = block
        self.plain &= page * PAGE < BLOCKS[block][1]
        self.records.append((what, block, page, content))
        return struct.pack(">Q", page * PAGE | flag | kept) + (b"" if kept else qevm.IdStr.build(name)) + body

    def pages(self, dialect: Dialect | None) -> dict[tuple[int, int], bytes | None]:
        """Each page that a record touched: its bytes at a receiver, or None where they are not known.

        Nothing is said of pages of which some bytes may be known, nor where another dialect was found.
        """
        if dialect is not None and dialect.name != self.dialect:
            return {}
        out: dict[tuple[int, int], bytes | None] = {}
        partly = set()
        for what, block, page, content in self.records:
            key = block, page
            if what != "delta":
                out[key] = content
                partly.discard(key)
            elif out.get(key) is None:
                out[key] = None
                partly.add(key)
            else:
                out[key] = self._applied(out[key] or b"", content)
        return {key: content for key, content in out.items() if key not in partly}

    def _applied(self, page: bytes, payload: bytes) -> bytes | None:
        if self.dialect == ZRUN_DIALECT:
            verdict, new, _ = wire.xbzrle_decode(payload, page)
            return None if verdict else new
        verdict, delta = wire.xbrle_decode(payload, PAGE)
        return None if verdict else (np.frombuffer(page, np.uint8) ^ np.frombuffer(delta, np.uint8)).tobytes()


def opened(stream: bytes) -> Capture:
    """The capture of a stream, scanned."""
    capture = xbrletools.open(stream)
    _ = capture.records
    return capture


#: A program with every operation: pages, a dup page, deltas of both kinds, in three sections.
EVERYTHING = bytes((0, 0, 0, 1, 1, 1, 7, 4, 3, 0, 9, 0, 128, 3, 3, 128, 4, 1, 0, 0, 5, 0, 2, 2, 2, 2, 4, 1, 2, 3, 4))


@cache
def table() -> RecordTable:
    """The records of a small stream with some of everything."""
    return opened(Program(EVERYTHING).stream).records
