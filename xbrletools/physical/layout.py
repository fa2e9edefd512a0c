"""Which block's bytes lie at which guest-physical address: the map, and what is not in it.

The stream does not record a map. A map is given by the user, or `infer.map_of` works it out from what the stream holds.
Every range of a map says on what evidence it stands. Every block is in the map, or is listed with the reason.
"""

import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ..errors import XbrleError
from ..formats.elf import Machine
from ..model import Stream
from ..text import shown, size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Range(NamedTuple):
    """``length`` bytes at guest-physical ``start`` are those of ``block`` from ``offset`` on.

    ``evidence`` says for a person why.
    """

    start: int
    length: int
    block: bytes
    offset: int
    evidence: str = ""

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.start + self.length


class Unplaced(NamedTuple):
    """``length`` bytes of ``block`` from ``offset`` on that the map does not have, and the ``reason``.

    ``hint`` is a guess: the address where they may lie, for a person who knows more, or None.
    """

    block: bytes
    offset: int
    length: int
    reason: str
    hint: int | None = None

    def __str__(self) -> str:
        """The block, how much of it, and why, for a person."""
        part = f" from {self.offset:#x} on" if self.offset else ""
        text = f"{shown(self.block)}: {self.length:,} bytes{part} are not placed: {self.reason}"
        if self.hint is not None:
            line = f"{self.hint:#x} {self.length:#x} {shown(self.block)} {self.offset:#x}"
            text += f". A guess, to check against the guest: --map with the line '{line}' beside the others"
        return text


@dataclass(frozen=True, slots=True)
class PhysicalMap:
    """Guest-physical memory as ranges in rising order that do not overlap.

    ``origin`` says where the map is from. ``notes`` say what it assumes, and where pieces of evidence disagree.
    ``unplaced`` is memory of the guest that has no place in the map. A map with any is not whole. ``hidden`` are bytes
    that the guest itself cannot see where they lie, such as RAM behind the window of a VGA adapter, and blocks that are
    not in guest-physical memory. ``assumed``: a rule that may not hold for this guest stands in for evidence.
    ``machine`` and ``endian`` are the target's, for formats that name them.
    """

    ranges: tuple[Range, ...]
    origin: str
    notes: tuple[str, ...] = ()
    machine: Machine = Machine.NONE
    endian: str = "little"
    unplaced: tuple[Unplaced, ...] = ()
    hidden: tuple[Unplaced, ...] = ()
    assumed: bool = False

    @property
    def end(self) -> int:
        """The address after the highest byte."""
        return max((r.end for r in self.ranges), default=0)

    @property
    def is_whole(self) -> bool:
        """Whether all memory of the guest is in the map, by evidence."""
        return not self.unplaced and not self.assumed


def checked(ranges: Iterable[Range], stream: Stream) -> tuple[Range, ...]:
    """These ranges in rising order.

    Raises:
        XbrleError: there are no ranges, or a range is empty, goes beyond its block, overlaps another one, or names a
            block that the capture does not have.
    """
    lengths = {b.name: b.length for b in stream.blocks}
    ordered = sorted(ranges, key=lambda r: r.start)
    for r in ordered:
        if r.block not in lengths:
            raise XbrleError(f"the map names block {shown(r.block)}, which this capture does not have")
        if r.length <= 0 or r.start < 0 or r.offset < 0 or r.offset + r.length > lengths[r.block]:
            raise XbrleError(f"the map's range at {r.start:#x} lies outside block {shown(r.block)}")
    for before, after in pairwise(ordered):
        if before.end > after.start:
            raise XbrleError(f"the map's ranges at {before.start:#x} and {after.start:#x} overlap")
    if not ordered:
        raise XbrleError("the map is empty")
    return tuple(ordered)


def covered(below: Iterable[Range], above: Iterable[Range]) -> list[Range]:
    """The ranges of ``below`` as far as no range of ``above`` lies over them, in rising order."""
    spans = _united((r.start, r.end) for r in above)
    starts = [start for start, _ in spans]
    left: list[Range] = []
    for r in sorted(below, key=lambda r: r.start):
        at = r.start
        for start, end in spans[max(0, bisect_right(starts, at) - 1) : bisect_left(starts, r.end)]:
            if at < start:
                left.append(Range(at, start - at, r.block, r.offset + at - r.start, r.evidence))
            at = max(at, end)
        if at < r.end:
            left.append(Range(at, r.end - at, r.block, r.offset + at - r.start, r.evidence))
    return left


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans [start, end) in rising order, those that touch or overlap as one."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return out


def joined(ranges: Iterable[Range]) -> list[Range]:
    """The same ranges in rising order. Those that go on in both the block and the guest's memory become one."""
    out: list[Range] = []
    for r in sorted(ranges, key=lambda r: r.start):
        last = out[-1] if out else None
        if (
            last is not None
            and (last.block, last.end, last.offset + last.length) == (r.block, r.start, r.offset)
            and last.evidence == r.evidence
        ):
            out[-1] = Range(last.start, last.length + r.length, r.block, last.offset, r.evidence)
        else:
            out.append(r)
    return out


def left_of(block: bytes, length: int, ranges: Iterable[Range]) -> list[tuple[int, int]]:
    """The parts of a block of ``length`` bytes that no range has, as (offset, length), in rising order."""
    at, parts = 0, []
    for r in sorted((r for r in ranges if r.block == block), key=lambda r: r.offset):
        if r.offset > at:
            parts.append((at, r.offset - at))
        at = max(at, r.offset + r.length)
    return [*parts, (at, length - at)] if at < length else parts


def ranges_of(text: str, name: str) -> list[Range]:
    """The ranges that a user wrote down. See `given.parse_map` for the form.

    Raises:
        XbrleError: it is not written that way.
    """
    try:
        if text.lstrip()[:1] in ("[", "{"):
            listed = json.loads(text)
            if isinstance(listed, dict):
                listed = listed["placed"] if "placed" in listed else listed["ranges"]
            return [_of_object(e, name) for e in listed]
        lines = [line.partition("#")[0].split() for line in text.splitlines()]
        return [
            Range(_number(start), _number(length), os.fsencode(block), _number(offset), f"given by the user: {name}")
            for start, length, block, offset in filter(None, lines)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise XbrleError(f"{name} cannot be read: write lines of START LENGTH BLOCK OFFSET, or a JSON list") from error


def _of_object(entry: Mapping[str, Any], name: str) -> Range:
    """A range as JSON has it. A sidecar's ``address`` is a ``start``."""
    start = entry["start"] if "start" in entry else entry["address"]
    block, offset = os.fsencode(entry["block"]), _number(entry.get("offset", 0))
    return Range(_number(start), _number(entry["length"]), block, offset, f"given by the user: {name}")


def _number(value: object) -> int:
    return value if isinstance(value, int) else size(str(value))
