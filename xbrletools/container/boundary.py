"""Where a section ends whose data cannot be read to its end: by its footer, the next header, or the stream's end.

Facts: formats/README.md, "Boundaries". A footer pattern can stand inside data. So a footer counts only where something
can follow it: a whole section header, a command, or the container's EOF with nothing after it, with another stream, or
with a VM description that fits. The size that the description states, where it is at hand, decides first. Without
footers, only a FULL header with a higher id was ever right, or, behind sections that go first, with the lowest.
"""

import io
import re
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from construct import ConstructError, Int32ub

from ..formats import iterable, qevm
from ..formats.qevm import SectionType

_ID = Int32ub.sizeof()
_HEAD = qevm.DataHead.sizeof()
FOOTER = qevm.Footer.sizeof()
_FULL = re.compile(rb"(?s:\x04(?=....[\x01-\xff][\x20-\x7e]))")
_FOOTER_HEAD = bytes(qevm.Footer.build({"section_id": 0}))[:-_ID]
_AFTER = rb"[\x00-\x04\x08]"  # the types of what can follow a section
_FOOTER = re.compile(rb"\x7e(?=(?s:....)(?:" + _AFTER + rb"|\Z))")
_ANOTHER = bytes(qevm.FileHeader.build({"version": qevm.VERSION}))
_EOF = re.compile(rb"\x00\x06(?=(?s:....)\{)")
_EOF_REACH = 2 + _ID  # bytes after the beginning of a piece in which such a place of the piece before may end
ID_STEP_MAX = 1024  # from one section's id to that of the next, without footers; real ones lie closer together
NAME_MIN = 3  # bytes of the name of a section that begins the ids anew, without footers; no device has less
NEXT_IDS = 16  # of a section with a strange name, behind the footer of the one before
ID_MAX = 1 << 16  # of a section that a header or another section's footer names, where it is not the next one
VERSION_MAX = 1 << 16  # of a section; some have a date instead, as `eeprom` has 20061112
DATES = range(19_900_101, 21_000_000)
LOOK_BACK = 1 << 26  # bytes before the end of a capture in which its VM description is looked for
LOOKS_MAX = 1 << 10  # places there that are looked at
_PIECE = 1 << 16


class End(NamedTuple):
    """Where data ends, in bytes from its beginning. ``own``: the section's own footer stands there.

    ``skip`` is how many bytes of a footer follow, whosever it is.
    """

    at: int
    own: bool
    skip: int = FOOTER


def footer_of(section_id: int) -> bytes:
    """The footer of the section with this id. There can be a million, so building each by its grammar is slow."""
    return _FOOTER_HEAD + section_id.to_bytes(_ID)


class More(Exception):  # noqa: N818 - a question, not an error
    """What is at hand does not decide it: more of the capture must be."""


def by_grammar(tail: memoryview, idstr: bytes) -> int | None:
    """Where the data of an iterable section ends in ``tail``, or None where its records are not known, or are cut."""
    grammar = iterable.SECTIONS.get(idstr)
    if grammar is None:
        return None
    stream = io.BytesIO(tail)
    try:
        grammar.parse_stream(stream)
    except ConstructError:
        return None
    return stream.tell()


# -- what can follow a section -----------------------------------------------------------------------------------------


def follows(view: memoryview, at: int, announced: Collection[int], final: bool, section_id: int) -> bool:
    """Whether what stands at ``at`` can follow the section with that id.

    ``announced`` are the ids of the sections that a START announced. ``final``: the capture ends where ``view`` does.
    What is cut there counts as far as it goes.

    Raises:
        More: ``view`` ends too soon to tell.
    """
    if at >= len(view):
        return _ended(final)
    kind = view[at]
    if kind == SectionType.EOF:
        return _is_end(view, at + 1, final)
    if kind in (SectionType.START, SectionType.FULL):
        return _is_header(view, at, final, section_id)
    if kind in (SectionType.PART, SectionType.END):
        if at + 1 + _ID > len(view):
            return _ended(final)
        return int.from_bytes(view[at + 1 : at + 1 + _ID]) in announced
    return kind == SectionType.COMMAND and _is_command(view, at + 1, final)


