"""Cases of whole streams: one of every dialect, byte order and build, a v3 and a v4 stream without deltas, and the ways
in which a stream can be wrong.

Facts: formats/README.md, "The container", "The RAM section", "Receivers".
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from construct import Int32ub

from ..capture import open_capture
from ..codec import uniform
from ..formats import qevm, ram
from ..formats.dialects import DIALECTS, Checksum, Encoding
from ..formats.qevm import SectionType
from ..formats.ram import PAGE_SIZE, Flag, Kind
from ..memory.image import PageSpace
from ..model import Block
from ..sender.addresses import addresses_in_blocks
from ..sender.copies import Copies
from ..sender.policy import Dups, Policy, Sender, rules_of
from ..sender.saver import Frames, PageRecords, RecordForm, Writer, end_of_section, memory_size
from ..sender.transcode import cache_of
from ..table.sections import Stage
from .pages import Question
from .tables import ORDERS, history

_RECEIVERS = ("vanilla", "default", "debug", "today")  # whose verdicts the cases state

LONG_NAME = b"0000:00:03.0/" + b"x" * 242  # 255 bytes, the longest a u8 can announce
BLOCKS = (Block(b"pc.ram", 5 * PAGE_SIZE), Block(b"vga.vram", 2 * PAGE_SIZE), Block(LONG_NAME, PAGE_SIZE))
BUCKETS = 8


@dataclass(frozen=True, slots=True)
class MadeStream:
    """A stream, and how it was made."""

    name: str
    note: str
    data: bytes
    dialect: str | None
    endian: str


def _stream(name: str, dialect: str, endian: str, policy: Policy, checksums: bool, dups: Dups | None) -> bytes:
    """One history of eight pages as a sender writes it, in START, three PARTs and END."""
    form = RecordForm(DIALECTS[dialect], endian, checksums)
    addresses = addresses_in_blocks(BLOCKS, form.version, PAGE_SIZE)
    pages, stages, raw = history(random.Random(name))
    numbers, contents = np.array(pages, np.int64), np.frombuffer(raw, np.uint8).reshape(-1, PAGE_SIZE)
    is_dup = uniform.fills(contents) != uniform.NOT_UNIFORM
    cache = cache_of(policy, BUCKETS, addresses)
    sender = Sender(rules_of(form.dialect, policy, dups, PAGE_SIZE), cache, Copies(PageSpace(list(BLOCKS), PAGE_SIZE)))
    sweep = np.cumsum(np.diff(numbers, prepend=0) < 0, dtype=np.int64)
    sweep[: addresses.ram_pages] = 0
    choices = sender.choose(addresses.ram_page(numbers), numbers, np.array(stages, np.uint8), contents, is_dup, sweep)
    named = np.zeros(len(numbers), bool)
    records = PageRecords(*addresses.written(numbers), contents, is_dup, named)
    data, starts = Writer(form, [b.name for b in addresses.blocks]).write(records, choices)
    frames = Frames(form.version, form.version != ram.VERSION_FLAT)
    out = frames.file_header() + frames.section(SectionType.START)
    out += memory_size(form.version, addresses.blocks, addresses.offsets, PAGE_SIZE)
    types = {Stage.START: SectionType.START, Stage.PART: SectionType.PART, Stage.END: SectionType.END}
    for at, (page, stage) in enumerate(zip(pages, stages, strict=True)):
        if at and (stage != stages[at - 1] or (stage == Stage.PART and page == 0)):
            out += end_of_section() + frames.section(types[Stage(stage)])
        out += data[starts[at] : starts[at + 1]].tobytes()
    return out + end_of_section() + frames.end(b"")


def _made(name: str, note: str, dialect: str, endian: str, policy: Policy, checksums: bool, dups: Dups) -> MadeStream:
    return MadeStream(name, note, _stream(name, dialect, endian, policy, checksums, dups), dialect, endian)


def _whole() -> Iterator[MadeStream]:
    """Streams that their own sender writes. Of `posted` also those whose dup pages make bases stale."""
    for name, dialect in DIALECTS.items():
        policy = Policy.XBZRLE if dialect.encoding is Encoding.ZRUN else Policy.POSTED
        for endian in ORDERS if dialect.host_endian else ("big",):
            for checksums in (False, True) if dialect.checksum is Checksum.FLAGGED else (False,):
                for dups in (Dups.SAFE, Dups.POSTED) if not dialect.caches_dup else (Dups.FIXED,):
                    stale = dups is Dups.POSTED
                    parts = [name, endian] if dialect.host_endian else [name]
                    parts += ["sums"] * checksums + ["stale"] * stale
                    note = f"{name}, {endian}-endian host"
                    note += ", checksums" if checksums else ""
                    note += ", a delta after a dup page that the sender forgot" if stale else ""
                    yield _made("-".join(parts), note, name, endian, policy, checksums, dups)
    for name in ("m115", "posted"):
        version = DIALECTS[name].ram_version
        data = _stream("plain", name, "little", Policy.NONE, False, Dups.FIXED)
        yield MadeStream(f"plain-v{version}", f"RAM version {version}, no deltas", data, None, "little")


def _wrong() -> Iterator[MadeStream]:
    """One good stream of `posted` with checksums, and copies of it in which one part is wrong."""
    data = _stream("wrong", "posted", "little", Policy.POSTED, True, Dups.SAFE)
    with open_capture(data) as capture:
        columns = capture.records.columns
        deltas = np.flatnonzero(columns.kind == Kind.XBRLE)
        first = int(deltas[0])
        word = int(columns.offset[first])
        header = word + int(columns.head[first]) - DIALECTS["posted"].header("little").sizeof()
        payload, length = word + int(columns.head[first]), int(columns.length[first])
        last = int(columns.offset[int(deltas[-1])])
        second = int(columns.offset[int(deltas[1])])  # it continues its block, so its header follows the word
        after = int(columns.offset[int(deltas[1]) + 1])
        page = int(columns.offset[np.flatnonzero(columns.kind == Kind.PAGE)[0]])
        start = next(s for s in capture.sections if s.owner is not None and s.owner.idstr == ram.IDSTR)
        part = next(s for s in capture.sections if s.type is SectionType.PART)
    ram_version, section_id = start.data - Int32ub.sizeof(), part.data - Int32ub.sizeof()
    name = data.index(BLOCKS[0].name, page)  # the first record's

    def edited(at: int, new: bytes) -> bytes:
        return data[:at] + new + data[at + len(new) :]

    def flagged(at: int, clear: int, put: int) -> bytes:
        value = int(ram.Word.parse(data[at : at + 8]))
        return edited(at, bytes(ram.Word.build(value & ~clear | put)))

    magic = bytes(Int32ub.build(qevm.VERSION_OBSOLETE))
    size = ram.Word.sizeof()
    beyond = bytes(ram.Word.build(int(ram.Word.parse(data[last : last + size])) + 64 * PAGE_SIZE))
    for what, note, made in (
        ("good", "nothing is wrong", data),
        ("no-eof", "cut before the container's last byte", data[:-1]),
        ("cut-at-part", "cut after a section's EOS", data[: part.offset]),
        ("cut-in-record", "cut inside a delta", data[: payload + length // 2]),
        ("cut-in-header", "cut inside a delta's header", data[: header + 3]),
        ("cut-in-word", "cut inside a record's word", data[: word + 4]),
        ("flag-missing", "a delta header without the flag XBRLE", edited(header, b"\x02")),
        ("flags-unknown", "a delta header with flag bits that mean nothing", edited(header, b"\xf3")),
        ("padding", "a delta header whose padding is not zero", edited(header + 1, b"\xa5")),
        ("length-4097", "a delta of 4097 bytes", edited(header + 2, b"\x01\x10")),
        ("checksum-wrong", "a checksum that is one too high", edited(header + 4, bytes([data[header + 4] ^ 1]))),
        ("checksum-off", "a wrong checksum that is not to be looked at", edited(header, b"\x01\x00")),
        ("run-short", "a delta of one byte less than a page", edited(payload, bytes([data[payload] - 1]))),
        ("file-version-2", "the container's version is 2", edited(4, magic)),
        ("ram-version-5", "the RAM section's version is 5", edited(ram_version, bytes(Int32ub.build(5)))),
        ("section-id", "a PART of a section that was not announced", edited(section_id, bytes(Int32ub.build(99)))),
        ("block-name", "a record names a block that the list does not have", edited(name, b"pc.rom")),
        ("continue-first", "the first record continues a block", _continues(data, page, len(BLOCKS[0].name))),
        ("beyond-block", "a page beyond its block", edited(last, beyond)),
        ("no-kind", "a word without a kind", flagged(second, Flag.XBRLE, Flag.HOOK)[: second + size] + data[after:]),
        (
            "two-kinds",
            "a record that says dup page and delta: it reads as a dup page",
            flagged(second, 0, Flag.COMPRESS)[: second + size + 1] + data[after:],
        ),
        ("trailing", "bytes after the end", data + b"QEVM"),
    ):
        yield MadeStream(f"wrong-{what}", note, made, "posted", "little")


def _continues(data: bytes, at: int, name: int) -> bytes:
    """The record at ``at`` with CONTINUE set, and without its name."""
    size = ram.Word.sizeof()
    word = int(ram.Word.parse(data[at : at + size])) | Flag.CONTINUE
    return data[:at] + bytes(ram.Word.build(word)) + data[at + size + 1 + name :]


def questions(_seed: int) -> Iterator[Question]:
    """Every case of whole streams. They are the same for every seed."""
    for stream in _whole():
        question: dict[str, object] = {"endian": stream.endian, "stream": stream.data}
        if stream.dialect is not None:
            question = {"dialect": stream.dialect, **question}
        yield Question(f"detect-{stream.name}", "detect", stream.note, {"stream": stream.data})
        yield Question(f"records-{stream.name}", "records", stream.note, question)
        for view in ("receiver", "sender"):
            yield Question(f"memory-{stream.name}-{view}", "memory", stream.note, {"view": view, **question})
        yield Question(f"findings-{stream.name}", "findings", stream.note, question)
        for receiver in _RECEIVERS:
            ask = {"receiver": receiver, **question}
            yield Question(f"receive-{stream.name}-{receiver}", "receive", stream.note, ask)
    for stream in _wrong():
        question = {"dialect": stream.dialect, "endian": stream.endian, "stream": stream.data}
        yield Question(f"findings-{stream.name}", "findings", stream.note, question)
        for receiver in _RECEIVERS:
            ask = {"receiver": receiver, **question}
            yield Question(f"receive-{stream.name}-{receiver}", "receive", stream.note, ask)


def logs(_seed: int) -> Iterator[Question]:
    """The mig.log of either end, for debug builds of the v4 trees, and for streams that a debug receiver rejects."""
    streams = [s for s in _whole() if s.dialect in ("posted", "lm2dbg")]
    streams += [s for s in _wrong() if s.name in ("wrong-checksum-wrong", "wrong-run-short", "wrong-flag-missing")]
    for stream in streams:
        for end in ("sender", "receiver"):
            ask = {"dialect": stream.dialect, "endian": stream.endian, "end": end, "stream": stream.data}
            yield Question(f"log-{stream.name}-{end}", "log", f"{stream.note}: the log of the {end}", ask)
