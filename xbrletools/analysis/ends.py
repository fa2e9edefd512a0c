"""What the two ends of a migration logged of its pages, held against each other: where they first differ."""

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..memory.ramaddr import layout
from ..model import Stream
from ..scan.salvage import NAMELESS
from ..verify.rules import ENDS_DISAGREE, LOG_UNREAD, Finding, Rule
from . import miglog
from .miglog import End, Log

_Path = str | os.PathLike[str]

VOTES = 3  # pages that are enough to tell where a block lies


def disagreements(stream: Stream, sender: _Path | None, receiver: _Path | None) -> list[Finding]:
    """The first page that the sender's mig.log and the receiver's tell differently, if there is one.

    A log that is not given is taken from the capture, as that end would have written it. Addresses are not compared:
    the sender's are global, the receiver's are offsets in the block. A receiver's log that ends early ends at the
    record which it refused, and that is the page.

    Of a capture that is read with salvage, the records have other numbers than the log's lines. Lines and records are
    matched by what they say, in order (`_match`), and lines that no record came for are found beside: one note a run.
    Records whose page is in doubt, and those behind the end of a log, are not judged.
    Where both logs are given, they are held against each other line by line, and lines are matched for the record.

    Raises:
        XbrleError: a log cannot be read or is none.
    """
    if not stream.salvaged:
        ours = miglog.parse(sender) if sender is not None else miglog.written(stream, End.SENDER).log
        theirs = miglog.parse(receiver) if receiver is not None else miglog.written(stream, End.RECEIVER).log
        return _by_number(stream, ours, theirs, None)
    given = receiver if sender is None else sender
    if given is None:
        return []
    real = miglog.parse(given)
    read = miglog.written(stream, End.SENDER if sender is None else End.RECEIVER).log
    if sender is not None:
        read = _placed(stream, read, real)
    match = _match(stream, read, real)
    lost = _unread(stream, match, len(real))
    if sender is not None and receiver is not None:
        return _by_number(stream, real, miglog.parse(receiver), match) + lost
    return _by_match(match, read, real, stream, sender is not None) + lost


def _by_number(stream: Stream, ours: Log, theirs: Log, match: "_Match | None") -> list[Finding]:
    """Where the sender's log and the receiver's first differ, line by line; ``match`` tells lines from records."""
    both = min(len(ours), len(theirs))
    differs = np.zeros(both, bool)
    for name in ("kind", "length", "cksum"):
        differs |= getattr(ours, name)[:both] != getattr(theirs, name)[:both]
    place = int(np.argmax(differs)) if differs.any() else both
    lines = max(len(ours), len(stream.records.by_number)) if match is None else len(ours)
    if place == both and (len(theirs) >= len(ours) or place >= lines):
        return []
    evidence: dict[str, object] = {"sender_sum": int(ours.cksum[place]), "sender_lines": len(ours)}
    message = f"the sender logged this page with the sum {int(ours.cksum[place]):#x}; the receiver's log ends before it"
    if place < both:
        evidence["receiver_sum"] = int(theirs.cksum[place])
        message = _differing(int(ours.cksum[place]), int(theirs.cksum[place]))
    evidence["receiver_lines"] = len(theirs)
    number = place
    if match is not None:
        evidence["line"] = place + 1
        (found,) = np.nonzero(match.line == place)
        if not len(found):
            return [ENDS_DISAGREE.finding(f"line {place + 1}: {message}", evidence=evidence)]
        number = int(found[0])
    return [_of_record(stream, ENDS_DISAGREE, message, number, evidence)]


def _differing(sender: int, receiver: int) -> str:
    return f"the sender logged this page with the sum {sender:#x}, the receiver with {receiver:#x}"


def _of_record(stream: Stream, rule: Rule, message: str, number: int, evidence: dict[str, object]) -> Finding:
    """A finding at the record with this number, from 0; there may be none."""
    rows = stream.records.by_number
    if number >= len(rows):
        return rule.finding(message, record=number + 1, evidence=evidence)
    row = int(rows[number])
    columns = stream.records.columns
    block = int(columns.block[row])
    return rule.finding(
        message,
        int(columns.offset[row]),
        record=number + 1,
        section=int(stream.records.section[row]),
        block=stream.records.names[block] if block < len(stream.records.names) else None,
        page=int(columns.address[row]),
        evidence=evidence,
    )


# -- where records were lost -------------------------------------------------------------------------------------------


def _placed(stream: Stream, read: Log, real: Log) -> Log:
    """Lines with offsets in blocks, with the sender's addresses instead, without those of which these cannot be told.

    Where a block lies is what most pages say whose kind, length and sum occur once in each log. A block of which few
    do lies where QEMU allocated it, if the capture has its block list. A record without a block's name can be of any.
    """
    block = stream.records.columns.block[stream.records.by_number][read.seq.astype(np.int64) - 1]
    pairs, lines = _once(*_alike(read, real, ("kind", "length", "cksum")))
    bases, _ = layout(stream.blocks, stream.page_size)
    listed = stream.facts.has_start
    known = np.array([listed and b.name != NAMELESS for b in stream.blocks], bool)
    for i, each in enumerate(stream.blocks):
        mine = block[pairs] == i
        apart = real.addr[lines[mine]].astype(np.int64) - read.addr[pairs[mine]].astype(np.int64)
        values, votes = np.unique(apart, return_counts=True)
        if len(apart) >= VOTES and 2 * votes.max() > len(apart) and each.name != NAMELESS:
            bases[i], known[i] = values[np.argmax(votes)], True
    sure = block < len(bases)
    sure[sure] = known[block[sure]]
    placed = read.take(sure)
    return replace(placed, addr=placed.addr + bases[block[sure]].astype(np.uint64))


