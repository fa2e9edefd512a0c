"""A folder of tables while it changes: which of its files count, and when old ones may be taken away.

Small files that were joined lie beside the new one for a moment. Whoever reads takes either these or that, never both.
Whoever takes files away waits until nobody reads: readers share a lock on the folder. It is of this machine, and of
others where the file system takes part. Where nothing can be locked, nothing is.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

#: What the metadata of a file of many captures call the list of their ids: a JSON list of text.
IDS = "xbrletools.ids"
#: What the names of folders begin with that hold the file of one capture, or of one source.
SINGLE = ("capture=", "source_id=")


@contextmanager
def reading(folder: str | os.PathLike[str]) -> Iterator[None]:
    """In the block, nothing that is in the folder is taken away."""
    with _locked(folder, shared=True, wait=True):
        yield


@contextmanager
def removing(folder: str | os.PathLike[str], wait: bool = True) -> Iterator[bool]:
    """In the block, nobody reads the folder, and files may be taken away.

    Where somebody reads it, this waits for them. Without ``wait`` it gives False instead.
    """
    with _locked(folder, shared=False, wait=wait) as free:
        yield free


@contextmanager
def _locked(folder: str | os.PathLike[str], shared: bool, wait: bool) -> Iterator[bool]:
    """A lock on the folder. False where another has it; True where it cannot be locked at all."""
    free, descriptor = True, None
    try:
        if fcntl is not None:
            with suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        if descriptor is not None:
            how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                free = False
            except OSError:
                pass  # this file system does not have locks
        yield free
    finally:
        if descriptor is not None:
            os.close(descriptor)


def counting(files: Sequence[str], ids_of: Callable[[str], Collection[str]]) -> list[str]:
    """The files of a table that count, in their order: without those whose rows a newer one of many captures has.

    ``ids_of`` gives the ids that a file of many captures has.
    """
    single: dict[Path, list[Path]] = defaultdict(list)
    many: dict[Path, list[Path]] = defaultdict(list)
    for path in map(Path, files):
        if path.parent.name.startswith(SINGLE):
            single[path.parent.parent].append(path)
        else:
            many[path.parent].append(path)
    old: set[str] = set()
    for folder, joined in many.items():
        if len(joined) + len(single[folder]) > 1:
            old.update(map(str, superseded(joined, single[folder], ids_of)))
    return [f for f in files if f not in old]


def superseded(joined: Sequence[Path], single: Sequence[Path], ids_of: Callable[[str], Collection[str]]) -> list[Path]:
    """The files of one partition whose rows a newer file of many captures has as well."""
    old, ids = [], set[str]()
    newest_first = sorted(((_changed(p), p) for p in joined), reverse=True)
    for _, path in newest_first:
        own = set(ids_of(str(path)))
        if own and own <= ids:
            old.append(path)
        ids |= own
    newest = newest_first[0][0] if newest_first else 0
    return old + [p for p in single if p.parent.name.partition("=")[2] in ids and _changed(p) < newest]


def _changed(path: Path) -> int:
    """When a file was last changed, in ns. One that is gone counts as old."""
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
