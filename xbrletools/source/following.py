"""A capture that is still being written: a file that grows, or a pipe that is copied into a temporary file.

A scan of one waits for what is to come. A file counts as complete when it has not grown for a while, a pipe when it
ends.
"""

import os
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import XbrleError, unopened
from .sources import WINDOW, MappedSource, PipeSource, mapped

STILL = 2.0  # seconds without growth after which a file counts as complete
TICK = 0.05  # seconds between two looks at a file


class GrowingSource(MappedSource):
    """The bytes of the file at ``path``, as far as it is written. There are none while the file does not exist."""

    grows = True

    def __init__(self, path: str, wrapper: str | None = None, start: int = 0) -> None:
        super().__init__(path, b"", wrapper, start)
        self.given = path
        self._since = time.monotonic()  # when the file was last seen to grow

    def coming(self) -> bool:
        """Whether more bytes may follow. A file that grew a moment ago counts as still being written."""
        return not self.size or time.monotonic() - self._since < STILL

    def grown(self) -> bool:
        """Look for new bytes and map them. Returns whether there were any.

        Raises:
            XbrleError: the file cannot be read.
        """
        try:
            with Path(self.name).open("rb") as file:
                return self._look(file)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unopened(self.name, error) from error

    def _look(self, file: BinaryIO) -> bool:
        state = os.fstat(file.fileno())
        if state.st_size <= self.size:
            return False
        age = time.time() - state.st_mtime
        self._since = time.monotonic() - max(0.0, age)
        self._buffer = buffer = mapped(file)
        self.view = memoryview(buffer)
        self.data = np.frombuffer(buffer, np.uint8)
        self.size = len(self.data)
        return True

    def window(self, offset: int, least: int) -> tuple[memoryview, bool]:
        """The bytes from ``offset``, at least ``least`` of them unless the capture ends, and whether it does.

        Waits until they are written.
        """
        wanted = offset + least
        while True:
            coming = self.coming()  # before the look at the file, which then sees what was written last
            self.grown()
            if self.size >= wanted or not coming:
                break
            time.sleep(TICK)
        end = min(self.size, offset + max(least, WINDOW))
        self._drop(offset)
        return self.view[offset:end], not coming and end == self.size


def follow(path: str | os.PathLike[str], start: int = 0) -> GrowingSource:
    """A source for a file that is being written, or will be. The stream begins at offset ``start``.

    Raises:
        XbrleError: the path exists and is not a file.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise XbrleError(f"{path}: is not a file, so it cannot be followed")
    return GrowingSource(os.fspath(path), start=start)


class _Spool(GrowingSource):
    """A pipe's bytes, which a thread copies into a temporary file."""

    def __init__(self, pipe: PipeSource) -> None:
        super().__init__(pipe.name, pipe.wrapper)
        self.wrapping = pipe.wrapping
        self.start = pipe.start
        self.given = pipe.given
        self._done = False
        self._trouble: XbrleError | None = None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when all of it is mapped, or nobody asks any more
        weakref.finalize(self, self._file.close)
        self._file.seek(pipe.first)  # what was read before is a hole
        threading.Thread(target=self._copy, args=(pipe,), daemon=True).start()

    def _copy(self, pipe: PipeSource) -> None:
        try:
            for piece in pipe.pieces():
                self._file.write(piece)
                self._file.flush()
                pipe.wait()  # not in a read, since the user may leave before more comes
            self.damage = pipe.damage
        except XbrleError as error:
            self._trouble = error
        except OSError as error:
            self.damage = f"only a part could be kept: {error.strerror}"
        finally:
            self._done = True

    def coming(self) -> bool:
        """Whether the pipe is still open."""
        return not self._done

    def grown(self) -> bool:
        """Look for new bytes and map them. Returns whether there were any.

        Raises:
            XbrleError: the pipe could not be read on, which is not the end of the capture.
        """
        if self._trouble is not None:
            raise self._trouble
        if self._file.closed:
            return False
        done = self._done
        more = self._look(self._file)
        if done:
            self._file.close()
        return more


def spooling(pipe: PipeSource) -> GrowingSource:
    """A source for what comes through ``pipe``. A thread reads the pipe from now on."""
    return _Spool(pipe)
