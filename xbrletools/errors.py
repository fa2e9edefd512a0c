"""The one family of errors that a caller sees for bad input."""

import os
from typing import Any


class XbrleError(Exception):
    """Something in the input cannot be read as what it should be.

    ``offset`` is the place of that in the capture, in bytes, or None if it does not have one place.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at offset {offset:#x})")
        self.offset = offset

    def __reduce__(self) -> tuple[Any, ...]:
        """As its class, its message and what else it holds, so that another process has it as it was raised."""
        return _raised, (type(self), str(self), dict(self.__dict__))


def _raised(kind: type[XbrleError], message: str, held: dict[str, Any]) -> XbrleError:
    """The error that another process raised."""
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(held)
    return error


class NoFileError(XbrleError, FileNotFoundError):
    """A file is not there. This is also a FileNotFoundError, with its ``filename`` and ``errno``."""

    def __init__(self, path: "str | os.PathLike[str]", error: OSError) -> None:
        super().__init__(f"{os.fspath(path)}: {error.strerror}")
        self.errno, self.strerror, self.filename = error.errno, error.strerror, os.fspath(path)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return NoFileError, (self.filename, OSError(self.errno, self.strerror))


class NoRowError(XbrleError, IndexError):
    """A table does not have this row. This is also an IndexError, which ends a loop over a sequence."""


def unopened(path: "str | os.PathLike[str]", error: OSError) -> XbrleError:
    """The error to raise for a file that cannot be opened or read: a `NoFileError` where it is not there."""
    if isinstance(error, FileNotFoundError):
        return NoFileError(path, error)
    return XbrleError(f"{os.fspath(path)}: {error.strerror}")


class TransportError(XbrleError):
    """What should be read could not be had. This says nothing of the capture, and trying again may help.

    ``absent``: there is no such thing, as far as whoever holds it tells.
    """

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent
