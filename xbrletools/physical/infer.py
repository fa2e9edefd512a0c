"""Works out a map from what the stream holds: one small function for each kind of evidence, asked in turn.

Facts: formats/README.md, "Where memory lies". What the evidence does not decide is not placed. A piece of evidence that
contradicts another one is not believed, and that is said.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import XbrleError
from ..formats import ram
from ..formats.elf import Machine
from ..model import Block, Stream, once
from ..text import shown
from . import acpi, boards, flat, libvirt, pc, pci, plugged, reading, virtiomem
from .draft import Draft, other
from .layout import GIB, KIB, MIB, PhysicalMap, Range, Unplaced, covered
from .segments import NODES_MAX, Segment, by_node, choose, fill, in_order

if TYPE_CHECKING:
    from . import devicetree

LABEL = (0, 32 * MIB)  # how much longer an NVDIMM's block may be than what the guest sees of it
DIMM_ALIGN = 2 * MIB
FIRST = 4 * KIB  # bytes at the beginning of RAM that are looked at
MODULES_MAX = 256  # memory modules that are looked for; machines have at most as many slots
_RAM_AT_CONTAINER = "x-ignore-shared: the block list's offset in device memory"


@once
def map_of(stream: Stream) -> PhysicalMap:
    """The map that the stream's own evidence gives.

    Raises:
        XbrleError: the capture does not name its RAM blocks.
    """
    if not any(b.declared and b.length for b in stream.blocks):
        raise XbrleError("this capture does not list its RAM blocks, so no map can be worked out")
    if stream.facts.reading.version == ram.VERSION_FLAT:
        return flat.map_of(stream)
    on_pc = not any(b.name == row.ram != b"ram" for row in boards.BOARDS for b in stream.blocks) and pc.is_pc(stream)
    out = pc.draft(stream) if on_pc else _board(stream)
    _rest(stream, out)
    return out.as_map(stream)


def _board(stream: Stream) -> Draft:
    """The map of a board that is not a PC, as far as RAM and firmware go."""
    from . import devicetree

    trees = devicetree.trees(stream)
    compatible = tuple(c for t in trees for c in t.compatible)
    board = boards.board_of(stream, compatible)
    out = Draft()
    candidates = [b for b in stream.blocks if b.declared and b.length and other(stream, b) is None]
    if board is not None:
        out.machine, out.endian = board.machine, board.endian
        candidates = [b for b in candidates if b.name not in (*board.roms, *board.secure)]
    usual = (board.ram,) if board is not None else ()
    segments, tree = _ranges(stream, out, trees, board, candidates, usual)
    if segments:
        choice = choose(candidates, segments, usual, single=False)
        out.notes += choice.notes
        if choice.blocks is None:
            out.refused = choice.why
        elif (elsewhere := _begins_elsewhere(stream, choice.blocks)) is not None:
            first = shown(choice.blocks[0].name)
            out.refused = f"{first} would be first and begins with zeros, and {shown(elsewhere)} of the same length not"
        else:
            out.origin.append(choice.why)
            out.ram = fill(segments, choice.blocks, "; ".join(out.origin))
    _roms(stream, out, board, tree)
    return out


def _begins_elsewhere(stream: Stream, blocks: Sequence[Block]) -> bytes | None:
    """A block as long as the first one that has bytes at its beginning, where the first one has zeros there.

    Boards put firmware or their device tree where RAM begins. So names of NUMA nodes of equal length can be held
    against it.
    """
    twins = [b for b in blocks[1:NODES_MAX] if b.length == blocks[0].length]
    if not twins or any(reading.read(stream, blocks[0].name, 0, FIRST) or b"?"):
        return None
    return next((b.name for b in twins if any(reading.read(stream, b.name, 0, FIRST) or b"")), None)


def _ranges(
    stream: Stream,
    out: Draft,
    trees: "Sequence[devicetree.Tree]",
    board: boards.Board | None,
    candidates: Sequence[Block],
    usual: Sequence[bytes],
) -> "tuple[list[Segment], devicetree.Tree | None]":
    """The ranges of RAM: by a device tree that fits the blocks, by SRAT, or by the board's own rules."""
    fitting = [t for t in trees if in_order(t.ram) and choose(candidates, t.ram, usual, single=False).blocks]
    layouts = {tuple((s.start, s.length) for s in t.ram) for t in fitting}
    if len(layouts) > 1:
        out.refused = "the stream holds device trees that contradict each other"
        return [], None
    if fitting:
        out.origin.append(f"device tree {fitting[0].place}")
        return list(fitting[0].ram), fitting[0]
    if trees:
        out.notes.append(f"the device tree {trees[0].place} does not fit the RAM blocks, and does not count")
    tables = acpi.tables(stream)
    if tables is not None and len(by_node(tables.ram)) > 1 and in_order(tables.ram):
        out.origin.append("SRAT")
        return list(tables.ram), None
    return _by_rule(out, board, candidates, usual), None


def _by_rule(
    out: Draft, board: boards.Board | None, candidates: Sequence[Block], usual: Sequence[bytes]
) -> list[Segment]:
    """The ranges of RAM by the board's rules, for a stream without a better witness."""
    if board is None or not board.windows:
        out.refused = "where this machine has its RAM is not known" + (
            f" without its device tree (board {board.name})" if board is not None else ""
        )
        return []
    numbered = [b for b in candidates if re.fullmatch(rb"(/objects/)?ram-node\d+", b.name)]
    main = [b for b in candidates if b.name in usual] or numbered or (list(candidates) if len(candidates) == 1 else [])
    if not main:
        out.refused = f"more than one block could be the RAM of board {board.name}"
        return []
    total = sum(b.length for b in main)
    segments = board.segments(total)
    beyond = total - sum(s.length for s in segments)
    out.origin.append(f"rules of board {board.name}")
    if beyond:
        reason = f"what lies beyond {segments[-1].start + segments[-1].length:#x} on board {board.name} is not known"
        out.absent.append(Unplaced(main[-1].name, main[-1].length - beyond, beyond, reason))
        out.ram = fill(segments, main, "; ".join(out.origin))
        return []
    return segments


def _roms(stream: Stream, out: Draft, board: boards.Board | None, tree: "devicetree.Tree | None") -> None:
    """Flash and other fixed blocks of a board. Those of the secure world have no place in the map."""
    lengths = {b.name: b for b in stream.blocks if b.declared and b.length}
    secure = board is not None and any(name in lengths for name in board.secure)
    roms = dict(board.roms) if board is not None else {}
    if tree is not None:
        spans = sorted(tree.flash)
        for i, (start, length) in enumerate(spans):
            name = b"virt.flash%d" % i
            if name not in roms and name in lengths and lengths[name].length == length:
                roms[name] = (start,)
    for name, places in roms.items():
        if name not in lengths:
            continue
        if secure and name == b"virt.flash0":
            out.reasons.pop(name, None)
            out.notes.append("virt.flash0 is seen only in the secure world, and left out")
            continue
        found = [Range(at, lengths[name].length, name, 0, "its fixed place on this board") for at in places]
        out.over += covered(found, out.ram)
    for name in board.secure if board is not None else ():
        if name in lengths and other(stream, lengths[name]) is None:
            out.without(lengths[name], "only the secure world sees it, and a map has one world")


def _rest(stream: Stream, out: Draft) -> None:
    """Memory devices, and memory of PCI devices."""
    tables = acpi.tables(stream)
    base = _device_base(out, tables)
    waiting = []
    for block in stream.blocks:
        if not block.declared or not block.length or out.placed(block) or block.name in out.reasons:
            continue
        if virtiomem.is_device(stream, block):
            _virtio_mem(stream, out, block)
        elif pci.path_of(block.name) is not None and not block.name.endswith(b"rom") and len(out.under) < MODULES_MAX:
            found = pci.place(stream, block)
            if isinstance(found, Range):
                out.under += covered([found], out.under)
            elif found.mapped:
                out.without(block, found.reason)
            else:
                out.behind.append(Unplaced(block.name, 0, block.length, found.reason))
        elif other(stream, block) is None and not out.refused:
            waiting.append(block)
    if len(waiting) > MODULES_MAX:
        return
    for block in list(waiting):
        found_at = _module(stream, out, block, tables, base, waiting)
        if found_at is not None and not _overlaps(out, found_at):
            out.over.append(found_at)
            _label(out, block, found_at)
            waiting.remove(block)
    for block, where in plugged.hints(out, waiting, base, DIMM_ALIGN):
        out.without(block, "the stream does not say where a memory module lies", where)


def _device_base(out: Draft, tables: acpi.Tables | None) -> int | None:
    """Where memory devices begin: by SRAT, else RAM's end rounded up to 1 GiB, or None where RAM has no place."""
    if tables is not None and tables.hotplug is not None:
        return tables.hotplug[0]
    if not out.ram:
        return None
    end = max(out.end, pc.ABOVE_4G) if out.machine is Machine.X86_64 else out.end
    return -(-end // GIB) * GIB


def _module(
    stream: Stream,
    out: Draft,
    block: Block,
    tables: acpi.Tables | None,
    base: int | None,
    waiting: Sequence[Block],
) -> Range | None:
    """Where a memory module lies: by libvirt's XML, the block list, NFIT, or what pseries plugged."""
    if (found := libvirt.place(stream, block)) is not None:
        return found
    if block.address is not None and base is not None:
        return Range(base + block.address, block.length, block.name, 0, _RAM_AT_CONTAINER)
    for start, size in tables.persistent if tables is not None else ():
        fitting = [b for b in waiting if LABEL[0] <= b.length - size <= LABEL[1]]
        if fitting == [block]:
            return Range(start, size, block.name, 0, "NFIT: an NVDIMM of this length")
    return plugged.pseries(stream, block, waiting)


def _overlaps(out: Draft, found: Range) -> bool:
    """Whether a place is taken already. Such a place is not believed, and a note says so."""
    taken = next((r for r in (*out.ram, *out.over) if r.start < found.end and found.start < r.end), None)
    if taken is not None:
        out.notes.append(
            f"{shown(found.block)} cannot lie at {found.start:#x} ({found.evidence}): {shown(taken.block)} is there"
        )
    return taken is not None


def _label(out: Draft, block: Block, found: Range) -> None:
    """An NVDIMM's label area, which the guest reads and writes by other means."""
    if found.length < block.length:
        reason = "the NVDIMM's label area, not guest-physical memory"
        out.behind.append(Unplaced(block.name, found.length, block.length - found.length, reason))


def _virtio_mem(stream: Stream, out: Draft, block: Block) -> None:
    """Place the plugged parts of a virtio-mem device's region. The guest does not have the rest."""
    region = virtiomem.region(stream, block)
    if region is None:
        out.without(block, "the state of its virtio-mem device cannot be read")
        return
    end = region.start + region.length
    if any(r.start < end and region.start < r.end for r in out.ram):
        out.without(block, f"its virtio-mem region at {region.start:#x} would overlap RAM")
        return
    evidence = f"virtio-mem: the region begins at {region.start:#x}"
    out.over += [
        Range(region.start + o, n, block.name, o, f"{evidence}; this part is plugged") for o, n in region.plugged
    ]
    at = 0
    for offset, length in [*region.plugged, (block.length, 0)]:
        if offset > at:
            reason = f"not plugged: the guest does not have it (virtio-mem region at {region.start:#x})"
            out.absent.append(Unplaced(block.name, at, offset - at, reason))
        at = offset + length
