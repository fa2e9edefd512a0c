"""What a checksum vouches for, and what is only as it was sent."""

import numpy as np
import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.ram import DELTA_KINDS, Kind
from xbrletools.memory.confirm import Trust
from xbrletools.memory.replay import View
from xbrletools.ram.walk import WORD

A, B = noise(1), noise(1)
B[9] ^= 0x55


def confirmed(capture, at=None, view=View.RECEIVER):
    return capture.confirmed(capture.memory(at, view), at, view).tolist()


def test_a_delta_whose_sum_holds_vouches_for_the_page_after_it_and_before_it():
    capture = xbrletools.open(StreamBuilder(flags=3).page(0, A).page(PAGE, A).part().delta(0, A, B).bytes())
    assert confirmed(capture, at=1) == [True, False, False, False]
    assert confirmed(capture) == [True, False, False, False]


def test_a_page_that_came_in_full_after_the_delta_has_nothing_to_vouch_for_it():
    capture = xbrletools.open(StreamBuilder(flags=3).page(0, A).part().delta(0, A, B).page(0, A).bytes())
    assert confirmed(capture) == [False] * 4


def test_no_sum_vouches_for_nothing():
    capture = xbrletools.open(StreamBuilder(flags=1).page(0, A).part().delta(0, A, B).bytes())
    assert not any(confirmed(capture) + confirmed(capture, at=1))


def test_a_stale_base_is_confirmed_for_the_sender_alone():
    capture = xbrletools.open(StreamBuilder(flags=3).page(0, A).part().dup(0, 9).delta(0, A, B).bytes())
    assert confirmed(capture) == [False] * 4
    assert confirmed(capture, view=View.SENDER)[0]
    assert confirmed(capture, at=1, view=View.SENDER)[0]
    assert not confirmed(capture, at=2, view=View.SENDER)[0]  # the dup page itself


def test_a_sum_of_a_pages_own_bytes_does_not_say_whose_they_are():
    builder = StreamBuilder(dialect="m115dbg").page(0, A).page(PAGE, A).part().delta(0, A, B)
    capture = xbrletools.open(builder.bytes())
    assert confirmed(capture, at=2) == [True, False, False, False]  # the delta that follows on page 0 does


def test_a_page_of_the_debug_trees_that_went_astray_is_not_confirmed(corpus):
    data = bytearray(corpus("qemu-2010/m115dbg-x.bin"))
    records = xbrletools.open(bytes(data)).records
    row = int(records.by_number[9756])
    assert records.columns.kind[row] == Kind.PAGE
    assert records.columns.address[row] == 0x31A000
    data[int(records.columns.offset[row]) + WORD - 3] ^= 0x40
    capture = xbrletools.open(bytes(data), salvage=True)
    image = capture.memory(trust=Trust.CHECKSUM)
    astray = capture.space.pages_of(capture.records.columns)[row]
    assert capture.records.columns.address[row] == 0x71A000
    assert not image.recovered[astray]


def test_memory_of_what_is_confirmed_knows_nothing_else():
    capture = xbrletools.open(StreamBuilder(flags=3).page(0, A).page(PAGE, A).part().delta(0, A, B).bytes())
    image = capture.memory(trust=Trust.CHECKSUM)
    assert image.known.tolist() == [True, False, False, False]
    assert not image.pages[1].any()


def test_on_a_real_capture_all_pages_that_end_as_deltas_are_confirmed(corpus):
    capture = xbrletools.open(corpus("qemu-2011-posted/dbg-mixed-16m.bin"))
    columns = capture.records.columns
    rows = capture.space.pages_of(columns)
    last = np.full(len(capture.space), -1)
    last[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    deltas = (last >= 0) & np.isin(columns.kind[last], DELTA_KINDS)
    assert deltas.sum() > 100
    assert (capture.confirmed(capture.memory()) == deltas).all()


@pytest.mark.parametrize("flip", [100, 2000])
def test_a_flip_that_leaves_no_trace_is_recovered_and_its_page_has_no_sum_that_holds(flip):
    builder = StreamBuilder(flags=3).page(0, A).page(PAGE, A).part().delta(0, A, B)
    data = bytearray(builder.end().bytes())
    whole = xbrletools.open(bytes(data))
    at = int(whole.records.payload[whole.records.row(2)])
    data[at + flip] ^= 1
    capture = xbrletools.open(bytes(data), salvage=True)
    assert capture.memory().recovered.tolist() == [True, True, False, False]
    assert capture.memory().sum_holds.tolist() == [True, False, False, False]
    assert not capture.memory().known.any()
    assert capture.memory().known_bytes(0).tolist() == [False] * PAGE
    assert capture.memory(trust=Trust.CHECKSUM).recovered.tolist() == [True, False, False, False]
