"""Edits that change a real stream as a whole: the order of its parts, names, ids, the VM description, any byte."""

import random
import re

from construct import Int8ub, Int16ub, Int32ub, Int64ub

from tests.qemu.edits import PAGE, RAM, Places, name, word
from xbrletools.formats import qevm
from xbrletools.formats.ram import Flag
from xbrletools.table.sections import Section

_FOOTER = qevm.Footer.sizeof()
_SUBSECTION = re.compile(rb"\x05(.)([a-z_]+/[a-z_]+)", re.DOTALL)
LONG = 255  # of a name: the most that its length byte can count


def _whole(at: Places, one: Section) -> tuple[int, int]:
    """Where a section begins, and where it ends behind its footer."""
    return one.offset, one.end + _FOOTER


def order(at: Places, rng: random.Random) -> bytes:
    """Sections in another order, twice, or not at all."""
    ram = [at.start, *at.parts, at.end]
    sections = sorted([*ram, *at.devices], key=lambda s: s.offset)
    one, other = sorted(rng.sample(sections, 2), key=lambda s: s.offset)
    if rng.random() < 0.5:
        one, other = sorted(rng.sample(ram, 2), key=lambda s: s.offset)
    (a, b), (c, d) = _whole(at, one), _whole(at, other)
    first, second = at.data[a:b], at.data[c:d]
    swapped = at.data[:a] + second + at.data[b:c] + first + at.data[d:]
    twice = at.data[:d] + first + at.data[d:]
    moved = at.data[:a] + at.data[b:d] + first + at.data[d:]
    return rng.choice((swapped, twice, moved, at.data[:a] + at.data[b:], at.data[:c] + at.data[d:]))


def identity(at: Places, rng: random.Random) -> bytes:
    """A device's section with the id of another one, in its header, in its footer or in both."""
    one, other = rng.sample([*at.devices, at.start], 2)
    assert one.owner is not None and other.owner is not None
    number = rng.choice((other.owner.section_id, 0, 1 << 31, 0xFFFFFFFF))
    data = at.data
    if rng.random() < 0.7:
        data = data[: one.offset + 1] + Int32ub.build(number) + data[one.offset + 5 :]
    if rng.random() < 0.7:
        data = data[: one.end + 1] + Int32ub.build(number) + data[one.end + 5 :]
    return data


def names(at: Places, rng: random.Random) -> bytes:
    """A device's or RAM's name that is empty, long, cut, another's, or with bytes that no name has."""
    one = rng.choice([*at.devices, at.start])
    assert one.owner is not None
    own = one.owner.idstr
    other = rng.choice(at.devices).owner
    assert other is not None
    found = rng.choice(
        (b"", own.ljust(LONG, b"x"), own[:-1], own + b"\0", other.idstr, b"\xff\xfe", own.upper(), b"%s%n")
    )
    start = one.offset + 5
    return at.inserted(start, name(found), 1 + len(own))


def description(at: Places, rng: random.Random) -> bytes:
    """What stands behind EOF: another length, other text, another byte, twice, or something before it."""
    tail = at.data[at.eof + 1 :]
    text = tail[5:]
    length = rng.choice((0, 1, len(text) - 1, len(text) + 1, 1 << 31, 0xFFFFFFFF))
    whole = at.data[: at.eof + 1]
    return whole + rng.choice(
        (
            b"\x06" + Int32ub.build(length) + text,
            b"\x06" + Int32ub.build(4) + b"junk",
            b"\x06",
            b"\x06\0\0",
            rng.randbytes(1) + tail[1:],
            tail * 2,
            b"\0" + tail,
            rng.randbytes(9),
        )
    )


def framing(at: Places, rng: random.Random) -> bytes:
    """One bit of a section's header or footer is another."""
    one = rng.choice([*at.devices, at.start, at.end, *at.parts[:2]])
    where = rng.choice((range(one.offset, one.data), range(one.end, one.end + _FOOTER)))
    at_ = rng.choice(where)
    return at.inserted(at_, bytes([at.data[at_] ^ 1 << rng.randrange(8)]), 1)


