"""Builds the small streams of this folder: `python samples/build.py`, in an environment that has xbrletools.

A guest of 24 pages is sent as the dialect's sender would send it: everything once, then what changed, pass after pass.
The guest is the same in every stream. Every byte goes through the grammars of formats/ and the encoders of codec/. Page
contents come from a seeded generator, so running this again gives the same bytes.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xbrletools.codec import deltas
from xbrletools.codec.checksum import byte_sum
from xbrletools.codec.layout import dtype_of
from xbrletools.codec.uniform import NOT_UNIFORM, fills
from xbrletools.formats import block as block_format
from xbrletools.formats import qevm, ram, xbrle
from xbrletools.formats.dialects import DIALECTS, Checksum, Dialect, Encoding
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

PAGE = ram.PAGE_SIZE

#: The guest's blocks in the order of ram_addr, and how many pages each has; v3 has them in one address space.
BLOCKS = {b"pc.ram": 16, b"pc.bios": 2, b"pc.rom": 2, b"vga.vram": 4}
LISTED = (b"pc.ram", b"vga.vram", b"pc.rom", b"pc.bios")  # in the block list's order, which differs

GUEST = 3  # seeds the guest, which is the same in every stream
FULL_PAGES = 0.4  # of all pages; the others are dup pages
START_RECORDS = 5  # what the first section's rate limit lets through
PART_RECORDS = 7
PASSES = 4  # after the first


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one stream is made from. With ``dialect`` None it does not have deltas."""

    version: int
    dialect: str | None = None
    endian: str = "little"
    debug: bool = False  # dialects whose flags say it: with checksums


def _both(dialect: str, *, debug: bool = False) -> Iterator[tuple[str, Recipe]]:
    for endian in ("little", "big"):
        yield f"{dialect}-{endian}", Recipe(DIALECTS[dialect].ram_version, dialect, endian, debug)


STREAMS: dict[str, Recipe] = {
    "plain-v3": Recipe(ram.VERSION_FLAT),
    "plain-v4": Recipe(ram.VERSION_NAMED),
    "sep10": Recipe(ram.VERSION_FLAT, "sep10"),
    **dict(_both("sep20")),
    **dict(_both("nov03a")),
    **dict(_both("nov03b")),
    **dict(_both("m115")),
    **dict(_both("m115dbg")),
    **dict(_both("lm2")),
    **dict(_both("lm2dbg")),
    "posted-little-default": Recipe(ram.VERSION_NAMED, "posted"),
    "posted-big-debug": Recipe(ram.VERSION_NAMED, "posted", "big", debug=True),
    "xbzrle-rfc": Recipe(ram.VERSION_NAMED, "xbzrle-rfc"),
}


