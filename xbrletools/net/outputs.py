"""The files that a recording goes to. The main ones are open before anything can come.

S is the main channel and S.1, S.2 ... the other channels, in the order in which they first said something. What belongs
to no channel goes to S.foreign.1 and so on. The other direction of each ends in .reverse. Beside S and the channels lie
S.times, S.1.times and so on, with the times at which their bytes came. All have mode 0600.
"""

import os
import re
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import XbrleError
from ..formats.times import SUFFIX
from ..outputs import MEMORY, forget, temporary
from ..source.beside import REVERSE

STANDARD_OUTPUT = 1
_SIBLING = re.compile(rf"(?:\.(?:(?:foreign\.)?[0-9]+(?:\.reverse)?|reverse))?(?:{re.escape(SUFFIX)})?")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An open file that nothing was written to yet, which will be ``final``.

    It lies at ``path``, which is None where the file is not a new one.
    """

    descriptor: int
    path: Path | None
    final: Path


class Outputs:
    """Opens the files of one recording, and takes away those that got nothing.

    ``out`` is S, or - for standard output, which takes the main channel alone. So does a device. No file is written
    over without ``force``. With it, older files of these names give way when the first byte comes, and not before.

    Raises:
        XbrleError: the main file cannot be opened, or one of these names is taken.
    """

    def __init__(self, out: Path, force: bool, two_ways: bool) -> None:
        self._out = out
        self._force = force
        self._lock = threading.Lock()
        self._older: list[Path] = []
        self._prepared: dict[str, _Prepared] = {}
        self._opened: list[tuple[Path, os.stat_result]] = []
        self._alone = True
        try:
            if str(out) == "-":
                self._prepared[""] = _Prepared(os.dup(STANDARD_OUTPUT), None, out)
            elif _is_device(out):
                self._prepared[""] = _Prepared(os.open(out, os.O_WRONLY), None, out)
            else:
                self._alone = False
                self._older = taken(out, force)
                for ending in ("", REVERSE) if two_ways else ("",):
                    self._prepared[ending] = self._prepare(ending)
        except OSError as error:
            self.discard()
            raise XbrleError(f"{out}: {error.strerror or error}") from error

    def open(self, ending: str) -> tuple[int, Path]:
        """A descriptor for the file whose name is S and ``ending``, and that name. Its first byte has come.

        Raises:
            OSError: it cannot be opened.
        """
        with self._lock:
            older, self._older = self._older, []
            for path in older:
                with suppress(FileNotFoundError):
                    path.unlink()
            ready = self._prepared.pop(ending, None)
            if ready is not None:
                if ready.path is not None and ready.path != ready.final:
                    ready.path.replace(ready.final)
                    forget(ready.path)
                return self._handed_out(ready.descriptor, ready.final)
            if self._alone and ending.endswith(REVERSE):
                return os.open(os.devnull, os.O_WRONLY), Path(os.devnull)
            if self._alone:
                raise OSError(0, "there is a place for the main channel alone, since -o is not a file")
            path = self._path(ending)
            return self._handed_out(_created(path), path)

    def open_times(self, path: Path) -> int:
        """A descriptor for the times of the file ``path``, which got its first byte.

        Raises:
            OSError: it cannot be opened, or ``path`` is not a file.
        """
        if self._alone:
            raise OSError("what is not a file does not have times beside it")
        beside = path.with_name(path.name + SUFFIX)
        descriptor = _created(beside)
        with self._lock:
            self._opened.append((beside, os.fstat(descriptor)))
        return descriptor

    def discard(self) -> None:
        """Close and remove what got no byte."""
        with self._lock:
            for ready in self._prepared.values():
                if ready.path is not None:
                    _remove_empty(ready.path, os.fstat(ready.descriptor))
                os.close(ready.descriptor)
            self._prepared.clear()
            for path, identity in self._opened:
                _remove_empty(path, identity)
            self._opened.clear()

    def _handed_out(self, descriptor: int, path: Path) -> tuple[int, Path]:
        if not self._alone:
            self._opened.append((path, os.fstat(descriptor)))
        return descriptor, path

    def _prepare(self, ending: str) -> _Prepared:
        final = self._path(ending)
        if final not in self._older:
            return _Prepared(_created(final), final, final)
        descriptor, path = temporary(final)
        return _Prepared(descriptor, path, final)

    def _path(self, ending: str) -> Path:
        return self._out.with_name(self._out.name + ending)


def taken(out: Path, force: bool) -> list[Path]:
    """What is at the names of a recording to ``out``: nothing, or with ``force`` what will give way.

    Raises:
        XbrleError: something is there that may not be replaced.
    """
    if out.is_dir():
        raise XbrleError(f"{out}: is a directory")
    name = out.name
    beside = out.parent.iterdir()  # raises where that is not a directory
    taken = [p for p in beside if p.name == name or _SIBLING.fullmatch(p.name.removeprefix(name))]
    taken = sorted(p for p in taken if p.name.startswith(name))
    for path in taken:
        if not force:
            what = "exists already" if path.name == name else f"exists already, and would be taken for part of {name}"
            raise XbrleError(f"{path}: {what}. --force replaces it")
        if not path.is_symlink() and not path.is_file():
            raise XbrleError(f"{path}: is not a file, and is not replaced")
    return taken


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MEMORY)


def _is_device(path: Path) -> bool:
    """Whether it is something to write to that is not a file: a character device or a pipe."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _remove_empty(path: Path, own: os.stat_result) -> None:
    """Remove ``path`` if it is still the file that was made here, and empty."""
    with suppress(OSError):
        there = path.lstat()
        if (there.st_dev, there.st_ino, there.st_size) == (own.st_dev, own.st_ino, 0):
            path.unlink()
