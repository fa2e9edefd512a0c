"""Hostile input: bounded time and memory, and never an error that nothing names."""

import random
import time

import pytest

import xbrletools
from tests.conftest import SAMPLES, SOUND
from xbrletools.errors import XbrleError
from xbrletools.verify.causes.diagnose import diagnose

SECONDS = 300  # of the processor, a hundred times what any of these takes: without a bound they would not end


@pytest.fixture(scope="module")
def head() -> bytes:
    return (SAMPLES / "posted-8m.bin").read_bytes()[:120000]


@pytest.mark.parametrize(
    "filler",
    [b"\0", bytes.fromhex("0000000000001022"), bytes.fromhex("00000000000010220000000000002028"), b"\x02\0\0\0\x02"],
    ids=["zeros", "words of dup pages", "words without payloads", "heads of sections"],
)
def test_a_megabyte_that_looks_like_records_is_given_up(head: bytes, filler: bytes) -> None:
    begun = time.process_time()
    diagnose(xbrletools.open(head + b"\xff" * 9 + filler * (1 << 20)).stream)
    assert time.process_time() - begun < SECONDS


def test_many_repeated_records_are_no_damage_to_look_at_one_by_one(head: bytes) -> None:
    record = bytes.fromhex("000000000000102200") * 200000
    end = xbrletools.open(head).records.columns.end()[-2]
    begun = time.process_time()
    diagnose(xbrletools.open(head[: int(end)] + record).stream)
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("seed", range(6))
def test_damage_upon_damage_gives_causes_and_no_error(seed: int) -> None:
    chance = random.Random(seed)
    names = sorted(p.name for p in SOUND if p.stat().st_size < 200000)
    data = bytearray((SAMPLES / chance.choice(names)).read_bytes())
    for _ in range(chance.choice((2, 5, 20))):
        at, size = chance.randrange(len(data)), chance.choice((1, 8, 300))
        data[at : at + size] = chance.choice((b"", chance.randbytes(size), chance.randbytes(2 * size), bytes(size)))
    for salvage in (False, True):
        try:
            stream = xbrletools.open(bytes(data), salvage=salvage).stream
        except XbrleError:
            continue
        for cause in diagnose(stream):
            assert cause.sentence
            assert cause.began.offset is None or 0 <= cause.began.offset <= len(data)
