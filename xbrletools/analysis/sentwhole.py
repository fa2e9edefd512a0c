"""Expressions in a capture's own bytes, where pages lie that were sent whole."""

import re
from collections.abc import Iterator

from ..model import Stream

SEARCHED = 4 << 30  # bytes of a capture that are searched
_WINDOW = 1 << 18  # bytes that are searched at once: no other thread of Python runs meanwhile
_CHECKED = 1 << 24  # bytes after which it is looked again whether the file has shrunk, which lets other threads run


def matches(stream: Stream, expression: re.Pattern[bytes], longest: int) -> Iterator[re.Match[bytes]]:
    """The matches of an expression, ``longest`` bytes at most, in file order. None in captures over `SEARCHED`.

    Raises:
        XbrleError: the file has shrunk since it was opened.
    """
    data = stream.data
    for at in range(0, len(data) if len(data) <= SEARCHED else 0, _WINDOW):
        if at % _CHECKED == 0:
            data = stream.data
        for match in expression.finditer(data[at : at + _WINDOW + longest].data):
            if match.start() < _WINDOW:
                yield match