@dataclass(slots=True)
class SampleSender:
    """A sender in the middle of a migration: its guest, the content last sent of each page, and the bytes written."""

    name: str
    recipe: Recipe
    guest: random.Random = field(default_factory=lambda: random.Random(GUEST))
    padding: random.Random = field(init=False)
    memory: dict[bytes, NDArray[np.uint8]] = field(init=False)
    sent: dict[tuple[bytes, int], NDArray[np.uint8]] = field(default_factory=dict)
    out: bytearray = field(default_factory=bytearray)
    stage: int = 1
    records: int = 0
    parts: int = 0
    room: int = START_RECORDS
    selected: bytes | None = None

    def __post_init__(self) -> None:
        self.padding = random.Random(self.name)
        self.memory = {name: np.zeros((pages, PAGE), np.uint8) for name, pages in BLOCKS.items()}
        for pages in self.memory.values():
            for page in pages:
                page[:] = self.guest.choice((0, 0, 0, 0xFF, 0x20))
                if self.guest.random() < FULL_PAGES:
                    page[:] = self.draw(PAGE)

    def draw(self, count: int) -> NDArray[np.uint8]:
        """Bytes from the seeded generator, (count,) uint8."""
        return np.frombuffer(self.guest.randbytes(count), np.uint8)

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the deltas."""
        return DIALECTS[self.recipe.dialect] if self.recipe.dialect else None

    # -- sections ------------------------------------------------------------------------------------------------

    def section(self, kind: SectionType) -> None:
        """Open the sections of one stage: in v4 an idle block section before that of ram, in v3 ram alone."""
        owners = [(1, ram.IDSTR, self.recipe.version)]
        if self.recipe.version == ram.VERSION_NAMED:
            owners = [(1, block_format.IDSTR, block_format.VERSION), (2, ram.IDSTR, self.recipe.version)]
        for number, idstr, version in owners:
            start = {"section_id": number, "idstr": idstr, "instance_id": 0, "version_id": version}
            self.out += qevm.SectionHeader.build({"type": kind, "start": start, "part": {"section_id": number}})
            if idstr == block_format.IDSTR:
                self.out += block_format.Record.build({"word": int(block_format.Flag.EOS), "name": None, "data": None})

    def next(self, kind: SectionType) -> None:
        """Close the ram section and open the next."""
        self.put(int(Flag.EOS))
        self.section(kind)
        self.stage = 3 if kind is SectionType.END else 2

    def put(self, word: int, **parts: object) -> None:
        """Write one record."""
        record = ram.record(self.recipe.version, self.dialect, self.recipe.endian)
        self.out += record.build({"word": word, "blocks": None, "name": None, "body": None, **parts})

    # -- pages ---------------------------------------------------------------------------------------------------

    def send(self, block: bytes, place: int) -> None:
        """Send one page: as a dup page, as a delta where there is a base and the delta is short, in full otherwise."""
        if not self.room and self.stage != 3:
            self.next(SectionType.PART)
            self.parts += 1
            if not self.parts % 3:
                self.next(SectionType.PART)  # one that the rate limit left empty
            self.room = PART_RECORDS
        self.room -= 1
        self.records += 1
        page = self.memory[block][place].copy()
        address, name = self.address(block, place)
        fill = int(fills(page[None])[0])
        if fill != NOT_UNIFORM:
            self.put(address | Flag.COMPRESS, name=name, body={"fill": fill})
            return
        delta = self.delta(block, place, page)
        if delta is not None:
            self.put(address | ram.delta_flag(self.recipe.version), name=name, body=delta)
        else:
            body = {"checksum": int(byte_sum(page[None])[0]), "data": page.tobytes()}
            self.put(address | Flag.PAGE, name=name, body=body)
        self.sent[block, place] = page

    def address(self, block: bytes, place: int) -> tuple[int, bytes | None]:
        """A page's address with CONTINUE where that applies, and the block's name where that is written."""
        if self.recipe.version == ram.VERSION_FLAT:
            before = list(BLOCKS)[: list(BLOCKS).index(block)]
            return (sum(BLOCKS[name] for name in before) + place) * PAGE, None
        same, self.selected = block == self.selected, block
        return place * PAGE | (Flag.CONTINUE if same else 0), None if same else block

    def delta(self, block: bytes, place: int, page: NDArray[np.uint8]) -> dict[str, object] | None:
        """The body of a delta record, or None where the sender would send the page in full."""
        dialect, base = self.dialect, self.sent.get((block, place))
        if dialect is None or base is None or self.stage != 2:
            return None
        if dialect.encoding is Encoding.RLE and base[0] != page[0]:
            return None  # the posted patch's sample looks at byte 0 alone
        payload, lengths = deltas.encode(dialect.encoding, base[None], page[None])
        if lengths[0] <= 0:
            return None
        total = int(byte_sum(page[None])[0])
        checked = dialect.checksum is Checksum.SUM or (dialect.checksum is Checksum.FLAGGED and self.recipe.debug)
        checksum = ~total & 0xFFFFFFFF if dialect.checksum is Checksum.COMPLEMENT else total if checked else 0
        flagged = dialect.checksum is Checksum.FLAGGED and self.recipe.debug
        header = dict.fromkeys(dtype_of(dialect.header(self.recipe.endian)).names or (), 0) | {
            "flags": int(xbrle.HeaderFlag.XBRLE | xbrle.HeaderFlag.CHECKSUM if flagged else xbrle.HeaderFlag.XBRLE),
            "padding": self.padding.randrange(256) if dialect.checksum is Checksum.COMPLEMENT else 0,
            "length": int(lengths[0]) + dialect.length_counts,
            "checksum": checksum,
            "sequence": self.records - 1,
        }
        return {"header": header, "payload": payload.tobytes()}

    def change(self) -> list[tuple[bytes, int]]:
        """Let the guest run for one pass. Returns the pages that it dirtied, in the order of the next sweep.

        A page of one repeated byte stays such a page: senders differ in what they do with it after that.
        """
        dirty = []
        for block in (b"pc.ram", b"vga.vram"):
            for place, page in enumerate(self.memory[block]):
                if self.guest.random() > 0.6:
                    continue
                dirty.append((block, place))
                if int(fills(page[None])[0]) != NOT_UNIFORM:
                    page[:] = self.guest.choice((0, 0xFF))
                    continue
                for _ in range(self.guest.randrange(6)):
                    at = self.guest.randrange(1, PAGE)
                    end = min(PAGE, at + self.guest.choice((1, 2, 8, 300)))
                    page[at:end] = self.draw(end - at) if self.guest.random() < 0.7 else self.guest.randrange(256)
                if self.guest.random() < 0.07:
                    page[0] ^= 1
                if self.guest.random() < 0.03:
                    page[:] = self.draw(PAGE)
        return dirty


def build(name: str) -> tuple[bytes, dict[bytes, NDArray[np.uint8]]]:
    """A stream of `STREAMS`, and the guest's memory at its end: each block's pages, (n, 4096) uint8.

    A v3 stream's memory is one block, ``ram``: all blocks in a row.
    """
    sender = SampleSender(name, STREAMS[name])
    flat = sender.recipe.version == ram.VERSION_FLAT
    sender.out += qevm.FileHeader.build({"version": qevm.VERSION})
    sender.section(SectionType.START)
    total = sum(BLOCKS.values()) * PAGE
    entries = [{"idstr": block, "length": BLOCKS[block] * PAGE} for block in LISTED]
    sender.put(total | Flag.MEM_SIZE, blocks=None if flat else {"entries": entries})
    for block in BLOCKS if flat else LISTED:
        for place in range(BLOCKS[block]):
            sender.send(block, place)
    for _ in range(PASSES):
        for block, place in sender.change():
            sender.send(block, place)
    last = sender.change()
    sender.next(SectionType.END)
    for block, place in last:
        sender.send(block, place)
    sender.put(int(Flag.EOS))
    device = {"section_id": 3, "idstr": b"timer", "instance_id": 0, "version_id": 2}
    sender.out += qevm.SectionHeader.build({"type": SectionType.FULL, "start": device, "part": None})
    sender.out += bytes(3 * ram.Word.sizeof()) + bytes([SectionType.EOF])
    if flat:
        return bytes(sender.out), {ram.IDSTR: np.concatenate(list(sender.memory.values()))}
    return bytes(sender.out), sender.memory


def main() -> None:
    """Write every stream beside this file."""
    for name in STREAMS:
        (Path(__file__).parent / f"{name}.bin").write_bytes(build(name)[0])


if __name__ == "__main__":
    main()
