"""Compares what the two ends of a migration logged about its pages, and finds where they first disagree."""

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..errors import XbrleError
from ..memory.ramaddr import layout
from ..model import Stream
from ..scan.salvage.attribute import NAMELESS
from ..verify.rules import ENDS_DISAGREE, LOG_UNREAD, Finding, Rule
from . import miglog
from .miglog import End, Log

_Path = str | os.PathLike[str]

VOTES = 3  # pages that are enough to tell where a block lies


def disagreements(stream: Stream, sender: _Path | None, receiver: _Path | None) -> list[Finding]:
    """The first page on which the sender's mig.log and the receiver's disagree, if there is one.

    A log that is not given is made from the capture, as that end would have written it. Addresses are not compared: the
    sender's are global, the receiver's are offsets in the block. Where a receiver's log ends early, it ends at the
    record that the receiver refused, and that record's page is the answer.

    In a capture that is read with salvage, the records do not have the numbers of the log's lines. Lines and records
    are then matched by their content, in order (`_match`). Lines without a record are reported too, in one note for
    each run of lines. Records whose page is in doubt are not compared, nor those after the end of a log. Where both
    logs are given, they are compared line by line, and the match only gives the record of a line.

    Raises:
        XbrleError: a log cannot be read, or is not a mig.log.
    """
    if not stream.salvaged:
        sent = _given(sender) if sender is not None else miglog.written(stream, End.SENDER).log
        received = _given(receiver) if receiver is not None else miglog.written(stream, End.RECEIVER).log
        return _by_number(stream, sent, received, None)
    given = receiver if sender is None else sender
    if given is None:
        return []
    real = _given(given)
    derived = miglog.written(stream, End.SENDER if sender is None else End.RECEIVER).log
    if sender is not None:
        derived = _placed(stream, derived, real)
    match = _match(stream, derived, real)
    unread = _unread(stream, match, len(real))
    if sender is not None and receiver is not None:
        return _by_number(stream, real, _given(receiver), match) + unread
    return _by_match(match, derived, real, stream, sender is not None) + unread


def _given(path: _Path) -> Log:
    """The log that a user named.

    Raises:
        XbrleError: it cannot be read, is not a mig.log, or does not hold a whole line: then nothing would be compared.
    """
    log = miglog.parse(path)
    if not len(log):
        raise XbrleError(f"{os.fspath(path)}: does not hold a whole line of a mig.log, so there is nothing to compare")
    return log


def _by_number(stream: Stream, sent: Log, received: Log, match: "_Match | None") -> list[Finding]:
    """The first line in which the sender's log and the receiver's differ. ``match`` gives the record of a line."""
    both = min(len(sent), len(received))
    differs = np.zeros(both, bool)
    for name in ("kind", "length", "cksum"):
        differs |= getattr(sent, name)[:both] != getattr(received, name)[:both]
    line = int(np.argmax(differs)) if differs.any() else both
    lines = max(len(sent), len(stream.records.by_number)) if match is None else len(sent)
    if line == both and (len(received) >= len(sent) or line >= lines):
        return []
    sender_sum = int(sent.cksum[line])
    evidence: dict[str, object] = {"sender_sum": sender_sum, "sender_lines": len(sent)}
    message = f"the sender logged this page with the sum {sender_sum:#x}; the receiver's log ends before this page"
    if line < both:
        evidence["receiver_sum"] = int(received.cksum[line])
        message = _differing(sender_sum, int(received.cksum[line]))
    evidence["receiver_lines"] = len(received)
    number = line
    if match is not None:
        evidence["line"] = line + 1
        (numbers,) = np.nonzero(match.line == line)
        if not len(numbers):
            return [ENDS_DISAGREE.finding(f"line {line + 1}: {message}", evidence=evidence)]
        number = int(numbers[0])
    return [_of_record(stream, ENDS_DISAGREE, message, number, evidence)]


