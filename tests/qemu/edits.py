"""Edits of a real stream, each of one kind of fault, and what a real QEMU says when it is asked to load the result."""

import os
import random
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from construct import Int16ub, Int32ub, Int64ub

import xbrletools
from tests.qemu.guest import Emulator
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag, Kind
from xbrletools.text import label

PAGE = 4096
TIMEOUT = 30  # seconds
#: Lines that are about the program's surroundings, not about the stream.
_ASIDE = (
    "deprecated: machines",
    "initialize module",
    "same build",
    "terminating on signal",
    "local uuid isn't set",
    "no peer",
)


@dataclass(frozen=True)
class Said:
    """A real destination's verdict: whether it loaded the stream without an error, and the lines that it printed."""

    loads: bool
    lines: list[str]


def ask(emulator: Emulator, stream: Path, *more: str, quiet: bool = True) -> Said:
    """Have a QEMU load a stream. ``quiet``: a PC with its default devices, but no network, VGA and serial port."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "qmp"
        less = ("-net", "none", "-vga", "none", "-serial", "none") if quiet else ()
        audio = ("-audio", "none") if emulator.version >= (8,) else ()
        command = [
            *emulator.command,
            "-display",
            "none",
            "-accel",
            "tcg",
            "-S",
            *less,
            *audio,
            *more,
            "-qmp",
            f"unix:{path},server=on,wait=off",
        ]
        process = subprocess.Popen(
            [*command, "-incoming", f"exec:cat {stream}"],
            env=os.environ | emulator.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            loaded = _loaded(process, path)
        finally:
            if process.poll() is None:
                process.terminate()
            printed = process.communicate(timeout=TIMEOUT)[1]
    return said_of(loaded, printed)


def said_of(loaded: bool, printed: bytes) -> Said:
    """What a QEMU said, of what it ``printed``."""
    text = printed.decode("utf-8", "backslashreplace")
    lines = [label(_without_name(line)) for line in text.split("\n") if line and not any(a in line for a in _ASIDE)]
    return Said(loaded and not lines, lines)


def _loaded(process: "subprocess.Popen[bytes]", path: Path) -> bool:
    """Whether the guest came out of loading. False where QEMU ended."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        one = socket.socket(socket.AF_UNIX)
        try:
            with one:
                one.settimeout(TIMEOUT)
                one.connect(os.fspath(path))
                answers = one.makefile("r")
                answers.readline()
                for order in ("qmp_capabilities", *["query-status"] * 2000):
                    one.sendall(b'{"execute": "%s"}' % order.encode())
                    answer = answers.readline()
                    while answer and '"event"' in answer:
                        answer = answers.readline()
                    if '"status"' in answer and '"inmigrate"' not in answer:
                        time.sleep(0.05)
                        return process.poll() is None
                    if not answer:
                        break
                    time.sleep(0.02)
        except (OSError, ValueError):
            time.sleep(0.05)
    return False


def _without_name(line: str) -> str:
    head, colon, rest = line.partition(": ")
    return rest if colon and ("qemu-system" in head or head.startswith("/")) else line


# -- the places of a stream --------------------------------------------------------------------------------------------


