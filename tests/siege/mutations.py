"""Seeded mutations of small captures, which a number brings back: flips, splices, cuts, copies, length bombs."""

import random
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np

import xbrletools
from tests.conftest import SOUND
from tests.fuzz import seeds as pieces
from xbrletools.formats import qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import DELTA_KINDS, Flag, Kind

KINDS = ("flip", "splice", "truncate", "duplicate", "bomb")
BOMBS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 16, 0x7FFF_FFFF, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 60, (1 << 64) - 1)
SHORT_PAGES = 3  # of a real capture that is cut short


@dataclass(frozen=True)
class Mutation:
    """``data`` is what ``kind`` made of the seed called ``name``."""

    number: int
    kind: str
    name: str
    data: bytes


@dataclass(frozen=True)
class Seed:
    """A capture, and where in it lengths, words and names stand."""

    name: str
    data: bytes
    places: tuple[int, ...]


def shortened(data: bytes) -> bytes:
    """A capture of the pages of one block that have the most deltas, in as many sections: kilobytes of a real one."""
    capture = xbrletools.open(data)
    table, columns = capture.records, capture.records.columns
    flat = capture.facts.reading.version == ram.VERSION_FLAT
    here = (columns.block == 0) & table.is_page
    delta = np.isin(columns.kind, DELTA_KINDS) if capture.dialect else columns.kind == Kind.PAGE
    addresses, counts = np.unique(columns.address[delta & here], return_counts=True)
    chosen = addresses[np.argsort(-counts, kind="stable")[:SHORT_PAGES]]
    rows = np.flatnonzero(np.isin(columns.address, chosen) & here)
    first = int(columns.offset[columns.kind == Kind.MEM_SIZE][0])
    section = capture.sections[capture.sections.at(first)]
    out = bytearray(data[: int(columns.offset[np.flatnonzero(columns.offset > first)[0]])])
    footer = qevm.Footer.build({"section_id": section.owner.section_id}) if capture.facts.footers else b""
    part = bytes([SectionType.PART]) + qevm.SectionPart.build({"section_id": section.owner.section_id})
    eos = ram.Word.build(int(Flag.EOS))
    out += eos + footer + part
    for count, row in enumerate(rows.tolist()):
        at, end = int(columns.offset[row]), int(columns.offset[row] + columns.head[row] + columns.length[row])
        if count and count % 12 == 0:
            out += eos + footer + part
        if flat:
            out += data[at:end]
            continue
        (word,) = struct.unpack_from(">Q", data, at)
        head = at + 8 + (0 if word & Flag.CONTINUE else 1 + data[at + 8])
        kept = int(Flag.CONTINUE) if count else 0
        named = b"" if count else qevm.IdStr.build(capture.blocks[0].name)
        out += struct.pack(">Q", word & ~int(Flag.CONTINUE) | kept) + named + data[head:end]
    return bytes(out + eos + footer + b"\0")


@cache
def seeds() -> tuple[Seed, ...]:
    """The samples, cut short, and the pieces of other containers that the fuzzer begins with."""
    made = [(path.stem, shortened(path.read_bytes())) for path in SOUND]
    made += [(f"container-{i}", b"QEVM" + d) for i, d in enumerate(pieces.of("container")) if b"data\x7e" in d]
    made += [("libvirt", b"LibvirtQemudSave" + pieces.of("libvirt")[1][:-8] + made[0][1])]
    return tuple(Seed(name, data, _places(data)) for name, data in made)


def _places(data: bytes) -> tuple[int, ...]:
    """Offsets of what says how much follows: words, names' lengths, delta headers, section headers."""
    capture = xbrletools.open(data)
    columns = capture.records.columns
    found: set[int] = set(range(0, min(len(data), 120), 4))
    for offset, head in zip(columns.offset.tolist(), columns.head.tolist(), strict=True):
        found |= {offset, offset + 4, offset + 8, offset + head - 2, offset + max(head - 6, 0), offset + head}
    for section in capture.sections:
        found |= {section.offset, section.offset + 1, section.offset + 5, section.data}
    return tuple(sorted(p for p in found if p < len(data)))


def mutation(number: int) -> Mutation:
    """Mutation ``number``: the same whenever it is asked for."""
    chance = random.Random(f"mutation {number}")
    seed = chance.choice(seeds())
    data, kind = bytearray(seed.data), KINDS[number % len(KINDS)]
    place = chance.choice(seed.places) if chance.random() < 0.7 else chance.randrange(len(data))
    length = min(chance.choice((1, 1, 2, 4, 8, 9, 100, 5000)), len(data))
    if kind == "flip":
        for _ in range(chance.choice((1, 1, 1, 2, 8, 40))):
            data[place] ^= 1 << chance.randrange(8)
            place = chance.choice(seed.places) if chance.random() < 0.5 else chance.randrange(len(data))
    elif kind == "splice":
        other = chance.choice(seeds())
        start = chance.choice(other.places)
        data[place : place + chance.choice((0, length))] = other.data[start : start + length]
    elif kind == "truncate":
        data = data[:place] if chance.random() < 0.6 else data[:place] + data[place + length :]
    elif kind == "duplicate":
        data[place:place] = data[place : place + length] * chance.choice((1, 1, 2, 50))
    else:
        width = chance.choice((1, 2, 4, 8))
        bomb = chance.choice(BOMBS) & ((1 << 8 * width) - 1)
        data[place : place + width] = bomb.to_bytes(width, chance.choice(("big", "big", "little")))
    return Mutation(number, kind, seed.name, bytes(data))
