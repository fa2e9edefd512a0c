"""A main channel and the others as one capture: their pages behind the main channel's bytes, their records among its.

Facts: formats/README.md, "multifd" and "Postcopy". The pages are unpacked into a spool, so that a channel's record has
an offset like any other.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats.ram import Flag, Kind
from ..model import Facts, Lost, Problem, Stream
from ..source.beside import begins_row, is_multifd
from ..source.opening import Openable, open_source
from ..source.sources import MappedSource, mapped
from ..table.columns import DTYPES, NO_BLOCK, Columns, join
from ..table.packets import Packets, joined, method_name
from ..table.table import Origins, RecordTable
from . import elsewhere, multifd, packets, preempt
from .packets import Channel
from .preempt import Preempt
from .record import WORD
from .unpacking import unpack

Ints = NDArray[np.int64]

_NO_NUMBER = -1


@dataclass(frozen=True, slots=True)
class Spool:
    """What the channels hold. ``source`` has the main channel's ``main_size`` bytes and then all their pages.

    ``columns`` are the records of all channels, by rising offset in ``source``. Beside each stand the index of its
    channel, first multifd's and then preempt's, the index of its ``packet`` there, its offset ``at`` in that channel's
    file, its ``epoch``, and the ``number`` that the packet states, (n,) int64 each. Packet and number are -1 where it
    did not come in one. ``lost`` are pages that could not be unpacked, as records without bytes, with their epochs and
    numbers.
    """

    source: MappedSource
    main_size: int
    channels: tuple[Channel, ...]
    preempt: tuple[Preempt, ...]
    columns: Columns
    channel: Ints
    packet: Ints
    at: Ints
    epoch: Ints
    number: Ints
    lost: Columns
    lost_epoch: Ints
    lost_number: Ints
    troubles: tuple[str, ...]

    @property
    def ids(self) -> list[int]:
        """The id of each channel. Those of preempt do not have one: they follow the others."""
        ids = [c.id for c in self.channels]
        return ids + [max(ids, default=-1) + 1 + i for i in range(len(self.preempt))]

    def places(self, offsets: NDArray[np.uint64]) -> tuple[Ints, Ints]:
        """Where records came from: the id of the channel and the offset in its file, (n,) int64 each.

        That is the packet's offset for a record that came in one. The main channel's records have -1 and their own.
        """
        channel, at = np.full(len(offsets), -1), offsets.astype(np.int64)
        of_channels = np.flatnonzero(offsets >= np.uint64(self.main_size))
        rows = np.searchsorted(self.columns.offset, offsets[of_channels], side="right") - 1
        channel[of_channels] = np.array(self.ids, np.int64)[self.channel[rows]]
        at[of_channels] = self.at[rows]
        return channel, at


def wanted(paths: Sequence[Openable], columns: Columns, facts: Facts, keep: bool = True) -> list[MappedSource]:
    """Those of ``paths``, files that lie beside the main channel, which carry pages of its migration.

    A main channel of multifd does not carry content of its own before postcopy began. One of preempt had postcopy.
    ``keep``: what is fetched for a URL may stay in the cache.
    """
    run = elsewhere.postcopy_run(facts)
    before = columns if run is None else columns.take(columns.offset < np.uint64(run))
    wants_packets = elsewhere.is_multifd(elsewhere.counted(before)[0])
    if facts.mapped_ram or not (wants_packets or run is not None):
        return []
    sources = [open_source(p, keep=keep).spool() for p in paths]
    return [s for s in sources if (wants_packets if is_multifd(s) else run is not None)]


def combine(
    main: MappedSource,
    sources: Sequence[MappedSource],
    columns: Columns,
    facts: Facts,
    forced: tuple[str | None, str | None] = (None, None),
    salvaged: bool = False,
    given: bool = True,
) -> tuple[Stream, Spool]:
    """The stream with the records of all channels in their places among the main channel's, ``columns``.

    ``forced`` and ``salvaged`` are as in `Stream`. ``given``: the user named ``sources``. Else they were found.

    Raises:
        XbrleError: one of ``sources`` is not a channel of a migration, or one was given twice.
    """
    sources, unread, all_read = _readable([s.read(salvaged) if is_multifd(s) else s for s in sources], main.size, given)
    found = spool(main, sources, facts)
    sync_rows = multifd.syncs(columns, facts, found.channels)
    rounds = bool((columns.kind[sync_rows] == Kind.FLUSH).any())
    unbroken = [c.unbroken for c in found.channels]
    complaints = multifd.complaints(unbroken, len(sync_rows), facts, rounds) if unbroken else []
    problems = unread + [Problem(c.rule, main.size, c.message, lost=True) for c in complaints]
    problems += [Problem("multifd-channel", main.size, t, lost=True) for t in found.troubles]
    kinds, of_blocks = elsewhere.counted(columns)
    if not found.channels:
        problems += elsewhere.problems(facts, kinds, of_blocks)
    epoch = min((c.epoch for c in complaints), default=None)
    if any(p.rule == elsewhere.MISSING for p in problems) and not found.channels:
        epoch = 0
    epoch = epoch if all_read else 0
    stream = _merged(main, found, columns, facts, problems, epoch, (forced, salvaged))
    return replace(stream, files=(main, *sources)), found


def _readable(sources: Sequence[MappedSource], at: int, given: bool) -> tuple[list[MappedSource], list[Problem], bool]:
    """The channels that can be read beside each other, and why others cannot. Whether what those hold is here as well.

    The problems stand at offset ``at``. ``given`` is as in `combine`.

    Raises:
        XbrleError: one was given twice.
    """
    kept, problems, ids, all_read = [], [], dict[int, MappedSource](), True
    for source in sources:
        try:
            number = int(packets.opening(source).id[0]) if is_multifd(source) else None
        except XbrleError as error:
            problems.append(Problem("multifd-channel", at, f"{error}: it is left out", lost=True))
            all_read = False
            continue
        if number is not None and number in ids:
            same = ids[number].view == source.view
            if same and given:
                raise XbrleError(f"{source.name}: channel {number} is given twice")
            why = "it is the same file" if same else "one of the two is damaged or of another migration"
            message = f"{source.name}: says that it is channel {number}, as {ids[number].name} does: {why}; left out"
            problems.append(Problem("multifd-channel", at, message, lost=True))
            all_read = all_read and same
            continue
        if number is not None:
            ids[number] = source
        kept.append(source)
    return kept, problems, all_read


def alone(source: MappedSource, facts: Facts) -> tuple[Stream, Spool]:
    """The stream that one channel, multifd's or preempt's, is by itself: its own records, and no page of them is known.

    Its own bytes stand where else those of the main channel do. ``facts`` have the blocks that its packets name, and
    say what is missing.

    Raises:
        XbrleError: ``source`` is not a channel.
    """
    found = spool(source, [source], facts)
    epochs = found.channels[0].epochs if found.channels else 0
    complaints = multifd.complaints(found.channels, epochs, facts) if found.channels else []
    damaged = [c.message for c in complaints if c.rule == "multifd-channel"]
    problems = [Problem("multifd-channel", 0, message, lost=True) for message in (*damaged, *found.troubles)]
    stream = _merged(source, found, join([]), facts, problems, 0, ((None, None), False))
    return replace(stream, files=(source,)), found


def _merged(
    main: MappedSource,
    found: Spool,
    columns: Columns,
    facts: Facts,
    problems: Sequence[Problem],
    epoch: int | None,
    opened: tuple[tuple[str | None, str | None], bool],
) -> Stream:
    """The stream of the main channel's ``columns`` and of all that was ``found``. From ``epoch`` on nothing is sure.

    ``opened`` are what was forced, and whether it was salvaged, as in `Stream`.
    """
    sync_rows = multifd.syncs(columns, facts, found.channels)
    others = join([found.columns, found.lost])
    epochs = np.concatenate([found.epoch, found.lost_epoch])
    numbers = np.concatenate([found.number, found.lost_number])
    everything = join([columns, others])
    order = multifd.order(columns, sync_rows, others, epochs, numbers)
    order = _preempt_placed(order, columns, found, facts)
    is_lost = order >= len(columns) + len(found.columns)
    lost = _lost(everything.take(order[is_lost]), np.cumsum(~is_lost, dtype=np.int64)[is_lost])
    order = order[~is_lost]
    ids = np.array([-1, *found.ids], np.int64)
    origins = Origins(
        np.concatenate([np.full(len(columns), -1), ids[found.channel + 1]])[order],
        np.concatenate([np.full(len(columns), _NO_NUMBER), found.number])[order],
        np.concatenate([columns.offset.astype(np.int64), found.at])[order],
    )
    framing = facts.sections, facts.names, facts.page_size
    table = RecordTable(everything.take(order), *framing, main.size, origins, facts.reading.dialect)
    rows = [*table.main_rows.tolist(), len(table)] if facts.gaps else []  # channels' records stand between
    facts = replace(
        facts,
        problems=(*facts.problems, *problems),
        gaps=tuple(replace(g, row=rows[g.row]) for g in facts.gaps),
    )
    broken = None if epoch is None else _row_of_epoch(min(epoch, len(sync_rows)), sync_rows, table)
    packets_ = _packets(found, order, sync_rows, table)
    count = len(found.channels) + len(found.preempt)
    return Stream(found.source, facts, table, *opened, count, broken, lost, packets_)


def _packets(found: Spool, order: Ints, sync_rows: Ints, table: RecordTable) -> Packets:
    """The packets of all channels in the order of the records: each before its first record, or before its SYNC.

    ``order`` has the number of each row of the table: the main channel's records, then those of the channels.
    """
    everything = joined([c.packets for c in found.channels])
    counts = np.array([0, *(len(c.packets) for c in found.channels)], np.int64)
    epoch = _joined([c.packets.epoch for c in found.channels])
    ends = np.append(table.main_rows[sync_rows], len(table))
    row = ends[np.minimum(epoch, len(sync_rows))]
    rows = np.flatnonzero(order >= len(order) - len(found.columns))
    record = order[rows] - (len(order) - len(found.columns))
    in_packet = found.packet[record] >= 0
    place = np.cumsum(counts)[found.channel[record[in_packet]]] + found.packet[record[in_packet]]
    np.minimum.at(row, place, rows[in_packet])
    by_row = np.lexsort((everything.channel, everything.number, epoch, row))
    return replace(everything, row=row).take(by_row)


def _row_of_epoch(epoch: int, sync_rows: Ints, table: RecordTable) -> int:
    """The row that an epoch begins with. ``sync_rows`` are among the main channel's rows."""
    return int(table.main_rows[sync_rows[epoch - 1]]) + 1 if epoch else 0


