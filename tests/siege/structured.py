"""Seeded mutants by structure: sections, records, block lists, channels, wrappers, padding and claims that are wrong.

A stream is built of its parts, the parts are changed, and then it becomes bytes. So most mutants are read far, unlike
those of `mutations`, whose bytes are changed blindly.
"""

import bz2
import gzip
import json
import lzma
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import zstandard

from tests.building import command, configuration, footer, part, start, subsection
from tests.posted import encoded
from xbrletools.formats.qevm import SectionType

PAGE = 4096
BLOCKS = ((b"pc.ram", 12 * PAGE), (b"vga.vram", 4 * PAGE), (b"/rom@etc/acpi/tables", 2 * PAGE))
CLAIMS = (0, 1, PAGE, 1 << 31, (1 << 32) - PAGE, 1 << 40, 1 << 43, (1 << 63) - PAGE, (1 << 64) - PAGE)
RAM, EOS, FLUSH = 2, 0x10, 0x200


@dataclass(frozen=True)
class Record:
    """One record: its word's flags without CONTINUE, its place, and what follows the name."""

    flags: int
    block: bytes
    address: int
    payload: bytes


@dataclass(frozen=True)
class Section:
    """One section. RAM's hold records, the others bytes. ``raw`` bytes stand before it."""

    kind: SectionType
    number: int = RAM
    name: bytes = b"ram"
    version: int = 4
    blocks: tuple[tuple[bytes, int], ...] = ()
    total: int | None = None
    records: tuple[Record, ...] = ()
    data: bytes = b""
    foot: int | None = None
    raw: bytes = b""


