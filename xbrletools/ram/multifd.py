"""The channels of a multifd migration: what shows that they do not go together, and the order of their pages in time.

Facts: formats/README.md, "multifd". A SYNC packet on every channel pairs with one record of the main channel. What lies
between two of these is an epoch. In it packets follow their numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..formats.ram import Kind
from ..model import Block, Facts
from ..table.columns import NO_BLOCK, Columns
from ..text import shown
from .elsewhere import MISSING, postcopy_run
from .packets import Channel, all_offsets

Ints = NDArray[np.int64]

_NAMED = 4  # numbers of packets that a complaint names
_OR_DAMAGED = ", or the number of one packet is damaged"


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with the channels. From ``epoch`` on nothing that they or the main channel give is sure."""

    rule: str
    message: str
    epoch: int


def syncs(main: Columns, facts: Facts, channels: Sequence[Channel] = ()) -> Ints:
    """The rows of ``main`` that a SYNC on every channel pairs with, (n,) int64: each FLUSH if there are any, else each
    EOS [C].

    After postcopy began, channels carry nothing, and an EOS does not pair any more [C].
    """
    flushes = np.flatnonzero(main.kind == Kind.FLUSH)
    if len(flushes):
        return flushes
    ends = np.flatnonzero(main.kind == Kind.EOS)
    run = postcopy_run(facts)
    if run is None or not channels:
        return ends
    before = ends[main.offset[ends] < np.uint64(run)]
    return before if all(c.epochs <= len(before) for c in channels) else ends


def complaints(channels: Sequence[Channel], main_syncs: int, facts: Facts, rounds: bool = False) -> list[Complaint]:
    """What is wrong with the channels, and which of them do not go with each other or with the main channel.

    ``rounds``: each epoch is a round over all blocks, as it is where the main channel has a FLUSH.
    """
    found = [
        *_damaged(channels),
        *_unequal(channels, main_syncs),
        *_foreign_uuid(channels, facts),
        *_foreign_numbers(channels),
        *_foreign_pages(channels, facts.blocks),
        *_misplaced_pages(channels, facts),
        *(_mixed_pages(channels) if rounds else ()),
        *_missing_ids(channels),
    ]
    return found or [*_fallen_numbers(channels)] or [*_missing_numbers(channels)]


def _damaged(channels: Sequence[Channel]) -> Iterator[Complaint]:
    for c in channels:
        if c.damage is not None:
            message = f"{c.name}: {c.damage[1]} (at its offset {c.damage[0]:#x})"
            yield Complaint("multifd-channel", message, c.epochs)


def _unequal(channels: Sequence[Channel], main_syncs: int) -> Iterator[Complaint]:
    for c in channels:
        if c.epochs != main_syncs:
            message = f"{c.name}: channel {c.id} has {c.epochs} synchronisations, but the main channel has {main_syncs}"
            yield Complaint("multifd-channel", message, min(c.epochs, main_syncs))


def _foreign_uuid(channels: Sequence[Channel], facts: Facts) -> Iterator[Complaint]:
    """The UUID is the guest's. CONFIGURATION has it where the capability validate-uuid is on."""
    subsections = facts.configuration.subsections if facts.configuration is not None else ()
    stated = next((s.value for s in subsections if isinstance(s.value, bytes)), None)
    wanted = stated if stated is not None else channels[0].uuid if channels else b""
    whose = "the main channel's guest" if stated is not None else f"the guest of channel {channels[0].id}"
    for c in channels:
        if c.uuid != wanted:
            message = f"{c.name}: channel {c.id} is of guest {c.uuid.hex()}, and {whose} is {wanted.hex()}"
            yield Complaint("foreign-channel", message, 0)


def _foreign_numbers(channels: Sequence[Channel]) -> Iterator[Complaint]:
    """A sender numbers the packets of all its channels in one row, so that no two channels share a number, and each
    SYNC comes after all packets before it on every channel [C].
    """
    owner = _joined([np.full(int(np.count_nonzero(c.packets.counts)), i) for i, c in enumerate(channels)])
    number = _joined([c.packets.number[c.packets.counts] for c in channels])
    epoch = _joined([c.packets.epoch[c.packets.counts] for c in channels])
    order = np.lexsort((owner, number))
    same = np.flatnonzero((np.diff(number[order]) == 0) & (np.diff(owner[order]) != 0))
    pairs, counts = np.unique(np.stack([owner[order[same]], owner[order[same + 1]]]), axis=1, return_counts=True)
    for (one, two), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        message = (
            f"{channels[two].name}: {count} of its packets have numbers that packets of {channels[one].name} have: "
            f"one of the two is of another migration{_OR_DAMAGED if count == 1 else ''}"
        )
        yield Complaint("foreign-channel", message, 0)
    if len(same):
        return
    by_epoch = np.lexsort((number, epoch))
    highest = np.maximum.accumulate(number[by_epoch]) if len(number) else number
    late = np.flatnonzero((number[by_epoch][1:] < highest[:-1]) & (np.diff(epoch[by_epoch]) > 0))
    if len(late):
        i = int(by_epoch[late[0] + 1])
        c = channels[int(owner[i])]
        message = (
            f"{c.name}: its packet {int(number[i])} stands after {int(epoch[i])} synchronisations, and packet "
            f"{int(highest[late[0]])} before as many: they are not of one migration{_OR_DAMAGED}"
        )
        yield Complaint("foreign-channel", message, 0)


