"""What each target begins with: cut from the samples and the golden vectors, and small enough to be tried often."""

import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np

from tests.conftest import SOUND
from tests.fuzz import programs
from xbrletools.analysis import miglog
from xbrletools.capture import Capture
from xbrletools.codec import deltas
from xbrletools.codec.layout import dtype_of
from xbrletools.formats import libvirt, multifd, qcow2, qevm, ram
from xbrletools.formats.dialects import DIALECTS, Encoding
from xbrletools.formats.ram import DELTA_KINDS, Flag

DEVICE = (
    b'{"page_size":4096,"devices":[{"name":"dev","instance_id":0,"vmsd_name":"dev","version":1,"fields":['
    b'{"name":"a","type":"uint32","size":4},{"name":"b","array_len":3,"type":"uint16","size":2},'
    b'{"name":"s","type":"struct","size":2,"struct":{"vmsd_name":"s","version":1,"fields":'
    b'[{"name":"c","type":"uint8","size":1}]}}],"subsections":[{"vmsd_name":"dev/x","version":1,"fields":[]}]}]}'
)
SMALL_DEVICE = b'{"devices":[{"name":"dev","fields":[{"name":"a","array_len":2,"type":"struct","struct":{"fields":['
SMALL_DEVICE += b'{"name":"b","type":"uint16","size":2}]}}]}]}'


@cache
def _samples() -> tuple[tuple[bytes, Capture], ...]:
    """The small samples, scanned."""
    found = (p.read_bytes() for p in SOUND if p.stat().st_size < 1 << 18)
    return tuple((data, programs.opened(data)) for data in found)


def _records(version: int) -> Iterator[bytes]:
    """The records of each sample from its first delta on, and its last bytes."""
    for data, capture in _samples():
        if (capture.dialect.ram_version if capture.dialect else ram.VERSION_NAMED) != version:
            continue
        columns = capture.records.columns
        rows = np.flatnonzero(np.isin(columns.kind, DELTA_KINDS))
        for row in rows[:2]:
            yield data[int(columns.offset[row]) :][:160]
        yield data[-40:]


def _payloads(encoding: Encoding) -> Iterator[bytes]:
    old = np.zeros((1, programs.PAGE), np.uint8)
    for spots in ((), (0,), (5,), (5, 6, 7), (programs.PAGE - 1,), (0, 300, 700)):
        new = old.copy()
        new[0, list(spots)] = range(1, 1 + len(spots))
        yield deltas.encode(encoding, old, new, 2 * programs.PAGE)[0].tobytes()
    page = np.zeros((1, programs.PAGE), np.uint8)
    page[0, ::2] = 1
    yield deltas.encode(encoding, old, page, 2 * programs.PAGE)[0].tobytes()[:64]
    for data, capture in _samples():
        if capture.dialect is None or capture.dialect.encoding is not encoding:
            continue
        columns = capture.records.columns
        rows = np.flatnonzero(np.isin(columns.kind, DELTA_KINDS) & (columns.length < 128))
        for row in rows[:4]:
            at = int(columns.offset[row]) + int(columns.head[row])
            yield data[at : at + int(columns.length[row])]


def _words(version: int, dialect: str) -> Iterator[bytes]:
    """A dup page, a delta and an EOS, with names or not."""
    delta = DIALECTS[dialect].header("little")
    payload = b"\x00\x01\x07"
    fields = dict.fromkeys(dtype_of(delta).names, 0)
    fields |= {"flags": 1, "length": len(payload) + DIALECTS[dialect].length_counts}
    body = delta.build(fields) + payload
    if version == ram.VERSION_FLAT:
        dup, one = struct.pack(">Q", Flag.COMPRESS) + b"\0", struct.pack(">Q", Flag.CONTINUE) + body
    else:
        name = qevm.IdStr.build(b"pc.ram")
        dup = struct.pack(">Q", Flag.COMPRESS) + name + b"\0"
        one = struct.pack(">Q", Flag.XBRLE | Flag.CONTINUE) + body
        yield struct.pack(">Q", Flag.COMPRESS | Flag.CONTINUE) + b"\0"
        yield (struct.pack(">Q", Flag.COMPRESS | Flag.CONTINUE) + b"\0") * 5
    yield dup + one + programs.EOS
    yield dup * 5 + one * 2
    yield one + programs.EOS + b"\3\0\0\0\2" + programs.EOS + b"\0"


