"""The files of one recorded migration: its other channels and its other direction, found by their names beside S.

`xbrle capture` names them S.1, S.2 ... and S.reverse. Other tools name the main channel NAME.chan0.EXT, the others
NAME.chan1.EXT and so on, and tell the directions apart as .fwd and .rev.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import XbrleError
from ..formats import multifd, ram, times
from ..formats.ram import Flag
from ..urls import is_url
from .ahead import Ahead
from .packing import MAGIC_MAX, packing_of, unpacked
from .sources import MappedSource, Source

REVERSE = ".reverse"
MULTIFD_MAGIC = multifd.MAGIC.to_bytes(4, "big")
_WORD = ram.Word.sizeof()
_ADDRESS_BITS = 48  # no page lies beyond
_FIRST = (Flag.PAGE, Flag.COMPRESS, Flag.EOS)
_HEAD = 64  # bytes that show what a file is
_PACKED_HEAD = 1 << 16  # packed bytes that give as many
OBJECTS_MAX = 256  # channels of one migration: QEMU has at most 255
_CHANNEL_ZERO = re.compile(r"(?P<before>.*[._-]chan(?:nel)?)0(?P<after>\..*)?")
_FORWARD, _BACKWARD = ".fwd", ".rev"


def is_channel(head: bytes) -> bool:
    """Whether a file that begins with ``head`` can be a channel beside a main one: multifd's, or preempt's."""
    return head.startswith(MULTIFD_MAGIC) or begins_row(head)


def is_multifd(source: Source) -> bool:
    """Whether ``source`` is a channel of multifd, and not a main channel. Of a pipe that is not asked."""
    return isinstance(source, MappedSource) and source.view[: len(MULTIFD_MAGIC)] == MULTIFD_MAGIC


def whole_channel(source: Source) -> Source:
    """The source itself. A pipe that a channel can come through is spooled: a channel is read as a whole."""
    if isinstance(source, MappedSource):
        return source
    return source.spool() if source.begins_with(MULTIFD_MAGIC) or begins_row(source.head(_WORD)) else source


def begins_row(head: bytes) -> bool:
    """Whether a file that begins with ``head`` can be a row of records: one that names its block, or an EOS."""
    word = int.from_bytes(head[:_WORD], "big")
    return len(head) >= _WORD and word >> _ADDRESS_BITS == 0 and word & (ram.MIN_PAGE_SIZE - 1) in _FIRST


def channels_beside(what: object) -> tuple[Path | str, ...]:
    """The files beside the file ``what`` that are named as the other channels of its migration and begin as one does.

    They come in the order of their numbers. Empty files are left out. What is not a path to a file has none. Of a URL,
    objects are asked for by their names from 1 on, up to the first that is not there.

    Raises:
        TransportError: what holds the object does not answer.
    """
    if not isinstance(what, str | os.PathLike) or what == "-":
        return ()
    if is_url(what):
        return tuple(_objects_beside(os.fspath(what)))
    path, numbered = Path(what), []
    with suppress(OSError):
        names = _names(path)
        for beside in path.parent.iterdir():
            match = names.fullmatch(beside.name)
            if match and beside.is_file() and is_channel(_head(beside)):
                numbered.append((int(match[1]), beside))
    return tuple(p for _, p in sorted(numbered))


def _objects_beside(url: str) -> Iterator[str]:
    from . import remote

    if remote.beside(url, "") is None:
        return
    folder, _, name = url.rpartition("/")
    zero = _CHANNEL_ZERO.fullmatch(name)
    for number in range(1, OBJECTS_MAX):
        numbered = f"{name}.{number}" if zero is None else f"{zero['before']}{number}{zero['after'] or ''}"
        channel = f"{folder}/{numbered}"
        if not remote.exists(channel):
            return
        if is_channel(_head_in(Ahead(cast("BinaryIO", BytesIO(remote.head_of(channel, _PACKED_HEAD)))))):
            yield channel


def reverse(given: str) -> str | None:
    """The file beside ``given``, a path or a URL, with what came back over the connection. None: there is none.

    Raises:
        TransportError: what holds the object does not answer.
    """
    folder, slash, name = given.rpartition("/")
    names = [name + REVERSE]
    if _FORWARD in name:
        head, _, tail = name.rpartition(_FORWARD)
        names.append(head + _BACKWARD + tail)
    return next((folder + slash + n for n in names if is_there(folder + slash + n)), None)


def is_there(given: str) -> bool:
    """Whether there is such a file, or such an object where ``given`` is a URL that another name can be made of.

    Raises:
        TransportError: what holds the object does not answer.
    """
    if not is_url(given):
        return os.path.isfile(given)  # noqa: PTH113 - a Path each is slow
    from . import remote

    return remote.beside(given, "") is not None and remote.exists(given)


@contextmanager
def at_hand(given: str, keep: bool = True) -> Iterator[Path]:
    """Such a file or object, as a file. ``keep``: what is fetched may stay in the cache.

    Raises:
        TransportError: it cannot be had.
    """
    if not is_url(given):
        yield Path(given)
        return
    from . import remote

    with remote.at_hand(given, keep) as path:
        yield path


def content(given: str) -> bytes:
    """All bytes of such a small file or object.

    Raises:
        OSError: it cannot be read.
        TransportError: it cannot be had.
    """
    with at_hand(given, keep=False) as path:
        return path.read_bytes()


def _names(path: Path) -> re.Pattern[str]:
    """What the other channels of the main channel ``path`` are called. The number is the one group."""
    zero = _CHANNEL_ZERO.fullmatch(path.name)
    if zero:
        return re.compile(f"{re.escape(zero['before'])}([1-9][0-9]{{0,8}}){re.escape(zero['after'] or '')}")
    return re.compile(rf"{re.escape(path.name)}\.([0-9]{{1,9}})")


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is compressed. There are none where it cannot be read."""
    with suppress(OSError, XbrleError), path.open("rb") as file:
        return _head_in(Ahead(file))
    return b""


def _head_in(ahead: Ahead) -> bytes:
    """The first bytes of what ``ahead`` gives, unpacked where it is compressed. None where they cannot be unpacked."""
    with suppress(OSError, XbrleError):
        packing = packing_of(ahead.head(MAGIC_MAX))
        return bytes((ahead if packing is None else unpacked(ahead, packing)).head(_HEAD))
    return b""


def times_beside(name: str, packed: bool) -> str | None:
    """The file with the times of the capture ``name``, a path or a URL, where there is one.

    It is called NAME.times. That of a ``packed`` capture can also lack NAME's last ending.
    """
    names = [name + times.SUFFIX]
    if packed:
        names.append(os.path.splitext(name)[0] + times.SUFFIX)  # noqa: PTH122 - S.bin of S.bin.xz
    return next((n for n in names if name != "-" and is_there(n)), None)