def _foreign_pages(channels: Sequence[Channel], blocks: Sequence[Block]) -> Iterator[Complaint]:
    """Packets of blocks that the main channel's list does not have."""
    known = {b.name for b in blocks}
    if not known:
        return
    for c in channels:
        p = c.packets
        carrying = (p.normal + p.zero > 0) & ~p.is_state
        strangers = [n for n in distinct(p.name[carrying]).tolist() if p.names[n] not in known]
        if strangers:
            name = shown(p.names[strangers[0]])
            message = f"{c.name}: carries pages of block {name}, which the main channel does not have"
            yield Complaint("foreign-channel", message, 0)


def _misplaced_pages(channels: Sequence[Channel], facts: Facts) -> Iterator[Complaint]:
    """Pages that lie where no page can. What page was meant is not told, so from there on none is known."""
    lengths = {b.name: b.length for b in facts.blocks if b.declared}
    for c in channels:
        p = c.packets
        ends = np.array([lengths.get(n, np.iinfo(np.uint64).max) for n in p.names], np.uint64)
        address, packet = all_offsets(c.source, p)
        uneven = address % np.uint64(facts.page_size) != 0
        wrong = np.flatnonzero(uneven | (address >= ends[p.name[packet]]))
        if len(wrong):
            place, first = int(packet[wrong[0]]), int(address[wrong[0]])
            why = "no page begins there" if uneven[wrong[0]] else "its block ends before that"
            more = f"; {len(wrong)} pages of its packets are so" if len(wrong) > 1 else ""
            message = (
                f"{c.name}: the packet at its offset {int(p.offset[place]):#x} carries a page of "
                f"{shown(p.name_of(place))} at {first:#x}, and {why}{more}"
            )
            yield Complaint("multifd-channel", message, int(p.epoch[place]))


@dataclass(frozen=True, slots=True)
class _Span:
    """From where to where the pages of a packet lie in its block. ``mixed``: they come twice, or in a strange order."""

    epoch: int
    block: bytes
    low: int
    high: int
    mixed: bool
    channel: str
    offset: int


def _spans(c: Channel) -> Iterator[_Span]:
    """The span of each packet with pages. They rise, but for those with zero pages, which a sender sorts out [C]."""
    p = c.packets
    address, packet = all_offsets(c.source, p)
    order = np.lexsort((address, packet))
    falls = (address[1:] < address[:-1]) & (p.zero[packet[1:]] == 0)
    mixed = packet[1:][(packet[1:] == packet[:-1]) & (falls | (np.diff(address[order]) == 0))]
    places, first = np.unique(packet, return_index=True)
    last = np.append(first[1:], len(packet)) - 1
    low, high = address[order][first], address[order][last[: len(first)]]
    columns = (p.epoch[places], p.name[places], low, high, np.isin(places, mixed), p.offset[places])
    for epoch, name, first_page, last_page, is_mixed, offset in zip(*(x.tolist() for x in columns), strict=True):
        yield _Span(epoch, p.names[name], first_page, last_page, is_mixed, c.name, offset)


def _mixed_pages(channels: Sequence[Channel]) -> Iterator[Complaint]:
    """The first packet whose pages do not rise, or lie among those of another one of its round.

    A round goes over a block once, from its beginning to its end [Q][C], so that an offset is damaged then.
    """
    spans = sorted((s for c in channels for s in _spans(c)), key=lambda s: (s.epoch, s.block, s.low, s.high))
    found = [
        (s.epoch, f"the pages of {shown(s.block)} in the packet at its offset {s.offset:#x} do not rise", s)
        for s in spans
        if s.mixed
    ]
    found += [
        (
            b.epoch,
            f"the packet at its offset {b.offset:#x} has pages of {shown(b.block)} from {b.low:#x} on, and the one at "
            f"{a.offset:#x} of {a.channel}, of the same round, has pages from {a.low:#x} to {a.high:#x}",
            b,
        )
        for a, b in pairwise(spans)
        if (a.epoch, a.block) == (b.epoch, b.block) and a.high >= b.low
    ]
    for epoch, what, span in sorted(found, key=lambda f: f[0])[:1]:
        yield Complaint("multifd-channel", f"{span.channel}: {what}: an offset is damaged", epoch)


