"""Hostile packet dumps: claims, overlaps without end, connections without number. In bounds, and never silent."""

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.building import page, patterned, stream
from tests.packets import Segment, Wire, block, connection, dump, head, reordered, repeated, without
from tests.siege.bounds import measured, no_hang
from xbrletools.errors import XbrleError
from xbrletools.source.opening import open_source
from xbrletools.source.sources import MappedSource

ROOM = 64 << 20  # bytes that may be resident beside what is read
COUNT = int(os.environ.get("XBRLE_MUTATIONS", "1000"))
S = stream(*(page(i << 12, patterned(i), None if i else b"pc.ram") for i in range(16)), blocks=((b"pc.ram", 16 << 12),))
SYN = connection(S)[:3]


def opened(path: Path) -> MappedSource | None:
    """What comes of a dump in the bounds, None where it is refused in a sentence."""
    size = path.stat().st_size
    try:
        with no_hang(), measured() as peak:
            source = open_source(path)
    except XbrleError as error:
        assert "\n" not in str(error)
        return None
    finally:
        assert peak.bytes < ROOM + size
    assert isinstance(source, MappedSource)
    return source


def packed(segments: Iterator[Segment], path: Path, wire: Wire = Wire()) -> Path:  # noqa: B008 - frozen
    path.write_bytes(dump(list(segments), wire))
    return path


def test_segments_that_all_overlap_take_time_and_room_by_their_bytes(tmp_path):
    data = os.urandom(60000)
    many = [Segment(1001 + (i * 7919) % 1000, data[: 60000 - i % 1000]) for i in range(2000)]
    source = opened(packed([*SYN, Segment(1001, S[:1001]), *many], tmp_path / "d"))
    assert source is not None
    assert source.size <= 62000
    assert any(o.rule == "packets-differ" for o in source.rebuilt.oddities)


def test_holes_are_not_sized_by_sequence_numbers(tmp_path):
    leaps = [Segment(1001 + len(S) + i * ((1 << 30) - 9), b"x") for i in range(1, 4000)]
    source = opened(packed([*connection(S, fin=False), *leaps], tmp_path / "d"))
    assert source is not None
    assert bytes(source.view) == S
    whole = source.read(salvage=True)
    assert whole.size < 2 << 30
    assert any("more is missing than is there" in o.message for o in source.rebuilt.oddities)


def test_a_channel_full_of_what_looks_like_packets_stays_in_the_bounds(tmp_path):
    """Behind a hole a packet is looked for. Here every eight bytes begin as one, and none is one."""
    main, one, two = (Path(f"samples/multifd.bin{e}").read_bytes() for e in ("", ".1", ".2"))
    one += one[64:72] * (6 << 20 >> 3)
    ways = [connection(p, port=50000 + i, isn=99 * i, size=32000) for i, p in enumerate((main, one, two))]
    path = packed([*ways[0], *without(ways[1], 1), *ways[2]], tmp_path / "d")
    with no_hang(), measured() as peak:
        capture = xbrletools.open(path, salvage=True)
        assert len(capture.records)
    assert peak.bytes < ROOM + path.stat().st_size
    assert any(p.rule == "multifd-channel" for p in capture.problems)


def test_segments_outside_of_any_window_are_said_and_left_out(tmp_path):
    wild = [Segment(1001 + (3 << 29), b"x" * 100), Segment(1001 - (5 << 28), b"y" * 100)]
    segments = connection(S)
    source = opened(packed([*segments[:20], *wild, *segments[20:]], tmp_path / "d"))
    assert source is not None
    assert bytes(source.view) == S
    assert any("outside of any window" in o.message for o in source.rebuilt.oddities)