def _ended(final: bool) -> bool:
    if not final:
        raise More
    return True


def _is_header(view: memoryview, at: int, final: bool, before: int | None = None) -> bool:
    """Whether the header of a START or FULL section stands at ``at``: a plausible id, a printable name, a version.

    The id may be any number, and the name of any bytes, where the id is one of the next after ``before``.
    """
    start = at + 1
    if start + _ID + 1 > len(view):
        return _ended(final)
    number = int.from_bytes(view[start : start + _ID])
    is_next = before is not None and before < number <= before + NEXT_IDS
    if (number >= ID_MAX and not is_next) or not view[start + _ID]:
        return False
    name = start + _ID + 1
    stop = name + view[start + _ID]
    if not is_next and not all(0x20 <= c < 0x7F for c in view[name:stop]):
        return False
    if stop + 2 * _ID > len(view):
        return _ended(final)
    return is_version(int.from_bytes(view[stop + _ID : stop + 2 * _ID]))


def is_version(number: int) -> bool:
    """Whether a section can state this version."""
    return number < VERSION_MAX or number in DATES


def _is_command(view: memoryview, at: int, final: bool) -> bool:
    if at + _HEAD > len(view):
        return _ended(final)
    head = qevm.DataHead.parse(view[at : at + _HEAD])
    return head.number in qevm.COMMAND_LENGTHS and qevm.COMMAND_LENGTHS[head.number] in (None, head.length)


def _is_end(view: memoryview, at: int, final: bool) -> bool:
    """Whether the stream can end at ``at``, after the container's EOF: there, or after a VM description that fits.

    Where another stream begins there, this one ends, too.
    """
    if _ANOTHER.startswith(head := bytes(view[at : at + len(_ANOTHER)])):
        return len(head) == len(_ANOTHER) or _ended(final)
    if view[at] != SectionType.VMDESCRIPTION:
        return False
    start = at + 1 + _ID
    if start >= len(view):
        return _ended(final)
    stop = start + int.from_bytes(view[at + 1 : start])
    if view[start] != ord("{"):
        return False
    return view[stop - 1] == ord("}") if start < stop <= len(view) else _ended(final)


# -- with footers ------------------------------------------------------------------------------------------------------


def as_described(part: memoryview, section_id: int, final: bool) -> End | None:
    """The end of data at the beginning of ``part``, where the VM description says that it lies.

    The section's own footer at that very place is enough, whatever follows. None where neither a footer nor a header
    stands there.

    Raises:
        More: ``part`` ends too soon to tell.
    """
    if len(part) >= FOOTER and part[:FOOTER] == footer_of(section_id):
        return End(0, own=True)
    skip = next((skip for skip in (FOOTER, 0) if skip < len(part) and _goes_on(part, skip, final)), None)
    return None if skip is None else End(0, own=False, skip=skip)


def by_footer(
    part: memoryview, limit: int, section_id: int, announced: Collection[int], final: bool, only_own: bool = False
) -> End | None:
    """The first footer in ``part`` that counts and begins before ``limit``, or None where there is none.

    The footer of another section ends the data too, unless that section's header stands before it. It is then this
    section's footer that is damaged, and the data ends before that header. ``only_own``: another's does not count.

    Raises:
        More: ``part`` ends too soon to tell.
    """
    own = footer_of(section_id)
    for match in _FOOTER.finditer(part):
        at = match.start()
        if at >= limit:
            break
        if part[at : at + FOOTER] == own:
            if follows(part, at + FOOTER, announced, final, section_id):
                return End(at, own=True)
        elif not only_own and _ends_another(part, at, final):
            return _before(part, at) or End(at, own=False)
    for match in () if only_own else _EOF.finditer(part):
        at = match.start() - FOOTER
        if 0 <= at < limit and _is_end(part, match.start() + 1, final):
            return End(at, own=False)
    return None


