import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.formats.ram import Kind
from xbrletools.memory.blockstate import NEVER, BlockRecords, Playhead, State, block_records

CAPTURE = xbrletools.open(SAMPLES / "posted-8m.bin")
COLUMNS = CAPTURE.records.columns
RECORDS = block_records(COLUMNS, CAPTURE.space, 0)


def moment(row: int) -> Playhead:
    head = Playhead(RECORDS)
    head.seek(RECORDS.upto(row))
    return head


def state(row: int, *suspect: int) -> np.ndarray:
    return RECORDS.states(np.array(suspect, np.int64))[moment(row).last]


def test_the_map_of_any_moment_says_what_each_page_s_history_says() -> None:
    record = 2300
    last = moment(CAPTURE.records.row(record)).last
    for page in range(0, 2048, 37):
        history = CAPTURE.page("pc.ram", page * 4096)
        until = history.numbers[history.numbers <= record]
        assert RECORDS.versions[last[page]] == len(until)
        if len(until):
            row = history.rows[len(until) - 1]
            assert (RECORDS.rows[last[page]], RECORDS.kind[last[page]]) == (row, COLUMNS.kind[row])
        else:
            assert (last[page], RECORDS.kind[last[page]]) == (NEVER, Kind.NOOP)


def test_pages_with_a_full_record_are_those_that_replay_knows() -> None:
    record = 1000
    head = moment(CAPTURE.records.row(record))
    known = CAPTURE.memory(at=record).known[CAPTURE.space.slice(0)]
    assert np.array_equal(head.based(), known)
    assert np.array_equal(head.based(np.zeros(2048, np.int64)), known)
    assert not head.based(np.full(2048, len(COLUMNS))).any()


def test_a_wrong_page_stays_wrong_until_a_full_record_heals_it() -> None:
    delta = int(np.flatnonzero(COLUMNS.kind == Kind.XBRLE)[0])
    page = int(COLUMNS.address[delta]) // 4096
    assert not state(delta - 1, delta).any()
    assert np.flatnonzero(state(delta, delta)).tolist() == [page]
    rows = CAPTURE.page("pc.ram", page * 4096).rows
    healed = [r for r in rows if r > delta and COLUMNS.kind[r] != Kind.XBRLE]
    assert state(len(COLUMNS) - 1, delta)[page] == (State.HEALED if healed else State.WRONG)
    first = int(rows[0])  # a full record that is itself suspect
    assert state(first, first)[page] == State.WRONG


def test_a_block_without_records_has_a_state_too() -> None:
    empty = block_records(COLUMNS.take(slice(0, 0)), CAPTURE.space, 0)
    head = Playhead(empty)
    head.seek(5)
    assert (head.at, len(empty), empty.states(np.array([3])).tolist()) == (0, 0, [State.FINE])
    assert (head.last == NEVER).all()
    assert not head.based(np.zeros(2048, np.int64)).any()


def naive(count: int) -> np.ndarray:
    last = np.full(RECORDS.pages, NEVER, np.int32)
    for i in range(count):
        last[RECORDS.page[i]] = i
    return last


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(-3, len(RECORDS) + 3), min_size=1, max_size=6))
def test_any_way_through_the_records_leads_to_the_same_moment(stops: list[int]) -> None:
    head = Playhead(RECORDS)
    for stop in stops:
        head.seek(stop)
    assert head.at == max(0, min(stops[-1], len(RECORDS)))
    assert np.array_equal(head.last, naive(head.at))


def naive_states(records: BlockRecords, suspect: list[int]) -> list[int]:
    out, now = [], np.zeros(records.pages, int)
    for row, page, kind in zip(records.rows, records.page, records.kind, strict=False):
        if kind not in (Kind.XBRLE, Kind.XBZRLE) and now[page]:
            now[page] = State.HEALED
        if row in suspect:
            now[page] = State.WRONG
        out.append(int(now[page]))
    return [*out, State.FINE]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(COLUMNS) - 1), max_size=40))
def test_states_are_those_of_a_walk_from_record_to_record(suspect: list[int]) -> None:
    assert RECORDS.states(np.array(sorted(suspect), np.int64)).tolist() == naive_states(RECORDS, suspect)
