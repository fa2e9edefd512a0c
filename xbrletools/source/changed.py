"""Whether a file was written to while it was read. What was found in it then is of no one moment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

SHRUNK = "the file has shrunk while it was read."  # its bytes are gone, so this ends the reading
WRITTEN_TO = "written to while it was read"


class Read(NamedTuple):
    """A file that is read, as it was when it was opened: its ``size`` in bytes, and when it was last written to."""

    path: str
    node: tuple[int, int]
    size: int
    written: int

    @classmethod
    def of(cls, path: str, state: os.stat_result) -> "Read":
        """The file at ``path`` in this state."""
        return cls(path, (state.st_dev, state.st_ino), state.st_size, state.st_mtime_ns)

    def change(self) -> str | None:
        """What a person must know, None where it is as it was. Another file of its name is not a change of this one."""
        try:
            now = Read.of(self.path, os.stat(self.path))  # noqa: PTH116 - pathlib takes its time at the start
        except OSError:
            return None
        if now == self or now.node != self.node:
            return None
        sizes = "" if now.size == self.size else f" (it had {self.size:,} bytes, and has {now.size:,})"
        mixed = "so what is said of it may be of several moments. Run this again when nobody writes to it"
        return f"{self.path}: {WRITTEN_TO}{sizes}, {mixed}"


_watched: ContextVar[list[Read] | None] = ContextVar("watched", default=None)


@contextmanager
def watching() -> Iterator[list[Read]]:
    """The files that are opened in the block, as they are opened."""
    files: list[Read] = []
    token = _watched.set(files)
    try:
        yield files
    finally:
        _watched.reset(token)


def reads(path: str | os.PathLike[str], state: os.stat_result) -> None:
    """Note that a file is opened, in this state, for who watches."""
    files = _watched.get()
    if files is not None:
        files.append(Read.of(os.fspath(path), state))
