"""Edits of a stream, each of which makes a real QEMU print messages that `xbrle why` knows."""

from construct import Int16ub, Int32ub, Int64ub

from tests.qemu.edits import PAGE, RAM, Places, name, word
from xbrletools.formats import qevm
from xbrletools.formats.ram import Flag
from xbrletools.table.sections import Section

AT = 0x5000


def _command(number: int, data: bytes = b"", length: int | None = None) -> bytes:
    return b"\x08" + Int16ub.build(number) + Int16ub.build(len(data) if length is None else length) + data


def _subsection(text: bytes, data: bytes, version: int = 1) -> bytes:
    return b"\x05" + name(text) + Int32ub.build(version) + data


def _capabilities(*names: bytes) -> bytes:
    return _subsection(b"configuration/capabilities", Int32ub.build(len(names)) + b"".join(map(name, names)))


def _start(at: Places, **other: object) -> bytes:
    fields = {"section_id": at.id, "idstr": b"ram", "instance_id": 0, "version_id": 4} | other
    return at.inserted(at.start.offset + 1, qevm.SectionStart.build(fields), at.start.data - at.start.offset - 1)


def _timer(at: Places) -> Section:
    return next(s for s in at.devices if s.owner is not None and s.owner.idstr == b"timer")


def _list(at: Places, entry: bytes, length: int) -> bytes:
    body = word(length, Flag.MEM_SIZE) + name(entry) + Int64ub.build(length)
    return at.inserted(at.list_at, body, at.list_end - at.list_at)


def streams(at: Places) -> dict[str, bytes]:
    """Every edit by a name."""
    before, configured = at.end.offset, at.configuration.end
    page = word(AT, Flag.PAGE) + name(RAM) + bytes(PAGE)
    delta = word(AT, Flag.XBRLE) + name(RAM)
    timer = _timer(at)
    first = at.parts[0]
    return {
        "magic": at.inserted(3, b"N", 1),
        "version 2": at.inserted(4, Int32ub.build(2), 4),
        "version 4": at.inserted(4, Int32ub.build(4), 4),
        "no configuration": at.inserted(at.configuration.offset, b"", configured - at.configuration.offset),
        "machine": at.data.replace(b"pc-i440fx-7.2", b"pc-i440fx-7.1", 1),
        "page bits": at.inserted(configured, _subsection(b"configuration/target-page-bits", Int32ub.build(13))),
        "capability": at.inserted(configured, _capabilities(b"x-ignore-shared")),
        "unknown capability": at.inserted(configured, _capabilities(b"nosuch")),
        "unknown subsection": at.inserted(configured, _subsection(b"configuration/nosuch", b"")),
        "too new": at.inserted(configured, _subsection(b"configuration/capabilities", bytes(4), 2)),
        "too old": at.inserted(configured, _subsection(b"configuration/capabilities", bytes(4), 0)),
        "cut in configuration": at.data[: at.configuration.offset + 3],
        "ram name": _start(at, idstr=b"rbm"),
        "ram without a name": _start(at, idstr=b""),
        "ram version 5": _start(at, version_id=5),
        "ram version 3": _start(at, version_id=3),
        "cut in a header": at.data[: at.start.offset + 12],
        "cut in an id": at.data[: first.offset + 3],
        "cut before a section": at.data[: at.end.offset],
        "cut before a footer": at.data[: first.end],
        "cut in ram": at.with_part(page)[: before + 5],
        "section id": at.with_part(b"", number=99),
        "section type": at.inserted(before, b"\x09"),
        "footer": at.with_part(b"", footer=qevm.Footer.build({"section_id": 77})),
        "no footer": at.with_part(b"", footer=b""),
        "block list": _list(at, b"nosuch", 1 << 24),
        "block size": _list(at, RAM, 1 << 23),
        "block too large": _list(at, b"/rom@etc/acpi/rsdp", 1 << 20),
        "flags": at.with_part(word(AT, 0x408) + name(RAM)),
        "block": at.with_part(word(AT, Flag.PAGE) + name(b"nosuch")),
        "address": at.with_part(word(1 << 40, Flag.PAGE) + name(RAM)),
        "no block yet": at.inserted(first.data, word(AT, Flag.PAGE | Flag.CONTINUE) + bytes(PAGE)),
        "fill": at.with_part(word(AT, Flag.COMPRESS) + name(RAM) + b"A"),
        "packed": at.with_part(word(AT, Flag.COMPRESS_PAGE) + name(RAM)),
        "delta flags": at.with_part(delta + b"\3\0\0"),
        "delta length": at.with_part(delta + b"\1\xff\xff"),
        "delta": at.with_part(delta + b"\1\0\1\5"),
        "command": at.inserted(before, _command(40)),
        "command length": at.inserted(before, _command(2)),
        "ping": at.inserted(before, _command(2, bytes(4))),
        "return path twice": at.inserted(before, _command(1) * 2),
        "advise": at.inserted(before, _command(3, bytes(16))),
        "advise length": at.inserted(before, _command(3, b"12345")),
        "advise twice": at.inserted(before, _command(3) * 2),
        "discard": at.inserted(before, _command(6, b"\0")),
        "discard length": at.inserted(before, _command(3) + _command(6, b"\0")),
        "listen": at.inserted(before, _command(4)),
        "run": at.inserted(before, _command(5)),
        "package": at.inserted(before, _command(7, b"\x7f\xff\xff\xff")),
        "colo": at.inserted(before, _command(8)),
        "resume": at.inserted(before, _command(9)),
        "bitmap": at.inserted(before, _command(10, name(RAM))),
        "bitmap block": at.inserted(before, _command(10, name(b"nosuch"))),
        "bitmap length": at.inserted(before, _command(10, name(RAM) + b"x")),
        "bitmap name": at.inserted(before, _command(10, b"\0")),
        "device name": at.data.replace(b"\x05timer", b"\x05timex", 1),
        "device version": at.inserted(timer.data - 4, Int32ub.build(9), 4),
        "device subsection": at.inserted(timer.end, _subsection(b"timer/nosuch", b"")),
        "cut in a device": at.data[: timer.data + 3],
        "no description": at.data[: at.eof + 1],
    }