class Places:
    """Where the pieces of a whole stream with footers stand."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        capture = xbrletools.open(data)
        self.records, self.blocks = capture.records, capture.blocks
        columns = self.records.columns
        self.list_at = int(columns.offset[np.flatnonzero(columns.kind == Kind.MEM_SIZE)[0]])
        self.list_end = int(columns.end(np.flatnonzero(columns.kind == Kind.MEM_SIZE)[:1])[0])
        sections = [s for s in capture.sections if s.type in (SectionType.START, SectionType.PART, SectionType.END)]
        self.start = next(s for s in sections if s.owner is not None and s.owner.idstr == b"ram")
        assert self.start.owner is not None
        self.id = self.start.owner.section_id
        self.parts = [s for s in sections if s.type is SectionType.PART and s.owner == self.start.owner]
        self.end = next(s for s in sections if s.type is SectionType.END and s.owner == self.start.owner)
        self.devices = [s for s in capture.sections if s.type is SectionType.FULL]
        self.eof = next(s.offset for s in capture.sections if s.type is SectionType.EOF)
        self.configuration = next(s for s in capture.sections if s.type is SectionType.CONFIGURATION)

    def with_part(
        self, records: bytes, *, kind: int = 2, number: int | None = None, footer: bytes | None = None
    ) -> bytes:
        """The stream with one more RAM section, just before the END."""
        number = self.id if number is None else number
        foot = qevm.Footer.build({"section_id": number}) if footer is None else footer
        body = bytes([kind]) + Int32ub.build(number) + records + word(0, Flag.EOS) + foot
        return self.inserted(self.end.offset, body)

    def inserted(self, at: int, what: bytes, instead_of: int = 0) -> bytes:
        """The stream with other bytes at a place."""
        return self.data[:at] + what + self.data[at + instead_of :]


def word(address: int, flags: int) -> bytes:
    """A record's word."""
    return bytes(Int64ub.build(address | int(flags)))


def name(text: bytes) -> bytes:
    """A name with its length."""
    return bytes(qevm.IdStr.build(text))


# -- edits, each with random numbers -----------------------------------------------------------------------------------

Edit = Callable[[Places, random.Random], bytes]
RAM = b"pc.ram"
NAMES = (RAM, b"pc.rom", b"pc.bios", b"/rom@etc/acpi/tables", b"nosuch", b"", b"pc.ra")


def _page(rng: random.Random) -> int:
    return rng.randrange(0x20, 0x1000) * PAGE


def flags(at: Places, rng: random.Random) -> bytes:
    """A record whose flags are any."""
    payload = rng.choice((bytes(PAGE), b"\0", b"\1\0\0", b""))
    return at.with_part(word(_page(rng), rng.randrange(0x1000) & ~0x10) + name(rng.choice(NAMES)) + payload)


def one_flag(at: Places, rng: random.Random) -> bytes:
    """A record with one or two flags, and what the first asks for."""
    few = 1 << rng.randrange(12) | (1 << rng.randrange(12) if rng.random() < 0.5 else 0)
    payload = bytes(PAGE) if few & Flag.PAGE else bytes([rng.choice((0, 0, 65))])
    return at.with_part(word(_page(rng), few & ~0x10) + (b"" if few & Flag.CONTINUE else name(RAM)) + payload)


def block(at: Places, rng: random.Random) -> bytes:
    """A page of some block, at some address."""
    address = rng.choice((_page(rng), 0, 0x1000000, 0xFFF000, 0x1F000, 0x20000, 0x40000, rng.randrange(1 << 52) * PAGE))
    return at.with_part(word(address, Flag.PAGE) + name(rng.choice(NAMES)) + bytes(PAGE))


def fill(at: Places, rng: random.Random) -> bytes:
    """A dup page."""
    return at.with_part(word(_page(rng), Flag.COMPRESS) + name(RAM) + bytes([rng.choice((0, 1, 65, 255))]))


def delta(at: Places, rng: random.Random) -> bytes:
    """An XBZRLE delta of some runs, right or wrong, with some header."""
    payload = b""
    while rng.random() < 0.8:
        for number in (rng.choice((0, 1, 5, 127, 128, 4000)), rng.choice((0, 1, 3, 200))):
            payload += bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])
        payload += rng.randbytes(rng.choice((number, number, number + 1, max(0, number - 1))))
    length = rng.choice((len(payload),) * 6 + (0, len(payload) + 1, 4097, 0xFFFF))
    head = bytes([rng.choice((1,) * 8 + (0, 2, 3))]) + Int16ub.build(length)
    return at.with_part(word(_page(rng), Flag.XBRLE) + name(RAM) + head + payload)