def _differing(sender: int, receiver: int) -> str:
    return f"the sender logged this page with the sum {sender:#x}, the receiver with {receiver:#x}"


def _of_record(stream: Stream, rule: Rule, message: str, number: int, evidence: dict[str, object]) -> Finding:
    """A finding at the record with this number, counted from 0. The capture may not have such a record."""
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


def _placed(stream: Stream, derived: Log, real: Log) -> Log:
    """The lines of ``derived``, which have offsets in blocks, with the sender's addresses instead.

    Lines whose address cannot be worked out are left out. Where a block lies is decided by vote of the pages whose
    kind, length and sum occur once in each log. A block with too few such pages lies where QEMU allocates it, if the
    capture has its block list. A record without a block's name can belong to any block.
    """
    block = stream.records.columns.block[stream.records.by_number][derived.seq.astype(np.int64) - 1]
    pairs, lines = _once(*_alike(derived, real, ("kind", "length", "cksum")))
    bases, _ = layout(stream.blocks, stream.page_size)
    listed = stream.facts.has_start
    is_placed = np.array([listed and b.name != NAMELESS for b in stream.blocks], bool)
    for i, each in enumerate(stream.blocks):
        of_block = block[pairs] == i
        shifts = real.addr[lines[of_block]].astype(np.int64) - derived.addr[pairs[of_block]].astype(np.int64)
        values, votes = np.unique(shifts, return_counts=True)
        if len(shifts) >= VOTES and 2 * votes.max() > len(shifts) and each.name != NAMELESS:
            bases[i], is_placed[i] = values[np.argmax(votes)], True
    keep = block < len(bases)
    keep[keep] = is_placed[block[keep]]
    placed = derived.take(keep)
    return replace(placed, addr=placed.addr + bases[block[keep]].astype(np.uint64))


@dataclass(frozen=True, slots=True)
class _Match:
    """Which line of a log each record with a page is.

    ``line`` (n,) int64 is the line by the record's number, both counted from 0. It is -1 where it is not known.
    ``between`` (n,) bool is true where anchors on both sides of the record agree on its line. ``stated`` (k,) bool says
    of each of the k lines that were derived from the capture whether the log has such a line anywhere.
    """

    line: NDArray[np.int64]
    between: NDArray[np.bool_]
    stated: NDArray[np.bool_]


def _match(stream: Stream, derived: Log, real: Log) -> _Match:
    """Which line of the log ``real`` each record is. ``derived`` has the lines of those records that are certain.

    Anchors are lines that are equal, sum included, occur once in each log, and come in the same order in both. Records
    between two gaps follow each other as their lines do, so the anchors on either side of a record give its line. Where
    the two anchors disagree, records went missing between them without a gap, and the line is not known.
    """
    count = len(stream.records.by_number)
    derived_ids, real_ids = _alike(derived, real, ("addr", "kind", "length", "cksum"))
    places, lines = _once(derived_ids, real_ids)
    records = derived.seq[places].astype(np.int64) - 1
    before = np.maximum.accumulate(np.append(-1, lines))[:-1]
    after = np.minimum.accumulate(np.append(lines, len(real))[::-1])[::-1][1:]
    ordered = (before < lines) & (lines < after)
    records, lines = records[ordered], lines[ordered]

    rows = np.append(0, np.cumsum(stream.records.is_page))
    gaps = distinct(rows[[g.row for g in stream.facts.gaps]]) if stream.facts.gaps else np.empty(0, np.int64)
    numbers = np.arange(count)
    part, part_of_anchor = (np.searchsorted(gaps, n, side="right") for n in (numbers, records))
    shift = np.zeros((2, count), np.int64)
    anchored = np.zeros((2, count), bool)
    for side, anchor in enumerate(
        (np.searchsorted(records, numbers, side="right") - 1, np.searchsorted(records, numbers))
    ):
        with_anchor = np.flatnonzero((anchor >= 0) & (anchor < len(records)))
        anchors = anchor[with_anchor]
        anchored[side, with_anchor] = part_of_anchor[anchors] == part[with_anchor]
        shift[side, with_anchor] = lines[anchors] - records[anchors]
    agree = anchored.all(axis=0) & (shift[0] == shift[1])
    line = numbers + np.where(anchored[0], shift[0], shift[1])
    line[~(agree | (anchored[0] ^ anchored[1])) | (line < 0) | (line >= len(real))] = -1
    return _Match(line, agree & (line >= 0), np.isin(derived_ids, real_ids))


