"""What QEMU makes of the packets of multifd's channels.

A channel that it gives up leaves its loader waiting for it: most versions print nothing then, and never end [C].
"""

from uuid import UUID

import numpy as np
from construct import ConstructError

from ...formats import multifd
from ...model import Stream, once
from ...ram import packets
from ...ram.packets import Channel
from ...source.sources import MappedSource
from .. import rules
from .loading import Loading
from .values import Outcome, Seen
from .words import CHAINED, Version

_ZERO_PAGES: Version = (9, 0)  # from here on a packet has them
_COUNTED: Version = (10, 0)  # the oldest version that was seen to name a channel's id where it refuses it
_MIXED_UP: Version = (7, 2)  # the newest that was seen to name its version instead
#: What is found of channels, where a receiver may wait for what does not come.
_OPEN = (rules.MULTIFD_CHANNEL, rules.FOREIGN_CHANNEL, rules.CHANNEL_MISSING)


def judged(on: Loading, seen: Seen) -> Outcome | None:
    """Why a destination with multifd does not load what came over the channels, or None if it does."""
    channels = _channels(on.stream)
    counts = {c.epochs for c in channels}
    for index, channel in enumerate(channels):
        why, said = _init(on, index, channel, channels)
        why = why or _packets(on, channel)
        if not why and channel.damage is None and channel.epochs < max(counts):
            why = f"it has {channel.epochs} SYNCs, and others have {max(counts)}: QEMU waits for the next"
        if why:
            return Outcome(False, reason=f"{channel.name}: {why}", said=said)
    found = next((seen.first[r.id] for r in _OPEN if r.id in seen.first), None)
    if found is not None:
        return Outcome(None, reason=f"QEMU may wait for what does not come: {found.message}")
    return None


@once
def _channels(stream: Stream) -> tuple[Channel, ...]:
    """The channels of multifd, in the order in which they were given."""
    magic = multifd.MAGIC.to_bytes(4, "big")
    files = [f for f in stream.files[1:] if isinstance(f, MappedSource) and bytes(f.view[:4]) == magic]
    return tuple(packets.read(f, stream.page_size).unbroken for f in files)


def _init(on: Loading, index: int, channel: Channel, channels: tuple[Channel, ...]) -> tuple[str, tuple[str, ...]]:
    """What is wrong with how a channel opens, and what QEMU prints."""
    try:
        version = int(multifd.Init.parse(channel.source.view[: multifd.Init.sizeof()]).version)
    except ConstructError:
        return "it does not begin as a channel does", ()
    before = f"failed to receive packet via multifd channel {index:x}: multifd: received "
    if version != multifd.VERSION:
        what = f"packet version {version} expected {multifd.VERSION}"
        return what, (before + what,)
    own = on.destination.uuid
    if own is not None and own != channel.uuid:
        what = f"uuid '{UUID(bytes=channel.uuid)}' and expected uuid '{UUID(bytes=own)}' for channel {channel.id:x}"
        return what, (before + what,)
    if any(c.uuid != channel.uuid for c in channels):
        return "it is of another guest than another channel", ()
    if channel.id <= len(channels):
        return "", ()
    words = f"channel version {version} expected {multifd.VERSION}"
    if on.version >= _COUNTED:
        over = "is greater than number of channels" if on.version < CHAINED else "exceeds channel count"
        words = f"channel id {channel.id} {over} {len(channels)}"
    known = on.version >= _COUNTED or on.version <= _MIXED_UP
    return f"its id is {channel.id}, of {len(channels)} channels", (before + words,) if known else ()


def _packets(on: Loading, channel: Channel) -> str:
    """Why QEMU gives a channel's packets up, or an empty text."""
    found, size = channel.packets, on.stream.page_size
    room = packets.full_room(size) // multifd.Offset.sizeof()
    over = np.flatnonzero((found.allocated > room) & ~found.is_state)
    if len(over):
        return f"a packet has room for {found.allocated[over[0]]} pages, at its offset {found.offset[over[0]]:#x}"
    addresses, of = packets.all_offsets(channel.source, found)
    own = on.lengths or {b.name: b.length for b in on.stream.blocks if b.declared}
    lengths = np.array([own.get(name, -1) for name in found.names], np.int64)[found.name[of]]
    beyond = np.flatnonzero(addresses.astype(np.float64) > lengths - size)
    if len(beyond):
        at = found.offset[of[beyond[0]]]
        return f"a page is of no block, or beyond its block, in the packet at its offset {at:#x}"
    if channel.damage is None or _passes(on, channel, channel.damage[0]):
        return ""
    return f"{channel.damage[1]}, at its offset {channel.damage[0]:#x}"


def _passes(on: Loading, channel: Channel, at: int) -> bool:
    """Whether QEMU may read on at a packet that the scan stopped at: it does not look at all that a header states."""
    full = packets.full_room(on.stream.page_size) // multifd.Offset.sizeof()
    if (~np.isin(channel.packets.allocated[~channel.packets.is_state], (0, full))).any():
        return True  # QEMU reads so many offsets, whatever room a packet states
    try:
        header = multifd.PacketHeader.parse(channel.source.view[at : at + multifd.PacketHeader.sizeof()])
    except ConstructError:
        return False
    pages = header.normal_pages + (header.zero_pages if on.version >= _ZERO_PAGES else 0)
    method = (header.flags & multifd.METHOD_MASK) >> multifd.METHOD_SHIFT
    size = header.normal_pages * on.stream.page_size
    whole = at + multifd.PacketHeader.sizeof() + header.pages_allocated * multifd.Offset.sizeof() + size
    alike = multifd.Method[channel.method.upper()] == method if channel.pages else True
    return (
        bool(header.version == multifd.VERSION and pages <= header.pages_allocated)
        and alike
        and (method == multifd.Method.NONE and whole <= channel.source.size)
    )