def _log() -> Iterator[bytes]:
    yield b"[seq 1 addr 0x1000 cksum 0x2A] NORMAL page\n[seq 2 addr 0x0 cksum 0x0] DUP page\n"
    yield b"[seq 3 addr 0xFFFFF000 cksum 0xFFFFFFFF] XBRLE page (enc len 34)\n"
    log = miglog.written(programs.opened(programs.Program(programs.EVERYTHING).stream).stream, miglog.End.RECEIVER).log
    yield b"".join(miglog.text(log))[:160]


def _libvirt() -> Iterator[bytes]:
    for endian in ("little", "big"):
        for version in (1, 2):
            fields = {"magic": libvirt.MAGIC, "version": version, "data_length": 12, "was_running": 1, "format": 0}
            head = libvirt.header(endian).build(fields | {"cookie_offset": 6, "unused": [0] * 14})
            yield head[len(libvirt.MAGIC) :] + b"<xml>\0<ck>\0\0QEVM\0\0\0\3"
    fields = {"magic": libvirt.MAGIC, "version": 2, "data_length": 6, "was_running": 1, "format": 3}
    head = libvirt.header("little").build(fields | {"cookie_offset": 0, "unused": [0] * 14})
    yield head[len(libvirt.MAGIC) :] + b"<xml>\0" + lzma.compress(b"QEVM")[:60]


def _qcow2() -> Iterator[bytes]:
    """An image of clusters of 512 bytes, whose one snapshot stands right after the header."""
    fields = dict.fromkeys(
        ("backing_file_offset", "backing_file_size", "size", "crypt_method", "l1_size", "l1_table_offset"), 0
    )
    fields |= {"refcount_table_offset": 0, "refcount_table_clusters": 0, "incompatible_features": 0}
    fields |= {"magic": qcow2.MAGIC, "version": 3, "cluster_bits": 9, "snapshots": 1, "snapshots_offset": 80}
    snapshot = {"l1_table_offset": 72, "l1_size": 1, "id_length": 1, "name_length": 1, "date_seconds": 0}
    snapshot |= {"date_nanoseconds": 0, "vm_clock": 0, "vm_state_size": 5, "extra_length": 0, "extra": None}
    snapshot |= {"rest": b"", "id": b"1", "name": b"n"}
    yield (qcow2.Header.build(fields) + qcow2.Snapshot.build(snapshot))[4:]


def _channel() -> Iterator[bytes]:
    init = multifd.Init.build({"version": 1, "uuid": bytes(16), "id": b"\1"})[4:]
    yield init
    packet = {"version": 1, "flags": 1, "pages_allocated": 1, "normal_pages": 0, "next_packet_size": 0}
    packet |= {"packet_number": 1, "zero_pages": 1, "reserved": bytes(28), "ramblock": b"pc.ram".ljust(256, b"\0")}
    yield init + multifd.PacketHeader.build(packet) + bytes(8)
    packed = zlib.compress(bytes(programs.PAGE))
    packet |= {"flags": 2, "normal_pages": 1, "zero_pages": 0, "next_packet_size": len(packed)}
    yield init + multifd.PacketHeader.build(packet) + bytes(8) + packed


def _container() -> Iterator[bytes]:
    yield programs.Program(b"").stream[4:]
    for data, _ in _samples():
        yield data[4:240]
    out = io.BytesIO(programs.FILE)
    out.seek(0, io.SEEK_END)
    out.write(bytes([8]) + struct.pack(">HH", 2, 4) + bytes(4))
    out.write(bytes([8]) + struct.pack(">HH", 7, 4) + struct.pack(">I", 5))
    out.write(
        bytes([4]) + qevm.SectionStart.build({"section_id": 3, "idstr": b"cpu", "instance_id": 0, "version_id": 1})
    )
    out.write(b"data\x7e\0\0\0\3\0\6\0\0\0\2{}")
    yield out.getvalue()[4:]


def _mapped_ram() -> Iterator[bytes]:
    size = 3 * programs.PAGE
    head = len(programs.FILE + programs.RAM_START) + 8 + 2 + 8 + 28
    list_ = struct.pack(">Q", size | Flag.MEM_SIZE) + b"\1r" + struct.pack(">Q", size)
    header = struct.pack(">IQQQ", 1, programs.PAGE, head + 4, head + 5)
    yield list_ + header + b"....\5" + bytes(100)


