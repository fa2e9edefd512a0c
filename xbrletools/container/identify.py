"""Names what is not a migration stream, with what to do next. Finds a stream that begins further on in a file."""

import re
import struct
from collections.abc import Iterator

from construct import ConstructError, Int32ub

from ..formats import multifd, qevm, ram
from ..formats.qevm import SectionType
from ..formats.ram import Flag

HEAD = 1 << 18  # bytes that are looked at to name a file
SEARCHED = 16 << 20  # bytes in which a stream is searched for
HITS_MAX = 1 << 16  # places that are looked at closely
PAGE = 4096  # where streams at an offset usually begin
NAME = re.compile(rb"[\x21-\x7e]{1,255}")  # printable, as every name of a section, a machine and a block is

_BEGINNING = re.compile(
    re.escape(struct.pack(">I", qevm.MAGIC))
    + b"(?:" + b"|".join(struct.pack(">I", v) for v in (qevm.VERSION, qevm.VERSION_OBSOLETE)) + b")"
)  # fmt: skip
_OWNED = (SectionType.START, SectionType.FULL)
_RAW = "to compare it with a capture S, use: xbrle diff S FILE"
_ROW = "is a row of RAM records without a header"
_CHANNEL = "open the main channel and give this one with --channel"


def is_row(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a row of RAM records without a header, as preempt's channel is."""
    return (foreign(head) or "").startswith(_ROW)


def foreign(head: bytes) -> str | None:
    """What begins with these bytes and what to do with it, in words, or None where that is not known."""
    from ..formats import magics
    from . import returnpath

    if head.startswith(Int32ub.build(multifd.MAGIC)):
        try:
            channel = multifd.Init.parse(head).id[0]
        except ConstructError:
            channel = 0
        return f"is multifd channel {channel} of a migration; {_CHANNEL}"
    for known in magics.MAGICS:
        if head[known.offset :].startswith(known.magic):
            return f"{known.what}; {known.advice}"
    if _is_tls(head):
        return "is encrypted (a TLS record); record the migration before it is encrypted, or without TLS"
    messages = returnpath.read(head)
    if messages is not None:
        shown = ", ".join(str(m) for m in messages[:8]) + (", ..." if len(messages) > 8 else "")
        return (
            f"is the return path of a migration, destination to source: {len(messages)} messages, {shown}; "
            f"open the other direction of the connection"
        )
    name = _first_record(head)
    if name is not None:
        return f"{_ROW}, such as the channel of postcopy-preempt; its first record is of {name.decode()}; {_CHANNEL}"
    if head.startswith(magics.FIRMWARE_VECTOR * 2):
        return f"seems to be raw memory of a PC (a table of interrupt vectors, as in a .vmem file); {_RAW}"
    return None


def _is_tls(head: bytes) -> bool:
    from ..formats import magics

    major, minors = magics.TLS_VERSION
    return (
        len(head) >= 5
        and head[0] in magics.TLS_TYPES
        and head[1] == major
        and head[2] in minors
        and 0 < int.from_bytes(head[3:5], "big") <= magics.TLS_LENGTH_MAX
    )


def _first_record(head: bytes) -> bytes | None:
    """The block's name in the RAM record that ``head`` begins with, or None where it does not begin with one.

    The record after it must fit as well.
    """
    word = ram.Word.sizeof()
    if len(head) <= word:
        return None
    first = int(ram.Word.parse(head[:word]))
    kind = first & (PAGE - 1)
    name = head[word + 1 : word + 1 + head[word]]
    if kind not in (Flag.PAGE, Flag.COMPRESS) or first >> 48 or not NAME.fullmatch(name) or len(name) < head[word]:
        return None
    end = word + 1 + len(name) + (PAGE if kind == Flag.PAGE else ram.Fill.sizeof())
    if len(head) < end + word:
        return name if len(head) == end else None
    following = int(ram.Word.parse(head[end : end + word]))
    known = {int(k | c) for k in (Flag.PAGE, Flag.COMPRESS, Flag.XBRLE) for c in (0, Flag.CONTINUE)} | {int(Flag.EOS)}
    return name if following & (PAGE - 1) in known and not following >> 48 else None


def stream_in(data: memoryview) -> int | None:
    """Where in ``data`` a migration stream begins, or None where none does.

    A place at a page's beginning goes before all others.
    """
    elsewhere = None
    for count, found in enumerate(_BEGINNING.finditer(data)):
        if count == HITS_MAX:
            break
        if _goes_on(bytes(data[found.end() : found.end() + FIRST_MAX])):
            if found.start() % PAGE == 0:
                return found.start()
            elsewhere = found.start() if elsewhere is None else elsewhere
    return elsewhere


def beginnings(data: memoryview) -> Iterator[int]:
    """The places in ``data`` at which a migration stream can begin, rising."""
    for found in _BEGINNING.finditer(data):
        if _goes_on(bytes(data[found.end() : found.end() + FIRST_MAX])):
            yield found.start()


FIRST_MAX = 1 + qevm.SECTION_START_MAX  # bytes behind a file header that show whether a stream begins there


def _goes_on(after: bytes) -> bool:
    """Whether the first section of a stream can stand behind a file header, or the file ends there."""
    if len(after) < FIRST_MAX // 2:  # too little to tell
        return not after or after[0] in (SectionType.CONFIGURATION, SectionType.COMMAND, *_OWNED)
    size = Int32ub.sizeof()
    if after[0] == SectionType.CONFIGURATION:
        length = int(Int32ub.parse(after[1:]))
        return 0 < length <= 0xFF and NAME.fullmatch(after[1 + size : 1 + size + length]) is not None
    if after[0] in _OWNED:
        length = after[1 + size]
        return NAME.fullmatch(after[2 + size : 2 + size + length]) is not None
    return after[0] == SectionType.COMMAND and after[1] == 0
