"""The walk's leap over small records: what looks like a word counts only where the record before it ends."""

from functools import cache

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.formats.ram import DELTA_KINDS, Flag, delta_flag
from xbrletools.ram.walk import WORD, Layout, Pending

NAMES = ["posted-8m", "xbzrle-16m"]


@cache
def stretch(name: str) -> tuple[Layout, bytes, np.ndarray, np.ndarray, int]:
    """A stretch of deltas and dup pages of a sample that do not name a block, with most deltas.

    Gives its layout, the sample's bytes from it on, where its records begin and end, and where it ends itself.
    """
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    columns = capture.records.columns
    flags = [int(Flag.CONTINUE | f) for f in (Flag.COMPRESS, delta_flag(capture.facts.ram_version))]
    small = np.isin(columns.flags, flags)
    follows = np.append(False, columns.end()[:-1] == columns.offset[1:].astype(np.int64))
    begins_one = small & ~(follows & np.append(False, small[:-1]))
    which = np.where(small, np.cumsum(begins_one), 0)
    rows = np.flatnonzero(which == np.bincount(which[np.isin(columns.kind, DELTA_KINDS) & small]).argmax())
    assert len(rows) >= 10
    start = int(columns.offset[rows[0]])
    data = capture.data[start:].tobytes()
    begins, ends = columns.offset[rows].astype(np.int64) - start, columns.end(rows) - start
    return Layout(capture.facts.reading), data, begins, ends, int(ends[-1])


def leap(layout: Layout, data: bytes) -> tuple[list[int], int]:
    offsets, end = layout._chain(np.frombuffer(data, np.uint8))
    return offsets.tolist(), end


@pytest.mark.parametrize("name", NAMES)
class TestALeap:
    def test_takes_every_record_up_to_the_first_of_another_kind(self, name: str) -> None:
        layout, data, begins, _, end = stretch(name)
        assert leap(layout, data) == (begins.tolist(), end)

    def test_takes_no_word_that_stands_in_a_payload(self, name: str) -> None:
        layout, data, begins, ends, _ = stretch(name)
        assert layout.header is not None
        hostile = bytearray(data)
        for flags in layout.dup[0], layout.delta_flags:
            word = bytes(WORD - 1) + bytes([flags])
            for begin, stop in zip(begins.tolist(), ends.tolist(), strict=True):
                at = begin + layout.beside
                if stop - at > 2 * WORD and data[begin + WORD - 1] == layout.delta_flags:
                    hostile[at:stop] = (word * (stop - at))[: stop - at]
            offsets, reached = leap(layout, bytes(hostile))
            count = len(offsets)  # it may end early: what begins where two records end is left to the slow walk
            assert count and offsets == begins[:count].tolist() and reached == ends[count - 1]

    def test_takes_whole_records_alone_wherever_the_bytes_end(self, name: str) -> None:
        layout, data, begins, ends, end = stretch(name)
        for stop in range(min(end, 3000)):
            offsets, reached = leap(layout, data[:stop])
            count = len(offsets)
            assert offsets == begins[:count].tolist()
            assert reached == (ends[count - 1] if count else 0) <= stop
            assert count >= np.count_nonzero(ends + layout.beside <= stop)  # the last few bytes may be left to others

    def test_goes_nowhere_from_a_place_where_no_such_record_begins(self, name: str) -> None:
        layout, data, _, _, end = stretch(name)
        for at in 1, WORD - 1, WORD, end:
            assert leap(layout, data[at:]) == ([], 0)

    def test_ends_before_a_delta_longer_than_a_receiver_takes(self, name: str) -> None:
        layout, data, begins, _, _ = stretch(name)
        is_delta = [i for i, b in enumerate(begins.tolist()) if data[b + WORD - 1] == layout.delta_flags]
        k = is_delta[len(is_delta) // 2]
        at = int(begins[k]) + WORD + layout.length_at
        wrong = bytearray(data)
        wrong[at : at + layout.length.size] = b"\xff" * layout.length.size
        assert leap(layout, bytes(wrong)) == (begins[:k].tolist(), int(begins[k]))

    @pytest.mark.parametrize("byte", range(WORD))
    def test_ends_before_a_word_with_a_bit_that_no_sender_sets(self, name: str, byte: int) -> None:
        layout, data, begins, _, _ = stretch(name)
        k = len(begins) // 2
        for bit in range(8):
            wrong = bytearray(data)
            wrong[int(begins[k]) + byte] |= 1 << bit
            is_address = 0 < byte < WORD - 2 or (byte == WORD - 2 and not layout.clear & 1 << bit)
            if not is_address and wrong[int(begins[k]) + byte] not in (layout.dup[0], layout.delta_flags):
                assert leap(layout, bytes(wrong)) == (begins[:k].tolist(), int(begins[k]))


def test_a_run_may_begin_where_the_window_does_and_records_stand_beside_it() -> None:
    pending = Pending(at=[0])
    pending.add_run(9, 3, 5)
    pending.at.append(40)
    pending.add_piece(np.array([50, 60], np.int64))
    pending.add_run(70, 2, 9)
    assert pending.places().tolist() == [0, 9, 14, 19, 40, 50, 60, 70, 79]
    assert len(pending) == 9
    first = Pending()
    first.add_run(0, 4, 9)
    assert first.places().tolist() == [0, 9, 18, 27]
