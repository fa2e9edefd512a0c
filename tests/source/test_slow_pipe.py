"""Captures that come through a pipe while they are scanned: in any pieces, they are what they are as files."""

import io
import random
import time
from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from xbrletools.capture import Capture

CAPTURES = (
    "cases/damage/mapped-killed-10.0.bin",
    "cases/damage/salvage_known_wrong.bin",
    "cases/devices/q35-virtiomem-11.1.bin",
    "cases/devices/timer-false-footer-11.1.bin",
    "qemu-10/pc16-mapped.bin",
    "qemu-7.2/pc16-dirtybitmap-kvm.bin",
    "qemu-7.2/pc16-i440fx-2.3-plain-kvm.bin",  # without footers: what ends a device is searched for
)


class Slow(io.RawIOBase):
    """A pipe that brings pieces of any length, some of them late."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data, self._at, self._random = data, 0, random.Random(seed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._random.random() < 0.3:
            time.sleep(self._random.random() * 0.02)
        count = min(len(buffer), self._random.choice((1, 100, 5_000, 70_000, 1_000_000)))
        piece = self._data[self._at : self._at + count]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def loaded(data: bytes, seed: int) -> Capture:
    capture = xbrletools.open(io.BufferedReader(Slow(data, seed)), name="pipe")
    for _ in capture.load(lambda _: None):
        pass
    return capture


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_the_file_is(name: str, seed: int, corpus: Callable[[str], bytes]) -> None:
    data = corpus(name)
    there, came = xbrletools.open(io.BytesIO(data), name="pipe"), loaded(data, seed)
    assert came.facts.problems == there.facts.problems
    assert came.facts.blocks == there.facts.blocks
    assert came.facts.mapped == there.facts.mapped
    assert came.facts.end == there.facts.end
    assert [s.owner for s in came.facts.sections] == [s.owner for s in there.facts.sections]
    columns = there.records.columns
    for column in ("offset", "length", "kind", "block", "address"):
        assert np.array_equal(getattr(came.records.columns, column), getattr(columns, column)), column
