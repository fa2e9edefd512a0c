"""Device trees: what a board without a PC's clock tells its guest about memory.

Facts: formats/README.md, "Where memory lies". QEMU puts the tree into RAM, where the board's rules say, or migrates it
in a device section. A guest that runs may overwrite it. Boards begin it at a multiple of 1 MiB.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from construct import ConstructError

from ..formats import fdt
from ..model import Block, Stream, once
from . import reading
from .segments import Segment

MIB = 1 << 20
TREE_MAX = 2 * MIB  # bytes of a tree that QEMU makes
BLOCKS_MAX = 16  # the longest blocks are looked at
NODES_MAX = 1 << 16
_CELL = fdt.Cell.sizeof()
_DEPTH = 2  # the root and its children say all that is needed


@dataclass(frozen=True, slots=True)
class Tree:
    """What a tree says: ``ram`` with the node of each range, where flash lies, and the board's ``compatible`` names.

    ``place`` says for a person where the tree was found.
    """

    ram: tuple[Segment, ...]
    flash: tuple[tuple[int, int], ...]
    compatible: tuple[bytes, ...]
    place: str


@dataclass(slots=True)
class _Node:
    """A node that is being read: its name, and its properties by name."""

    name: bytes
    properties: dict[bytes, bytes] = field(default_factory=dict)


@once
def trees(stream: Stream) -> tuple[Tree, ...]:
    """The trees with memory in them that a stream holds, those of device sections first."""
    found = list(_in_sections(stream))
    listed = [(i, b) for i, b in enumerate(stream.blocks) if b.declared and not b.name.startswith(b"/rom@")]
    for index, block in sorted(listed, key=lambda entry: -entry[1].length)[:BLOCKS_MAX]:
        for offset in _places(stream, index, block):
            head = reading.read(stream, block.name, offset, fdt.Header.sizeof())
            total = _total(head)
            raw = reading.read(stream, block.name, offset, total) if total else None
            tree = parse(raw, f"at {offset:#x} of {block.name.decode('utf-8', 'replace')}") if raw else None
            if tree is not None:
                found.append(tree)
    return tuple(found)


def _places(stream: Stream, index: int, block: Block) -> list[int]:
    """Where in a block a tree may begin: what was sent so, and where boards put it that pack their pages."""
    ends = [block.length - i * 2 * MIB for i in range(1, 9)]
    usual = [0, MIB, 16 * MIB, *ends]
    return sorted({*reading.pages_that_begin(stream, index, MIB, fdt.MAGIC), *(u for u in usual if u >= 0)})


def _in_sections(stream: Stream) -> Iterator[Tree]:
    """The tree of a pseries guest, which its machine migrates."""
    for section in reading.named(stream, b"spapr"):
        for name, part in reading.fields(stream, section).items():
            if name.endswith("fdt_blob") and (tree := parse(part.raw, "of the section spapr")) is not None:
                yield tree


def _total(head: bytes | None) -> int:
    """The length of the tree that begins with ``head``, or 0 where none does."""
    if head is None:
        return 0
    try:
        header = fdt.Header.parse(head)
    except ConstructError:
        return 0
    parts = [(header.structure, header.structure_size), (header.strings, header.strings_size)]
    fits = header.total <= TREE_MAX and all(at + length <= header.total for at, length in parts)
    return int(max(at + length for at, length in parts)) if fits else 0


def parse(raw: bytes, place: str) -> Tree | None:
    """The tree in ``raw``, or None where it is not one or says nothing of memory."""
    if not _total(raw[: fdt.Header.sizeof()]):
        return None
    nodes = list(_nodes(raw))
    if not nodes:
        return None
    root = nodes[0]
    cells = tuple(_number(root.properties.get(name, b"")) or 2 for name in (b"#address-cells", b"#size-cells"))
    ram: list[Segment] = []
    flash: list[tuple[int, int]] = []
    for node in nodes[1:]:
        kind = node.name.partition(b"@")[0]
        enabled = node.properties.get(b"status", b"okay\0").startswith(b"ok")
        if kind == b"memory" and enabled:
            ram += [Segment(start, length, _numa_node(node)) for start, length in _reg(node, *cells)]
        elif b"cfi-flash" in node.properties.get(b"compatible", b"").split(b"\0"):
            flash += _reg(node, *cells)
    compatible = tuple(filter(None, root.properties.get(b"compatible", b"").split(b"\0")))
    ram = sorted((s for s in ram if s.length), key=lambda s: s.start)
    apart = all(a.start + a.length <= b.start for a, b in pairwise(ram))
    return Tree(tuple(ram), tuple(flash), compatible, place) if ram and apart else None


def _numa_node(node: _Node) -> int | None:
    """The NUMA node of a range. On pseries it is the last of the domains that ``ibm,associativity`` lists."""
    number = node.properties.get(b"numa-node-id") or node.properties.get(b"ibm,associativity", b"")[-_CELL:]
    return _number(number) if number else None


def _reg(node: _Node, address_cells: int, size_cells: int) -> list[tuple[int, int]]:
    """The ranges of a node's ``reg``, as (start, length)."""
    raw, width = node.properties.get(b"reg", b""), (address_cells + size_cells) * _CELL
    split = address_cells * _CELL
    parts = [raw[i : i + width] for i in range(0, len(raw) - width + 1, width)]
    return [(_number(part[:split]), _number(part[split:])) for part in parts]


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _nodes(raw: bytes) -> Iterator[_Node]:
    """The root and its children. There are fewer where the tree breaks off."""
    header = fdt.Header.parse(raw)
    words = np.frombuffer(raw[: len(raw) // _CELL * _CELL], f">u{_CELL}")
    at, stop = header.structure // _CELL, (header.structure + header.structure_size) // _CELL
    opened: list[_Node] = []
    order: list[_Node] = []
    while at < min(stop, len(words)) and len(order) < NODES_MAX:
        token = int(words[at])
        at += 1
        if token == fdt.Token.BEGIN_NODE:
            end = raw.find(b"\0", at * _CELL)
            if end < 0:
                break
            opened.append(_Node(raw[at * _CELL : end]))
            if len(opened) <= _DEPTH:
                order.append(opened[-1])
            at = end // _CELL + 1
        elif token == fdt.Token.END_NODE and opened:
            opened.pop()
        elif token == fdt.Token.PROP and opened and at + 2 <= len(words):
            start = at * _CELL
            head = fdt.Property.parse(raw[start : start + fdt.Property.sizeof()])
            start += fdt.Property.sizeof()
            if len(opened) <= _DEPTH:
                named = header.strings + head.name
                name = raw[named : max(named, raw.find(b"\0", named))]
                opened[-1].properties[name] = raw[start : start + head.length]
            at = -(-(start + head.length) // _CELL)
        elif token != fdt.Token.NOP:
            break
    yield from order
