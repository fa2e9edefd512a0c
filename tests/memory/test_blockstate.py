import numpy as np

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.formats.ram import Kind
from xbrletools.memory.blockstate import BlockState, block_state

CAPTURE = xbrletools.open(SAMPLES / "posted-8m.bin")
NONE = np.zeros(0, np.int64)


def mapped(until: int, suspect: np.ndarray = NONE) -> BlockState:
    return block_state(CAPTURE.records.columns.take(slice(0, until + 1)), CAPTURE.space, 0, suspect)


def test_the_map_of_any_moment_says_what_each_page_s_history_says() -> None:
    record = 2300
    found = mapped(CAPTURE.records.row(record))
    assert found.kind.dtype == np.uint8
    for page in range(0, 2048, 37):
        history = CAPTURE.page("pc.ram", page * 4096)
        until = history.numbers[history.numbers <= record]
        assert found.versions[page] == len(until)
        if len(until):
            row = history.rows[len(until) - 1]
            assert (found.last[page], found.kind[page]) == (row, CAPTURE.records.columns.kind[row])
        else:
            assert (found.last[page], found.kind[page]) == (-1, Kind.NOOP)


def test_pages_with_a_full_record_are_those_that_replay_knows() -> None:
    record = 1000
    found = mapped(CAPTURE.records.row(record))
    assert np.array_equal(found.based, CAPTURE.memory(at=record).known[CAPTURE.space.slice(0)])


def test_a_wrong_page_stays_wrong_until_a_full_record_heals_it() -> None:
    columns = CAPTURE.records.columns
    delta = int(np.flatnonzero(columns.kind == Kind.XBRLE)[0])
    page = int(columns.address[delta]) // 4096
    end = len(columns) - 1
    suspect = np.array([delta])
    assert not mapped(delta - 1, suspect).wrong.any()
    assert np.flatnonzero(mapped(delta, suspect).wrong).tolist() == [page]
    rows = CAPTURE.page("pc.ram", page * 4096).rows
    healed = [r for r in rows if r > delta and columns.kind[r] != Kind.XBRLE]
    assert mapped(end, suspect).wrong[page] == (not healed)
    first = int(rows[0])  # a full record that is itself suspect
    assert mapped(first, np.array([first])).wrong[page]
