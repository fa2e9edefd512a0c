"""Channels that are cut, swapped, repeated, reordered and of which a header lies: nothing known may be wrong."""

import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

import xbrletools
from tests.building import PAGE, patterned, zero
from tests.scan.test_channels import FLUSH, Packets, main_channel
from xbrletools.formats import multifd
from xbrletools.formats.multifd import Method
from xbrletools.ram import packets
from xbrletools.source.sources import MappedSource

EPOCHS, PAGES = 6, 16
MUTANTS = 50  # of each kind

#: A channel's opening bytes, and its packets.
Pieces = list[bytes]


@cache
def migration(method: Method) -> tuple[bytes, list[Pieces], np.ndarray]:
    """A main channel, two channels in pieces, and memory at the end: every page changes in several epochs."""
    rng = random.Random(1)
    memory = np.zeros((PAGES, PAGE), np.uint8)
    channels = [Packets(0, method), Packets(1, method)]
    number = 0
    for channel in channels:
        channel.sync(number)
        number += 1
    for epoch in range(1, EPOCHS + 2):
        for channel, half in zip(channels, (range(PAGES // 2), range(PAGES // 2, PAGES)), strict=True):
            full = rng.sample(half, 2 + (epoch == 1) * 5)
            zeros = [p for p in half if p not in full][:1]
            contents = [patterned(epoch * PAGES + p) for p in full]
            channel.packet(
                number, [(p * PAGE, c) for p, c in zip(full, contents, strict=True)], zeros=(z * PAGE for z in zeros)
            )
            number += 1
            memory[full] = [np.frombuffer(c, np.uint8) for c in contents]
            memory[zeros] = 0
        for channel in channels:
            channel.sync(number)
            number += 1
    main = main_channel(*([b""] * EPOCHS), sync=FLUSH)
    return main, [_pieces(c.bytes()) for c in channels], memory


def _pieces(data: bytes) -> Pieces:
    found = packets.read(MappedSource("it", data), PAGE).packets
    spans = zip(found.offset.tolist(), found.stop.tolist(), strict=True)
    return [data[: multifd.Init.sizeof()], *(data[start:stop] for start, stop in spans)]


def cut(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    whole = [b"".join(c) for c in channels]
    i = rng.randrange(2)
    whole[i] = whole[i][: rng.randrange(multifd.Init.sizeof(), len(whole[i]))]
    return whole


def without_a_packet(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    channel = channels[rng.randrange(2)]
    del channel[rng.randrange(1, len(channel))]
    return [b"".join(c) for c in channels]


def with_a_packet_twice(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    channel = channels[rng.randrange(2)]
    channel.insert(rng.randrange(1, len(channel)), rng.choice(channel[1:]))
    return [b"".join(c) for c in channels]


def reordered(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    channel = channels[rng.randrange(2)]
    i, j = rng.sample(range(1, len(channel)), 2)
    channel[i], channel[j] = channel[j], channel[i]
    return [b"".join(c) for c in channels]


def exchanged(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    one, two = channels
    i, j = rng.randrange(1, len(one)), rng.randrange(1, len(two))
    one[i], two[j] = two[j], one[i]
    return [b"".join(c) for c in channels]


def with_a_lying_header(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    channel = channels[rng.randrange(2)]
    i = rng.randrange(1, len(channel))
    at = rng.choice([*range(16), *range(20, 32)])  # not the counts of pages: one less is a packet as any other
    piece = bytearray(channel[i])
    piece[at] ^= 1 << rng.randrange(8)
    channel[i] = bytes(piece)
    return [b"".join(c) for c in channels]


def with_an_impossible_offset(rng: random.Random, channels: list[Pieces]) -> list[bytes]:
    channel = channels[rng.randrange(2)]
    i = rng.choice([i for i in range(1, len(channel)) if int.from_bytes(channel[i][16:20])])
    piece = bytearray(channel[i])
    page, bit = rng.randrange(int.from_bytes(piece[16:20])), rng.choice([*range(12), *range(16, 64)])
    piece[multifd.PacketHeader.sizeof() + page * multifd.Offset.sizeof() + 7 - bit // 8] ^= 1 << bit % 8
    channel[i] = bytes(piece)
    return [b"".join(c) for c in channels]


KINDS = [
    with_an_impossible_offset,
    cut,
    without_a_packet,
    with_a_packet_twice,
    reordered,
    exchanged,
    with_a_lying_header,
]


@pytest.mark.parametrize("method", [Method.NONE, Method.ZLIB, Method.UADK], ids=lambda m: m.name.lower())
def test_the_unharmed_migration_gives_its_memory(method: Method):
    main, channels, memory = migration(method)
    capture = xbrletools.open(main, channels=[b"".join(c) for c in channels])
    assert capture.problems == ()
    assert (capture.memory()["pc.ram"] == memory).all()


@pytest.mark.parametrize("method", [Method.NONE, Method.UADK], ids=lambda m: m.name.lower())
@pytest.mark.parametrize("mutate", KINDS, ids=lambda k: k.__name__)
def test_no_page_is_known_and_wrong(mutate: Callable[[random.Random, list[Pieces]], list[bytes]], method: Method):
    main, channels, memory = migration(method)
    for seed in range(MUTANTS):
        harmed = mutate(random.Random(seed), [list(c) for c in channels])
        capture = xbrletools.open(main, channels=harmed)
        try:
            image = capture.memory()
        except xbrletools.XbrleError:
            continue
        wrong = image.known[:PAGES] & (image["pc.ram"] != memory).any(axis=1)
        assert not wrong.any(), (seed, capture.problems)
        list(capture.verify())


def test_a_row_of_records_that_lies_does_not_end_in_a_traceback():
    rng = random.Random(2)
    row = zero(0, b"pc.ram") + zero(PAGE) * 3
    for _ in range(300):
        harmed = bytearray(row)
        harmed[rng.randrange(len(row))] ^= 1 << rng.randrange(8)
        try:
            capture = xbrletools.open(main_channel(), channels=[bytes(harmed)])
            list(capture.verify())
        except xbrletools.XbrleError:
            continue
