"""What hypotheses explain of what rules cannot name: `causes.diagnose` takes the place of `CauseName.UNKNOWN`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..formats.ram import Kind
from ..memory.moments import space_of
from ..model import Stream
from . import rules
from .by_rule import NOBODY, Share, Shared
from .cause import Cause, CauseName
from .causes.diagnose import diagnose
from .ledger import pieces, room
from .marks import Ints
from .refused import SIGNS
from .rules import RULES, Finding

SMALL = 64 << 20  # bytes of a capture whose laws are tested even where no rule finds anything
RECORDS_MAX = 1 << 22  # records of a capture whose hypotheses are tested

#: Causes that rules name, and that may be consequences of one that hypotheses name.
OPEN = (CauseName.UNKNOWN, CauseName.TRUNCATED, CauseName.BASE_WRONG, CauseName.SECTION_FRAMING)
#: Causes that can leave pages that no record gives.
_LEAVE_OUT = (CauseName.RECORDS_MISSING, CauseName.SPLICED, CauseName.ADDRESS, CauseName.BYTES_MISSING)
#: Causes that break the framing of what follows.
_BREAKS = (
    CauseName.BYTES_INSERTED,
    CauseName.BYTES_MISSING,
    CauseName.LENGTH_FIELD,
    CauseName.SECTION_FRAMING,
    CauseName.BLOCK_NAME,
)
#: Notes and warnings that a damage leaves at the very record where it is.
_SIGNS = (
    rules.FLAGS_UNKNOWN,
    rules.FLAGS_COMBINED,
    rules.END_ODD,
    rules.NO_KIND,
    rules.DELTA_FLAGS,
    rules.DELTA_PADDING,
    rules.DELTA_ODD,
    rules.DELTA_FORM,
    rules.DELTA_UNDONE,
    rules.REPLAYED_SPAN,
    rules.PAGE_NEVER_SENT,
)
#: Those among them that sound captures have as well.
_USUAL = (rules.DELTA_FORM, rules.DELTA_UNDONE, rules.PAGE_NEVER_SENT)


def tested(split: Shared) -> Shared:
    """The shares, with the causes that hypotheses name in the place of those that nothing told.

    A finding goes to the last cause that says it explains it. What no cause explains stays as it was.
    """
    told_causes = diagnose(split.found.stream) if _is_worth_it(split) else ()
    causes = [_placed(split.found.stream, c) for c in told_causes if c.name is not CauseName.UNKNOWN]
    if not causes:
        return split
    asked = [i for i, name in enumerate(split.names) if name in _open(split)]
    asked += [i for i, name in enumerate(split.names) if name is CauseName.CHANNEL_MISSING and _made_up(split, causes)]
    asked += [i for i in range(len(split.names)) if i not in asked and _is_refusal(split, i)]
    first = len(split.names)
    loose = split.loose.copy()
    for i, finding in enumerate(split.found.loose):
        if loose[i] in asked or (loose[i] == NOBODY and RULES[finding.rule] in _SIGNS):
            loose[i] = _of_loose(split.found.stream, finding, causes, first, int(loose[i]))
    marks = []
    for number, share in enumerate(split.marks):
        new = room(len(share), np.int16)
        is_sign = split.found.marks[number].rule in _SIGNS
        for part in pieces(len(share)):
            new[part] = share[part]
            given = np.flatnonzero(np.isin(share[part], asked) | (is_sign & (share[part] == NOBODY)))
            rows = split.found.marks[number].rows[part][given]
            to = _of_rows(split, rows, causes)
            new[part][given[to >= 0]] = first + to[to >= 0]
        marks.append(new)
    _fold(split, marks, asked)
    given_by = (*split.causes, *causes)
    told = Shared(split.found, (*split.names, *(c.name for c in causes)), tuple(marks), loose, given_by)
    if _contradicts(told, split) or _is_grid_alone(told, split):
        return split
    return _without_empty(told)


def _open(split: Shared) -> tuple[CauseName, ...]:
    """The causes that hypotheses may take the place of. A stream that ends in order and lacks RAM was not cut."""
    return tuple(n for n in OPEN if n is not CauseName.TRUNCATED or not split.found.stream.facts.complete)


def _fold(split: Shared, marks: list[Share], asked: Sequence[int]) -> None:
    """Give sums that do not hold, and that nothing told, to the cause of the corrupt page on which they rest."""
    stream = split.found.stream
    bits = len(stream.records).bit_length()

    def keys(rows: Ints) -> Ints:
        made: Ints = space_of(stream).pages_of(stream.records.columns.take(rows)) << bits | rows
        return made

    corrupt = [(m.rows, s) for m, s in zip(split.found.marks, marks, strict=True) if m.rule is rules.CORRUPT_PAGE]
    for chains, shares in corrupt:
        of_chains = keys(chains)
        order = np.argsort(of_chains)
        of_chains, in_order = of_chains[order], shares[order]
        for mark, share in zip(split.found.marks, marks, strict=True):
            for part in pieces(len(share)) if mark.rule is rules.CHECKSUM_MISMATCH and len(chains) else ():
                places = np.flatnonzero(np.isin(share[part], asked))
                own = keys(mark.rows[part][places])
                near = np.searchsorted(of_chains, own, side="right") - 1
                same = (near >= 0) & (of_chains[near] >> bits == own >> bits)
                share[part][places[same]] = in_order[near[same]]


def _placed(stream: Stream, cause: Cause) -> Cause:
    """A cause with the number of the record that its offset lies in, as the table counts records."""
    offset, columns = cause.began.offset, stream.records.columns
    if offset is None or stream.records.main_size is not None:
        return cause
    row = int(np.searchsorted(columns.offset, np.uint64(offset), side="right")) - 1
    if row < 0 or int(columns.end(np.array([row]))[0]) <= offset:
        return cause
    number = int(stream.records.numbers.of(np.array([row]))[0]) or None
    return replace(cause, began=replace(cause.began, record=number), first_record=number)


def _contradicts(told: Shared, before: Shared) -> bool:
    """Whether hypotheses see a break in framing where the scan read on, and no rule found anything that follows."""
    asked = any(name in _open(before) for name in before.names)
    broken = [i for i, c in enumerate(told.causes) if c is not None and set(c.candidates or (c.name,)) & set(_BREAKS)]
    return not asked and bool(broken) and not any(told.explains(i).keys() - {rules.PAGE_NEVER_SENT.id} for i in broken)


def _is_grid_alone(told: Shared, before: Shared) -> bool:
    """Whether only the grid of sections speaks for missing records, and nothing else was found.

    A sound stream that another program has written anew can look the same from where its records have other sizes.
    """
    if any(name in _open(before) for name in before.names):
        return False
    tried = [(i, c) for i, c in enumerate(told.causes) if c is not None]
    return all(c.name is CauseName.RECORDS_MISSING and not told.explains(i) for i, c in tried)


def too_large(stream: Stream) -> str | None:
    """What to say of a capture with more records than hypotheses are tested of. None where it does not have them."""
    count = len(stream.records)
    if count <= RECORDS_MAX:
        return None
    return f"No hypothesis was tested: the capture has {count:,} records, and more than {RECORDS_MAX:,} take too long"


def _is_worth_it(split: Shared) -> bool:
    """Whether something is left to explain, or the capture is so small that its laws are tested in any case."""
    stream = split.found.stream
    if too_large(stream) is not None or stream.channels or stream.salvaged or CauseName.FORCED_READING in split.names:
        return False
    signs = any(mark.rule in _SIGNS and mark.rule not in _USUAL for mark in split.found.marks)
    return signs or any(name in _open(split) for name in split.names) or stream.data.size <= SMALL


def _is_refusal(split: Shared, index: int) -> bool:
    """Whether a cause is one that the rules name by what every receiver refuses, and by its signs, alone."""
    refusal = {rules.REFUSED_BY_ALL.id, *(rule.id for rule in SIGNS)}
    return split.names[index] in SIGNS.values() and split.explains(index).keys() <= refusal


def _made_up(split: Shared, causes: Sequence[Cause]) -> bool:
    """Whether what speaks of channels are bytes behind a break, where they may be anything."""
    columns = split.found.stream.records.columns
    flushes = np.flatnonzero(columns.kind == Kind.FLUSH)
    return bool(len(flushes)) and any(_begin(c) <= int(columns.offset[flushes[0]]) for c in causes)


def _of_loose(stream: Stream, finding: Finding, causes: Sequence[Cause], first: int, before: int) -> int:
    """The share of a finding without a record."""
    offset = finding.offset
    if finding.rule == rules.CHANNEL_MISSING.id:
        return first
    if offset is None:
        fit = [i for i, c in enumerate(causes) if set(c.candidates or (c.name,)) & set(_LEAVE_OUT)]
        return first + fit[0] if fit else before
    section, sections = stream.sections.at(offset), stream.sections
    fit = [
        i
        for i, c in enumerate(causes)
        if offset in c.affected or sections.at(_begin(c)) == section or (c.onward is not None and c.onward <= offset)
    ]
    return first + fit[-1] if fit else before


def _of_rows(split: Shared, rows: Ints, causes: Sequence[Cause]) -> Ints:
    """Which of the causes explains a finding about each of these rows, (n,) int64, or -1."""
    stream = split.found.stream
    columns, numbers = stream.records.columns.take(rows), stream.records.numbers.of(rows)
    offsets, ends = columns.offset.astype(np.int64), columns.end()
    to = np.full(len(rows), NOBODY, np.int64)
    for i, cause in enumerate(causes):
        fits = np.isin(offsets, np.array(cause.affected, np.int64))
        if cause.began.record is not None:
            fits |= numbers == cause.began.record
        if cause.began.offset is not None:
            fits |= (offsets <= cause.began.offset) & (cause.began.offset < ends)
        if cause.onward is not None:
            fits |= ends > cause.onward
        to[fits] = i
    return to


def _begin(cause: Cause) -> int:
    return cause.began.offset or cause.first_offset or 0


def _without_empty(split: Shared) -> Shared:
    """The same without causes that rules named and that explain nothing any more."""
    kept = [i for i, given in enumerate(split.causes) if given is not None or split.explains(i)]
    return split.in_order(kept) if len(kept) < len(split.names) else split
