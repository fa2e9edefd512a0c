"""The migrations in a dump: which connections carry one, and the one that is wanted, put together.

A migration is its main channel, which begins with QEVM, and the channels of multifd and of preempt beside it. The
latter have no magic: they go to the same place while the main channel is open, and begin as a row of records does.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from ...errors import XbrleError
from ...formats import packets, qevm
from ...text import counted, shown
from ..beside import MULTIFD_MAGIC, begins_row
from ..sources import MappedSource, Oddity, Rebuilt, mapped
from ..wrappers import PacketDump
from .assembly import Assembled, assemble
from .connections import CONNECTIONS_MAX, Connection, Index, Way, connections, index

_MAIN = qevm.MAGIC.to_bytes(4, "big")
_LISTED = 20  # migrations or connections in an error's text
HOLES_NAMED = 1 << 10  # holes that have a finding of their own
DIFFERENCES_NAMED = 64  # ranges that were sent twice and differ, likewise
MISSING, DIFFERS, CUT, ODD = "missing-packets", "packets-differ", "dump-cut", "packets-odd"


@dataclass(slots=True, eq=False)
class Migration:
    """A migration: the connection of its main channel, and those of its channels, in the order of their SYNs."""

    main: Connection
    channels: list[Connection] = field(default_factory=list)
    lost: list[Connection] = field(default_factory=list)  # what may be channels, but their first bytes are missing

    def __str__(self) -> str:
        forth = self.main.forth
        size = int(forth.segments["full"].astype(np.int64).sum())
        more = f", {counted(len(self.channels), 'channel')} beside it" if self.channels else ""
        late = "" if forth.head.startswith(_MAIN) else "; its beginning is missing"
        return f"{self.main.name}, {_clock(self.main.began)}, {size:,} bytes{more}{late}"


def packet_dump(
    view: memoryview, name: str, wanted: int | None, wrapper: str | None = None, damage: str | None = None
) -> MappedSource:
    """The main channel of a migration in the dump whose bytes are ``view``, and all that goes with it in `rebuilt`.

    ``wanted`` is the number of the migration, from 1 on in the order in which they began. It may be None where there is
    only one. ``wrapper`` names the compression that the dump was in, and ``damage`` says what was wrong with that.

    Raises:
        XbrleError: there is not such a migration, or it is to be said which one is meant.
    """
    found = index(view)
    found.ending.damage = damage or found.ending.damage
    every = sorted(connections(found), key=lambda c: c.order)
    there = migrations(every)
    if not there:
        raise XbrleError(f"{name}: {_nothing(found, every)}")
    if wanted is None and len(there) > 1:
        hint = "Choose one with --stream N, or write it out: xbrle capture --from-pcap DUMP --stream 1 -o S"
        raise XbrleError(f"{name}: has {len(there)} migrations: {_list(there)}. {hint}")
    if wanted is not None and not 1 <= wanted <= len(there):
        raise XbrleError(f"{name}: does not have a migration {wanted}: {_list(there)}")
    number = 1 if wanted is None else wanted
    chosen = there[number - 1]
    about = PacketDump(
        shown(chosen.main.name.encode()), number, len(there), found.packets, chosen.main.forth.head.startswith(_MAIN)
    )
    source = _source(view, name, chosen.main, chosen.main.forth, about, _of_dump(found, chosen))
    source.wrapper = source.read(salvage=True).wrapper = wrapper
    rebuilt = source.rebuilt
    assert rebuilt is not None
    rebuilt.channels = tuple(
        _source(view, f"{name}.{i}", c, c.forth, None, []) for i, c in enumerate(chosen.channels, 1)
    )
    if len(chosen.main.back.segments):
        rebuilt.back = _source(view, f"{name}.reverse", chosen.main, chosen.main.back, None, [])
    beside = [o for i, c in enumerate(rebuilt.channels, 1) for o in _of_channel(i, chosen.channels[i - 1], c)]
    rebuilt.oddities += tuple(beside)
    return source


# -- what there is ----------------------------------------------------------------------------------------------------


def migrations(every: Sequence[Connection]) -> list[Migration]:
    """The migrations among connections that are in the order of their SYNs.

    Where none begins as one, they are what may be one whose beginning is missing.
    """
    for one in every:
        if one.back.head.startswith((_MAIN, MULTIFD_MAGIC)) and not one.forth.head.startswith((_MAIN, MULTIFD_MAGIC)):
            one.client, one.server, one.forth, one.back = one.server, one.client, one.back, one.forth
    found = [Migration(c) for c in every if c.forth.head.startswith(_MAIN)]
    if not found:
        return [Migration(c) for c in every if _may_be_cut(c.forth)]
    for one in every:
        if not one.forth.head.startswith(_MAIN):
            _enter(one, found)
    return found


def _enter(one: Connection, found: Sequence[Migration]) -> None:
    """Give a connection to the migration that it is a channel of, if there is one."""
    by_magic = one.forth.head.startswith(MULTIFD_MAGIC)
    same = [m for m in found if m.main.server == one.server]
    if by_magic and not same:
        same = [m for m in found if m.main.server[:16] == one.server[:16]] or list(found)
    before = [m for m in same if m.main.order <= one.order]
    owner = before[-1] if before else same[0] if same else None
    if owner is None or not (by_magic or owner.main.began <= one.began <= owner.main.last):
        return
    if by_magic or begins_row(one.forth.head):
        owner.channels.append(one)
    elif _may_be_cut(one.forth):
        owner.lost.append(one)


def _may_be_cut(way: Way) -> bool:
    """Whether the dump lacks the first bytes of a direction that carries something."""
    lacks = not way.begins or len(way.head) < len(_MAIN)
    return bool(len(way.segments)) and lacks and not way.head.startswith(packets.TLS_BEGINS)


def _list(there: Sequence[Migration]) -> str:
    listed = "; ".join(f"{i}: {m}" for i, m in enumerate(there[:_LISTED], 1))
    return listed + (f"; and {len(there) - _LISTED} more" if len(there) > _LISTED else "")


def _nothing(found: Index, every: Sequence[Connection]) -> str:
    """Why there is nothing to read."""
    said = f"is a packet dump of {counted(found.packets, 'packet')} without a migration"
    tls = [c for c in every if c.forth.head.startswith(packets.TLS_BEGINS)]
    if tls:
        said += f"; {counted(len(tls), 'connection')} begin with TLS, whose content cannot be read: {tls[0].name}"
    elif every:
        most = max(every, key=lambda c: len(c.forth.segments))
        said += f"; none of its {counted(len(every), 'TCP connection')} begins with QEVM, the largest is {most.name}"
        said += f" (starts with {most.forth.head[:4].hex(' ')})"
    said += "".join(f"; {counted(n, 'packet')} {why}" for why, n in found.frames.unread.items())
    if found.ending.damage:
        said += f"; {found.ending.damage}"
    return said + (f"; {_refused(found)}" if found.refused else "")


def _refused(found: Index) -> str:
    return (
        f"it has over {CONNECTIONS_MAX:,} connections, and {found.refused:,} segments of later ones are left out: "
        "filter it first, as with tcpdump -r FILE -w FEWER tcp port N"
    )


def _clock(moment: int) -> str:
    """A time of a dump, in UTC."""
    when = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=min(moment, 1 << 62) // 1000)
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


# -- the one that is wanted -------------------------------------------------------------------------------------------


def _source(
    view: memoryview, name: str, one: Connection, way: Way, about: PacketDump | None, oddities: list[Oddity]
) -> MappedSource:
    """The bytes of one direction, up to the first that are missing, with what else there is in `rebuilt`."""
    found = assemble(view, way)
    with closing(found.file):
        first = int(found.holes[0, 0]) if len(found.holes) else found.size
        before = MappedSource(name, mapped(found.file, first), None, 0, about)
        whole = before
        if first < found.size:
            whole = MappedSource(name, mapped(found.file, found.size), None, 0, about)
    if len(found.holes):
        count, total = len(found.holes), int((found.holes[:, 1] - found.holes[:, 0]).sum())
        more = f", and {count - 1} more ranges, {total:,} bytes in all" if count > 1 else ""
        before.damage = f"packets are missing: {_range(*found.holes[0].tolist())}{more}"
    elif found.given_up:
        before.damage = found.given_up
    if whole is not before:
        whole.damage = found.given_up
    oddities = oddities + _of_way(one, way, found)
    rebuilt = Rebuilt(before, whole, found.holes, tuple(oddities), found.times)
    before.rebuilt = whole.rebuilt = rebuilt
    return before


def _range(start: int, end: int) -> str:
    return f"{end - start:,} bytes at stream offset {start:#x}"


def _of_way(one: Connection, way: Way, found: Assembled) -> list[Oddity]:
    """What is odd about one direction."""
    out = []
    if not way.begins and not way.head.startswith((_MAIN, MULTIFD_MAGIC)):
        text = f"the dump begins in the middle of the connection {one.name}: how many bytes are missing is not known"
        out.append(Oddity(MISSING, 0, text, lost=True))
    for start, end in found.holes[:HOLES_NAMED].tolist():
        text = f"packets are missing: {_range(start, end)} of {one.name} are not in the dump"
        out.append(Oddity(MISSING, start, text, lost=True))
    if len(found.holes) > HOLES_NAMED:
        rest = found.holes[HOLES_NAMED:]
        total = int((rest[:, 1] - rest[:, 0]).sum())
        text = f"packets are missing: {len(rest):,} more ranges, {total:,} bytes in all"
        out.append(Oddity(MISSING, int(rest[0, 0]), text, lost=True))
    if found.given_up:
        out.append(Oddity(MISSING, found.size, found.given_up, lost=True))
    for start, end in found.differs[:DIFFERENCES_NAMED].tolist():
        text = (
            f"{_range(start, end)} of {one.name} were sent again, and differently: what came first is taken. "
            "A sender never does that: the dump was changed, or someone else sent"
        )
        out.append(Oddity(DIFFERS, start, text, lost=True))
    if found.differing > DIFFERENCES_NAMED:
        text = f"{found.differing - DIFFERENCES_NAMED:,} more segments were sent again, and differently"
        out.append(Oddity(DIFFERS, int(found.differs[-1, 0]), text, lost=True))
    if found.strays:
        text = f"{counted(found.strays, 'segment')} of {one.name} lie outside of any window, and are left out"
        out.append(Oddity(DIFFERS, 0, text, lost=True))
    if not way.begins and way.head.startswith((_MAIN, MULTIFD_MAGIC)):
        text = (
            f"the dump does not have the SYN of {one.name}: that it begins with a magic shows that nothing is missing"
        )
        out.append(Oddity(ODD, 0, text))
    return out


def _of_channel(number: int, one: Connection, source: MappedSource) -> list[Oddity]:
    """What is odd about a channel, said of the main one, whose offsets are others."""
    assert source.rebuilt is not None
    found = list(source.rebuilt.oddities)
    if not one.forth.begins and not one.forth.head.startswith(MULTIFD_MAGIC):
        found.append(Oddity(ODD, 0, f"that {one.name} is a channel is a guess: the dump lacks its SYN", lost=True))
    return [Oddity(o.rule, 0, f"channel {number}: {o.message}", o.lost) for o in found]


def _of_dump(found: Index, chosen: Migration) -> list[Oddity]:
    """What is odd about the dump itself, and about connections that are not read."""
    out = []
    if found.ending.damage:
        out.append(Oddity(CUT, 0, f"{found.ending.damage}: later packets are missing", lost=True))
    if found.refused:
        out.append(Oddity(CUT, 0, _refused(found), lost=True))
    if found.frames.leftover:
        found.frames.unread["are fragments without the first one of their packet"] += found.frames.leftover
    for one in chosen.lost:
        text = f"the connection {one.name} may be a channel, but its first bytes are missing: it is not read"
        out.append(Oddity(MISSING, 0, text, lost=True))
    if found.ending.dropped:
        text = f"the dump says that {counted(found.ending.dropped, 'packet')} were dropped while it was recorded"
        out.append(Oddity(ODD, 0, text))
    for why, count in found.frames.unread.items():
        out.append(Oddity(ODD, 0, f"{counted(count, 'packet')} in the dump {why}"))
    return out