@dataclass(frozen=True)
class Stream:
    """A stream in parts.

    ``xbzrle``: its deltas are today's, and it has footers. Else they are posted's, and it has none.
    """

    xbzrle: bool
    sections: tuple[Section, ...]
    before: bytes = b""
    after: bytes = b""
    tail: bytes = b""
    truth: dict[tuple[bytes, int], bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """``data`` is mutant ``number``. ``how`` was done to it. ``plain``: it is a stream that is not packed in anything.

    ``channels`` are its multifd channels, of which ``lost`` are left out or damaged.
    """

    number: int
    how: tuple[str, ...]
    data: bytes
    xbzrle: bool
    plain: bool
    channels: tuple[bytes, ...] = ()
    lost: bool = False
    truth: dict[tuple[bytes, int], bytes] = field(default_factory=dict)


def content(chance: random.Random) -> bytes:
    """A page: a few values, so that its deltas and sums are of every kind."""
    page = bytearray(chance.choice((b"\0", b"\xff", b"ab", bytes(range(64)))) * PAGE)[:PAGE]
    for _ in range(chance.choice((0, 1, 3, 40))):
        at = chance.randrange(PAGE)
        page[at : at + chance.choice((1, 2, 300))] = bytes([chance.randrange(256)])
    return bytes(page[:PAGE].ljust(PAGE, b"\0"))


def whole(chance: random.Random) -> Stream:
    """A stream that is right: two passes over some pages, then a few deltas, then devices."""
    xbzrle = chance.random() < 0.5
    truth: dict[tuple[bytes, int], bytes] = {}
    passes: list[list[Record]] = [[], [], []]
    for turn, records in enumerate(passes):
        for block, length in BLOCKS:
            for address in range(0, length, PAGE):
                if turn and chance.random() < 0.5:
                    continue
                new, old = content(chance), truth.get((block, address))
                records.append(record(xbzrle, block, address, old if turn else None, new))
                truth[block, address] = new
    foot = RAM if xbzrle else None
    opening = Section(SectionType.START, blocks=BLOCKS, foot=foot, records=() if xbzrle else tuple(passes[0]))
    parts = [tuple(passes[0])] if xbzrle else []
    parts += [tuple(p) for p in passes[1:]]
    sections = [opening, *(Section(SectionType.PART, records=p, foot=foot) for p in parts[:-1])]
    sections.append(Section(SectionType.END, records=parts[-1], foot=foot))
    for number, name in ((3, b"timer"), (4, b"cpu")):
        data = chance.randbytes(chance.choice((3, 40)))
        sections.append(Section(SectionType.FULL, number, name, 2, data=data, foot=number if xbzrle else None))
    before = configuration() if xbzrle else b""
    return Stream(xbzrle, tuple(sections), before, tail=description(sections) if xbzrle else b"", truth=truth)


def record(xbzrle: bool, block: bytes, address: int, old: bytes | None, new: bytes) -> Record:
    """The record that a sender would send."""
    if new.count(new[0]) == PAGE and (not xbzrle or not new[0]):
        return Record(2, block, address, new[:1])
    if old is None or old == new or old.count(old[0]) == PAGE:
        return Record(8, block, address, new)
    payload = encoded("xbzrle" if xbzrle else "posted", old, new)
    if len(payload) >= PAGE:
        return Record(8, block, address, new)
    head = struct.pack(">BH", 1, len(payload)) if xbzrle else struct.pack("<BBHI", 3, 0, len(payload), sum(new))
    return Record(0x40, block, address, head + payload)


def description(sections: list[Section]) -> bytes:
    """A VMDESCRIPTION of the devices."""
    devices = [
        {"name": s.name.decode(), "instance_id": 0, "version": s.version, "vmsd_name": s.name.decode(),
         "fields": [{"name": "data", "type": "buffer", "size": len(s.data)}]}
        for s in sections if s.kind is SectionType.FULL
    ]  # fmt: skip
    text = json.dumps({"page_size": PAGE, "devices": devices}).encode()
    return bytes([SectionType.VMDESCRIPTION]) + struct.pack(">I", len(text)) + text


def written(stream: Stream, continues: bool = True) -> bytes:
    """The bytes. A record continues in the block before it where it can, if ``continues``."""
    out = bytearray(b"QEVM\0\0\0\3" + stream.before)
    block: bytes | None = None
    for section in stream.sections:
        out += section.raw
        opens = section.kind in (SectionType.START, SectionType.FULL)
        if opens:
            out += start(section.name, section.number, section.version, section.kind)
        else:
            out += part(section.number, section.kind)
        if section.kind is SectionType.FULL:
            out += section.data
        else:
            if section.blocks:
                total = sum(length for _, length in section.blocks) if section.total is None else section.total
                out += struct.pack(">Q", total & ~(PAGE - 1) & (1 << 64) - 1 | 4)
                out += b"".join(bytes([len(n)]) + n + struct.pack(">Q", length) for n, length in section.blocks)
            for r in section.records:
                same = continues and r.block == block
                out += struct.pack(">Q", r.address | r.flags | (0x20 if same else 0))
                out += b"" if same else bytes([len(r.block)]) + r.block
                out += r.payload
                block = r.block
            out += struct.pack(">Q", EOS)
        if section.foot is not None:
            out += footer(section.foot)
    return bytes(out) + bytes([SectionType.EOF]) + stream.tail + stream.after


Change = Callable[[random.Random, Stream], Stream]


def _with(stream: Stream, at: int, section: Section) -> Stream:
    return replace(stream, sections=(*stream.sections[:at], section, *stream.sections[at + 1 :]))


def _some_section(chance: random.Random, stream: Stream) -> int:
    return chance.randrange(len(stream.sections))


def _some_records(chance: random.Random, stream: Stream) -> int:
    return chance.choice([i for i, s in enumerate(stream.sections) if s.records] or [0])


def drop_section(chance: random.Random, stream: Stream) -> Stream:
    """Leave a section out."""
    at = _some_section(chance, stream)
    return replace(stream, sections=stream.sections[:at] + stream.sections[at + 1 :])


def repeat_section(chance: random.Random, stream: Stream) -> Stream:
    """A section twice, the second time anywhere."""
    again, at = stream.sections[_some_section(chance, stream)], chance.randrange(len(stream.sections) + 1)
    return replace(stream, sections=(*stream.sections[:at], again, *stream.sections[at:]))


def swap_sections(chance: random.Random, stream: Stream) -> Stream:
    """Two sections change places."""
    a, b = _some_section(chance, stream), _some_section(chance, stream)
    out = list(stream.sections)
    out[a], out[b] = out[b], out[a]
    return replace(stream, sections=tuple(out))


def rename_section(chance: random.Random, stream: Stream) -> Stream:
    """Another id, name, version or kind."""
    at = _some_section(chance, stream)
    section = stream.sections[at]
    changed = chance.choice(
        (
            replace(section, number=chance.choice((0, 2, 3, 99, 0xFFFFFFFF))),
            replace(section, name=chance.choice((b"", b"ram", b"block", b"timer", b"\x1b[2J" * 50))),
            replace(section, version=chance.choice((0, 3, 5, 0xFFFFFFFF))),
            replace(section, kind=chance.choice((SectionType.START, SectionType.PART, SectionType.END))),
        )
    )
    return _with(stream, at, changed)


def change_footer(chance: random.Random, stream: Stream) -> Stream:
    """A footer too few, too many, or of another section."""
    at = _some_section(chance, stream)
    return _with(stream, at, replace(stream.sections[at], foot=chance.choice((None, 0, 2, 77))))


def insert_bytes(chance: random.Random, stream: Stream) -> Stream:
    """Commands, junk, or a footer before a section."""
    at = _some_section(chance, stream)
    raw = chance.choice(
        (
            command(chance.choice((1, 2, 3, 8, 0x28)), chance.randbytes(chance.choice((0, 4, 9)))) * 3,
            b"\x08\0\3\xff\xff",
            footer(RAM),
            chance.randbytes(7),
            struct.pack(">Q", EOS) * 2,
        )
    )
    return _with(stream, at, replace(stream.sections[at], raw=raw))


def move_records(chance: random.Random, stream: Stream) -> Stream:
    """Records left out, sent twice, or in another order."""
    at = _some_records(chance, stream)
    records = list(stream.sections[at].records)
    if not records:
        return stream
    a, b = sorted(chance.randrange(len(records)) for _ in range(2))
    how = chance.randrange(4)
    if how == 0:
        del records[a : b + 1]
    elif how == 1:
        records[b:b] = records[a : a + 5]
    elif how == 2:
        records[a], records[b] = records[b], records[a]
    else:
        chance.shuffle(records)
    return _with(stream, at, replace(stream.sections[at], records=tuple(records)))


def change_record(chance: random.Random, stream: Stream) -> Stream:
    """One record's flags, address, block or payload."""
    at = _some_records(chance, stream)
    records = list(stream.sections[at].records)
    if not records:
        return stream
    which = chance.randrange(len(records))
    old = records[which]
    payload = bytearray(old.payload)
    if payload:
        place = chance.randrange(min(len(payload), 12)) if chance.random() < 0.5 else chance.randrange(len(payload))
        payload[place] ^= 1 << chance.randrange(8)
    records[which] = chance.choice(
        (
            replace(old, flags=chance.choice((0, 1, 2, 4, 8, 0x40, 0x80, 0x100, 0x200, 0x400, 0x48, 0x18))),
            replace(old, address=chance.choice((PAGE, 11 * PAGE, *CLAIMS)) & ~(PAGE - 1)),
            replace(old, block=chance.choice((b"", b"pc.ram", b"vga.vram", b"nowhere", b"\xff" * 255))),
            replace(old, payload=bytes(payload)),
            replace(old, payload=old.payload[: chance.randrange(len(old.payload) + 1)]),
            replace(old, payload=old.payload + chance.randbytes(3)),
        )
    )
    return _with(stream, at, replace(stream.sections[at], records=tuple(records)))


def claim_blocks(chance: random.Random, stream: Stream) -> Stream:
    """A block list that claims more, less, or other names."""
    opening = stream.sections[0]
    blocks = list(opening.blocks)
    if not blocks:
        return stream
    which = chance.randrange(len(blocks))
    name, length = blocks[which]
    how = chance.randrange(5)
    if how == 0:
        blocks[which] = (name, chance.choice(CLAIMS))
    elif how == 1:
        blocks[which] = (chance.choice((b"", b"pc.ram", b"../../x", b"\0" * 9)), length)
    elif how == 2:
        del blocks[which]
    elif how == 3:
        blocks += [(b"more%d" % i, chance.choice(CLAIMS)) for i in range(chance.choice((1, 40)))]
    total = chance.choice(CLAIMS) if how == 4 else None
    return _with(stream, 0, replace(opening, blocks=tuple(blocks), total=total))


def change_surroundings(chance: random.Random, stream: Stream) -> Stream:
    """CONFIGURATION, the description, and what follows the end."""
    how = chance.randrange(6)
    text = b'{"devices":' + b"[" * chance.choice((1, 3000))
    if how == 0:
        names = chance.choice((b"xbzrle", b"multifd", b"mapped-ram", b"x-ignore-shared", b"\xff" * 40))
        about = subsection(b"configuration/capabilities", struct.pack(">IB", 1, len(names)) + names)
        return replace(stream, before=configuration(subsections=about))
    if how == 1:
        return replace(
            stream, before=configuration(subsections=subsection(b"configuration/target-page-bits", b"\0\0\0\xff"))
        )
    if how == 2:
        return replace(stream, tail=b"\x06" + struct.pack(">I", chance.choice((len(text), 5, 0xFFFFFFFF))) + text)
    if how == 3:
        return replace(stream, tail=stream.tail[: chance.randrange(len(stream.tail) + 1)])
    if how == 4:
        return replace(stream, after=chance.choice((b"\0", b"QEVM\0\0\0\3", b"\xff")) * chance.choice((1, 4096, 70000)))
    return replace(stream, before=chance.randbytes(9))


CHANGES: tuple[Change, ...] = (
    drop_section, repeat_section, swap_sections, rename_section, change_footer, insert_bytes, move_records,
    change_record, change_record, claim_blocks, change_surroundings,
)  # fmt: skip


def pack(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """A wrapper around the stream, often with a damaged byte or a cut."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: gzip.compress(data, mtime=0),
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
        "padding": lambda d: bytes(chance.choice((512, 4096, 4097))) + d,
    }
    name = chance.choice(sorted(packers))
    packed = bytearray(packers[name](data))
    how = chance.randrange(3)
    if how == 0:
        packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
    elif how == 1:
        del packed[chance.randrange(len(packed)) :]
    return f"{name}, {('flipped', 'cut', 'whole')[how]}", bytes(packed)


def split(chance: random.Random, stream: Stream) -> tuple[bytes, list[bytes]]:
    """The stream with its full pages on two multifd channels: the main channel and those, as QEMU 7.2 sends them."""
    channels = [bytearray(multifd_init(i)) for i in range(2)]
    sections, number = [], 0
    for section in stream.sections:
        if section.kind is SectionType.FULL:
            sections.append(section)
            continue
        kept = tuple(r for r in section.records if r.flags != 8)
        for r in section.records:
            if r.flags == 8:
                channels[number % 2] += packet(number, r.block, [r.address], r.payload)
                number += 1
        for channel in channels:
            channel += packet(number, b"", [], b"", sync=True)
            number += 1
        sections.append(replace(section, records=kept))
    return written(replace(stream, sections=tuple(sections))), [bytes(c) for c in channels]


def multifd_init(number: int) -> bytes:
    """What a channel begins with."""
    return (struct.pack(">II", 0x11223344, 1) + bytes(16) + bytes([number])).ljust(64, b"\0")


def packet(number: int, block: bytes, addresses: list[int], data: bytes, sync: bool = False) -> bytes:
    """A packet, with room for one page."""
    head = struct.pack(">IIIIIIQ", 0x11223344, 1, int(sync), 1, len(addresses), len(data), number)
    return head + bytes(32) + block.ljust(256, b"\0") + struct.pack(">Q", *(addresses or [0])) + data


def mutant(number: int) -> Mutant:
    """Mutant ``number``: the same whenever it is asked for."""
    chance = random.Random(f"structured {number}")
    stream = whole(chance)
    if stream.xbzrle and number % 8 == 0:
        return _of_channels(number, chance, stream)
    how = [chance.choice(CHANGES) for _ in range(chance.choice((0, 1, 1, 1, 2, 3)))]
    for change in how:
        stream = change(chance, stream)
    data = written(stream, continues=chance.random() < 0.9)
    names = [change.__name__ for change in how]
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data))]
        names.append("cut")
    if number % 5 == 0:
        name, data = pack(chance, data)
        return Mutant(number, (*names, name), data, stream.xbzrle, plain=False)
    return Mutant(number, tuple(names), data, stream.xbzrle, plain=True)


def _of_channels(number: int, chance: random.Random, stream: Stream) -> Mutant:
    deltas_kept = {i for i, s in enumerate(stream.sections) if any(r.flags == 0x40 for r in s.records)}
    for i in deltas_kept:  # multifd and XBZRLE do not go together
        section = stream.sections[i]
        stream = _with(stream, i, replace(section, records=tuple(r for r in section.records if r.flags != 0x40)))
    truth: dict[tuple[bytes, int], bytes] = {}
    for section in stream.sections:
        truth |= {(r.block, r.address): r.payload if r.flags == 8 else r.payload * PAGE for r in section.records}
    main, channels = split(chance, stream)
    how = chance.choice(("whole", "missing", "all missing", "cut", "foreign", "flipped"))
    if how == "missing":
        del channels[chance.randrange(2)]
    elif how == "all missing":
        channels = []
    elif how == "cut":
        channels[0] = channels[0][: chance.randrange(len(channels[0]))]
    elif how == "foreign":
        channels[1] = channels[1][:8] + b"\1" * 16 + channels[1][24:]
    elif how == "flipped":
        at = chance.randrange(64, len(channels[0]))
        channels[0] = channels[0][:at] + bytes([channels[0][at] ^ 1 << chance.randrange(8)]) + channels[0][at + 1 :]
    lost = how in ("missing", "all missing", "foreign") or (how == "cut")
    return Mutant(number, (f"channels {how}",), main, True, True, tuple(channels), lost, truth)
