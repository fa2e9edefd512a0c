"""Ranges of RAM as a machine has them, and which blocks fill them in which order.

Facts: formats/README.md, "Where memory lies". A machine has one main block, or one for each NUMA node. Nodes follow
each other in the order of their numbers. The stream lists blocks by length, not by node.
"""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from ..model import Block
from ..text import shown
from .layout import Range

NODES_MAX = 64  # NUMA nodes whose blocks are looked into; QEMU has at most 128
MANY = 12  # blocks that sums are tried of

_NODE = re.compile(rb"(?:/objects/)?ram-node(\d+)")


class Segment(NamedTuple):
    """``length`` bytes of RAM at ``start``. ``node`` is the NUMA node, or None where the evidence does not name it."""

    start: int
    length: int
    node: int | None = None


class Choice(NamedTuple):
    """Which ``blocks`` are main memory, in the order of their addresses, and ``why``. None: it cannot be told."""

    blocks: tuple[Block, ...] | None
    why: str
    notes: tuple[str, ...] = ()


def by_node(segments: Sequence[Segment]) -> dict[int, int]:
    """The bytes of each node that has any, in the order of the nodes.

    There are none where the segments do not name nodes.
    """
    sizes: dict[int, int] = {}
    for s in segments:
        if s.node is not None and s.length:
            sizes[s.node] = sizes.get(s.node, 0) + s.length
    return dict(sorted(sizes.items()))


def choose(blocks: Sequence[Block], segments: Sequence[Segment], usual: Sequence[bytes], single: bool) -> Choice:
    """Which of ``blocks`` fill the segments.

    ``usual`` are the names that boards give their one block. ``single``: it is known that the machine has one block.
    """
    total = sum(s.length for s in segments)
    for block in blocks:
        if block.name in usual and block.length == total:
            return Choice((block,), f"{shown(block.name)} has the length of all RAM")
    nodes = by_node(segments)
    if len(nodes) > 1:
        return _by_nodes(blocks, nodes)
    numbered = sorted((int(m[1]), i) for i, b in enumerate(blocks) if (m := _NODE.fullmatch(b.name)))
    if numbered and sum(blocks[i].length for _, i in numbered) == total:
        return Choice(tuple(blocks[i] for _, i in numbered), "ram-nodeN in the order of N, which sum up to all RAM")
    if tiles := _by_address(blocks, total):
        return Choice(tiles, "the offsets that the block list gives")
    alone = [b for b in blocks if b.length == total]
    if len(alone) == 1 and (single or len(nodes) == 1 or not _sums(blocks, total)):
        return Choice((alone[0],), f"{shown(alone[0].name)} is the only block with the length of all RAM")
    if not alone and not _sums(blocks, total):
        return Choice(None, f"no blocks sum up to the {total:,} bytes of RAM that the machine has")
    return Choice(None, f"more than one choice of blocks has the length of all RAM, {total:,} bytes")


def _by_nodes(blocks: Sequence[Block], nodes: dict[int, int]) -> Choice:
    """The block of each NUMA node, by the nodes' lengths, and by the blocks' names where lengths are equal."""
    total = sum(nodes.values())
    if tiles := _by_address(blocks, total):
        return Choice(tiles, "the offsets that the block list gives")
    names = {int(m[1]): b for b in blocks if (m := _NODE.fullmatch(b.name))}
    if all(n in names and names[n].length == length for n, length in nodes.items()):
        return Choice(tuple(names[n] for n in nodes), "ram-nodeN has the length of node N, for every node")
    fitting = {n: [b for b in blocks if b.length == length] for n, length in nodes.items()}
    if all(len(found) == 1 for found in fitting.values()) and len({*nodes.values()}) == len(nodes):
        notes = ("the names ram-nodeN do not go with the lengths of the nodes; the lengths count",) if names else ()
        return Choice(tuple(found[0] for found in fitting.values()), "each node's length is one block's alone", notes)
    if missing := [n for n, found in fitting.items() if not found]:
        return Choice(None, f"no block has the length of NUMA node {missing[0]}, {nodes[missing[0]]:,} bytes")
    return Choice(None, "NUMA nodes of equal length: which block is which node's cannot be told from the names")


def _by_address(blocks: Sequence[Block], total: int) -> tuple[Block, ...] | None:
    """The blocks that fill main memory by the offsets that x-ignore-shared writes into the block list.

    They are offsets in the region that holds a block, so that the first is 0. Another region has its own 0.
    """
    if any(b.address is None for b in blocks) or sum(b.address == 0 for b in blocks) != 1:
        return None
    at, found = 0, []
    for block in sorted(blocks, key=lambda b: b.address or 0):
        if block.address == at < total:
            found.append(block)
            at += block.length
    return tuple(found) if at == total and len(found) > 1 else None


def _sums(blocks: Sequence[Block], total: int) -> bool:
    """Whether two or more of the blocks sum up to ``total``. Gives true where there are too many to try."""
    if len(blocks) > MANY:
        return True
    counts = range(2, len(blocks) + 1)
    return any(sum(b.length for b in some) == total for n in counts for some in combinations(blocks, n))


def fill(segments: Sequence[Segment], blocks: Sequence[Block], evidence: str) -> list[Range]:
    """The blocks, one after the other, over the segments in the order of their addresses."""
    ranges = []
    left = [(s.start, s.length) for s in sorted(segments, key=lambda s: s.start)]
    for block in blocks:
        offset = 0
        while offset < block.length and left:
            start, length = left.pop(0)
            part = min(length, block.length - offset)
            ranges.append(Range(start, part, block.name, offset, evidence))
            offset += part
            if part < length:
                left.insert(0, (start + part, length - part))
    return ranges


def in_order(segments: Sequence[Segment]) -> bool:
    """Whether nodes follow each other by number: what `fill` relies on."""
    nodes = [s.node for s in sorted(segments, key=lambda s: s.start) if s.node is not None]
    return nodes == sorted(nodes)