def by_end(part: memoryview, section_id: int) -> int | None:
    """The offset of the section's footer before an EOF after which bytes follow that do not belong to the stream."""
    found = re.search(re.escape(footer_of(section_id)) + rb"\x00", part)
    return None if found is None else found.start()


def _goes_on(part: memoryview, at: int, final: bool) -> bool:
    """Whether the header of another START or FULL section stands at ``at``, or the end of the stream."""
    if part[at] == SectionType.EOF:
        return _is_end(part, at + 1, final)
    return part[at] in (SectionType.START, SectionType.FULL) and _is_header(part, at, final)


def _ends_another(part: memoryview, at: int, final: bool) -> bool:
    """Whether a footer of whatever section stands at ``at``."""
    number = int.from_bytes(part[at + 1 : at + FOOTER])
    return number < ID_MAX and at + FOOTER < len(part) and _goes_on(part, at + FOOTER, final)


def _before(part: memoryview, footer: int) -> End | None:
    """The end of data before the header of the section whose footer stands at ``footer``, if there is such a header."""
    pattern = b"[\x01\x04]" + re.escape(bytes(part[footer + 1 : footer + FOOTER])) + rb"[\x01-\xff][\x20-\x7e]"
    for match in re.finditer(pattern, part[:footer], re.DOTALL):
        with suppress(More):
            if _is_header(part, match.start(), final=False):
                skip = min(FOOTER, match.start())
                return End(match.start() - skip, own=False, skip=skip)
    return None


# -- without footers ---------------------------------------------------------------------------------------------------


def by_header(tail: memoryview, section_id: int, lowest: int = 0) -> int | None:
    """The offset in ``tail`` of the next header that is FULL, with a printable idstr and a higher section id.

    Devices that others need go first, whatever their ids. So an id below ``lowest``, that of all FULL sections up to
    here, counts too, behind a name of at least `NAME_MIN` bytes.
    """
    for found in _FULL.finditer(tail):
        at = found.start()
        number = int.from_bytes(tail[at + 1 : at + 1 + _ID])
        name = tail[at + 1 + _ID]
        if not (section_id < number <= section_id + ID_STEP_MAX or (number < lowest and name >= NAME_MIN)):
            continue
        end = at + 1 + _ID + 1 + name + 2 * _ID
        if end > len(tail):
            continue
        header = qevm.section_starts().parse(tail[at + 1 : end])
        if all(0x20 <= c < 0x7F for c in header.idstr) and is_version(header.version_id):
            return at
    return None


def by_eof(tail: memoryview) -> int | None:
    """The offset in ``tail`` of the container's EOF: its last byte, or before a VM description that fits exactly."""
    for found in re.finditer(rb"\x00\x06", tail):
        data = found.end() + _ID
        if data <= len(tail) and data + int.from_bytes(tail[found.end() : data]) == len(tail):
            return found.start()
    return len(tail) - 1 if len(tail) and tail[-1] == SectionType.EOF else None


# -- the VM description ------------------------------------------------------------------------------------------------


def description(view: memoryview) -> tuple[int, int] | None:
    """Where the VM description at the end of a whole capture lies, as (offset, length), or None.

    It is looked for from the end, since a scan wants it before it comes there. Zeros may follow it.
    """
    first = end = len(view)
    while end and first - end < LOOK_BACK and not view[end - 1]:
        piece = bytes(view[max(0, end - _PIECE) : end])
        end -= len(piece) - len(piece.rstrip(b"\0"))
    if not end or view[end - 1] != ord("}"):
        return None
    looks, first = 0, end
    while first > max(0, end - LOOK_BACK):
        first, last = max(0, first - _PIECE), min(end, first + _EOF_REACH)
        for match in reversed(list(_EOF.finditer(view[first:last]))):
            data = first + match.end() + _ID
            if data + int.from_bytes(view[data - _ID : data]) == end:
                return data, end - data
            looks += 1
            if looks > LOOKS_MAX:
                return None
    return None
