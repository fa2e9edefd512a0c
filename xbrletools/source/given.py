"""A file that is read through its own methods, such as a file object of a caller: what fails there is told apart.

What a decompressor says of its input is damage. What a network says is not: nothing is known of the bytes behind it.
"""

from typing import Any, BinaryIO

from ..errors import XbrleError
from .packing import is_damage
from .transport import broken, ended, is_network

#: Packages whose file objects unpack: an `OSError` of theirs can be about the packed bytes.
_UNPACKING = frozenset(("bz2", "compression", "gzip", "lzma", "zipfile", "zlib", "zstandard"))


class Told:
    """The bytes of ``raw``, in order. Each failure that is not about the bytes is a `TransportError`.

    ``of_caller``: it is a caller's object, so that every `OSError` is one of what is behind it. Files of this machine
    fail so only where they lie on another one.

    Raises:
        XbrleError: it cannot be read from.
    """

    def __init__(self, raw: BinaryIO, name: str, of_caller: bool) -> None:
        self._raw = raw
        self._name = name
        self._everything = of_caller and type(raw).__module__.split(".")[0].lstrip("_") not in _UNPACKING
        step: Any = getattr(raw, "read1", None) or getattr(raw, "read", None)
        if step is None:
            kind = type(raw).__name__
            raise XbrleError(f"{name}: {kind} cannot be opened: give a path, a URL, bytes or a file object with read()")
        self._step = step
        self._at = 0
        self._size = _size_of(raw) if of_caller else None

    def read1(self, count: int, /) -> bytes:
        """The next bytes, at most ``count``. There are none at the end.

        Raises:
            TransportError: they cannot be had.
        """
        try:
            piece: bytes = self._step(count) or b""
        except XbrleError:
            raise
        except Exception as error:
            about_bytes = is_damage(error) and not is_network(error)
            if about_bytes and not (self._everything and isinstance(error, OSError)):
                raise
            if not self._everything and not is_network(error):
                raise
            raise broken(self._name, self._at, error) from error
        if isinstance(piece, str):
            raise XbrleError(f"{self._name}: gives text, not bytes: open it in binary mode, as with open(path, 'rb')")
        if not piece and self._size is not None and self._at < self._size:
            raise ended(self._name, self._at, self._size)
        self._at += len(piece)
        return piece

    def fileno(self) -> int:
        """The descriptor to wait on, where there is one."""
        return self._raw.fileno()

    def close(self) -> None:
        """Close it."""
        self._raw.close()


def _size_of(raw: Any) -> int | None:
    """How many bytes are to come of a file object that says how large it is, as those of fsspec do."""
    size = getattr(raw, "size", None)
    if not isinstance(size, int):
        return None
    try:
        return size - int(raw.tell())
    except Exception:  # an object of a stranger
        return None