def ends(at: Places, rng: random.Random) -> bytes:
    """A RAM section without EOS, with two, or with one of other bits."""
    eos = rng.choice(
        (b"", word(0, Flag.EOS) * 2, word(PAGE, Flag.EOS), word(0, Flag.EOS | Flag.CONTINUE), word(0, Flag.EOS | 1))
    )
    page = rng.choice((b"", word(0x30000, Flag.COMPRESS) + name(RAM) + b"\0"))
    body = b"\x02" + Int32ub.build(at.id) + page + eos + qevm.Footer.build({"section_id": at.id})
    return at.inserted(at.end.offset, body)


def carried_on(at: Places, rng: random.Random) -> bytes:
    """CONTINUE where a block was or was not named before it, and names that are cut."""
    record = rng.choice((Flag.PAGE, Flag.COMPRESS, Flag.XBRLE))
    payload = {Flag.PAGE: bytes(PAGE), Flag.COMPRESS: b"\0", Flag.XBRLE: b"\1\0\1\5"}[record]
    first = rng.choice((b"", word(0x40000, Flag.COMPRESS) + name(rng.choice((b"pc.rom", b"pc.bios", RAM))) + b"\0"))
    long = Int8ub.build(LONG) + RAM
    again = (
        word(rng.choice((0x40000, 0x1F000, 0x20000, 1 << 40)), record | Flag.CONTINUE)
        + rng.choice((b"", long))
        + payload
    )
    return at.with_part(first + again)


def lists(at: Places, rng: random.Random) -> bytes:
    """A block list with lengths that no guest has, without an entry, with one too many, or with a total of its own."""
    entries = [(b.name, b.length) for b in at.blocks if b.declared]
    i, what = rng.randrange(len(entries)), rng.randrange(5)
    if what == 0:
        entries[i] = entries[i][0], rng.choice((0, 1, PAGE - 1, 1 << 63, (1 << 64) - PAGE))
    elif what == 1:
        del entries[i]
    elif what == 2:
        entries.append(rng.choice((entries[i], (b"more", PAGE), (b"x" * LONG, PAGE))))
    total = sum(n for _, n in entries) & ((1 << 64) - 1) & -PAGE
    total = rng.choice((total, total, total, 0, PAGE, total + PAGE))
    body = word(total, Flag.MEM_SIZE) + b"".join(name(n) + Int64ub.build(size) for n, size in entries)
    return at.inserted(at.list_at, body, at.list_end - at.list_at)


def subsections(at: Places, rng: random.Random) -> bytes:
    """A subsection behind a device's data: of this device, of another, of a version or a name that is not there."""
    one = rng.choice(at.devices)
    assert one.owner is not None
    own = one.owner.idstr.rpartition(b"/")[2]
    text = rng.choice((own + b"/x", own, b"x/y", b"", own + b"/" + b"y" * 200))
    return at.inserted(
        one.end, b"\x05" + name(text) + Int32ub.build(rng.choice((0, 1, 2))) + rng.randbytes(rng.randrange(9))
    )


def package(at: Places, rng: random.Random) -> bytes:
    """Commands with lengths that their data does not have, also PACKAGED and those of postcopy."""
    number = rng.choice((1, 2, 3, 5, 6, 9, 10, 11, 12))
    data = rng.randbytes(rng.choice((0, 1, 4, 8, 16, 17)))
    length = rng.choice((len(data), len(data), 0, len(data) + 1, 0xFFFF))
    return at.inserted(at.end.offset, b"\x08" + Int16ub.build(number) + Int16ub.build(length) + data)


def content(at: Places, rng: random.Random) -> bytes:
    """A byte amid a device's data is another: whether QEMU takes it is up to the device's own code."""
    one = rng.choice([d for d in at.devices if d.end > d.data])
    place = rng.randrange(one.data, one.end)
    return at.inserted(place, bytes([at.data[place] ^ rng.randrange(1, 256)]), 1)


def nested(at: Places, rng: random.Random) -> bytes:
    """A byte in the head of a subsection that a device's data holds is another: its type, name, length or version."""
    found = [
        (d.data + m.start(), d.data + m.end() + 4)
        for d in at.devices
        for m in _SUBSECTION.finditer(at.data[d.data : d.end])
        if len(m[2]) == m[1][0]
    ]
    start, end = rng.choice(found)
    place = rng.choice((start, start + 1, start + 2, start + 8, end - 1, rng.randrange(start, end)))
    return at.inserted(place, bytes([at.data[place] ^ 1 << rng.randrange(8)]), 1)


WHOLE = (order, identity, names, description, framing, ends, carried_on, lists, subsections, package, content, nested)
