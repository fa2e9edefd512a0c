"""The edits of base-7.2.bin that verdicts.json of the corpus names, built anew."""

from construct import Int16ub, Int32ub, Int64ub

from tests.qemu.edits import PAGE, RAM, Places, name, word
from xbrletools.formats import qevm
from xbrletools.formats.ram import Flag

AT = 0x5000
_NAMED = name(RAM)


def _number(n: int) -> bytes:
    return bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])


def _delta(payload: bytes, flags: int = 1, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return word(AT, Flag.XBRLE) + _NAMED + bytes([flags]) + Int16ub.build(size) + payload


def _record(flags: int, payload: bytes = b"", block: bytes = _NAMED, address: int = AT) -> bytes:
    return word(address, flags) + block + payload


_SOME = _number(3) + _number(2) + b"ab"
#: What stands in one more RAM section before the END.
_RECORDS = {
    "ok": _delta(_SOME),
    "hdr-flags0": _delta(_SOME, 0),
    "hdr-flags3": _delta(_SOME, 3),
    "len4097": _delta(bytes(4097)),
    "len0": _delta(b""),
    "zrun0mid": _delta(_number(1) + _number(1) + b"a" + _number(0) + _number(1) + b"b"),
    "nzrun0end": _delta(_number(1) + _number(0)),
    "over": _delta(_number(4000) + _number(100) + b"z" * 100),
    "exact+1": _delta(_number(4090) + _number(6) + b"z" * 6 + b"\0"),
    "uleb3": _delta(b"\x80\x80\x01" + _number(1) + b"a"),
    "nonmin": _delta(b"\x81\x00\x81\x00a"),
    "zrunonly": _delta(_number(5)),
    "redundant": _delta(_number(0) + _number(16) + bytes(16)),
    "dup41": _record(2, b"\x41"),
    "flag400": _record(0x408, bytes(PAGE)),
    "zero+page": _record(0xA, b"\0" + bytes(PAGE)),
    "hook": word(AT, 0x80),
    "nokind": word(AT, 0x20),
    "noblock": _record(8, bytes(PAGE), name(b"nosuch")),
    "atend": _record(8, bytes(PAGE), address=0x1000000),
    "memsize2": word(0x1000000, 4) + _NAMED + Int64ub.build(0x1000000),
    "zlib-bad": _record(0x100, Int32ub.build(20) + b"\x78\x01" + bytes(18)),
}


def edited(case: str, at: Places) -> bytes:
    """The base with one edit."""
    if case in _RECORDS:
        return at.with_part(_RECORDS[case])
    if case == "footer":
        return at.with_part(_record(2, b"\0"), footer=qevm.Footer.build({"section_id": 3}))
    if case == "end-twice":
        return at.with_part(_record(2, b"\0"), kind=3)
    if case in ("cmd-unknown", "cmd-ping", "type9"):
        ping = b"\x08" + Int16ub.build(2) + Int16ub.build(4) + Int32ub.build(7)
        unknown = b"\x08" + Int16ub.build(40) + Int16ub.build(0)
        return at.inserted(at.end.offset, {"cmd-unknown": unknown, "cmd-ping": ping, "type9": b"\x09"}[case])
    if case == "machine":
        return at.data.replace(b"pc-i440fx-7.2", b"pc-i440fx-7.1", 1)
    if case == "ver2":
        return at.inserted(4, Int32ub.build(2), 4)
    assert case == "no-vmdesc"
    return at.data[: at.eof + 1]
