"""The dialect is found by trial, and not made up where the first deltas show none."""

import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise

A = noise(1)
B = A.copy()
B[100:120] ^= 0x5A


@pytest.mark.parametrize("dialect", ["posted", "lm2", "lm2dbg"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_a_stream_cut_inside_its_first_delta_shows_no_dialect(dialect, endian):
    stream = StreamBuilder(dialect=dialect, endian=endian).page(0, A).dup(PAGE).part()
    start = len(stream.out) + 8
    data = stream.delta(0, A, B).bytes()
    named = set()
    for end in range(start, len(data) - 9):
        capture = xbrletools.open(data[:end])
        assert [p.rule for p in capture.problems] == ["truncated"]
        named.add(capture.evidence.name)
        assert dialect in capture.evidence.candidates
    assert named == {None}
