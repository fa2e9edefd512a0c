"""A stream that was copied as if it were a text: line ends or characters were changed all over it.

Each of these changes every place of its kind. So it counts only where undoing it makes the records go on.
"""

import codecs

from ..cause import CauseName
from .case import Candidate, Case
from .flips import spot_at
from .reading import GOES_ON, is_whole
from .walker import State, Walker

_WINDOW = 1 << 18  # bytes that are converted back
_LEAST = 3  # line ends, or characters, that a conversion changed


def candidates(case: Case) -> list[Candidate]:
    """The conversion that explains the first break. None where none does."""
    broken = case.broken
    if broken is None or broken.spot.state is State.DISK:
        return []
    rows = [row for row in (broken.row - 1, broken.row - 2) if row >= 0]
    spots = [spot_at(case, row) for row in rows] + [broken.spot]
    for spot in spots:
        raw = bytes(case.read.view[spot.offset : spot.offset + _WINDOW])
        for fixed, why in ((_of_lines(raw), _LINES), (_of_characters(raw), _CHARACTERS)):
            if fixed is None:
                continue
            walk = Walker(memoryview(fixed), case.read.grammar, spot.offset).walk(spot, GOES_ON)
            if is_whole(walk, GOES_ON):
                for name in (CauseName.BYTES_OVERWRITTEN, CauseName.BYTES_MISSING, CauseName.SPLICED):
                    case.falls(name, f"with a conversion of the whole file undone {GOES_ON} records follow each other")
                why = f"{why}: with that undone {GOES_ON} records follow each other from {spot.offset:#x} on"
                at = broken.row if spot is broken.spot else broken.row - 1
                return [Candidate(CauseName.BYTES_INSERTED, 1, why, at, spot.offset, onward=spot.offset)]
    return []


_LINES = "every line feed (0a) has a carriage return (0d) before it, so the file was copied as a text"
_CHARACTERS = "all bytes from 80 on read as UTF-8, so the file was copied as a text in another encoding"


def _of_lines(raw: bytes) -> bytes | None:
    """The bytes with line ends as they were, or None where these are not those of such a conversion."""
    count = raw.count(b"\n")
    return raw.replace(b"\r\n", b"\n") if count >= _LEAST and count == raw.count(b"\r\n") else None


def _of_characters(raw: bytes) -> bytes | None:
    """The bytes before each was made a character of UTF-8, or None where they are not that."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(raw)
        return text.encode("latin-1") if sum(c >= "\x80" for c in text) >= _LEAST else None
    except UnicodeError:
        return None
