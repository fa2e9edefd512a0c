"""The one rule for every file that is written.

It never takes the place of a file that is being read, whatever path leads there. It takes the place of another file
only with ``force``. It appears under its final name when it is whole, or not at all. What holds memory can be read by
its owner alone.

Until it is whole, a file lies beside its final name as ``.NAME.xbrle-RANDOM.part``, with a lock on it. The lock goes
with the process. So the next process that writes there can tell what a killed one left behind, and removes it.
"""

import atexit
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, cast

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, so what a killed process left behind stays
    fcntl = None  # type: ignore[assignment]

from .errors import XbrleError
from .interrupts import LAST_ACTS, uninterrupted
from .urls import is_url, without_secrets

Target = str | os.PathLike[str] | BinaryIO

MEMORY = 0o600  # the mode of what holds memory or a capture
ZEROS = bytes(1 << 20)

#: What is opened does not go to programs that are started. Windows has no such flag, and does it by itself.
_CLOEXEC = getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0)) | getattr(os, "O_BINARY", 0)
_NAME_MAX = 200  # bytes of the final name that a temporary one repeats
_OURS = re.compile(r"\..*\.xbrle-[0-9a-f]{12}\.part", re.DOTALL)

_inputs: ContextVar[tuple[Path, ...]] = ContextVar("inputs", default=())


# -- what may not be written to ---------------------------------------------------------------------------------------


