"""The loops in C against those of NumPy: the same for any input, and no byte outside of what they were given."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from tests.codec import test_xbrle, test_xbzrle
from tests.codec.wire import noise
from tests.conftest import SOUND
from tests.damages import KINDS, damage
from xbrletools import XbrleError
from xbrletools.codec import native, uniform, xbrle, xbzrle
from xbrletools.codec.native import Place, Tables
from xbrletools.codec.verdict import Verdict
from xbrletools.table.columns import DTYPES

PAGE = 1024
BUILT = pytest.mark.skipif(native.loops is None, reason="the loops in C are not built: no C compiler was there")
MADE = {xbrle: test_xbrle.payloads(), xbzrle: test_xbzrle.payloads()}


SOURCE = Path(native.__file__).with_name("_native.c").read_text()


def in_c(typename: str) -> list[str]:
    """The names of an enum of the C source, in order, without the last one, which counts them."""
    body = re.search(rf"enum \{{([^}}]*)\}} {typename};", SOURCE)[1]
    *names, count = re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL))
    assert count == f"{typename}s".upper()
    return names


def test_both_sides_of_the_boundary_name_the_same_things_in_the_same_order():
    assert in_c("Place") == [place.name for place in Place]
    assert [int(place) for place in Place] == list(range(len(Place)))
    assert in_c("Table") == [name.upper() for name in Tables._fields]
    assert in_c("Column") == [name.upper() for name in DTYPES]


def test_both_sides_of_the_boundary_mean_the_same_by_a_number():
    constants = dict(re.findall(r"enum \{ (\w+) = (-?\d+) \};", SOURCE))
    assert int(constants["REVISION"]) == native.REVISION
    assert int(constants["NOT_UNIFORM"]) == uniform.NOT_UNIFORM
    verdicts = re.search(r"enum \{ (VERDICT_[^}]*) \};", SOURCE)[1].split(", ")
    assert verdicts == [f"VERDICT_{verdict.name}" for verdict in Verdict][: len(verdicts)]


def in_numpy(call):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "loops", None)
        return call()


@BUILT
@pytest.mark.parametrize("codec", [xbrle, xbzrle], ids=["xbrle", "xbzrle"])
@given(st.data())
def test_both_give_the_same_pages_and_verdicts_for_any_payload(codec, data):
    batch = data.draw(st.lists(st.one_of(MADE[codec], st.binary(max_size=40)), max_size=60))
    page_size = data.draw(st.sampled_from([PAGE, 4096]))
    rows = np.array(data.draw(st.permutations(range(len(batch) + 2)))[: len(batch)], np.int64)
    gap = data.draw(st.integers(0, 80))
    lengths = np.array([len(p) for p in batch], np.int64)
    offsets = np.cumsum(lengths + gap) - lengths
    stream = np.frombuffer(b"".join(bytes(gap) + p for p in batch), np.uint8)
    old = noise(len(batch) + 2, page_size, seed=1)
    mine, its = old.copy(), old.copy()
    verdicts = codec.apply(stream, offsets, lengths, mine, rows)
    expected = in_numpy(lambda: codec.apply(stream, offsets, lengths, its, rows))
    assert verdicts.tolist() == expected.tolist()
    np.testing.assert_array_equal(mine, its)


@BUILT
@pytest.mark.parametrize("codec", [xbrle, xbzrle], ids=["xbrle", "xbzrle"])
def test_threads_leave_what_one_leaves_and_tell_what_does_not_fit(codec, monkeypatch):
    monkeypatch.setattr(native, "THREADS", 3)
    monkeypatch.setattr(native, "THREAD_BYTES", 10 * PAGE)
    old, new = noise(400, PAGE, seed=1), noise(400, PAGE, seed=1)
    new[:, 7::50] ^= 0x31
    payload, lengths = codec.encode(old, new)
    offsets = np.cumsum(lengths) - lengths
    lengths[[3, 399]] -= 2  # cut off
    rows = np.random.default_rng(1).permutation(400)
    mine, its = old[np.argsort(rows)], old[np.argsort(rows)]
    verdicts = codec.apply(payload, offsets, lengths, mine, rows)
    assert np.flatnonzero(verdicts).tolist() == [3, 399]
    np.testing.assert_array_equal(verdicts, in_numpy(lambda: codec.apply(payload, offsets, lengths, its, rows)))
    np.testing.assert_array_equal(mine, its)
    rows[399] = 400
    with pytest.raises(ValueError):
        native.apply(native.loops.copy_pages, (0, 0), payload, offsets, lengths, mine, rows)


@BUILT
def test_a_delta_that_changes_while_it_is_applied_stays_in_its_page():
    # the page is the payload's second half: runs are no more what they were when they were added up
    memory = np.zeros(99 * PAGE, np.uint8)
    memory[0 : 2 * PAGE : 2] = 1  # runs of 1, PAGE of them
    memory[1 : 2 * PAGE : 4] = 0xFE  # every second one makes a run further on 0xFF
    pages = memory[PAGE : 2 * PAGE].reshape(1, PAGE)
    native.apply(native.loops.xor_pairs, (0, 1), memory, *np.array([[0], [2 * PAGE]]), pages, None)
    assert (memory[PAGE : 2 * PAGE : 2] == 0xFF).any()
    assert not memory[2 * PAGE :].any()


@BUILT
@pytest.mark.parametrize("runs", [1, 319, 320, 321, 700, 2047])
def test_a_delta_of_any_number_of_runs_is_put_whole_or_not_at_all(runs):
    old = noise(1, 4096, seed=1)
    new = old.copy()
    new[0, : 2 * runs : 2] ^= 0x55
    payload, lengths = xbzrle.encode(old, new, 1 << 20)
    for missing in (0, 1, 2):
        mine, its = old.copy(), old.copy()
        arguments = payload, np.array([0]), lengths - missing
        verdict = xbzrle.apply(*arguments, mine)
        assert verdict.tolist() == in_numpy(lambda its=its, a=arguments: xbzrle.apply(*a, its)).tolist()
        np.testing.assert_array_equal(mine, its)
        np.testing.assert_array_equal(mine, old if missing else new)


@BUILT
@pytest.mark.parametrize(("loop", "layout"), [("xor_pairs", (0, 2)), ("xor_pairs", (-1, 0)), ("copy_runs", (128, 99))])
def test_a_layout_that_cannot_be_is_refused(loop, layout):
    nothing = np.array([[0], [4]])
    with pytest.raises(ValueError):
        native.apply(getattr(native.loops, loop), layout, np.zeros(9, np.uint8), *nothing, noise(1, PAGE, seed=1), None)


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("0", 1), ("9999", 64), ("-1", None), ("", None), ("x", None)])
def test_the_environment_says_how_many_threads_there_are(said, threads, monkeypatch):
    monkeypatch.delenv("XBRLE_THREADS", raising=False)
    cores = native._threads()
    monkeypatch.setenv("XBRLE_THREADS", said)
    assert native._threads() == (cores if threads is None else threads)


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("", max(1, native._threads() - 1))])
def test_a_core_is_left_to_who_draws_unless_the_user_says_how_many(monkeypatch, said, threads):
    monkeypatch.setenv("XBRLE_THREADS", said)
    monkeypatch.setattr(native, "THREADS", native._threads())
    native.leave_a_core()
    assert threads == native.THREADS


@BUILT
def test_where_no_thread_can_be_had_one_does_it_all(monkeypatch):
    monkeypatch.setattr(native, "THREADS", 3)
    monkeypatch.setattr(native, "THREAD_BYTES", PAGE)
    monkeypatch.setattr(
        threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
    )
    pages, data = np.zeros((9, PAGE), np.uint8), noise(9, PAGE, seed=1).reshape(-1)
    native.apply(native.loops.copy_pages, (0, 0), data, np.arange(9) * PAGE, np.full(9, PAGE), pages, None)
    np.testing.assert_array_equal(pages.reshape(-1), data)


def test_a_build_of_another_revision_is_not_used():
    command = (
        "import sys, types, xbrletools.codec as codec\n"
        "codec._native = sys.modules['xbrletools.codec._native'] = types.SimpleNamespace(REVISION=-1)\n"
        "from xbrletools.codec import native; print(native.loops)"
    )
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "None"


def table(data: bytes):
    try:
        capture = xbrletools.open(data)
        columns = capture.records.columns
    except XbrleError as error:
        return str(error)
    return {name: getattr(columns, name).tolist() for name in DTYPES}, capture.problems


@BUILT
@pytest.mark.parametrize("path", SOUND, ids=lambda p: p.stem)
def test_both_walk_over_the_same_records_whole_and_damaged(path):
    data = path.read_bytes()
    streams = [data, *(damage(data, kind, seed).data for kind in KINDS for seed in range(4))]
    for stream in streams:
        assert table(stream) == in_numpy(lambda stream=stream: table(stream))


@BUILT
@pytest.mark.parametrize("path", SOUND, ids=lambda p: p.stem)
def test_both_give_the_same_memory(path):
    pages = xbrletools.open(path).memory().pages
    np.testing.assert_array_equal(pages, in_numpy(lambda: xbrletools.open(path).memory().pages))


@BUILT
@pytest.mark.parametrize("loop", ["xor_pairs", "copy_runs", "copy_pages"])
@pytest.mark.parametrize(
    ("offset", "length", "row"),
    [
        (-1, 4, 0),
        (0, -1, 0),
        (97, 4, 0),
        (1 << 62, 1 << 62, 0),
        (0, 1 << 62, 0),
        (0, 4, 2),
        (0, 4, -1),
        (0, 4, 1 << 60),
    ],
)
def test_what_lies_outside_is_refused_before_it_is_touched(loop, offset, length, row):
    data, pages = np.zeros(100, np.uint8), noise(2, PAGE, seed=1)
    before = pages.copy()
    numbers = [np.array([n], np.int64) for n in (offset, length, row)]
    with pytest.raises(ValueError):
        getattr(native.loops, loop)(data, *numbers[:2], pages, numbers[2], np.zeros(1, np.uint8), (0, 1))
    np.testing.assert_array_equal(pages, before)


ZLIB = {
    Place.PACKED_FLAGS: 0x20,
    Place.PACKED_HIGH: 1,
    Place.PACKED_HIGH_AT: 6,
    Place.PACKED_HIGH_MASK: 15,
    Place.PACKED_LENGTH_AT: 8,
    Place.PACKED_MAGIC_AT: 12,
    Place.PACKED_MAGIC_MASK: 15,
    Place.PACKED_MAGIC: 8,
    Place.PACKED_MOST: 8192,
    Place.PACKED_BESIDE: 12,
}
NO_DELTA = {Place.DELTA_FLAGS: -1, Place.DELTA_LENGTH_BYTES: 1, Place.DELTA_CHECKSUM_AT: -1, Place.DELTA_BESIDE: 1}
DELTA = {
    Place.DELTA_FLAGS: 0x60,
    Place.DELTA_LENGTH_AT: 10,
    Place.DELTA_LENGTH_BYTES: 2,
    Place.DELTA_FLAGS_AT: 8,
    Place.DELTA_CHECKSUM_AT: -1,
    Place.DELTA_MOST: 4096,
    Place.DELTA_BESIDE: 16,
}
WIDTHS = {Place.WORD_BYTES: 8, Place.NUMBER_BYTES: 4, Place.SUM_KIND: -1}


def walked(data: bytes, steps, places=(), rows=8, column=(), table=(), **changed):
    """What the walk in C makes of records whose heads are all of 8 bytes: how many, where it ended, offset, length."""
    columns = {name: np.zeros(rows, dtype) for name, dtype in DTYPES.items()} | dict(column)
    kinds, heads, lengths = np.zeros(4096, np.uint8), np.full(4096, 8, np.uint16), np.zeros(4096, np.uint32)
    tables = {"kinds": kinds, "heads": heads, "lengths": lengths, "sizes": steps} | dict(table)
    numbers = WIDTHS | ZLIB | NO_DELTA | dict(places)
    layout = np.array([numbers.get(place, 0) for place in Place])
    arguments = {"base": 0, "at": 0, "limit": 1 << 40, "row": 0, "selected": 7, "columns": tuple(columns.values())}
    arguments |= {"tables": Tables(**tables), "layout": layout} | changed
    count, end = native.loops.walk(memoryview(data), *arguments.values())
    return count, end, columns["offset"][:count].tolist(), columns["length"][:count].tolist()


@BUILT
@pytest.mark.parametrize("rows", [[2], [-1], [0, 1, 1 << 61]])
@pytest.mark.parametrize(("loop", "dtype"), [("fills", np.int16), ("sums", np.uint32)])
def test_nothing_is_said_of_pages_that_are_not_there(loop, dtype, rows):
    pages = noise(2, PAGE, seed=1)
    with pytest.raises(ValueError):
        getattr(native.loops, loop)(pages, np.array(rows), np.zeros(len(rows), dtype))
    with pytest.raises(ValueError):
        getattr(native.loops, loop)(pages, np.array([0, 1]), np.zeros(3, dtype))


@BUILT
@pytest.mark.parametrize(("loop", "dtype"), [("fills", np.int16), ("sums", np.uint32)])
def test_threads_say_of_pages_what_one_says(loop, dtype, monkeypatch):
    pages = noise(400, PAGE, seed=1)
    pages[::3] = np.arange(134, dtype=np.uint8)[:, None]
    rows = np.random.default_rng(1).permutation(400)[:399]
    one, three = np.zeros(399, dtype), np.zeros(399, dtype)
    native.look(getattr(native.loops, loop), pages, rows, one)
    monkeypatch.setattr(native, "THREADS", 3)
    monkeypatch.setattr(native, "THREAD_BYTES", 10 * PAGE)
    native.look(getattr(native.loops, loop), pages, rows, three)
    np.testing.assert_array_equal(one, three)
    rows[398] = 400
    with pytest.raises(ValueError):
        native.look(getattr(native.loops, loop), pages, rows, three)


@BUILT
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 11, 12, 15, 16, 17])
def test_the_walk_reads_nothing_behind_the_end(size):
    data = (bytes(7) + b"\x60" + bytes(8) + b"\x22" * 8)[:size]  # a delta whose header is cut
    steps = np.zeros(256, np.uint32)
    steps[0x22] = 9
    found = walked(data, steps, DELTA)
    assert found == ((1, 16, [0], [0]) if size >= 12 else (0, 0, [], []))


@BUILT
@pytest.mark.parametrize("size", range(14))
def test_the_walk_reads_no_zlib_stream_behind_the_end(size):
    data = (bytes(6) + b"\x01\x20" + bytes(3) + b"\x03" + b"\x78\x9c")[:size]
    assert walked(data, np.zeros(256, np.uint32)) == ((1, 15, [0], [3]) if size >= 13 else (0, 0, [], []))


@BUILT
@pytest.mark.parametrize("size", range(8, 17))
def test_the_walk_reads_no_head_behind_the_end(size):
    steps, heads = np.full(256, 9, np.uint32), np.full(4096, 12, np.uint16)
    assert walked(bytes(size), steps, {Place.SUM_KIND: 0}, table={"heads": heads})[0] == (size >= 12)


@BUILT
@pytest.mark.parametrize(
    "changed",
    [
        {"row": 9},
        {"row": -1},
        {"at": -1},
        {"base": -1},
        {"columns": ()},
        {"columns": tuple(np.zeros(8, dtype) for dtype in list(DTYPES.values())[:-1])},
        {"tables": ()},
        {"layout": np.zeros(len(Place), np.int64)},
        {"layout": np.zeros(len(Place) - 1, np.int64)},
        {"layout": np.zeros(len(Place) + 1, np.int64)},
        {"layout": np.zeros(2 * len(Place), np.int32)},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_the_walk_refuses_what_does_not_fit(changed):
    with pytest.raises(ValueError):
        walked(bytes(100), np.full(256, 9, np.uint32), **changed)


@BUILT
@pytest.mark.parametrize("name", DTYPES)
def test_the_walk_refuses_a_column_of_another_length_width_or_kind_of_memory(name):
    dtype = DTYPES[name]
    unaligned = np.frombuffer(bytearray(8 * 8 + 1), np.uint8)[1 : 8 * np.dtype(dtype).itemsize + 1].view(dtype)
    read_only = np.zeros(8, dtype)
    read_only.flags.writeable = False
    wider = np.uint16 if dtype is np.uint8 else np.uint8
    bad = [np.zeros(7, dtype), np.zeros(9, dtype), np.zeros(8, wider), np.zeros(16, dtype)[::2], read_only]
    bad += [unaligned] if dtype is not np.uint8 else []
    for column in [*bad, np.zeros((8, 1), dtype)]:
        with pytest.raises(ValueError):
            walked(bytes(100), np.full(256, 9, np.uint32), column={name: column})
    with pytest.raises(TypeError):
        walked(bytes(100), np.full(256, 9, np.uint32), column={name: None})


@BUILT
@pytest.mark.parametrize(
    "table",
    [
        {"kinds": np.zeros(4095, np.uint8)},
        {"kinds": np.zeros(0, np.uint8)},
        {"heads": np.zeros(4095, np.uint16)},
        {"heads": np.zeros(4096, np.uint8)},
        {"lengths": np.zeros(4095, np.uint32)},
        {"sizes": np.zeros(255, np.uint32)},
    ],
    ids=lambda table: "-".join(table),
)
def test_the_walk_refuses_a_table_that_does_not_fit(table):
    with pytest.raises(ValueError):
        walked(bytes(100), np.full(256, 9, np.uint32), table=table)


@BUILT
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (Place.WORD_BYTES, 4),
        (Place.NUMBER_BYTES, 8),
        (Place.DELTA_LENGTH_AT, -1),
        (Place.DELTA_LENGTH_AT, 1 << 62),
        (Place.DELTA_LENGTH_BYTES, 0),
        (Place.DELTA_LENGTH_BYTES, 5),
        (Place.DELTA_FLAGS_AT, -1),
        (Place.DELTA_CHECKSUM_AT, 1 << 17),
        (Place.DELTA_CHECKSUM_AT, -2),
        (Place.DELTA_LEAST, -1),
        (Place.DELTA_LEAST, (1 << 63) - 1),
        (Place.DELTA_BESIDE, 0),
        (Place.DELTA_BESIDE, -(1 << 63)),
        (Place.PACKED_LENGTH_AT, -1),
        (Place.PACKED_HIGH_AT, 13),
        (Place.PACKED_HIGH_AT, -1),
        (Place.PACKED_MAGIC_AT, 1 << 17),
        (Place.PACKED_BESIDE, -1),
        (Place.PACKED_BESIDE, (1 << 63) - 1),
    ],
)
def test_the_walk_refuses_a_layout_by_which_it_could_leave_the_data(place, value):
    with pytest.raises(ValueError):
        walked(bytes(100), np.full(256, 9, np.uint32), DELTA | {place: value})


@BUILT
def test_no_refusal_keeps_a_reference_to_what_was_refused():
    columns, tables = (
        tuple(np.zeros(8, dtype) for dtype in DTYPES.values()),
        [np.zeros(9, np.uint8) for _ in Tables._fields],
    )
    layout, data = np.zeros(len(Place), np.int64), bytearray(100)
    for arguments in (
        (columns, tuple(tables), layout),
        (columns[:-1], tuple(tables), layout),
        ((*columns[:-1], None), tuple(tables), layout),
        (columns, (), layout),
        (columns, tuple(tables), layout[:-1]),
    ):
        kept = [columns, *columns, *tables, layout]
        before = [sys.getrefcount(each) for each in kept]
        with pytest.raises((TypeError, ValueError)):
            native.loops.walk(data, 0, 0, 100, 0, 0, *arguments)
        assert [sys.getrefcount(each) for each in kept] == before
        data.append(0)  # which no buffer of it is left to forbid


@BUILT
def test_the_walk_fills_no_row_but_its_own():
    columns = {name: np.full(8, 0x55, dtype) for name, dtype in DTYPES.items()}
    found = walked(bytes(80), np.full(256, 9, np.uint32), base=1000, at=9, limit=30, row=3, column=columns)
    assert found[:2] == (3, 36)
    assert columns["offset"].tolist() == [0x55] * 3 + [1009, 1018, 1027] + [0x55] * 2
    for name, column in columns.items():
        assert (column != 0x55).tolist() == [False] * 3 + [True] * 3 + [False] * 2, name