def _alike(derived: Log, real: Log, names: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for each line of both logs, the same for lines that are equal in these columns."""
    columns = [np.concatenate([getattr(derived, name), getattr(real, name)]) for name in names]
    order = np.lexsort(columns)
    new = np.zeros(len(order), bool)
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    ids = np.empty(len(order), np.int64)
    ids[order] = np.cumsum(new)
    return ids[: len(derived)], ids[len(derived) :]


def _once(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the numbers stand that each of two arrays has exactly once, in the order of the first."""
    size = max(first.max(initial=-1), second.max(initial=-1)) + 1
    once = (np.bincount(first, minlength=size) == 1) & (np.bincount(second, minlength=size) == 1)
    place_in_second = np.zeros(size, np.int64)
    place_in_second[second] = np.arange(len(second))
    places = np.flatnonzero(once[first])
    return places, place_in_second[first[places]]


def _by_match(match: _Match, derived: Log, real: Log, stream: Stream, is_senders: bool) -> list[Finding]:
    """The first record whose line in the log states another sum for its page.

    The line must be the record's own, not that of the same page before or after: its address must be the record's, and
    either anchors on both sides agree on the line, or the log has the record's own line nowhere.
    """
    records = derived.seq.astype(np.int64) - 1
    line = match.line[records]
    held = np.maximum(line, 0)
    differs = line >= 0
    if len(real):
        for name in ("addr", "kind", "length"):
            differs &= getattr(derived, name) == getattr(real, name)[held]
        differs &= derived.cksum != real.cksum[held]
    differs &= match.between[records] | ~match.stated
    if not differs.any():
        return []
    first = int(np.argmax(differs))
    sums = int(real.cksum[held[first]]), int(derived.cksum[first])
    sender, receiver = sums if is_senders else sums[::-1]
    evidence: dict[str, object] = {"sender_sum": sender, "receiver_sum": receiver, "line": int(line[first]) + 1}
    return [_of_record(stream, ENDS_DISAGREE, _differing(sender, receiver), int(records[first]), evidence)]


def _unread(stream: Stream, match: _Match, lines: int) -> list[Finding]:
    """A note for each run of lines without a record: at the gap in which they were lost, or else at the next record."""
    missing = np.ones(lines, bool)
    missing[match.line[match.line >= 0]] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    matched = np.flatnonzero(match.line >= 0)
    reached = np.maximum.accumulate(match.line[matched])
    rows = np.append(0, np.cumsum(stream.records.is_page))
    offsets = {int(rows[g.row]): g.start for g in reversed(stream.facts.gaps)}
    notes = []
    for first, stop in edges.reshape(-1, 2).tolist():
        after = int(np.searchsorted(reached, stop))
        number = int(matched[after]) if after < len(matched) else len(match.line)
        what = f"lines {first + 1} to {stop} of the log have" if stop > first + 1 else f"line {stop} of the log has"
        evidence: dict[str, object] = {"first_line": first + 1, "last_line": stop}
        offset = offsets.get(number)
        if offset is None and number < len(match.line):
            offset = int(stream.records.columns.offset[stream.records.by_number[number]])
        message = f"{what} no record in this capture"
        notes.append(LOG_UNREAD.finding(message, offset, record=number + 1, evidence=evidence))
    return notes