def packed(at: Places, rng: random.Random) -> bytes:
    """A COMPRESS_PAGE."""
    stream = zlib.compress(bytes(PAGE))
    return at.with_part(word(_page(rng), Flag.COMPRESS_PAGE) + name(RAM) + Int32ub.build(len(stream)) + stream)


def blocks(at: Places, rng: random.Random) -> bytes:
    """A block list in which one block has another length or name."""
    entries = [(b.name, b.length) for b in at.blocks if b.declared]
    i = rng.randrange(len(entries))
    old, length = entries[i]
    what = rng.randrange(4)
    if what == 0:
        length = rng.choice((length * 2, max(PAGE, length // 2), length + PAGE, 0x300000))
    elif what == 1:
        old = rng.choice((old[:-1], old + b"x", b"", old.upper()))
    entries[i] = old, length
    entries = entries[::-1] if what == 2 else entries
    total = sum(n for _, n in entries) + rng.choice((0,) * 5 + (PAGE, 1 << 20))
    body = word(total, Flag.MEM_SIZE) + b"".join(name(n) + Int64ub.build(size) for n, size in entries)
    return at.inserted(at.list_at, body, at.list_end - at.list_at)


def second_list(at: Places, rng: random.Random) -> bytes:
    """Another block list, later."""
    size = rng.choice((0x1000000, 0x800000))
    entry = name(rng.choice((RAM, b"x"))) + Int64ub.build(size)
    return at.with_part(word(size, rng.choice((Flag.MEM_SIZE, Flag.MEM_SIZE | Flag.CONTINUE))) + entry)


def section(at: Places, rng: random.Random) -> bytes:
    """A RAM section with another type, id or footer."""
    number = rng.choice((at.id, at.id, 99, 1 << 31, at.id + 1))
    footer = rng.choice((None, b"", b"\x7f" + Int32ub.build(at.id), qevm.Footer.build({"section_id": 77})))
    return at.with_part(b"", kind=rng.choice((2, 2, 3, 5, 6, 7, 9, 0x7E, 0xFF)), number=number, footer=footer)


def start(at: Places, rng: random.Random) -> bytes:
    """RAM's START with another name, instance, version or id."""
    header = {"section_id": at.id, "idstr": b"ram", "instance_id": 0, "version_id": 4}
    key, value = rng.choice(
        (("section_id", 9), ("idstr", b"rbm"), ("idstr", b""), ("instance_id", 1), ("version_id", 5), ("version_id", 3))
    )
    made = qevm.SectionStart.build(header | {key: value})
    return at.inserted(at.start.offset + 1, made, at.start.data - at.start.offset - 1)


def device(at: Places, rng: random.Random) -> bytes:
    """A device's section with another name, instance, version or footer, or with bytes more or less."""
    one = rng.choice(at.devices)
    assert one.owner is not None
    owner = one.owner
    header = {
        "section_id": owner.section_id,
        "idstr": owner.idstr,
        "instance_id": owner.instance_id,
        "version_id": owner.version_id,
    }
    what = rng.randrange(6)
    if what == 0:
        header["idstr"] = owner.idstr[:-1] + b"?"
    elif what == 1:
        header["instance_id"] = owner.instance_id + 1000
    elif what == 2:
        header["version_id"] = owner.version_id + rng.choice((1, 100))
    made = qevm.SectionStart.build(header)
    if what < 3:
        return at.inserted(one.offset + 1, made, one.data - one.offset - 1)
    if what == 3:
        return at.inserted(one.end, b"\x05" + name(b"nosuch/sub") + Int32ub.build(1))
    return (
        at.inserted(one.end + 1, Int32ub.build(owner.section_id + 1), 4) if what == 4 else at.inserted(one.end, b"\1")
    )


def device_twice(at: Places, rng: random.Random) -> bytes:
    """A device's section twice, or not at all."""
    one = at.devices[0]
    whole = at.data[one.offset : one.end + 5]
    return at.inserted(one.offset, whole * rng.choice((0, 2)), len(whole))


def command(at: Places, rng: random.Random) -> bytes:
    """One or two COMMANDs."""
    out = b""
    for _ in range(rng.choice((1, 1, 2))):
        number = rng.choice((*range(14), 0xFFFF))
        data = rng.choice((b"", b"", bytes(4), bytes(16), name(RAM), name(b"nosuch"), b"\1"))
        if number in (4, 7, 8):  # listening starts a thread, and COLO too
            data = b"\1\2"
        out += b"\x08" + Int16ub.build(number) + Int16ub.build(len(data)) + data
    return at.inserted(at.end.offset, out)


def configuration(at: Places, rng: random.Random) -> bytes:
    """CONFIGURATION with another machine, or with subsections."""
    machine = rng.choice((b"pc-i440fx-7.2", b"pc-i440fx-7.2", b"pc-i440fx-7.1", b"pc-i440fx-7.2x", b"pc", b""))
    out = b"\x07" + Int32ub.build(len(machine)) + machine
    for _ in range(rng.choice((0, 1, 1, 2))):
        names = rng.choice(((), (b"xbzrle",), (b"x-ignore-shared",), (b"mapped-ram",), (b"nosuch",)))
        sub, data = rng.choice(
            (
                (b"configuration/capabilities", Int32ub.build(len(names)) + b"".join(map(name, names))),
                (b"configuration/target-page-bits", Int32ub.build(rng.choice((12, 12, 13)))),
                (b"configuration/nosuch", b""),
                (b"nosuch/nosuch", b""),
            )
        )
        out += b"\x05" + name(sub) + Int32ub.build(rng.choice((1,) * 6 + (0, 2))) + data
    return at.inserted(at.configuration.offset, out, at.configuration.end - at.configuration.offset)


def head(at: Places, rng: random.Random) -> bytes:
    """Another file header, or none of CONFIGURATION."""
    if rng.random() < 0.3:
        return at.inserted(at.configuration.offset, b"", at.configuration.end - at.configuration.offset)
    return at.inserted(*rng.choice(((7, b"\2", 1), (7, b"\4", 1), (4, b"\1", 1))))


def cut(at: Places, rng: random.Random) -> bytes:
    """The stream ends somewhere before the devices."""
    page = word(_page(rng), rng.choice((Flag.PAGE, Flag.COMPRESS))) + name(RAM) + bytes(PAGE)
    made = at.with_part(page)
    return made[: at.end.offset + rng.choice((0, 1, 3, 5, 8, 13, 14, 20, 21, 40, rng.randrange(4100)))]


def tail(at: Places, rng: random.Random) -> bytes:
    """Without EOF, without the VM description, or with something after the end."""
    made = (at.data[: at.eof], at.data[: at.eof + 1], at.data + b"more", at.data[:-1], at.data[: at.eof + 3])
    return rng.choice((*made, at.inserted(at.eof + 1, b"\5", 1), at.inserted(at.eof, b"\0")))


def inserted_bytes(at: Places, rng: random.Random) -> bytes:
    """Some bytes more or less amid RAM's records."""
    row = rng.randrange(1, len(at.records) - 1)
    offset = int(at.records.columns.offset[row]) + rng.randrange(9)
    return at.inserted(offset, rng.randbytes(rng.randrange(3)), rng.randrange(1, 3))


def flipped(at: Places, rng: random.Random) -> bytes:
    """One bit of a record's word is another."""
    row = rng.randrange(1, len(at.records))
    offset = int(at.records.columns.offset[row]) + rng.choice((3, 4, 5, 6, 7))
    return at.inserted(offset, bytes([at.data[offset] ^ 1 << rng.randrange(8)]), 1)


#: Edits of one part of the stream each. `whole_edits` has those of the stream as a whole.
PARTS: tuple[Edit, ...] = (
    *(flags, one_flag, block, fill, delta, packed, blocks, second_list, section, start, device, device_twice),
    *(command, configuration, head, cut, tail, inserted_bytes, flipped),
)
