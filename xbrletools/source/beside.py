"""The files of one recorded migration: its other channels and its other direction, found by their names beside S.

`xbrle capture` names them S.1, S.2 ... and S.reverse. Other tools name the main channel NAME.chan0.EXT, the others
NAME.chan1.EXT and so on, and tell the directions apart as .fwd and .rev.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from ..errors import XbrleError
from ..formats import multifd, ram
from ..formats.ram import Flag
from .ahead import Ahead
from .packing import MAGIC_MAX, packing_of, unpacked
from .sources import MappedSource, Source

REVERSE = ".reverse"
MULTIFD_MAGIC = multifd.MAGIC.to_bytes(4, "big")
_WORD = ram.Word.sizeof()
_ADDRESS_BITS = 48  # no page lies beyond
_FIRST = (Flag.PAGE, Flag.COMPRESS, Flag.EOS)
_HEAD = 64  # bytes that show what a file is
_CHANNEL_ZERO = re.compile(r"(?P<before>.*[._-]chan(?:nel)?)0(?P<after>\..*)?")
_FORWARD, _BACKWARD = ".fwd", ".rev"


def is_channel(head: bytes) -> bool:
    """Whether a file that begins with ``head`` can be a channel beside a main one: multifd's, or preempt's."""
    return head.startswith(MULTIFD_MAGIC) or begins_row(head)


def is_multifd(source: Source) -> bool:
    """Whether ``source`` is a channel of multifd, and not a main channel. Of a pipe that is not asked."""
    return isinstance(source, MappedSource) and source.view[: len(MULTIFD_MAGIC)] == MULTIFD_MAGIC


def whole_channel(source: Source) -> Source:
    """The source itself. A pipe that a channel of multifd comes through is spooled: a channel is read as a whole."""
    return source.spool() if not isinstance(source, MappedSource) and source.begins_with(MULTIFD_MAGIC) else source


def begins_row(head: bytes) -> bool:
    """Whether a file that begins with ``head`` can be a row of records: one that names its block, or an EOS."""
    word = int.from_bytes(head[:_WORD], "big")
    return len(head) >= _WORD and word >> _ADDRESS_BITS == 0 and word & (ram.MIN_PAGE_SIZE - 1) in _FIRST


def channels_beside(what: object) -> tuple[Path, ...]:
    """The files beside the file ``what`` that are named as the other channels of its migration and begin as one does.

    They come in the order of their numbers. Empty files are left out. What is not a path to a file has none.
    """
    if not isinstance(what, str | os.PathLike) or what == "-":
        return ()
    path, numbered = Path(what), []
    with suppress(OSError):
        names = _names(path)
        for beside in path.parent.iterdir():
            match = names.fullmatch(beside.name)
            if match and beside.is_file() and is_channel(_head(beside)):
                numbered.append((int(match[1]), beside))
    return tuple(p for _, p in sorted(numbered))


def reverse(path: Path) -> Path | None:
    """The file beside ``path`` with what came back over the same connection, or None where there is none."""
    names = [path.name + REVERSE]
    if _FORWARD in path.name:
        head, _, tail = path.name.rpartition(_FORWARD)
        names.append(head + _BACKWARD + tail)
    with suppress(OSError):
        return next((p for p in map(path.with_name, names) if p.is_file()), None)
    return None


def _names(path: Path) -> re.Pattern[str]:
    """What the other channels of the main channel ``path`` are called. The number is the one group."""
    zero = _CHANNEL_ZERO.fullmatch(path.name)
    if zero:
        return re.compile(f"{re.escape(zero['before'])}([1-9][0-9]{{0,8}}){re.escape(zero['after'] or '')}")
    return re.compile(rf"{re.escape(path.name)}\.([0-9]{{1,9}})")


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is compressed. There are none where it cannot be read."""
    with suppress(OSError, XbrleError), path.open("rb") as file:
        ahead = Ahead(file)
        packing = packing_of(ahead.head(MAGIC_MAX))
        return bytes((ahead if packing is None else unpacked(ahead, packing)).head(_HEAD))
    return b""
