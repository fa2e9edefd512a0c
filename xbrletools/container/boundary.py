"""Where a section that is neither RAM nor disk ends.

Its own records say so, or its footer, or the next plausible header, or the end of the stream. Facts: formats/README.md,
"Boundaries". On real captures the footer was right every time; of the headers only FULL with a higher id was.
"""

import io
import re

from construct import ConstructError, Int32ub

from ..formats import iterable, qevm
from ..formats.qevm import SectionType

_AFTER_FOOTER = frozenset((SectionType.EOF, SectionType.START, SectionType.PART, SectionType.END, SectionType.FULL))
_ID = Int32ub.sizeof()
_FULL = re.compile(rb"(?s:\x04(?=....[\x01-\xff][\x20-\x7e]))")
ID_STEP_MAX = 1024  # from one section's id to that of the next; real ones lie closer together
VERSION_MAX = 1 << 16
INSTANCE_MAX = 1 << 24


def by_grammar(tail: memoryview, idstr: bytes) -> int | None:
    """Where the data of an iterable section ends in ``tail``; None where its records are not known, or are cut."""
    grammar = iterable.SECTIONS.get(idstr)
    if grammar is None:
        return None
    stream = io.BytesIO(tail)
    try:
        grammar.parse_stream(stream)
    except ConstructError:
        return None
    return stream.tell()


def by_footer(tail: memoryview, section_id: int) -> int | None:
    """The offset in ``tail`` of the first footer of ``section_id`` that a section, or the end, follows."""
    footer = re.escape(qevm.Footer.build({"section_id": section_id}))
    after = b"[" + b"".join(re.escape(bytes([t])) for t in _AFTER_FOOTER) + b"\\x08]"
    found = re.search(footer + b"(?:" + after + rb"|\Z)", tail)
    return found.start() if found else None


def by_header(tail: memoryview, section_id: int) -> int | None:
    """The offset in ``tail`` of the next header that is FULL, with a printable idstr and a higher section id."""
    for found in _FULL.finditer(tail):
        at = found.start()
        number = int(Int32ub.parse(tail[at + 1 : at + 1 + _ID]))
        if not section_id < number <= section_id + ID_STEP_MAX:
            continue
        name = tail[at + 1 + _ID]
        end = at + 1 + _ID + 1 + name + 2 * _ID
        if end > len(tail):
            continue
        header = qevm.SectionStart.parse(tail[at + 1 : end])
        if (
            all(0x20 <= c < 0x7F for c in header.idstr)
            and header.version_id < VERSION_MAX
            and header.instance_id < INSTANCE_MAX
        ):
            return at
    return None


def by_eof(tail: memoryview) -> int | None:
    """The offset in ``tail`` of the container's EOF: its last byte, or before a VM description that fits exactly."""
    for found in re.finditer(rb"\x00\x06", tail):
        data = found.end() + _ID
        if data <= len(tail) and data + int(Int32ub.parse(tail[found.end() : data])) == len(tail):
            return found.start()
    return len(tail) - 1 if len(tail) and tail[-1] == SectionType.EOF else None
