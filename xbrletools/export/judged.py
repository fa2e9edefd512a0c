"""Whole memory at one moment, judged by YARA rules: written as one sparse file, which the engine maps.

A rule's condition speaks of all of a file: counts, offsets, what is not there. So memory is handed over as the guest
has it, by guest-physical addresses, or a RAM block at a time. Bytes that are not known stand there as zeros, and none
of them counts as found: a match that touches one is left out, and its rule is not sure.
"""

import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.yara import LONGEST, MATCHES, SECONDS, Named, Rules, Scanned
from ..errors import XbrleError
from ..memory.image import Image, State
from ..memory.moments import memory_of
from ..model import Stream
from ..physical.infer import map_of
from ..physical.layout import PhysicalMap, Range, left_of
from ..text import shown
from .memory import Piece, parts, unknown_ranges

GAP = 16 << 20  # bytes of zeros that stand for a longer range that is not memory or not known
MORE = 64 << 20  # such zeros that there may be in any case
PAGE = 4096  # and what stands for a longer range where there would be too many
CONTENT = 256  # bytes of a match that are told

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Space:
    """Memory that is judged together: ``pieces`` by their places in the file, and the address of each.

    ``block`` is the index of the RAM block, None where the addresses are guest-physical. ``length`` is how many bytes
    of memory there are, also those of which nothing is known, which are not in the pieces.
    """

    name: str
    block: int | None
    pieces: tuple[Piece, ...]
    addresses: tuple[int, ...]
    length: int

    @property
    def end(self) -> int:
        """How many bytes the file has."""
        return max((p.place + p.length for p in self.pieces), default=0)


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes that a ``pattern`` matched: ``offset`` in the block with index ``block``, and ``address`` in the space."""

    pattern: Named
    block: int
    offset: int
    address: int
    length: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule that holds in a space, and the places of its patterns there, by pattern and address.

    ``left_out`` counts the places that touch unknown bytes. ``full`` are the patterns of which not all places were
    told. Where there are any of either, ``sure`` is False: the condition may hold because of them. ``cut`` counts the
    places at which the engine followed the pattern no further.
    """

    space: Space
    file: str
    rule: str
    tags: tuple[str, ...]
    places: tuple[Place, ...]
    left_out: int
    full: tuple[Named, ...]
    cut: int

    @property
    def sure(self) -> bool:
        """Whether nothing that is unknown or was not counted can be the reason."""
        return not (self.left_out or self.full)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules say of a space: those that hold, how many bytes there are unknown, and were searched.

    ``full`` are the patterns that have more places than were told, of any rule.
    """

    space: Space
    holding: tuple[Judged, ...]
    unknown: int
    searched: int
    full: tuple[Named, ...]


def spaces_of(image: Image, where: PhysicalMap | None, block: int | None = None) -> list[Space]:
    """What is judged together: guest-physical memory, then what of the blocks it does not have, each block alone.

    Without a map each block is alone. Given a ``block``, only that.
    """
    space = image.space
    if where is None or block is not None:
        chosen = range(len(space.blocks)) if block is None else (block,)
        return [_of_block(image, b, 0, space.blocks[b].length) for b in chosen if space.pages[b]]
    found = [_physical(image, where.ranges)]
    for i, b in enumerate(space.blocks):
        if space.pages[i]:
            found += [_of_block(image, i, offset, length) for offset, length in left_of(b.name, b.length, where.ranges)]
    return found


def _physical(image: Image, ranges: Sequence[Range]) -> Space:
    """All ranges, in the order of their addresses."""
    runs = [
        (r.start + begin - r.offset, image.space.index(r.block), begin, end - begin)
        for r in ranges
        for begin, end in _known(image, image.space.index(r.block), r.offset, r.length)
    ]
    return _space("guest-physical memory", None, runs, 0, sum(r.length for r in ranges))


def _of_block(image: Image, block: int, offset: int, length: int) -> Space:
    name = shown(image.space.blocks[block].name) + (f" from {offset:#x}" if offset else "")
    runs = [(begin, block, begin, end - begin) for begin, end in _known(image, block, offset, length)]
    return _space(name, block, runs, offset, length)


def _space(name: str, block: int | None, runs: Sequence[tuple[int, int, int, int]], start: int, length: int) -> Space:
    """Memory from known runs of bytes: (address, block, offset, length) each, by address. It begins at ``start``.

    Between them stand zeros for what is not memory or not known, `GAP` bytes at most. Where that would be more than is
    known and `MORE`, one page stands for each, so that the work is bounded by what is known.
    """
    ends = [start, *(address + count for address, _, _, count in runs)]
    between = [run[0] - end for run, end in zip(runs, ends, strict=False)]
    known = sum(r[3] for r in runs)
    most = GAP if sum(min(gap, GAP) for gap in between) <= known + MORE else PAGE
    pieces, addresses, place = [], [], 0
    for gap, (address, of_block, offset, count) in zip(between, runs, strict=True):
        place += min(gap, most)
        pieces.append(Piece(place, of_block, offset, count))
        addresses.append(address)
        place += count
    return Space(name, block, tuple(pieces), tuple(addresses), length)


def _known(image: Image, block: int, offset: int, length: int) -> list[tuple[int, int]]:
    """The runs [start, end) of some bytes of a block of which something is known, in whole pages but for the ends."""
    size, first = image.space.page_size, int(image.space.first[block])
    if not image.space.pages[block]:
        return []
    given = image.given(slice(first + offset // size, first + -(-(offset + length) // size)))
    given = given[image.state[given] != State.POSSIBLE] - first
    begins = np.flatnonzero(np.diff(given, prepend=-2) != 1)
    ends = np.append(begins[1:], len(given)) - 1 if len(given) else begins
    starts, stops = given[begins] * size, (given[ends] + 1) * size
    return list(zip(np.maximum(starts, offset).tolist(), np.minimum(stops, offset + length).tolist(), strict=True))


def judge(
    image: Image, spaces: Sequence[Space], rules: Rules, seconds: int = SECONDS, matches: int = MATCHES
) -> Iterator[Verdicts]:
    """What ``rules`` say of each space. The temporary folder takes a sparse copy of the largest.

    ``seconds`` are what the rules may take for one, ``matches`` the places of one pattern that are told.

    Raises:
        XbrleError: the rules take longer.
        OSError: the temporary folder does not have room.
    """
    scanner = rules.scanner(True, seconds, matches)
    for space in spaces:
        if not space.pieces:
            yield Verdicts(space, (), space.length, 0, ())
            continue
        with tempfile.TemporaryFile() as file:
            for at, data in (part for piece in space.pieces for part in parts(image, piece)):
                file.seek(at)
                file.write(memoryview(data))  # type: ignore[arg-type]  # an array is a buffer
            file.truncate(space.end)
            file.flush()
            scanned = scanner.scan_file(f"/proc/self/fd/{file.fileno()}")
        yield _verdicts(image, space, rules, scanned)


def holding(stream: Stream, rules: Rules) -> list[dict[str, Any]]:
    """The rules that hold in memory at the end, at the receiver: ``rule``, ``file``, ``space``, ``sure``, ``matches``.

    ``space`` is guest-physical memory, or the RAM block that is judged alone. ``matches`` counts the places of the
    rule's patterns.

    Raises:
        XbrleError: the rules take too long.
        OSError: the temporary folder does not have room.
    """
    image = memory_of(stream)
    try:
        where: PhysicalMap | None = map_of(stream)
    except XbrleError:
        where = None
    return [
        {"rule": j.rule, "file": j.file, "space": j.space.name, "sure": j.sure, "matches": len(j.places)}
        for verdicts in judge(image, spaces_of(image, where), rules)
        for j in verdicts.holding
    ]


def _verdicts(image: Image, space: Space, rules: Rules, scanned: Scanned) -> Verdicts:
    ranges = np.array(list(unknown_ranges(image, space.pieces)), np.int64).reshape(-1, 2)
    at = np.array([h.at for h in scanned.hits], np.int64)
    end = at + np.array([h.length for h in scanned.hits], np.int64)
    # a match is in doubt where it touches an unknown range: the first range that ends behind its begin begins before
    # its end; a gap between pieces is not memory, and counts as unknown
    doubtful = _touches(ranges, at, end) | _touches(_gaps(space), at, end)
    of_rule: dict[tuple[str, str], list[int]] = {}
    for i, hit in enumerate(scanned.hits):
        named = rules.patterns[hit.pattern]
        of_rule.setdefault((named.file, named.rule), []).append(i)
    all_full = tuple(rules.patterns[p] for p in sorted(scanned.full))
    holding = []
    for name in scanned.rules:
        mine = of_rule.get(name, [])
        clear = [i for i in mine if not doubtful[i]]
        clear.sort(key=lambda i: (scanned.hits[i].pattern, scanned.hits[i].at))
        full = tuple(p for p in all_full if (p.file, p.rule) == name)
        cut = sum(scanned.hits[i].length == LONGEST for i in clear)
        places = tuple(_place(image, space, rules, scanned, i) for i in clear)
        holding.append(Judged(space, *name, rules.tags.get(name, ()), places, len(mine) - len(clear), full, cut))
    searched = sum(p.length for p in space.pieces) - int((ranges[:, 1] - ranges[:, 0]).sum())
    return Verdicts(space, tuple(holding), space.length - searched, searched, all_full)


def _gaps(space: Space) -> Ints:
    """The places between the pieces, [start, end) each, (n, 2) int64."""
    ends = [0, *(p.place + p.length for p in space.pieces)]
    found = [(e, p.place) for e, p in zip(ends, space.pieces, strict=False) if p.place > e]
    return np.array(found, np.int64).reshape(-1, 2)


def _touches(ranges: Ints, at: Ints, end: Ints) -> NDArray[np.bool_]:
    """Which of the spans [at, end) have a byte in one of the ``ranges``, which rise, (n,) bool."""
    if not len(ranges):
        return np.zeros(len(at), bool)
    first = np.searchsorted(ranges[:, 1], at, side="right")
    begins = np.append(ranges[:, 0], np.iinfo(np.int64).max)[first]
    return np.asarray(begins < end)


def _place(image: Image, space: Space, rules: Rules, scanned: Scanned, index: int) -> Place:
    hit = scanned.hits[index]
    which = max(0, bisect_right(space.pieces, hit.at, key=lambda p: p.place) - 1)
    piece, inside = space.pieces[which], hit.at - space.pieces[which].place
    content = bytearray()
    for p in space.pieces:
        low, high = max(p.place, hit.at), min(p.place + p.length, hit.at + min(hit.length, CONTENT))
        if low < high:
            start = int(image.space.first[p.block]) * image.space.page_size + p.offset + low - p.place
            content += image.pages.reshape(-1)[start : start + high - low].tobytes()
    address = space.addresses[which] + inside
    return Place(rules.patterns[hit.pattern], piece.block, piece.offset + inside, address, hit.length, bytes(content))
