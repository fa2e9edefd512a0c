"""Small captures that claim much: each is a few KiB or MiB, and no command may take memory by what it claims."""

import struct
from collections.abc import Callable, Iterable

from tests.streams import PAGE, noise
from xbrletools.formats import qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

EOS = struct.pack(">Q", Flag.EOS)
FAR = 3000  # pages that lie far apart


def _word(value: int) -> bytes:
    return struct.pack(">Q", value)


def stream(blocks: Iterable[tuple[bytes, int]], records: bytes, tail: bytes = b"\0", stages: int = 1) -> bytes:
    """A stream of RAM version 4: the block list, then ``records`` in START or, once more, in each of the PARTs."""
    listed = list(blocks)
    start = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": 4}
    total = sum(length for _, length in listed) & ~(PAGE - 1) & ((1 << 63) - 1)
    out = qevm.FileHeader.build({"version": qevm.VERSION}) + bytes([SectionType.START])
    out += qevm.SectionStart.build(start) + _word(total | Flag.MEM_SIZE)
    out += b"".join(ram.BlockEntry.build({"idstr": name, "length": length}) for name, length in listed)
    part = EOS + bytes([SectionType.PART]) + qevm.SectionPart.build({"section_id": 2})
    end = EOS + bytes([SectionType.END]) + qevm.SectionPart.build({"section_id": 2})
    return out + (part + records) * stages + end + EOS + tail


def page(address: int, name: bytes = b"pc.ram", seed: int = 1) -> bytes:
    """A PAGE record."""
    return _word(address | Flag.PAGE) + qevm.IdStr.build(name) + noise(seed).tobytes()


def dup(address: int, name: bytes = b"pc.ram", fill: int = 0) -> bytes:
    """A dup page."""
    return _word(address | Flag.COMPRESS) + qevm.IdStr.build(name) + bytes([fill])


def delta(address: int, name: bytes = b"pc.ram") -> bytes:
    """An XBZRLE delta that changes one byte of the page."""
    payload = bytes([7, 1, 0x55])
    return _word(address | Flag.XBRLE) + qevm.IdStr.build(name) + b"\1" + struct.pack(">H", len(payload)) + payload


def _one_page(length: int, at: int = 0) -> bytes:
    twice = page(at) + delta(at)
    return stream([(b"pc.ram", length)], twice, stages=2)


def _many_blocks() -> bytes:
    names = [b"block%d" % i for i in range(1000)]
    return stream([(n, 1 << 27) for n in names], b"".join(dup(0, n) for n in names))


def _long_names() -> bytes:
    names = [b"%03d" % i + b"n" * 252 for i in range(1000)]
    return stream([(n, 1 << 24) for n in names], b"".join(page(0, n) for n in names[:20]))


def _far_apart() -> bytes:
    step = (1 << 37) // FAR // PAGE * PAGE
    return stream([(b"pc.ram", 1 << 37)], b"".join(dup(i * step) for i in range(FAR)), stages=2)


def _blocks_around_damage() -> bytes:
    names = [b"block%05d" % i for i in range(16_000)]
    records = b"".join(dup(0, n) for n in names)
    return stream([(n, PAGE) for n in names], records + b"\xff" * 100 + records)


def _many_passes() -> bytes:
    """A pass each record: after each, the sender enters another block."""
    return stream([(b"a", PAGE), (b"b", PAGE)], (dup(0, b"a") + dup(0, b"b")) * 10_000)


def _most_blocks() -> bytes:
    names = [b"b%05d" % i for i in range((1 << 16) - 1)]
    return stream([(n, PAGE) for n in names], b"".join(dup(0, n) for n in names))


def _names_without_a_list() -> bytes:
    records = b"".join(dup(0, b"block%05d" % i) for i in range(16_000))
    return stream([(b"pc.ram", PAGE)], b"\xff" * 100 + records)[60:]


def _device(tail: bytes) -> bytes:
    start = {"section_id": 3, "idstr": b"device", "instance_id": 0, "version_id": 1}
    footer = qevm.Footer.build({"section_id": 3})
    tail = bytes([SectionType.FULL]) + qevm.SectionStart.build(start) + b"data" + footer + tail
    return stream([(b"pc.ram", 1 << 20)], page(0), tail)


def _described(devices: Iterable[bytes]) -> bytes:
    text = b'{"page_size":4096,"devices":[' + b",".join(devices) + b"]}"
    return _device(b"\0" + bytes([SectionType.VMDESCRIPTION]) + struct.pack(">I", len(text)) + text)


def _fields(count: int) -> bytes:
    return b",".join(b'{"name":"field%06d","type":"int32","size":4}' % i for i in range(count))


def _entry(name: bytes, fields: bytes) -> bytes:
    return b'{"name":"%b","instance_id":0,"vmsd_name":"device","version":1,"fields":[%b]}' % (name, fields)


def _commands(count: int) -> bytes:
    ping = bytes([SectionType.COMMAND]) + qevm.CommandHeader.build({"command": qevm.Command.PING, "data": bytes(4)})
    advise = bytes([SectionType.COMMAND]) + qevm.CommandHeader.build({"command": 3, "data": b""})
    return stream([(b"pc.ram", 1 << 20)], page(0), ping * count + (ping + advise) * (count // 10) + b"\0")


#: By what each claims: what makes it.
BOMBS: dict[str, Callable[[], bytes]] = {
    "one page of 128 GiB": lambda: _one_page(1 << 37),
    "one page at the end of 128 GiB": lambda: _one_page(1 << 37, (1 << 37) - PAGE),
    "one page at the end of 15 TiB": lambda: _one_page(15 << 40, (15 << 40) - PAGE),
    "pages far apart in 128 GiB": _far_apart,
    "1000 blocks of 128 MiB": _many_blocks,
    "1000 long names": _long_names,
    "256 blocks of 1 TiB": lambda: stream([(b"b%d" % i, 1 << 40) for i in range(256)], page(0, b"b255")),
    "256 blocks of 32 GiB": lambda: stream([(b"b%d" % i, 1 << 35) for i in range(256)], page(0, b"b255")),
    "32 MiB of padding": lambda: stream([(b"pc.ram", 1 << 20)], page(0), b"\0" + bytes(32 << 20)),
    "3,000 sections": lambda: stream([(b"pc.ram", 1 << 20)], b"", stages=3_000),
    "20,000 passes": _many_passes,
    "65,535 blocks": _most_blocks,
    "16,000 blocks around damage": _blocks_around_damage,
    "16,000 names without a block list": _names_without_a_list,
    "a description of 100,000 devices": lambda: _described(
        _entry(b"device%06d" % i, _fields(1)) for i in range(100_000)
    ),
    "a description of 800,000 fields": lambda: _described([_entry(b"device", _fields(800_000))]),
    "a description of empty objects": lambda: _described([_entry(b"device", b"{}," * 1_300_000 + b"{}")]),
    "500,000 COMMANDs": lambda: _commands(500_000),
}