@dataclass(frozen=True, slots=True)
class _Match:
    """Of each record with a page, by number from 0, (n,): its ``line`` in the log from 0, -1 where that cannot be told,
    int64; and whether lines on both sides of it say so, ``between``, bool. ``stated``, (k,) bool, of each of the k
    lines that were made of what was read: whether the log has such a line anywhere.
    """

    line: NDArray[np.int64]
    between: NDArray[np.bool_]
    stated: NDArray[np.bool_]


def _match(stream: Stream, read: Log, real: Log) -> _Match:
    """Which line of the log ``real`` each record is, ``read`` being the lines of those records that are sure.

    Anchors are lines that say the same, sum and all, and occur once in each log, in one order. Records between two gaps
    follow each other as their lines do, so a record's line is told by the anchors on its two sides; where these
    contradict each other, records went missing between them without a gap, and it is told by nothing.
    """
    count = len(stream.records.by_number)
    mine, there = _alike(read, real, ("addr", "kind", "length", "cksum"))
    places, lines = _once(mine, there)
    records = read.seq[places].astype(np.int64) - 1
    before = np.maximum.accumulate(np.append(-1, lines))[:-1]
    after = np.minimum.accumulate(np.append(lines, len(real))[::-1])[::-1][1:]
    ordered = (before < lines) & (lines < after)
    records, lines = records[ordered], lines[ordered]

    rows = np.append(0, np.cumsum(stream.records.is_page))
    gaps = np.unique(rows[[g.row for g in stream.facts.gaps]]) if stream.facts.gaps else np.empty(0, np.int64)
    numbers = np.arange(count)
    part, part_of_anchor = (np.searchsorted(gaps, n, side="right") for n in (numbers, records))
    shift = np.zeros((2, count), np.int64)
    told = np.zeros((2, count), bool)
    for side, anchor in enumerate(
        (np.searchsorted(records, numbers, side="right") - 1, np.searchsorted(records, numbers))
    ):
        there_is = np.flatnonzero((anchor >= 0) & (anchor < len(records)))
        chosen = anchor[there_is]
        told[side, there_is] = part_of_anchor[chosen] == part[there_is]
        shift[side, there_is] = lines[chosen] - records[chosen]
    agree = told.all(axis=0) & (shift[0] == shift[1])
    line = numbers + np.where(told[0], shift[0], shift[1])
    line[~(agree | (told[0] ^ told[1])) | (line < 0) | (line >= len(real))] = -1
    return _Match(line, agree & (line >= 0), np.isin(mine, there))


def _alike(read: Log, real: Log, names: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same number for lines that are the same in these columns: of ``read``, and of ``real``."""
    columns = [np.concatenate([getattr(read, name), getattr(real, name)]) for name in names]
    order = np.lexsort(columns)
    new = np.zeros(len(order), bool)
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    ids = np.empty(len(order), np.int64)
    ids[order] = np.cumsum(new)
    return ids[: len(read)], ids[len(read) :]


def _once(mine: NDArray[np.int64], there: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the numbers stand that each of two arrays has once, in the order of the first."""
    size = max(mine.max(initial=-1), there.max(initial=-1)) + 1
    once = (np.bincount(mine, minlength=size) == 1) & (np.bincount(there, minlength=size) == 1)
    line_of = np.zeros(size, np.int64)
    line_of[there] = np.arange(len(there))
    places = np.flatnonzero(once[mine])
    return places, line_of[mine[places]]


def _by_match(match: _Match, read: Log, real: Log, stream: Stream, is_senders: bool) -> list[Finding]:
    """The first record of a page whose line states another sum, which is not a line of a page that came before or after
    it: so says the line's address, and lines on both its sides, or that the log has the record's sum nowhere.
    """
    records = read.seq.astype(np.int64) - 1
    line = match.line[records]
    held = np.maximum(line, 0)
    differs = line >= 0
    if len(real):
        for name in ("addr", "kind", "length"):
            differs &= getattr(read, name) == getattr(real, name)[held]
        differs &= read.cksum != real.cksum[held]
    differs &= match.between[records] | ~match.stated
    if not differs.any():
        return []
    first = int(np.argmax(differs))
    sums = int(real.cksum[held[first]]), int(read.cksum[first])
    sender, receiver = sums if is_senders else sums[::-1]
    evidence: dict[str, object] = {"sender_sum": sender, "receiver_sum": receiver, "line": int(line[first]) + 1}
    return [_of_record(stream, ENDS_DISAGREE, _differing(sender, receiver), int(records[first]), evidence)]


def _unread(stream: Stream, match: _Match, lines: int) -> list[Finding]:
    """A note for each run of lines that no record came for, where the gap is in which they were lost, or else at the
    next record.
    """
    missing = np.ones(lines, bool)
    missing[match.line[match.line >= 0]] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    matched = np.flatnonzero(match.line >= 0)
    reached = np.maximum.accumulate(match.line[matched])
    rows = np.append(0, np.cumsum(stream.records.is_page))
    offsets = {int(rows[g.row]): g.start for g in reversed(stream.facts.gaps)}
    found = []
    for first, stop in edges.reshape(-1, 2).tolist():
        after = int(np.searchsorted(reached, stop))
        number = int(matched[after]) if after < len(matched) else len(match.line)
        what = f"lines {first + 1} to {stop} of the log have" if stop > first + 1 else f"line {stop} of the log has"
        evidence: dict[str, object] = {"first_line": first + 1, "last_line": stop}
        offset = offsets.get(number)
        if offset is None and number < len(match.line):
            offset = int(stream.records.columns.offset[stream.records.by_number[number]])
        message = f"{what} no record here"
        found.append(LOG_UNREAD.finding(message, offset, record=number + 1, evidence=evidence))
    return found
