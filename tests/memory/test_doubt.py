"""Whether the first sweep over memory goes on after a gap: pages that were never sent follow one by one."""

from collections.abc import Iterable

import numpy as np
import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.memory.doubt import FEW_FIRST_SENDS, FIRST_SENDS, Cause, _first_sweep_goes_on, _Walk, standing
from xbrletools.memory.lapses import NONE, lapses
from xbrletools.memory.moments import doubts_of, space_of
from xbrletools.memory.replay import View

BLOCKS = {b"pc.ram": 400 * PAGE, b"vga": 100 * PAGE}
BEFORE = [*range(20)]  # pages that were sent before the gap
AFTER = 25  # the first page after it
ENOUGH = [*range(AFTER, AFTER + FIRST_SENDS + 1)]


def goes_on(before: Iterable[int], after: Iterable[int], deltas: Iterable[int] = ()) -> bool:
    """Of pages counted through both blocks. ``deltas`` are places in ``after`` whose record is a delta."""
    builder = StreamBuilder(BLOCKS)
    before, after = [*before], [*after]
    for i, page in enumerate([*before, *after]):
        block, place = (b"pc.ram", page) if page < 400 else (b"vga", page - 400)
        if i - len(before) in {*deltas}:
            builder.delta(place * PAGE, noise(1), noise(1) ^ np.uint8(1), block)
        else:
            builder.dup(place * PAGE, 7, block)
    stream = xbrletools.open(builder.bytes()).stream
    space = space_of(stream)
    pages = space.pages_of(stream.records.columns)
    walk = _Walk(stream, space, pages, np.flatnonzero(pages >= 0))
    return _first_sweep_goes_on(walk, walk.carriers[: len(before)], walk.carriers[len(before) :])


def test_enough_pages_in_order_show_it() -> None:
    assert goes_on(BEFORE, ENOUGH)
    assert not goes_on(BEFORE, ENOUGH[:-1])


@pytest.mark.parametrize("skipped", [1, 2, FIRST_SENDS // 2, FIRST_SENDS])
def test_a_page_that_is_left_out_speaks_against_it(skipped: int) -> None:
    assert not goes_on(BEFORE, [p for p in [*ENOUGH, *range(200, 300)] if p != AFTER + skipped])


@pytest.mark.parametrize("again", [2, 20])
def test_pages_that_are_sent_again_in_between_do_not_speak_against_it(again: int) -> None:
    assert goes_on(BEFORE, [q for p in ENOUGH for q in ([p, again] if p % 3 else [p])])


def test_nor_do_pages_from_before_the_gap_that_come_first() -> None:
    assert goes_on(BEFORE, [19, *ENOUGH])


def test_fewer_pages_are_enough_where_the_sweep_ends_with_them() -> None:
    assert goes_on(range(470), range(500 - FEW_FIRST_SENDS - 1, 500))
    assert not goes_on(range(470), range(500 - FEW_FIRST_SENDS, 500))
    assert not goes_on(range(470), range(499 - FEW_FIRST_SENDS - 1, 499))


def test_a_page_that_comes_first_is_not_sent_as_a_delta() -> None:
    assert not goes_on(BEFORE, ENOUGH, deltas=[1])
    assert not goes_on(BEFORE, ENOUGH, deltas=[FIRST_SENDS])
    assert goes_on(BEFORE, [*ENOUGH, AFTER], deltas=[FIRST_SENDS + 1])


def test_it_must_be_in_one_block_and_forwards() -> None:
    assert not goes_on(range(390), range(400, 400 + FIRST_SENDS + 1))
    assert not goes_on([*range(20), 300], ENOUGH)
    assert not goes_on([*range(20), 300, 10], [301, *range(302, 302 + FIRST_SENDS)][1:2])


def test_nothing_new_after_it_shows_nothing() -> None:
    assert not goes_on(BEFORE, [])
    assert not goes_on(BEFORE, [19] * 200)


def test_doubts_come_in_the_order_of_records_whatever_raised_them() -> None:
    builder = StreamBuilder({b"pc.ram": 40 * PAGE}, flags=3)
    for page in range(40):
        builder.page(page * PAGE, noise(page))
    builder.part().delta(3 * PAGE, noise(3), noise(3) ^ np.uint8(1), checksum=1)
    for page in range(10, 20):
        builder.delta(page * PAGE, noise(page), noise(page) ^ np.uint8(1))
    data = bytearray(builder.end().bytes())
    records = xbrletools.open(bytes(data)).records
    data[int(records.columns.offset[records.row(48)]) + 7] ^= 0xFF
    found = doubts_of(xbrletools.open(bytes(data), salvage=True).stream, View.RECEIVER)
    assert {d.cause for d in found} == {Cause.RECORD, Cause.GAP}
    assert [d.until for d in found] == sorted(d.until for d in found)


def test_a_gap_of_one_whole_record_says_that_nothing_else_is_lost() -> None:
    builder = StreamBuilder({b"pc.ram": 40 * PAGE})
    for page in range(40):
        builder.page(page * PAGE, noise(page))
    data = bytearray(builder.end().bytes())
    records = xbrletools.open(bytes(data)).records
    data[int(records.columns.offset[records.row(20)]) + 7] ^= 0xFF
    (doubt,) = doubts_of(xbrletools.open(bytes(data), salvage=True).stream, View.RECEIVER)
    assert doubt.reason == "records of these pages may be lost: the skipped bytes are one record's"
    assert not doubt.whole


def test_a_delta_whose_base_is_lost_does_not_stand() -> None:
    old, new = noise(1), noise(1) ^ np.uint8(1)
    builder = StreamBuilder({b"pc.ram": 4 * PAGE}, flags=3).page(0, old).page(PAGE, old).part()
    stream = xbrletools.open(builder.delta(0, old, new).delta(2 * PAGE, old, new).delta(PAGE, old, new).bytes()).stream
    numbers = stream.records.numbers.of(np.arange(len(stream.records)))
    assert numbers[standing(stream, space_of(stream), NONE)].tolist() == [1, 2, 3, 5]
    second_page = lapses([(stream.records.row(3), stream.records.row(3), 1, 2)])
    assert numbers[standing(stream, space_of(stream), second_page)].tolist() == [1, 3]
