"""Mutated mapped-ram files, read by this project and by a reader that knows nothing but the description.

A mutant is cut, or loses RAM's END, or has wrong numbers in an entry, or other bits in a bitmap. What this project
calls known must be what the plain reader gives, and what that can tell must be known.
"""

import random
import struct

import pytest

import xbrletools
from tests.building import EOF, PAGE
from tests.cli.run import run
from tests.scan.test_mapped_ram import BLOCKS, END, mapped_file
from tests.siege.bounds import measured, no_hang
from xbrletools.errors import XbrleError

WORD, ENTRY = struct.Struct(">Q"), struct.Struct(">QIQQQ")
EOS = WORD.pack(0x10)
ROOM = 64 << 20  # bytes that a mutant may cost
VALUES = (0, 1, 3, PAGE - 1, PAGE, 1 << 20, 1 << 33, 1 << 44, (1 << 62) - PAGE, (1 << 64) - 1)


def plain(data: bytes) -> dict[tuple[bytes, int], bytes]:
    """What a mapped-ram file says of pages, read entry by entry, as long as each makes sense."""
    at = data.index(b"\x03ram") + 12
    total = WORD.unpack_from(data, at)[0] & ~(PAGE - 1)
    at += 8
    blocks, pages = [], {}
    while total > 0:
        if at + 1 > len(data) or at + 1 + data[at] + ENTRY.size > len(data):
            return pages
        name = data[at + 1 : at + 1 + data[at]]
        length, version, size, bitmap, place = ENTRY.unpack_from(data, at + 1 + len(name))
        after = at + 1 + len(name) + ENTRY.size
        count = -(-length // PAGE)
        bits = data[bitmap : bitmap + -(-count // 8)] if after <= bitmap < len(data) else b""
        if not name or version != 1 or size != PAGE or not 0 < length <= total or len(bits) < -(-count // 8):
            return pages
        if not bitmap + len(bits) <= place < 1 << 62:
            return pages
        blocks.append((name, count, bits))
        for i in range(count):
            if bits[i // 8] >> i % 8 & 1:
                pages[name, i] = data[place + i * PAGE : place + min((i + 1) * PAGE, length)]
        if place + length > len(data):
            return pages
        at, total = place + length, total - length
    if data[at : at + 8] == EOS and data[at + 8 :].count(EOS) and b"\x03\0\0\0\2" + EOS in data[at:]:
        for name, count, bits in blocks:
            for i in range(count):
                if not bits[i // 8] >> i % 8 & 1:
                    pages[name, i] = bytes(PAGE)
    return pages


def mutant(seed: int) -> bytes:
    """A file with one or two changes."""
    dice = random.Random(seed)
    data = bytearray(mapped_file(written=dice.random() < 0.8, fill=dice.choice([b"\0", b"\xee"])))
    for _ in range(dice.randint(1, 2)):
        name = dice.choice(list(BLOCKS))
        listed = data.find(bytes([len(name)]) + name)
        if listed < 0:  # it was cut off
            break
        entry = listed + 1 + len(name)
        match dice.randint(0, 4):
            case 0:
                del data[dice.randrange(60, len(data)) :]
            case 1:
                data[:] = data.replace(END + EOF, dice.choice([b"", EOF, END[:5], END[:13]]))
            case 2:
                WORD.pack_into(data, entry + dice.choice([0, 12, 20, 28]), dice.choice(VALUES))
            case 3:
                data[dice.randrange(entry, entry + ENTRY.size)] ^= 1 << dice.randrange(8)
            case _:
                data[entry + ENTRY.size + dice.randrange(8)] ^= 1 << dice.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("seed", range(0, 96, 8))
def test_what_is_known_of_a_mutant_is_what_a_plain_reader_gives(seed, capsys, tmp_path):
    for number in range(seed, seed + 8):
        data = mutant(number)
        with measured() as peak, no_hang():
            try:
                capture = xbrletools.open(data)
                image = capture.memory()
            except XbrleError:
                continue
        assert peak.bytes < ROOM
        told = plain(data)
        for i, block in enumerate(image.space.blocks):
            pages = image.space.slice(i)
            for page in (image.known[pages]).nonzero()[0].tolist()[:100]:
                assert told.get((block.name, page)) == image[block.name][page].tobytes(), (number, block.name, page)
        whole = {key for key, page in told.items() if len(page) == PAGE}
        known = {
            (b.name, page)
            for i, b in enumerate(image.space.blocks)
            for page in image.known[image.space.slice(i)].nonzero()[0].tolist()
        }
        assert whole <= known, number
    (tmp_path / "S").write_bytes(data)
    for command, *more in (("info",), ("verify",), ("salvage",), ("extract", "-o", tmp_path / "out")):
        status, _, err = run(capsys, command, tmp_path / "S", *more)
        assert status in (0, 1, 2) and "Traceback" not in err, (number, command)