def _programs() -> Iterator[bytes]:
    for dialect in range(len(programs.PROGRAMMED)):
        yield bytes([dialect]) + programs.EVERYTHING[1:]
        yield bytes([dialect, 0, 0, 1, 3, 0, 9, 3, 0, 9, 6, 4, 1, 2, 3, 4])


def of(target: str) -> list[bytes]:
    """The seeds of one target."""
    flat, named = ram.VERSION_FLAT, ram.VERSION_NAMED
    if target.startswith("walk-"):
        dialect = target.removeprefix("walk-")
        return [*_words(DIALECTS[dialect].ram_version, dialect), *_records(DIALECTS[dialect].ram_version)]
    made: dict[str, Iterator[bytes]] = {
        "names": iter([b"pc.ram", "\u202e\x85ä\u0080".encode(), b"\x1b[31m\\x41\xff\xc2\x80\x80\x00\\\\"]),
        "numbers": iter([b"0x1000", b"64K", b"pc.ram:0x315000", b'"text"', b"de ad be ef"]),
        "filters": iter(
            [
                b"kind:xbrle page:0x300000-0x33f000 len>1000 or finding:stale-base",
                b'not (block:\'pc.ram\',"v""g" stage:end) !pass:1-',
                b"section:ram offset>=0x10 record:-3 flags:page checksum!=0",
            ]
        ),
        "xbrle": _payloads(Encoding.RLE),
        "xbzrle": _payloads(Encoding.ZRUN),
        "uleb": _payloads(Encoding.ZRUN),
        "walk": (bytes([i]) + data[:90] for i, d in enumerate(DIALECTS) for data in _words(DIALECTS[d].ram_version, d)),
        "boundary": iter([b"data\x7e\0\0\0\3\0", b"d\4\0\0\0\4\3cpu" + bytes(7) + b"\1", b"\0\6\0\0\0\2{}"]),
        "xbzrle-lockstep": _payloads(Encoding.ZRUN),
        "sep10": _payloads(Encoding.DOUBLED),
        "sep20": _payloads(Encoding.DOUBLED_NEXT),
        "recode": iter([b"", b"\0\0\1\1", b"\0\5\0\1\1\0\3\7\3\xff\1\xff", bytes(range(64))]),
        "runs": iter([*_payloads(Encoding.RLE), *_payloads(Encoding.ZRUN), *_payloads(Encoding.DOUBLED)]),
        "zlib": iter(
            [zlib.compress(bytes(programs.PAGE)), zlib.compress(bytes(2 * programs.PAGE)), zlib.compress(b"")]
        ),
        "block-list": iter(
            [b"\0\0\x14\0" + b"\1a" + struct.pack(">Q", 4096) + b"\1b" + struct.pack(">Q", 1024) + programs.EOS]
        ),
        "configuration": iter([programs.FILE[9:], b"\0\0\0\2pc\5\5other" + bytes(12) + b"\1\0\0\0\1\3ram" + bytes(8)]),
        "command": iter([b"\2\0\0\0\1", b"\3" + bytes(16), b"\6\0\6pc.ram\0" + bytes(16), b"\7\0\0\0\x20"]),
        "foreign": iter([b"\0\2\0\4\0\0\0\1\0\1\0\4\0\0\0\0", b"\0\3\0\x13" + bytes(12) + b"\6pc.ram"]),
        "vmdesc": iter([DEVICE + b"\0" + bytes(30), SMALL_DEVICE + b"\0abcd", b'{"devices":[]}']),
        "fields": iter(
            [bytes([i]) + data[:90] for i in (0, 1, 2, 9, 10, 18) for data in (*_records(named), *_records(flat))]
        ),
        "container": _container(),
        "scan-v3": _records(flat),
        "scan-v4": _records(named),
        "mapped-ram": _mapped_ram(),
        "memory": _programs(),
        "verify": _programs(),
        "salvage": _programs(),
        "libvirt": _libvirt(),
        "qcow2": _qcow2(),
        "channel": _channel(),
        "mig-log": _log(),
    }
    return list(dict.fromkeys(made[target]))
