"""The packets of multifd channels as columns: where each stands, what it states, which pages it carries."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ..formats import multifd
from ..formats.multifd import Flag, Method

Ints = NDArray[np.int64]

_STATE_FLAG, _SYNC_FLAG = int(Flag.DEVICE_STATE), int(Flag.SYNC)


@dataclass(frozen=True, slots=True)
class Packets:
    """The packets of one channel or of several, a column each, (n,). Offsets are in the channel's file.

    ``channel`` is the channel's id. ``row`` is that of the first record after a packet, once its place among the
    records is known. A packet stands at ``offset`` and its data at ``data``. The next one begins at ``stop``.
    ``number``, ``flags`` and ``allocated`` are what it states: its number, its flags, and how many pages it has room
    for. ``normal`` and ``zero`` count its pages, first those with content. ``name`` is the place in ``names`` of the
    block, or of the device whose state it has. ``instance`` is that device's. A packet of device state has -1 for
    ``number``.
    """

    channel: Ints
    row: Ints
    offset: Ints
    data: Ints
    stop: Ints
    number: Ints
    flags: Ints
    allocated: Ints
    normal: Ints
    zero: Ints
    name: Ints
    instance: Ints
    names: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, index: Ints | NDArray[np.bool_]) -> "Packets":
        """Some of them."""
        columns = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "names"}
        return replace(self, **columns)

    def name_of(self, place: int) -> bytes:
        """The block, or the device, that a packet is about. The name is empty where it is about none."""
        return self.names[int(self.name[place])]

    def word(self, place: int) -> str:
        """What a packet is, for a script: pages, sync, device-state or empty."""
        if self.is_state[place]:
            return "device-state"
        if self.normal[place] or self.zero[place]:
            return "pages"
        return "sync" if self.is_sync[place] else "empty"

    @property
    def is_sync(self) -> NDArray[np.bool_]:
        """Which packets have SYNC, (n,) bool."""
        found: NDArray[np.bool_] = (self.flags & _SYNC_FLAG) != 0
        return found

    @property
    def is_state(self) -> NDArray[np.bool_]:
        """Which packets carry device state, (n,) bool."""
        found: NDArray[np.bool_] = (self.flags & _STATE_FLAG) != 0
        return found

    @property
    def epoch(self) -> Ints:
        """How many SYNCs stand before each packet, (n,) int64. A SYNC belongs to the epoch that it ends."""
        return np.cumsum(self.is_sync) - self.is_sync

    @property
    def method(self) -> Ints:
        """How the pages of each packet are packed, (n,) int64."""
        return (self.flags & multifd.METHOD_MASK) >> multifd.METHOD_SHIFT

    @property
    def first_page(self) -> Ints:
        """How many pages with content the packets before each one have, (n,) int64."""
        return np.cumsum(self.normal) - self.normal

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Which packets have a number of their own, (n,) bool: those with pages or SYNC.

        Before 9.0 an empty packet follows a SYNC that rode on a packet with pages, and repeats its number [C].
        """
        return ((self.normal + self.zero > 0) | self.is_sync) & ~self.is_state


def method_name(method: int) -> str:
    """The name of a way to pack pages, in lower case, or "unknown method" with its number."""
    return Method(method).name.lower() if method in set(Method) else f"unknown method {method}"


def joined(parts: Sequence[Packets]) -> Packets:
    """The packets of several channels, one channel after the other."""
    names = tuple(dict.fromkeys(n for p in parts for n in p.names))
    place = {name: i for i, name in enumerate(names)}
    columns = {}
    for f in fields(Packets):
        if f.name != "names":
            columns[f.name] = np.concatenate([np.empty(0, np.int64), *(getattr(p, f.name) for p in parts)])
    at = [np.array([place[n] for n in p.names], np.int64)[p.name] for p in parts]
    columns["name"] = np.concatenate([np.empty(0, np.int64), *at])
    return Packets(**columns, names=names)