def _missing_ids(channels: Sequence[Channel]) -> Iterator[Complaint]:
    """Channels are numbered from 0 on."""
    ids = {c.id for c in channels}
    missing = [i for i in range(max(ids, default=-1)) if i not in ids]
    if missing:
        message = f"channel {', '.join(map(str, missing))} is missing: there are {', '.join(map(str, sorted(ids)))}"
        yield Complaint(MISSING, message, 0)


def _fallen_numbers(channels: Sequence[Channel]) -> Iterator[Complaint]:
    """The numbers of a channel's packets rise, but for one that a SYNC on a packet with pages took as well [C].

    Where they do not, and the channels go together, a number is damaged.
    """
    least = 0 if _ridden(channels) else 1
    for c in channels:
        rows = np.flatnonzero(c.packets.counts)
        fallen = np.flatnonzero(np.diff(c.packets.number[rows]) < least)
        if len(fallen):
            one, two = (int(c.packets.number[rows[i]]) for i in (fallen[0], fallen[0] + 1))
            message = f"{c.name}: packet {two} stands after packet {one}: the number of one of them is damaged"
            yield Complaint("multifd-channel", message, int(c.packets.epoch[rows[fallen[0]]]))


def _ridden(channels: Sequence[Channel]) -> int:
    """How many SYNCs rode on packets with pages."""
    return sum(int(np.count_nonzero(c.packets.is_sync & (c.packets.normal + c.packets.zero > 0))) for c in channels)


def _missing_numbers(channels: Sequence[Channel]) -> Iterator[Complaint]:
    """Every number from 0 on is some packet's, but for one number a SYNC that rode on a packet with pages [C]."""
    ridden = _ridden(channels)
    number = _joined([c.packets.number[c.packets.counts] for c in channels])
    epoch = _joined([c.packets.epoch[c.packets.counts] for c in channels])
    stated, first = np.unique(number, return_index=True)
    if not len(stated) or int(stated[-1]) + 1 - len(stated) <= ridden:
        return
    gaps = [(a + 1, b) for a, b in pairwise([-1, *stated.tolist()]) if b > a + 1]
    missing = sum(end - start for start, end in gaps)
    start = gaps[0][0]
    where = int(epoch[first[np.searchsorted(stated, start - 1)]]) if start and not ridden else 0
    words = ", ".join(str(a) if b == a + 1 else f"{a} to {b - 1}" for a, b in gaps[:_NAMED])
    more = " and more" if len(gaps) > _NAMED else ""
    message = f"{missing} packets are on no channel that is here (numbers {words}{more}): a channel is missing"
    yield Complaint(MISSING, message, where)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


# -- order in time -----------------------------------------------------------------------------------------------------


def order(main: Columns, sync_rows: Ints, others: Columns, epoch: Ints, number: Ints) -> Ints:
    """The order in time of the main channel's records and, numbered after them, the channels' records, (n,) int64.

    ``sync_rows`` are the rows that end an epoch. ``epoch`` and ``number`` (m,) are of the channels' records. A receiver
    takes the records of the two sides in one epoch in any order, but those of one side in their own. They are merged by
    the sweeps over the blocks that each side makes, and by address.
    """
    closes = np.zeros(len(main), bool)
    closes[sync_rows] = True
    following = main.kind[np.minimum(sync_rows + 1, len(main) - 1)] == Kind.EOS
    last = sync_rows + (following & (main.kind[sync_rows] == Kind.FLUSH) & (sync_rows + 1 < len(main)))
    ends_epoch = np.zeros(len(main), bool)
    ends_epoch[last] = True  # with a FLUSH goes the EOS right after it, so that what follows is of the next section
    closes |= ends_epoch
    all_epochs = np.concatenate([np.cumsum(ends_epoch) - ends_epoch, epoch])
    by_number = np.lexsort((others.address, number, epoch))  # the pages of one packet come in any order
    sides = [(np.arange(len(main)), main), (by_number + len(main), others.take(by_number))]
    sweeps, place = np.zeros(len(all_epochs), np.int64), np.zeros(len(all_epochs), np.int64)
    address = np.zeros(len(all_epochs), np.uint64)
    for rows, columns in sides:
        if not len(rows):
            continue
        paged = np.flatnonzero(columns.block != NO_BLOCK)
        begins = np.zeros(len(rows), bool)
        begins[paged[1:]] = (columns.block[paged][1:] != columns.block[paged][:-1]) | (
            columns.address[paged][1:] < columns.address[paged][:-1]
        )
        sweep = np.cumsum(begins)
        within = all_epochs[rows]
        first = np.searchsorted(within, within)  # the first record of each record's epoch
        sweeps[rows] = sweep - sweep[first]
        address[rows] = np.where(columns.block != NO_BLOCK, columns.address, 0)
        place[rows] = np.arange(len(rows))
    is_sync = np.concatenate([closes, np.zeros(len(others), bool)])
    return np.lexsort((place, address, sweeps, is_sync, all_epochs))
