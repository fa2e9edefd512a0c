"""A map while it is being worked out: what is placed, what is not and why, which blocks are memory of the guest."""

import re
from dataclasses import dataclass, field
from itertools import pairwise

from ..errors import XbrleError
from ..formats.elf import Machine
from ..model import Block, Stream
from . import boards, pci, virtiomem
from .layout import PhysicalMap, Range, Unplaced, checked, covered, joined, left_of

APART_MAX = 1 << 12  # ranges that are cut where they overlap
PARTS_MAX = 64  # parts of one block that are listed for one reason
_ROM, _FIRMWARE = "an option ROM, which the guest sees only while it is enabled", "firmware that the map does not show"
_DISPLAY, _DEVICE = "memory of a display adapter", "memory of a device"
#: Blocks that are not memory of the guest, by the whole of their names, and why they may have no place. A memory
#: backend has a name of its user's, which may hold any of these words: so no part of a name counts.
_OTHERS = (
    (rb"/rom@.*", "a file that firmware reads, not guest-physical memory"),
    (rb"pc\.rom", _ROM),
    (rb"mach-virt\.(secure-)?tag", "tags of memory, not memory"),
    (rb"synic-\d+-(msg|event)-page", "a page that a CPU lays over other memory"),
    (rb"pc\.bios|isa-bios|firmware|system\.flash[01]", _FIRMWARE),
    (rb"vga\.vram|vexpress\.vram", _DISPLAY),
    (rb"tpm-ppi", _DEVICE),
)
#: Blocks of devices, whose names begin with the device's path, by the rest of the name. The first that fits counts.
_OF_DEVICES = (
    (rb".*rom", _ROM),
    (rb".*(vga|vram|ramfb).*|qxl.*", _DISPLAY),
    (rb"vmsvga\.fifo|.*nvram.*", _DEVICE),
)
_BACKENDS = b"/objects/"  # what stands before a backend's name in old machine types: not a device's path


def other(stream: Stream, block: Block) -> str | None:
    """Why a block is not memory of the guest, or None where it is or may be."""
    path, _, own = block.name.rpartition(b"/")
    of_device = path and not block.name.startswith((_BACKENDS, b"/rom@"))
    for pattern, reason in _OF_DEVICES if of_device else _OTHERS:
        if re.fullmatch(pattern, own if of_device else block.name, re.DOTALL):
            return reason
    if not of_device and block.name in boards.FIRMWARE:
        return _FIRMWARE
    if pci.path_of(block.name) is not None and not virtiomem.is_device(stream, block):
        return "memory of a PCI device"
    return None


@dataclass
class Draft:
    """What is known of a map so far.

    ``ram`` is seen except where ``over`` lies over it, or one of ``holes``, (start, end, reason). ``under`` is seen
    only where neither is. ``reasons`` are blocks without a place. ``absent`` are parts that the guest does not have,
    ``behind`` parts that it does not see as memory. ``refused`` is why main memory has no place. It is empty where main
    memory has one.
    """

    ram: list[Range] = field(default_factory=list)
    over: list[Range] = field(default_factory=list)
    under: list[Range] = field(default_factory=list)
    holes: list[tuple[int, int, str]] = field(default_factory=list)
    origin: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reasons: dict[bytes, Unplaced] = field(default_factory=dict)
    absent: list[Unplaced] = field(default_factory=list)
    behind: list[Unplaced] = field(default_factory=list)
    machine: Machine = Machine.NONE
    endian: str = "little"
    assumed: bool = False
    refused: str = ""

    @property
    def end(self) -> int:
        """The address after the last byte of RAM."""
        return max((r.end for r in self.ram), default=0)

    def placed(self, block: Block) -> bool:
        """Whether any part of a block has a place."""
        return any(r.block == block.name for r in (*self.ram, *self.over, *self.under))

    def without(self, block: Block, reason: str, hint: int | None = None) -> None:
        """Say why a block has no place."""
        self.reasons[block.name] = Unplaced(block.name, 0, block.length, reason, hint)

    def as_map(self, stream: Stream) -> PhysicalMap:
        """The finished map. What has no place in it is listed.

        Raises:
            XbrleError: very many ranges overlap.
        """
        holes = [Range(start, end - start, b"", 0) for start, end, _ in self.holes]
        over = _apart(self.over)
        seen = [*covered(self.ram, [*over, *holes]), *over]
        seen += covered(self.under, [*seen, *holes])
        seen = joined(seen)
        unplaced, hidden = list(self.absent), list(self.behind)
        for block in stream.blocks:
            if not block.declared or not block.length:
                continue
            claimed = left_of(block.name, block.length, (*self.ram, *self.over, *self.under))
            for offset, length in _less(left_of(block.name, block.length, seen), claimed):
                hidden.append(Unplaced(block.name, offset, length, self._hidden(block, offset)))
            absent = [(a.offset, a.length) for a in (*self.absent, *self.behind) if a.block == block.name]
            for offset, length in _less(claimed, absent):
                given, why = self.reasons.get(block.name), other(stream, block)
                if given is None and why is not None:
                    hidden.append(Unplaced(block.name, offset, length, why))
                else:
                    reason = given.reason if given else self.refused or "nothing in the stream says where it lies"
                    unplaced.append(Unplaced(block.name, offset, length, reason, given.hint if given else None))
        return PhysicalMap(
            ranges=checked(seen, stream) if seen else (),
            origin="; ".join(self.origin) or "nothing in the stream",
            notes=tuple(self.notes),
            machine=self.machine,
            endian=self.endian,
            unplaced=tuple(_summed(unplaced)),
            hidden=tuple(_summed(hidden)),
            assumed=self.assumed,
        )

    def _hidden(self, block: Block, offset: int) -> str:
        """Why the guest does not see a part of a block that has a place."""
        for r in (*self.ram, *self.under):
            if r.block == block.name and r.offset <= offset < r.offset + r.length:
                at = r.start + offset - r.offset
                reason = next((why for start, end, why in self.holes if start <= at < end), None)
                return reason or "something else lies over it there"
        return "something else lies over it"


def _apart(ranges: list[Range]) -> list[Range]:
    """The ranges, of which the first counts where two lie over each other."""
    ordered = sorted(ranges, key=lambda r: r.start)
    if all(a.end <= b.start for a, b in pairwise(ordered)):
        return ordered
    if len(ranges) > APART_MAX:
        raise XbrleError("too many pieces of memory would overlap in the guest-physical map; a map must be given")
    out: list[Range] = []
    for r in ranges:
        out += covered([r], out)
    return out


def _summed(parts: list[Unplaced]) -> list[Unplaced]:
    """The parts. Where a block has very many for one reason, one entry stands for them, with all their bytes."""
    if len({part.block for part in parts}) == len(parts):
        return parts
    groups: dict[tuple[bytes, str], list[Unplaced]] = {}
    for part in parts:
        groups.setdefault((part.block, part.reason), []).append(part)
    out: list[Unplaced] = []
    for (block, reason), group in groups.items():
        if len(group) > PARTS_MAX:
            length = sum(p.length for p in group)
            out.append(Unplaced(block, group[0].offset, length, f"{reason}; in {len(group)} parts"))
        else:
            out += group
    return out


def _less(parts: list[tuple[int, int]], taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts, (offset, length), as far as none of ``taken`` has them."""
    left = covered([Range(o, n, b"", o) for o, n in parts], [Range(o, n, b"", 0) for o, n in taken])
    return [(r.start, r.length) for r in left]
