"""A record names a block that the list does not have: which of the two names was changed?

The list says each name once. So where no record has a listed name, and several have one that differs in a byte or two,
the list is wrong. Where one record has it, either can be.
"""

from dataclasses import replace

from ...formats.ram import Flag
from ...model import Block
from ...ram.record import WORD, extent
from ...text import shown
from ..cause import CauseName, Repair
from .case import Candidate, Case
from .reading import Break
from .walker import ANY, Spot, State, Walker, Why

_BYTES = 2  # of a name that can be changed
_RECORDS = 200  # that follow each other once the name is let pass
_FOLLOW = 3  # records that follow each other where a name is counted
_HITS_MAX = 64  # places of a name that are looked at
_MANY = 2  # records with a name, from which on one damage does not make them
_BURST = 0.05  # of a name in which more than one bit differs: bytes were written over it
_OPEN = 0.5  # the same, where either name can be the wrong one
_OF_BYTES = (CauseName.BYTES_MISSING, CauseName.BYTES_INSERTED, CauseName.SPLICED)


def candidates(case: Case) -> list[Candidate]:
    """The changed name that explains the first break. Empty where none does, or where one flipped bit tells it."""
    broken = case.broken
    if broken is None or broken.why is not Why.NAME:
        return []
    name = extent(case.read.view, broken.at, case.read.grammar.reading).name
    if not name:
        return []
    like = [b for b in case.read.grammar.blocks if b.declared and _is_like(b.name, name)]
    walkers = {length: _walker(case, Block(name, length)) for length in {b.length for b in like}}
    like = [b for b in like if _fits(walkers[b.length], broken)]
    named = {b.name: len(_named(case, b.name, walkers[b.length])) for b in like}
    having = _named(case, name, walkers[max(b.length for b in like)]) if like else []
    unnamed = [b for b in like if not named[b.name]]
    if not like or broken.at not in having:
        return []
    if len(having) >= _MANY:
        return (
            _in_list(case, broken, unnamed[0], name, len(having))
            if len(unnamed) == 1
            else _either(case, broken, unnamed, name)
        )
    if unnamed or len(like) > 1:
        return _either(case, broken, like, name)
    return _in_record(case, broken, like[0], name, named[like[0].name])


def _is_like(listed: bytes, name: bytes) -> bool:
    """Whether two names are of one length and differ in a byte or two."""
    return len(listed) == len(name) and 0 < sum(a != b for a, b in zip(listed, name, strict=True)) <= _BYTES


def _bits(one: bytes, other: bytes) -> int:
    """In how many bits two names differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def _walker(case: Case, block: Block) -> Walker:
    """A walker to which ``block`` is one of the list as well."""
    grammar = case.read.grammar
    blocks = (*(b for b in grammar.blocks if b.declared), block)
    return Walker(case.read.view, replace(grammar, blocks=blocks))


def _fits(walker: Walker, broken: Break) -> bool:
    """Whether the walk goes on from the break, with a walker that lets the name pass."""
    walk = walker.walk(broken.spot, _RECORDS)
    return walk.whole or walk.why is Why.NAME or len(walk.rows) >= _RECORDS // 2


def _named(case: Case, wanted: bytes, walker: Walker) -> list[int]:
    """The offsets of records that name the block ``wanted``: the first `_HITS_MAX` places are looked at."""
    view, out = case.read.view, list[int]()
    raw, whole, at = bytes(view), bytes([len(wanted)]) + wanted, -1
    for _ in range(_HITS_MAX):
        at = raw.find(whole, at + 1)
        if at < 0:
            break
        flags = int.from_bytes(view[max(0, at - WORD) : at]) & (case.read.page_size - 1)
        if at < WORD or flags not in case.read.grammar.kinds() or flags & Flag.CONTINUE:
            continue
        walk = walker.walk(Spot(at - WORD, State.RECORD, ANY, None, None), _FOLLOW)
        if walk.rows and (walk.whole or walk.rows[1:]):
            out.append(at - WORD)
    return out


def _entry(case: Case, name: bytes) -> int | None:
    """Where the name stands in the list. None where that cannot be told."""
    lists = case.read.lists
    if len(lists) != 1:
        return None
    start, end = int(lists.offset[0]) + WORD, int(lists.end()[0])
    whole, raw = bytes([len(name)]) + name, bytes(case.read.view[start:end])
    return start + raw.find(whole) + 1 if raw.count(whole) == 1 else None


def _standing(case: Case, there: Candidate, one_bit: bool, open_: float) -> list[Candidate]:
    """A changed name, and bytes written over it where more than one bit differs or ``open_`` leaves it open."""
    for other in _OF_BYTES:
        case.falls(other, "with the other name let pass all records follow each other in place")
    if one_bit and not open_:
        case.falls(CauseName.BYTES_OVERWRITTEN, "one bit of the name differs, and all records follow each other")
        return [there]
    weight = max(open_, _BURST)
    over = Candidate(
        CauseName.BYTES_OVERWRITTEN, weight * there.weight, there.why, there.row, there.offset, onward=there.onward
    )
    return [there, over]


def _in_list(case: Case, broken: Break, block: Block, name: bytes, count: int) -> list[Candidate]:
    """The list's name is wrong: several records have the other, and none has it."""
    at = _entry(case, block.name)
    why = f"{count} records name {shown(name)}, and none names {shown(block.name)}, which the list has in its place"
    repair = None if at is None else Repair(at, len(name), name, why)
    bits = _bits(block.name, name)
    bit = None
    if at is not None and bits == 1:
        differs = next(i for i, (a, b) in enumerate(zip(block.name, name, strict=True)) if a != b)
        at, bit = at + differs, (block.name[differs] ^ name[differs]).bit_length() - 1
    onward = broken.at if at is None else at
    there = Candidate(CauseName.BLOCK_NAME, 1, why, None, at, bit, repair, onward=onward)
    return _standing(case, there, bits == 1, 0)


def _in_record(case: Case, broken: Break, block: Block, name: bytes, count: int) -> list[Candidate]:
    """The record's name is wrong: others have the list's. One flipped bit is told by the flips."""
    if _bits(block.name, name) == 1:
        return []
    why = f"one record names {shown(name)}, which the list does not have, and {count} name {shown(block.name)}"
    repair = Repair(broken.at + WORD + 1, len(name), block.name, why)
    there = Candidate(CauseName.BLOCK_NAME, 1, why, broken.row, broken.at, None, repair, onward=broken.at)
    return _standing(case, there, False, 0)


def _either(case: Case, broken: Break, blocks: list[Block], name: bytes) -> list[Candidate]:
    """A name is wrong, in the list or in the record. Nothing tells which."""
    if not blocks:
        return []
    places = []
    for block in blocks:
        at = _entry(case, block.name)
        places.append(f"{shown(block.name)} of the list" + ("" if at is None else f" at {at:#x}"))
    why = f"a record at {broken.at:#x} names {shown(name)}, and the list does not have it"
    why += f": one of the names was changed, this or {' or '.join(places)}, and nothing tells which"
    there = Candidate(CauseName.BLOCK_NAME, 1, why, broken.row, broken.at, onward=broken.at)
    return _standing(case, there, False, _OPEN)
