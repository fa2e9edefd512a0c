"""Memory snapshots as mapped files: one raw file with the blocks one after the other, or a folder that `xbrle extract`
wrote. Nothing is read before its pages are asked for.
"""

import json
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..errors import XbrleError, unopened
from ..model import Block
from ..source.manifest import MANIFEST, named
from ..text import shown

COMPARE_BYTES = 8 << 20


class Snapshot:
    """All RAM blocks at one moment, mapped. Pages are numbered through the blocks in their order.

    Pages that were read leave this process at once. The files stay in the system's cache.
    """

    def __init__(self, blocks: Sequence[Block], files: list[mmap.mmap], page_size: int) -> None:
        self._files = files
        self._parts = _parts(blocks, files, page_size)
        self._first = np.concatenate([[0], np.cumsum([b.length // page_size for b in blocks])]).astype(np.int64)
        self._page_size = page_size

    def __len__(self) -> int:
        return int(self._first[-1])

    def take(self, pages: NDArray[np.int64]) -> NDArray[np.uint8]:
        """These pages, (n, page_size) uint8, a copy."""
        out = np.empty((len(pages), self._page_size), np.uint8)
        block = np.searchsorted(self._first, pages, side="right") - 1
        for b in distinct(block).tolist():
            in_block = block == b
            places = pages[in_block] - self._first[b]
            if places[-1] - places[0] == len(places) - 1 and (np.diff(places) == 1).all():
                out[in_block] = self._parts[b][places[0] : places[-1] + 1]
            else:
                out[in_block] = self._parts[b][places]
        self._let_go()
        return out

    def differs(self, other: "Snapshot") -> NDArray[np.bool_]:
        """Which pages differ from those of another snapshot, (pages,) bool."""
        differing = np.zeros(len(self), bool)
        step = max(1, COMPARE_BYTES // self._page_size)
        for b, (own_part, other_part) in enumerate(zip(self._parts, other._parts, strict=True)):
            for start in range(0, len(own_part), step):
                batch = slice(start, start + step)
                page = int(self._first[b]) + start
                changed = (own_part[batch].view(np.uint64) != other_part[batch].view(np.uint64)).any(axis=1)
                differing[page : page + len(changed)] = changed
                self._let_go()
                other._let_go()
        return differing

    def _let_go(self) -> None:
        for file in self._files if hasattr(mmap, "MADV_DONTNEED") else ():  # Windows does not have it
            file.madvise(mmap.MADV_DONTNEED)


def open_snapshots(
    paths: Sequence[str], blocks: Sequence[Block], page_size: int, main: bytes
) -> tuple[list[Snapshot], list[Block]]:
    """Map the files of snapshots, which all have the same blocks. These are ``blocks``, else those of a folder's
    manifest, else one block ``main`` as large as the first file.

    Raises:
        XbrleError: a file is missing or has another size than its blocks, or a block is not a whole number of pages.
    """
    if not blocks and paths:
        first = Path(paths[0])
        blocks = _manifest(first) if first.is_dir() else [Block(main, _size(first))]
    for block in blocks:
        if not block.length or block.length % page_size:
            raise XbrleError(f"block {shown(block.name)} of {block.length:,} bytes is not a whole number of pages")
    return [Snapshot(blocks, _files(Path(path), blocks), page_size) for path in paths], list(blocks)


def read_layout(path: str) -> list[Block]:
    """Read the blocks of a layout file: JSON with ``blocks``, a list of objects with ``name`` and ``length``.

    Raises:
        XbrleError: the file cannot be read, or is not such JSON.
    """
    return _listed(Path(path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unopened(path, error) from error


def _manifest(folder: Path) -> list[Block]:
    return _listed(folder / MANIFEST)


def _entries(path: Path) -> list[dict[str, object]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["blocks"]
        if all(isinstance(e["length"], int) and named(e["name"]) is not None for e in entries):
            return list(entries)
    except OSError as error:
        raise unopened(path, error) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise XbrleError(f"{path}: not a list of blocks with names and lengths")


def _listed(path: Path) -> list[Block]:
    return [Block(named(str(e["name"])), int(str(e["length"]))) for e in _entries(path)]


def _files(path: Path, blocks: Sequence[Block]) -> list[mmap.mmap]:
    """A snapshot's files: one file with all blocks, or a folder with a file for each."""
    if not path.is_dir():
        return [_mapped(path, sum(b.length for b in blocks))]
    files = {named(str(e["name"])): str(e.get("file", "")) for e in _entries(path / MANIFEST)}
    missing = [b.name for b in blocks if not files.get(b.name)]
    if missing:
        raise XbrleError(f"{path}: there is no file for block {shown(missing[0])}")
    return [_mapped(path / Path(files[b.name]).name, b.length) for b in blocks]


def _parts(blocks: Sequence[Block], files: list[mmap.mmap], page_size: int) -> list[NDArray[np.uint8]]:
    """Each block's pages, (pages, page_size) uint8."""
    whole = [np.frombuffer(file, np.uint8) for file in files]
    if len(files) < len(blocks):
        ends = np.cumsum([b.length for b in blocks])
        whole = np.split(whole[0], ends[:-1])
    return [part.reshape(-1, page_size) for part in whole]


def _mapped(path: Path, length: int) -> mmap.mmap:
    if _size(path) != length:
        raise XbrleError(f"{path}: has {_size(path):,} bytes, but its blocks come to {length:,}")
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unopened(path, error) from error