def test_connections_without_number_stay_in_the_bounds(tmp_path):
    """Each a SYN and a byte. Those beyond what is told apart are said."""
    count = 150_000
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 41, 1, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    rows = np.zeros(2 * count, [("head", "<u4", 4), ("ip", "u1", 20), ("tcp", "u1", 20), ("data", "u1")])
    rows["head"][:, 2:] = 41
    rows["ip"] = np.frombuffer(ip, np.uint8)
    number = np.arange(2 * count) // 2
    rows["ip"][:, 15] = number >> 16 & 0xFF
    rows["ip"][:, 14] = 1
    rows["tcp"][:, 0], rows["tcp"][:, 1] = number >> 8 & 0xFF, number & 0xFF
    rows["tcp"][:, 12], rows["tcp"][:, 13] = 0x50, 2
    rows["tcp"][1::2, 7], rows["tcp"][1::2, 13] = 2, 16
    path = tmp_path / "d"
    ours = dump(connection(S), Wire(link=101))
    path.write_bytes(ours + rows.tobytes())
    source = opened(path)
    assert source is not None
    assert bytes(source.view) == S
    assert any("connections" in o.message and o.lost for o in source.rebuilt.oddities)
    path.write_bytes(ours[:24] + rows.tobytes() + ours[24:])
    assert opened(path) is None


def test_endpoints_used_again_and_again_stay_in_the_bounds(tmp_path):
    again = [s for i in range(20000) for s in (Segment(i * 70000, flags=2), Segment(i * 70000 + 1, b"x"))]
    source = opened(packed([*again, *connection(S, port=50009)], tmp_path / "d"))
    assert source is not None and bytes(source.view) == S


@pytest.mark.parametrize("claim", [0, 1, 15, 1 << 26, (1 << 31) - 1, 0xFFFFFFFF])
def test_lengths_of_4_gb_are_damage_and_not_memory(claim, tmp_path):
    path = tmp_path / "d"
    good = dump(connection(S, fin=False))
    path.write_bytes(good + struct.pack("<IIII", 1, 1, claim, claim) + bytes(10))
    source = opened(path)
    assert source is not None and bytes(source.view) == S
    wire = Wire(ng=True)
    path.write_bytes(dump(connection(S, fin=False), wire) + struct.pack("<III", 6, claim, 0) + bytes(8))
    source = opened(path)
    assert source is not None and bytes(source.view) == S
    assert any(o.rule == "dump-cut" for o in source.rebuilt.oddities)


def test_headers_that_claim_more_than_there_is(tmp_path):
    frame = bytearray(14) + bytearray(60)
    frame[12:14] = b"\x08\0"
    for words, total, offset in ((15, 60, 15), (4, 60, 5), (5, 65535, 15), (5, 20, 5), (5, 39, 5)):
        frame[14], frame[16:18], frame[23] = 0x40 | words, total.to_bytes(2, "big"), 6
        frame[14 + 4 * min(words, 11) + 12] = offset << 4
        opened(packed(connection(S), tmp_path / "d", Wire(more=[bytes(frame)] * 3)))


def test_many_interfaces_and_fragments_that_never_end(tmp_path):
    wire = Wire(ng=True)
    blocks = block(1, struct.pack("<HHI", 1, 0, 0)) * 100_000
    path = tmp_path / "d"
    path.write_bytes(head(wire) + blocks + dump(connection(S), wire)[len(head(wire)) :])
    source = opened(path)
    assert source is not None and bytes(source.view) == S
    piece = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 1, 0x2001, 64, 6, 0, b"\1\2\3\4", b"\5\6\7\x08") + bytes(8)
    pieces = [b"\2" * 12 + b"\x08\0" + piece[:4] + i.to_bytes(2, "big") + piece[6:] for i in range(60000)]
    source = opened(packed(connection(S), path, Wire(more=pieces)))
    assert source is not None and bytes(source.view) == S
    assert any("fragments" in o.message for o in source.rebuilt.oddities)


@pytest.mark.parametrize("shard", range(4))
def test_mutated_dumps_give_a_stream_or_a_sentence(shard):
    chance = random.Random(shard)
    seeds = [
        dump(reordered(repeated(connection(S))), wire)
        for wire in (
            Wire(),
            Wire(ng=True, order=">"),
            Wire(v6=True, extensions=(0, 60)),
            Wire(link=276, tags=(0x8100,)),
        )
    ]
    for _ in range(COUNT // 16):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(chance.choice((200, len(data))))
            data[at] = chance.choice((0, 0xFF, data[at] ^ 1 << chance.randrange(8)))
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        for salvage in (False, True):
            try:
                with no_hang():
                    capture = xbrletools.open(bytes(data), salvage=salvage)
                    content = bytes(capture.data[:64])
                    whole = not capture.problems
            except XbrleError:
                continue
            assert not whole or content == S[:64]
