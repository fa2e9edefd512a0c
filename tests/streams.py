"""Small streams for tests, record by record, through the grammars."""

import struct

import numpy as np

from xbrletools.codec import deltas
from xbrletools.codec.layout import dtype_of
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS, Checksum, Dialect
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

PAGE = ram.PAGE_SIZE


def noise(seed: int) -> np.ndarray:
    """A page of random bytes."""
    return np.random.default_rng(seed).integers(0, 256, PAGE, dtype=np.uint8)


class StreamBuilder:
    """Writes a stream the way the posted sender frames it: START with the block list, then PART, then END."""

    def __init__(
        self,
        blocks: dict[bytes, int] | None = None,
        dialect: str = "posted",
        endian: str = "little",
        flags: int = 1,
    ) -> None:
        self.dialect: Dialect = DIALECTS[dialect]
        self.endian = endian
        self.flags = flags
        self.version = self.dialect.ram_version
        self.blocks = blocks or {b"pc.ram": 4 * PAGE}
        self.out = bytearray(qevm.FileHeader.build({"version": 3}))
        owner = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": self.version}
        self.out += bytes([SectionType.START]) + qevm.SectionStart.build(owner)
        self.selected: bytes | None = None
        total = sum(self.blocks.values())
        self.word(total | Flag.MEM_SIZE)
        if self.version == ram.VERSION_NAMED:
            for name, length in self.blocks.items():
                self.out += ram.BlockEntry.build({"idstr": name, "length": length})

    def word(self, value: int) -> "StreamBuilder":
        self.out += struct.pack(">Q", value)
        return self

    def _open(self, block: bytes, address: int, flag: int) -> None:
        if self.version == ram.VERSION_FLAT:
            self.word(address | flag)
        elif block == self.selected:
            self.word(address | flag | Flag.CONTINUE)
        else:
            self.word(address | flag)
            self.out += qevm.IdStr.build(block)
            self.selected = block

    def page(self, address: int, content: np.ndarray, block: bytes = b"pc.ram") -> "StreamBuilder":
        self._open(block, address, Flag.PAGE)
        if self.dialect.page_sum:
            self.out += struct.pack(">I", int(content.sum(dtype=np.uint64)))
        self.out += content.tobytes()
        return self

    def dup(self, address: int, fill: int = 0, block: bytes = b"pc.ram") -> "StreamBuilder":
        self._open(block, address, Flag.COMPRESS)
        self.out.append(fill)
        return self

    def delta(
        self,
        address: int,
        old: np.ndarray,
        new: np.ndarray,
        block: bytes = b"pc.ram",
        checksum: int | None = None,
    ) -> "StreamBuilder":
        data, _ = deltas.encode(self.dialect.encoding, old[None], new[None])
        return self.raw_delta(address, data.tobytes(), new, block, checksum)

    def raw_delta(
        self,
        address: int,
        payload: bytes,
        new: np.ndarray,
        block: bytes = b"pc.ram",
        checksum: int | None = None,
    ) -> "StreamBuilder":
        self._open(block, address, ram.delta_flag(self.version))
        sum_ = int(new.sum(dtype=np.uint64)) if checksum is None else checksum
        if self.dialect.checksum is Checksum.COMPLEMENT:
            sum_ = ~sum_ & 0xFFFFFFFF
        elif self.dialect.checksum is Checksum.FLAGGED and not self.flags & 2:
            sum_ = 0
        grammar = self.dialect.header(self.endian)
        header = dict.fromkeys(dtype_of(grammar).names, 0)
        header |= {"flags": self.flags, "length": len(payload) + self.dialect.length_counts, "checksum": sum_}
        self.out += grammar.build(header) + payload
        return self

    def part(self) -> "StreamBuilder":
        """End this section and open a PART."""
        return self._next(SectionType.PART)

    def end(self) -> "StreamBuilder":
        """End this section and open the END."""
        return self._next(SectionType.END)

    def _next(self, kind: SectionType) -> "StreamBuilder":
        self.word(Flag.EOS)
        self.out += bytes([kind]) + qevm.SectionPart.build({"section_id": 2})
        return self

    def bytes(self, tail: bytes = b"\0") -> bytes:
        """The whole stream: EOS of the open section, then the container's EOF."""
        return bytes(self.out) + struct.pack(">Q", Flag.EOS) + tail