def _preempt_placed(order: Ints, main: Columns, found: Spool, facts: Facts) -> Ints:
    """``order`` with the records of preempt's channels moved to where the destination began to ask for pages.

    Each page comes once after that, on either side, so that their places among the others do not matter.
    """
    first_of_preempt = len(found.channels)
    own = np.zeros(len(order), bool)
    of_channel = (order >= len(main)) & (order < len(main) + len(found.columns))
    own[of_channel] = found.channel[order[of_channel] - len(main)] >= first_of_preempt
    if not own.any():
        return order
    run = elsewhere.postcopy_run(facts)
    rest = order[~own]
    after = len(rest)
    if run is not None:
        later = np.flatnonzero((rest < len(main)) & (main.offset[np.minimum(rest, len(main) - 1)] > np.uint64(run)))
        after = int(later[0]) if len(later) else after
    return np.concatenate([rest[:after], np.sort(order[own]), rest[after:]])


def _lost(columns: Columns, rows: Ints) -> Lost:
    reason = "it came on a channel whose packed pages cannot be read"
    return Lost(rows, columns.block.astype(np.int64), columns.address.astype(np.int64), reason)


# -- spooling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """The records of one channel: those with pages, and those whose pages are lost.

    Beside each stand its place and time.
    """

    columns: Columns
    packet: Ints
    at: Ints
    epoch: Ints
    number: Ints
    lost: Columns
    lost_epoch: Ints
    lost_number: Ints
    trouble: str | None = None


def spool(main: MappedSource, sources: Sequence[MappedSource], facts: Facts) -> Spool:
    """Unpack all channels behind the main channel's bytes.

    Raises:
        XbrleError: one of ``sources`` is not a channel.
    """
    blocks = {b.name: i for i, b in enumerate(facts.blocks)}
    bare = [s for s in sources if not is_multifd(s)]
    channels: list[Channel] = []
    rows: list[Preempt] = []
    pieces: list[_Piece] = []
    with tempfile.TemporaryFile() as file:
        file.write(main.view)
        for source in (s for s in sources if s not in bare):
            channel = packets.read(source, facts.page_size)
            channels.append(channel)
            pieces.append(_of_packets(source, channel, facts.page_size, file, blocks))
        for source in bare:
            if source.size and not begins_row(bytes(source.view[:WORD])):
                raise XbrleError(f"{source.name}: is not a channel of a migration: neither multifd nor preempt")
            rows.append(preempt.read(source, facts.reading, blocks))
            pieces.append(_of_row(source, rows[-1], file))
        file.flush()
        joined = MappedSource(main.name, mapped(file), main.wrapper)
        joined.given = main.given
    return Spool(
        joined,
        main.size,
        tuple(channels),
        tuple(rows),
        join([p.columns for p in pieces]),
        _joined([np.full(len(p.columns), i) for i, p in enumerate(pieces)]),
        _joined([p.packet for p in pieces]),
        _joined([p.at for p in pieces]),
        _joined([p.epoch for p in pieces]),
        _joined([p.number for p in pieces]),
        join([p.lost for p in pieces]),
        _joined([p.lost_epoch for p in pieces]),
        _joined([p.lost_number for p in pieces]),
        (*(p.trouble for p in pieces if p.trouble), *(_cut(r) for r in rows if r.damage)),
    )


def _cut(channel: Preempt) -> str:
    assert channel.damage is not None
    return f"{channel.name}: {channel.damage[1]} (at its offset {channel.damage[0]:#x})"


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _of_packets(
    source: MappedSource, channel: Channel, page_size: int, file: BinaryIO, blocks: dict[bytes, int]
) -> _Piece:
    """Write a channel's pages to the end of ``file``. A zero page takes one byte there, its fill."""
    p = channel.packets
    block_of = np.array([blocks.get(n, NO_BLOCK) for n in p.names], np.int64)
    begin = file.tell()
    unpacked = unpack(source, channel, page_size, file)
    zero_begin = file.tell()
    file.write(bytes(channel.zeros))
    address, packet = packets.page_offsets(source, p, zero=False)
    zero_address, zero_packet = packets.page_offsets(source, p, zero=True)
    good, bad = np.flatnonzero(unpacked), np.flatnonzero(~unpacked)
    columns = join(
        [
            _records(Kind.PAGE, address[good], block_of[p.name[packet[good]]], begin, page_size),
            _records(Kind.DUP, zero_address, block_of[p.name[zero_packet]], zero_begin, 1),
        ]
    )
    lost = _records(Kind.NOOP, address[bad], block_of[p.name[packet[bad]]], 0, 0)
    whole = np.concatenate([packet[good], zero_packet])
    epoch = p.epoch
    trouble = None
    if len(bad):
        first = packet[bad[0]]
        trouble = (
            f"{channel.name}: {len(bad)} of its pages, packed as {method_name(int(p.method[first]))}, cannot be "
            f"unpacked; the first is in the packet at its offset {int(p.offset[first]):#x}"
        )
    return _Piece(
        columns,
        whole,
        p.offset[whole],
        epoch[whole],
        p.number[whole],
        lost,
        epoch[packet[bad]],
        p.number[packet[bad]],
        trouble,
    )


