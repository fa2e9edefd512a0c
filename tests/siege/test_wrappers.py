"""Mutated files around a stream: packed, saved by libvirt, in a qcow2 image, behind other bytes, in each other.

What comes out is a stream or an error that says what is wrong. ``XBRLE_MUTATIONS`` says how many are tried.
"""

import bz2
import gzip
import io
import lzma
import os
import random
import traceback
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import zstandard

import xbrletools
from tests.building import page, patterned, stream
from tests.scan.test_wrappers import lzop_file, save_file
from tests.siege.bounds import Hang, measured, no_hang
from tests.siege.mutations import BOMBS
from tests.source.test_snapshots import image
from xbrletools.errors import XbrleError
from xbrletools.formats import qcow2
from xbrletools.formats.libvirt import Format

COUNT = int(os.environ.get("XBRLE_MUTATIONS", "1000"))
SHARDS = 5
ROOM = 64 << 20  # bytes that may be resident beside what is read
PAGES = 16
SOME = stream(
    *(page(i << 12, patterned(i % 5), None if i else b"pc.ram") for i in range(PAGES)),
    blocks=((b"pc.ram", PAGES << 12),),
)


@cache
def seeds() -> dict[str, bytes]:
    """Small files of every kind."""
    chance = np.random.default_rng(1)
    noise = stream(page(0, chance.bytes(4096), b"pc.ram"), page(4096, chance.bytes(4096)))
    packed: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda d: gzip.compress(d, mtime=0),
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
        "lzop": lambda d: lzop_file((len(d), d)),
    }
    found = {f"{name} {i}": pack(d) for name, pack in packed.items() for i, d in enumerate((SOME, noise))}
    found |= {f"{name} twice": pack(pack(SOME)) for name, pack in packed.items()}
    found |= {f"save {f.name}": save_file(f, inner=SOME) for f in (Format.RAW, Format.GZIP, Format.XZ, Format.SPARSE)}
    found |= {
        "qcow2": image(SOME)[0],
        "qcow2 deflate": image(SOME, packed="deflate")[0],
        "qcow2 zstd": image(SOME, qcow2.INCOMPATIBLE_COMPRESSION, "zstd")[0],
        "qcow2 extended": image(SOME, qcow2.INCOMPATIBLE_EXTENDED_L2)[0],
        "behind": b"\x5a" * 4096 + SOME,
    }
    return found


def mutated(number: int) -> tuple[str, bytes]:
    """The file of this number: one that was changed in one to four places, the same at every run."""
    chance = random.Random(f"wrapper {number}")
    name = chance.choice(sorted(seeds()))
    data = bytearray(seeds()[name])
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(data), 300) if chance.random() < 0.4 else len(data)) if data else 0
        kind = chance.choice(("flip", "number", "cut", "copy", "remove", "insert"))
        if kind == "flip" and data:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == "number":
            size = chance.choice((1, 2, 3, 4, 8))
            value = chance.choice(BOMBS) & (1 << 8 * size) - 1
            data[at : at + size] = value.to_bytes(size, chance.choice(("big", "little")))
        elif kind == "cut":
            del data[at:]
        elif kind == "copy":
            data[at:at] = data[at : at + chance.randrange(1, 3000)]
        elif kind == "remove":
            del data[at : at + chance.randrange(1, 3000)]
        else:
            data[at:at] = bytes(chance.choice((1, 8, 4096)))
    return name, bytes(data)


def _read(data: bytes) -> None:
    for what in (data, io.BytesIO(data)):
        try:
            with xbrletools.open(what) as capture:
                assert len(capture.data) < 16 << 20
                if sum(b.length for b in capture.blocks) < 1 << 30:  # what a stream claims is another test's matter
                    capture.memory()
                assert all(p.message.isprintable() for p in capture.problems)
        except XbrleError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_mutated_wrapper_is_read_or_refused_within_bounds(shard):
    _read(SOME)
    failures = []
    for number in range(shard, COUNT, SHARDS):
        name, data = mutated(number)
        try:
            with no_hang(), measured() as peak:
                _read(data)
            assert peak.bytes < ROOM + 40 * len(data), peak.bytes
        except (Exception, Hang) as error:
            failures.append((number, name, traceback.format_exception(error)[-3:]))
    assert not failures, failures