@contextmanager
def protecting(paths: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """In the block, nothing takes the place of these files, nor of a file in one of these folders."""
    token = _inputs.set((*_inputs.get(), *map(Path, paths)))
    try:
        yield
    finally:
        _inputs.reset(token)


def protect(path: str | os.PathLike[str]) -> None:
    """Nothing takes the place of this file either, until the innermost `protecting` ends: it turned out to be read."""
    if _inputs.get():
        _inputs.set((*_inputs.get(), Path(path)))


def refuse(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Where a file called ``path`` is to be written: links are followed.

    An empty file is not something that could be lost: it is replaced without ``force``.

    Raises:
        XbrleError: it is being read, or is there already and ``force`` is not given, or is not a file.
    """
    target = _here(path)
    try:
        target = target.resolve()
        state = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise XbrleError(f"{path}: {os.strerror(errno.ENOENT)}") from None
        return target
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise XbrleError(f"{path}: {getattr(error, 'strerror', None) or 'links in a circle'}") from error
    if stat.S_ISDIR(state.st_mode):
        raise XbrleError(f"{path}: is a directory")
    if not stat.S_ISREG(state.st_mode):
        return target
    _refuse_input(path, state)
    if state.st_size and not force:
        raise XbrleError(f"{path}: exists and is not empty; --force replaces it")
    return target


def refuse_folder(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Where a folder of files called ``path`` is to be written: links are followed.

    Raises:
        XbrleError: it is not a folder, or not empty and ``force`` is not given.
    """
    folder = _here(path)
    try:
        folder = folder.resolve()
        if not folder.exists():
            return folder
        if not folder.is_dir():
            raise XbrleError(f"{path}: exists and is not a folder")
        _sweep(folder)
        if not force and any(folder.iterdir()):
            raise XbrleError(f"{path}: exists and is not empty; --force replaces files in it")
    except (OSError, RuntimeError) as error:
        raise XbrleError(f"{path}: {getattr(error, 'strerror', None) or 'links in a circle'}") from error
    return folder


def _here(path: str | os.PathLike[str]) -> Path:
    """A path on this machine."""
    if is_url(path):
        raise XbrleError(f"{without_secrets(str(path))}: only files are written. Write one, and copy it there")
    return Path(path)


def _refuse_input(path: str | os.PathLike[str], state: os.stat_result) -> None:
    """Raise where the file with this state is being read."""
    for given in _inputs.get():
        with suppress(OSError):
            for read in (given, *(given.iterdir() if given.is_dir() else ())):
                if os.path.samestat(read.stat(), state):
                    same = "" if str(read) == str(path) else f"is the same file as {read}, which "
                    raise XbrleError(f"{path}: {same}is being read; give another file to write")


# -- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def replacing(target: Target, force: bool = False, mode: int | None = None) -> Iterator[BinaryIO]:
    """A new file that is called ``target`` when the block ends without an error, and is removed when it does not.

    What is written goes straight to ``target`` where that is a device, a pipe or a file object. There the block can go
    forward only, and what it leaves out is zeros. ``mode`` is the file's mode, by default what the umask allows.

    Raises:
        XbrleError: it may not be written, or cannot be.
    """
    if not isinstance(target, str | os.PathLike):
        can_seek = getattr(target, "seekable", bool)()
        yield target if can_seek else cast("BinaryIO", Forward(target))
        return
    final, lying = refuse(target, force), None
    try:
        if final.exists() and not final.is_file():
            with final.open("wb") as file:
                yield cast("BinaryIO", Forward(file))
            return
        with uninterrupted():
            descriptor, lying = temporary(final)
        with os.fdopen(descriptor, "wb") as file:
            yield cast("BinaryIO", file)
            file.flush()
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, _permitted(0o666) if mode is None else mode)
        with uninterrupted():
            _publish(lying, final, force)
            forget(lying)
    except OSError as error:
        raise XbrleError(f"{os.fspath(target)}: {error.strerror or error}") from error
    finally:
        with uninterrupted():
            if lying is not None:
                remove(lying)


class Forward:
    """A file that can only be written onwards: to seek forward writes zeros. A `BinaryIO` as far as writers use it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes where the last ones ended."""
        size = memoryview(data).nbytes
        self._file.write(data)
        self._at += size
        return size

    def writelines(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Write pieces, one after the other."""
        for piece in pieces:
            self.write(piece)

    def seek(self, place: int) -> int:
        """Go forward to ``place``."""
        if place < self._at:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE))
        while self._at < place:
            self.write(memoryview(ZEROS)[: place - self._at])
        return place

    def truncate(self, length: int) -> int:
        """End at ``length``, which lies ahead."""
        return self.seek(length)

    def tell(self) -> int:
        """How many bytes were written."""
        return self._at


@contextmanager
def filling(
    path: str | os.PathLike[str], force: bool = False, last: str = "", mode: int | None = None
) -> Iterator[Path]:
    """A folder to write files into, which are in the folder ``path`` when the block ends without an error.

    A folder that is not there yet appears as a whole. In one that is there, files appear one by one, and the file
    called ``last``, which tells of the others, goes first and comes last. ``mode`` is that of the files.

    Raises:
        XbrleError: a file may not be written, or cannot be.
    """
    folder, lying = refuse_folder(path, force), None
    made: list[Path] = []
    try:
        with uninterrupted():
            _make(folder.parent, made)
            lying = _temporary_folder(folder if folder.exists() else folder.parent, folder.name)
        yield lying
        for file in lying.iterdir():
            file.chmod(_permitted(0o666) if mode is None else mode)
        with uninterrupted():
            if folder.exists():
                _move(lying, folder, path, last)
            else:
                lying.chmod(_permitted(0o777) if mode is None else mode | 0o100)
                lying.rename(folder)
            made.clear()
    except OSError as error:
        raise XbrleError(f"{os.fspath(path)}: {error.strerror or error}") from error
    finally:
        with uninterrupted():
            if lying is not None:
                remove(lying)
            for parent in reversed(made):
                with suppress(OSError):
                    parent.rmdir()


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it. Those that were not there are added to ``made``."""
    for one in [p for p in (folder, *folder.parents) if not p.exists()][::-1]:
        one.mkdir()
        made.append(one)


def _move(lying: Path, folder: Path, path: str | os.PathLike[str], last: str) -> None:
    """Move all files into a folder that is there. Nothing is moved where one may not be."""
    files = sorted(lying.iterdir(), key=lambda p: (p.name == last, p.name))
    for file in files:
        with suppress(FileNotFoundError):
            _refuse_input(Path(path, file.name), (folder / file.name).stat())
    if last:
        (folder / last).unlink(missing_ok=True)
    for file in files:
        file.replace(folder / file.name)


def _publish(lying: Path, final: Path, force: bool) -> None:
    """Give a file its final name. Without ``force`` only an empty file gives way, not one that came meanwhile."""
    with suppress(FileNotFoundError):
        state = final.stat()
        _refuse_input(final, state)
        if state.st_size and not force:
            raise FileExistsError(errno.EEXIST, "exists meanwhile and is not empty; --force replaces it")
        force = True
    if not force:
        try:
            final.hardlink_to(lying)
        except FileExistsError:
            raise
        except OSError:  # not every file system has hard links
            pass
        else:
            lying.unlink()
            return
    lying.replace(final)


def _permitted(mode: int) -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mode & ~mask


# -- temporary names --------------------------------------------------------------------------------------------------

_lying: dict[Path, int | None] = {}  # what has a temporary name, and the descriptor that locks a folder
_done = False  # set when the process ends: nothing new is begun


def temporary(final: Path) -> tuple[int, Path]:
    """A new file with a temporary name beside ``final``, open to be written and locked, with mode 0600.

    What killed processes left in that folder is removed.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(final.parent)
    while True:
        path = final.parent / _temporary_name(final.name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC, MEMORY)
        if _is_locked(path, descriptor, None):
            return descriptor, path
        os.close(descriptor)


def _temporary_folder(parent: Path, name: str) -> Path:
    """As `temporary`, a folder in ``parent``."""
    _sweep(parent)
    while True:
        path = parent / _temporary_name(name)
        path.mkdir(0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        if _is_locked(path, descriptor, descriptor):
            return path
        os.close(descriptor)


def _temporary_name(name: str) -> str:
    if _done:
        raise OSError(errno.ECANCELED, "the program is ending")
    return f".{os.fsdecode(os.fsencode(name)[:_NAME_MAX])}.xbrle-{os.urandom(6).hex()}.part"


def _is_locked(path: Path, descriptor: int, kept: int | None) -> bool:
    """Lock a new file or folder and note it, unless another process took it for a left one before it was locked."""
    with suppress(OSError):  # where there are no locks, nobody can take it for a left one
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    if not path.exists():
        return False
    _lying[path] = kept
    return True


def remove(path: Path) -> None:
    """Remove what has a temporary name, if it still does."""
    if path in _lying:
        descriptor = _lying.pop(path)
        _delete(path)
        if descriptor is not None:
            os.close(descriptor)


def forget(path: Path) -> None:
    """Take note that what had this temporary name was given another."""
    _lying.pop(path, None)


def remove_all() -> None:
    """Remove everything that has a temporary name: the process ends."""
    global _done
    _done = True
    for path in list(_lying):
        remove(path)


atexit.register(remove_all)
LAST_ACTS.append(remove_all)


def _delete(path: Path) -> None:
    import shutil  # it imports every compression that there is

    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _sweep(folder: Path) -> None:
    """Remove what processes of this user left in a folder when they were killed."""
    if fcntl is None:
        return
    with suppress(OSError):
        left = [entry for entry in os.scandir(folder) if _OURS.fullmatch(entry.name)]
        for entry in left:
            with suppress(OSError):
                _sweep_one(Path(entry.path))


def _sweep_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | _CLOEXEC)
    try:
        state = os.fstat(descriptor)
        is_kind = stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)
        if is_kind and state.st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where its process runs
            _delete(path)
    finally:
        os.close(descriptor)