def _of_row(source: MappedSource, channel: Preempt, file: BinaryIO) -> _Piece:
    """Write a preempt channel as it is to the end of ``file``. Its EOS does not end a section, and is left out."""
    begin = file.tell()
    file.write(source.view[: channel.size])
    columns = channel.columns.take(channel.columns.kind != Kind.EOS)
    at = columns.offset.astype(np.int64)
    nowhere = np.full(len(at), _NO_NUMBER)
    columns = replace(columns, offset=columns.offset + np.uint64(begin))
    empty = np.empty(0, np.int64)
    none = join([])
    after_all = np.full(len(at), np.iinfo(np.int64).max)
    return _Piece(columns, nowhere, at, after_all, nowhere, none, empty, empty)


def _records(kind: Kind, addresses: NDArray[np.uint64], blocks: Ints, at: int, length: int) -> Columns:
    """The records of these pages, whose bytes stand one after the other from offset ``at`` on."""
    count = len(addresses)
    flag = {Kind.PAGE: Flag.PAGE, Kind.DUP: Flag.COMPRESS}.get(kind, Flag(0))
    values = {
        "offset": at + length * np.arange(count),
        "address": addresses,
        "length": np.full(count, length),
        "flags": np.full(count, flag),
        "block": blocks,
        "kind": np.full(count, kind),
    }
    return Columns(**{n: values.get(n, np.zeros(count)).astype(t) for n, t in DTYPES.items()})
