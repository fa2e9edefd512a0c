"""Writes memory to sparse files: pieces of blocks at places in a file, and which of their bytes are unknown."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..memory.image import Image, State
from ..outputs import MEMORY, Target, replacing
from ..text import shown

CHUNK = 1 << 18  # bytes of a mask that are written at once
PART = 1 << 23  # bytes of pages that are compared with zero and written at once
UNKNOWN_BYTE = b"\xff"  # in a mask file, which is as long as its file and 0 elsewhere


class Unknown(Enum):
    """What becomes of unknown bytes: zeros, an error, or zeros and a mask beside the file."""

    ZERO = "zero"
    FAIL = "fail"
    MASK_FILE = "mask-file"


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes from ``offset`` of block ``block``, by its index, and the ``place`` in a file where they go."""

    place: int
    block: int
    offset: int
    length: int


def mask_path(path: str | os.PathLike[str]) -> Path:
    """Where the mask of an exported file goes."""
    return Path(f"{os.fspath(path)}.mask")


def write_pieces(
    image: Image,
    pieces: Sequence[Piece],
    path: Target,
    head: bytes | Sequence[tuple[int, bytes]],
    length: int,
    unknown: Unknown,
    force: bool = False,
) -> None:
    """Write a sparse file of ``length`` bytes with the pieces at their places.

    ``head`` is what the file holds beside them: bytes at its start, or bytes at places.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    if unknown is Unknown.FAIL:
        first = next(unknown_ranges(image, pieces), None)
        if first is not None:
            block = next(p for p in pieces if p.place <= first[0] < p.place + p.length)
            name = shown(image.space.blocks[block.block].name)
            address = block.offset + first[0] - block.place
            raise XbrleError(f"{name}:{address:#x} is the first of the unknown bytes; nothing was written")
    placed: list[tuple[int, bytes | Piece]] = [(0, head)] if isinstance(head, bytes) else list(head)
    placed += [(piece.place, piece) for piece in pieces]
    with replacing(path, force, MEMORY) as file:
        for place, what in sorted(placed, key=lambda one: one[0]):  # a pipe can only be written onwards
            for at, raw in [(place, what)] if isinstance(what, bytes) else parts(image, what):
                file.seek(at)
                file.write(memoryview(raw))  # type: ignore[arg-type]  # an array is a buffer
        file.truncate(length)
    if unknown is Unknown.MASK_FILE and isinstance(path, str | os.PathLike):
        write_mask(image, pieces, path, length, force)


def parts(image: Image, piece: Piece) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The parts of a piece that are not zero, as (place, bytes), in rising order: what a sparse file holds of it.

    Pages to which nothing was written are not read.
    """
    size = image.space.page_size
    first = int(image.space.first[piece.block])
    begin, stop = piece.offset // size, -(-(piece.offset + piece.length) // size)
    touched = image.written(slice(first + begin, first + stop)) - first
    flat = image.pages.reshape(-1)[first * size :]
    step = max(1, PART // size)
    for start in range(0, len(touched), step):
        pages = touched[start : start + step]
        pages = pages[_pages(image, first, pages).any(axis=1)]
        for run in np.split(pages, np.flatnonzero(np.diff(pages) != 1) + 1):
            if len(run):
                low = max(piece.offset, int(run[0]) * size)
                high = min(piece.offset + piece.length, (int(run[-1]) + 1) * size)
                yield piece.place + low - piece.offset, flat[low:high]


def _pages(image: Image, first: int, pages: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Pages of the block that begins at page ``first``, (n, page_size) uint8. Adjacent pages are not copied."""
    if pages[-1] - pages[0] == len(pages) - 1:
        return image.pages[first + int(pages[0]) : first + int(pages[-1]) + 1]
    return image.pages[first + pages]


def write_mask(
    image: Image, pieces: Sequence[Piece], path: str | os.PathLike[str], length: int, force: bool = False
) -> None:
    """Write the mask of ``path``: unknown bytes of the pieces are marked, all others stay holes.

    Raises:
        XbrleError: it cannot be written.
    """
    with replacing(mask_path(path), force, MEMORY) as file:
        for start, end in unknown_ranges(image, pieces):
            file.seek(start)
            for at in range(start, end, CHUNK):
                file.write(UNKNOWN_BYTE * (min(at + CHUNK, end) - at))
        file.truncate(length)


def _page_runs(
    image: Image, piece: Piece, chosen: Callable[[NDArray[np.int64]], NDArray[np.bool_]], others: bool
) -> Iterator[tuple[int, int]]:
    """The bytes [start, end) of the piece's block that lie in the piece and in runs of pages.

    These are the pages that are not unknown and for which ``chosen`` is true. ``others``: all pages but these are
    meant. A stream can claim any number of pages, so those that nothing was given for are not looked at.
    """
    size = image.space.page_size
    first = int(image.space.first[piece.block])
    begin, stop = piece.offset // size, -(-(piece.offset + piece.length) // size)
    given = image.given(slice(first + begin, first + stop))
    pages = given[chosen(given)] - first
    starts = pages[np.diff(pages, prepend=-2) != 1]
    stops = pages[np.diff(pages, append=np.iinfo(np.int64).max) != 1] + 1
    if others:
        starts, stops = np.append(begin, stops), np.append(starts, stop)
    for start, end in zip(starts.tolist(), stops.tolist(), strict=True):
        if start < end:
            yield max(piece.offset, start * size), min(piece.offset + piece.length, end * size)


def marked_bytes(image: Image, piece: Piece, pages: NDArray[np.bool_]) -> int:
    """How many bytes of a piece lie in the pages that are true in ``pages``, (pages,) bool.

    Unknown pages do not count.
    """
    return sum(end - start for start, end in _page_runs(image, piece, lambda given: pages[given], False))


def unknown_ranges(image: Image, pieces: Iterable[Piece]) -> Iterator[tuple[int, int]]:
    """The places [start, end) of unknown bytes, in the order of the pieces. Adjacent ranges are joined."""
    last: tuple[int, int] | None = None
    for piece in pieces:
        for start, end in _unknown_in(image, piece):
            if last is not None and last[1] == start:
                last = (last[0], end)
                continue
            if last is not None:
                yield last
            last = (start, end)
    if last is not None:
        yield last


def possible_ranges(image: Image, pieces: Iterable[Piece]) -> Iterator[tuple[int, int]]:
    """The places [start, end) of unknown bytes whose possible content stands there, in the order of the pieces."""
    for piece in pieces:
        shift = piece.place - piece.offset
        for start, end in _page_runs(image, piece, lambda given: image.state[given] == State.POSSIBLE, False):
            yield start + shift, end + shift


def _unknown_in(image: Image, piece: Piece) -> Iterator[tuple[int, int]]:
    """The places [start, end) of unknown bytes of one piece, in rising order."""
    size = image.space.page_size
    first = int(image.space.first[piece.block])
    shift = piece.place - piece.offset
    for run_start, run_end in _page_runs(image, piece, lambda given: image.state[given] == State.RECOVERED, True):
        for start, end in _split_at_partly(image, first, run_start, run_end):
            page = start // size
            if image.state[first + page] != State.PARTLY:
                yield start + shift, end + shift
                continue
            unknown = ~image.recovered_bytes(first + page)
            unknown[: start - page * size] = unknown[end - page * size :] = False
            edges = np.flatnonzero(np.diff(unknown.view(np.int8), prepend=0, append=0)).reshape(-1, 2)
            for low, high in edges + page * size + shift:
                yield int(low), int(high)


def _split_at_partly(image: Image, first: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The range [start, end), split where pages that are unknown in part begin and end."""
    size = image.space.page_size
    begin, stop = start // size, -(-end // size)
    at = start
    for page in sorted(row - first for row in image.partly if begin <= row - first < stop):
        low, high = max(start, page * size), min(end, (page + 1) * size)
        if at < low:
            yield at, low
        yield low, high
        at = high
    if at < end:
        yield at, end
