"""Records of another sender: from a break on all is whole, by other numbers than before.

Other header flags, section ids, block names, longer blocks or another dialect: where records follow each other in place
by such a reading, and break the laws of this stream again and again, they come from elsewhere.
"""

from collections.abc import Iterator
from dataclasses import replace

from ...formats.dialects import DIALECTS
from ...formats.ram import Kind
from ...model import Block
from ..cause import CauseName
from .case import Candidate, Case
from .reading import Break
from .walker import ANY, Grammar, Spot, State, Walk, Walker, Why

RECORDS = 1200  # that are read by another reading
LEAST = 25  # of them must follow each other
AGAIN = 3  # of them must break the laws of this stream
_OTHER_IDS = 2  # sections whose ids are those of another machine
_SHIFTS = (0, 1, -1, 2, -2)  # of the sections' ids, from one machine to another
_LONG = 1 << 40  # bytes of a block, more than any guest has


def candidates(case: Case, broken: Break) -> list[Candidate]:
    """Spliced, where another reading goes on in place."""
    if broken.why is Why.SECTION and broken.spot.last is False and len(case.chains.carriers):
        walk = case.read.walk(broken.spot._replace(last=None, beside=None))
        if walk.whole and walk.ended:
            why = f"at {broken.at:#x} stands what comes after the end of RAM, in its place, and that end did not begin"
            names = ((CauseName.SPLICED, 0.7), (CauseName.RECORDS_MISSING, 0.3))
            return [Candidate(name, weight, why, broken.row, broken.at, onward=broken.at) for name, weight in names]
    for spot in _spots(case, broken):
        for grammar in _readings(case):
            walker = Walker(case.read.view, grammar)
            walk = walker.walk(spot, RECORDS)
            if len(walk.rows) < LEAST and not walk.whole:
                continue
            again = _breaks_again(case, broken, walk) if len(walk.rows) >= LEAST else 0
            goes_on = walk.whole or len(walk.rows) >= RECORDS // 8
            why = f"{broken.why.value}: from {broken.at:#x} on {len(walk.rows)} records are whole, by other numbers"
            if 2 * again > len(walk.rows) and not goes_on:
                return _likely(broken, why)
            if again >= AGAIN and goes_on:
                return [Candidate(CauseName.SPLICED, 1, why, broken.row, broken.at, onward=broken.at)]
            others = sum(grammar.owners[n] != case.read.grammar.owners.get(n) for n in walker.entered)
            if others >= _OTHER_IDS and goes_on:
                why = f"{broken.why.value}: from {broken.at:#x} on {others} sections are whole, by other ids"
                return _likely(broken, why)
    return _again(case, broken)


def _again(case: Case, broken: Break) -> list[Candidate]:
    """Likely spliced, where the same law breaks again and again, each time at a record that is in its place."""
    breaks = case.read.breaks
    alike = sum(b.why is broken.why for b in breaks[breaks.index(broken) :])
    if alike <= AGAIN:
        return []
    return _likely(
        broken, f"{broken.why.value}: from {broken.at:#x} on this breaks {alike} times, which one damage does not do"
    )


def _likely(broken: Break, why: str) -> list[Candidate]:
    return [
        Candidate(CauseName.SPLICED, 0.95, why, broken.row, broken.at, onward=broken.at),
        Candidate(CauseName.BYTES_OVERWRITTEN, 0.05, why, broken.row, broken.at, onward=broken.at),
    ]


def _spots(case: Case, broken: Break) -> Iterator[Spot]:
    """Where the other reading can begin: at the break, and at the section's end right before it."""
    yield broken.spot._replace(beside=None, last=None)
    if broken.why is Why.CONTINUE:  # records of elsewhere before it can be of another block than they read as
        yield Spot(broken.at, State.RECORD, ANY, None, broken.spot.footer)
    rows = case.read.rows
    if broken.row and rows.kind[broken.row - 1] == Kind.EOS:
        before = int(rows.offset[broken.row - 1])
        if before != broken.at:
            yield Spot(before, State.RECORD, broken.spot.block, None, broken.spot.footer)


def _breaks_again(case: Case, broken: Break, walk: Walk) -> int:
    """How many of these records, each by itself, break this stream's laws, or are followed by a section that does.

    Any block is let pass, so records of another block of this stream do not count.
    """
    walker = Walker(case.read.view, case.read.grammar)
    count = 0
    for row in walk.rows:
        spot = Spot(row[0], State.RECORD, 0 if case.read.grammar.flat else ANY, None, broken.spot.footer)
        count += not walker.walk(spot, 1 + (row[7] == Kind.EOS)).whole
    return count


def _readings(case: Case) -> Iterator[Grammar]:
    """The stream's grammar with other numbers, and then in other dialects."""
    grammar = case.read.grammar
    blocks = tuple(Block(b.name, _LONG) for b in grammar.blocks)
    loose = replace(grammar, blocks=blocks, header_flags=None, pads=False, any_name=True)
    readings = [grammar.reading]
    for dialect in DIALECTS.values():
        if dialect.ram_version == grammar.reading.version:
            for endian in ("little", "big") if dialect.host_endian else ("little",):
                other = replace(grammar.reading, dialect=dialect, endian=endian)
                readings += [other] if other != grammar.reading else []
    for reading in readings:
        for shift in _SHIFTS:
            owners = {number + shift: name for number, name in grammar.owners.items()}
            yield replace(loose, reading=reading, owners=owners)
