"""Damages in the disk data of a block section: a chunk has one size, so what follows it tells how many bytes moved."""

from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from xbrletools.formats import block as disk
from xbrletools.ram.record import WORD
from xbrletools.verify.cause import Cause, CauseName, Sure
from xbrletools.verify.causes.diagnose import diagnose

CAPTURES = ("qemu-2011-posted/dbg-block-ix.bin", "qemu-7.2/pc16-block-kvm.bin")
SIZES = (1, 7, 64, 1000)


@pytest.fixture(params=CAPTURES)
def whole(request: pytest.FixtureRequest, corpus: Callable[[str], bytes]) -> bytes:
    return corpus(request.param)


def _chunk(data: bytes) -> tuple[int, int]:
    """Where the first chunk of a disk begins, and where it ends."""
    sections = xbrletools.open(data).stream.facts.sections
    for index in range(len(sections)):
        section = sections[index]
        if section.owner is not None and section.owner.idstr == disk.IDSTR and section.end - section.data > disk.CHUNK:
            data_at = section.data + WORD + 1 + data[section.data + WORD]
            return data_at, data_at + disk.CHUNK
    raise AssertionError


def _cause(data: bytes) -> Cause:
    return diagnose(xbrletools.open(data).stream)[0]


@pytest.mark.parametrize("size", SIZES)
def test_bytes_put_into_a_chunk_are_counted(whole: bytes, size: int) -> None:
    start, end = _chunk(whole)
    at = (start + end) // 2
    cause = _cause(whole[:at] + np.random.default_rng(size).bytes(size) + whole[at:])
    assert cause.name is CauseName.BYTES_INSERTED
    assert cause.sure in (Sure.CERTAIN, Sure.LIKELY)
    assert f"so {size} bytes are too many" in cause.sentence or (size == 1 and "one byte is too many" in cause.sentence)
    assert cause.repair is None


@pytest.mark.parametrize("size", SIZES)
def test_bytes_missing_from_a_chunk_are_counted(whole: bytes, size: int) -> None:
    start, end = _chunk(whole)
    at = (start + end) // 2
    cause = _cause(whole[:at] + whole[at + size :])
    assert cause.name is CauseName.BYTES_MISSING
    assert cause.sure in (Sure.CERTAIN, Sure.LIKELY)


@pytest.mark.parametrize("size", [20, 52, 1000])
def test_bytes_written_over_the_end_of_a_chunk_are_not_taken_for_others(whole: bytes, size: int) -> None:
    _, end = _chunk(whole)
    at = end - 7
    cause = _cause(whole[:at] + np.random.default_rng(size).bytes(size) + whole[at + size :])
    assert cause.name is CauseName.BYTES_OVERWRITTEN or CauseName.BYTES_OVERWRITTEN in cause.candidates
    assert cause.sure is not Sure.CERTAIN or cause.name is CauseName.BYTES_OVERWRITTEN
