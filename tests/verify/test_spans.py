"""Spans of whole records that were replayed or dropped: the framing is whole, and memory is not."""

import mmap
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from benchmarks.bounds import SHORT, Stream
from tests import posted
from tests.conftest import corpus_names
from tests.sender.snaps import PAGE, history, write
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.ram import DELTA_KINDS, Kind
from xbrletools.model import Block
from xbrletools.sender.addresses import addresses_in_blocks
from xbrletools.sender.encode import Plan, encode
from xbrletools.sender.policy import Dups, Policy, rules_of
from xbrletools.sender.saver import RecordForm
from xbrletools.sender.snapshots import open_snapshots
from xbrletools.table.numbers import Numbers
from xbrletools.verify.spans import replayed

SPAN = 20  # records from one delta on
CHECKED = "qemu-2011-posted/dbg-mixed-16m.bin"


def spans(data):
    return [f for f in xbrletools.open(data).verify() if f.rule in ("replayed-span", "dropped-span")]


def a_span(data):
    """Where twenty records in the middle of a capture's deltas begin and end, and their first number."""
    records = xbrletools.open(data).records
    rows = np.flatnonzero(np.isin(records.columns.kind, DELTA_KINDS))
    row = int(rows[len(rows) // 2])
    number = int(records.number[row])
    start, end = (int(records.columns.offset[records.by_number[n - 1]]) for n in (number, number + SPAN))
    return start, end, number


@pytest.mark.parametrize(
    "name",
    [CHECKED, "qemu-2011-posted/def-mixed-16m.bin", "qemu-7.2/pc16-xbzrle-large-kvm.bin", "qemu-2010/m115-x.bin"],
)
def test_a_span_that_came_twice_is_found_where_it_repeats(name, corpus):
    data = corpus(name)
    start, end, number = a_span(data)
    (found,) = spans(data[:end] + data[start:end] + data[end:])
    assert found.rule == "replayed-span"
    evidence = found.evidence
    assert (evidence["first_record"], evidence["last_record"]) == (number + SPAN, number + 2 * SPAN - 1)
    assert (evidence["of_first_record"], evidence["of_last_record"]) == (number, number + SPAN - 1)


def undone(pages):
    """Pages that change back, each one's deltas the same bytes: a stream of a sender without sums."""
    sent = history(1, [[1] * pages])[0]
    other = sent.copy()
    other[:, 9] ^= 1
    blocks = [Block(b"pc.ram", pages * PAGE)]
    form = RecordForm(DIALECTS["lm2"], "little", False)
    with tempfile.TemporaryDirectory() as folder:
        mapped, known = open_snapshots(write(Path(folder), [sent, other, sent]), blocks, PAGE, b"pc.ram")
        addresses = addresses_in_blocks(known, form.version, PAGE)
        return b"".join(
            encode(mapped, addresses, form, rules_of(form.dialect, Policy.POSTED, Dups.SAFE, PAGE), 1 << 20, Plan())
        )


@pytest.mark.parametrize("pages", [6, 24])
def test_pages_that_changed_back_are_not_called_replayed(pages):
    found = list(xbrletools.open(undone(pages), dialect="lm2", endian="little").verify())
    assert {(f.rule, f.severity.value) for f in found} == {("delta-undone", "note")}
    assert sum(f.evidence["deltas"] for f in found) == pages


@pytest.mark.parametrize(
    ("name", "severity"),
    [(CHECKED, "error"), ("qemu-2011-posted/def-mixed-16m.bin", "warning"), ("qemu-2010/m115-x.bin", "error")],
)
def test_a_sum_makes_a_replayed_span_sure(name, severity, corpus):
    data = corpus(name)
    start, end, _ = a_span(data)
    assert [f.severity.value for f in spans(data[:end] + data[start:end] + data[end:])] == [severity]


def test_a_span_that_is_missing_is_told_by_the_deltas_that_fail_after_it(corpus):
    data = corpus(CHECKED)
    start, end, number = a_span(data)
    (found,) = spans(data[:start] + data[end:])
    assert found.rule == "dropped-span"
    assert found.evidence["after_record"] < number <= found.record
    assert found.evidence["pages"] > SPAN // 2


def test_a_few_damaged_deltas_are_no_missing_span(corpus):
    data = bytearray(corpus(CHECKED))
    records = xbrletools.open(bytes(data)).records
    rows = np.flatnonzero(np.isin(records.columns.kind, DELTA_KINDS) & (records.columns.length > 100))
    for row in rows[[10, 500, 1500]].tolist():
        data[int(records.payload[row]) + 3] ^= 0x10
    assert spans(bytes(data)) == []


@pytest.mark.parametrize("name", [f"qemu-2011-posted/{n}.bin" for n in corpus_names("qemu-2011-posted")])
def test_real_captures_have_none(name, corpus):
    assert spans(corpus(name)) == []


def naive_replays(capture):
    """Spans of records that repeat earlier ones, one record after the other. All numbers are from 1."""
    columns, data = capture.records.columns, capture.data.tobytes()
    known = [None]
    for row in capture.records.by_number.tolist():
        start, length = int(columns.offset[row]) + int(columns.head[row]), int(columns.length[row])
        known.append((int(columns.kind[row]), int(columns.address[row]), data[start : start + length]))
    latest, deltas = {}, []
    for number, (kind, address, payload) in enumerate(known[1:], 1):
        before, latest[address] = latest.get(address), number
        if before and kind in DELTA_KINDS and known[before] == known[number] and any(payload[1::2]):
            deltas.append((number, number - before))

    def repeats(numbers, shift):
        return all(n - shift >= 1 and known[n] == known[n - shift] for n in numbers)

    found = []  # from delta to delta
    for number, shift in deltas:
        if found and found[-1][2] == shift and repeats(range(found[-1][1], number), shift):
            found[-1][1], found[-1][3] = number, found[-1][3] + 1
        else:
            found.append([number, number, shift, 1])
    before = [0, *(last for _, last, _, _ in found)]
    after = [*(first for first, _, _, _ in found[1:]), len(known)]
    for span, low, high in zip(found, before, after, strict=False):
        while span[0] - 1 > low and repeats([span[0] - 1], span[2]):
            span[0] -= 1
        while span[1] + 1 < high and repeats([span[1] + 1], span[2]):
            span[1] += 1
    return found


@given(st.lists(st.tuples(st.sampled_from(["page", "dup", "x", "y", "none"]), st.integers(0, 3)), max_size=60))
def test_replays_are_those_that_a_look_at_one_record_after_the_other_finds(records):
    blank = bytes(PAGE)
    makes = {
        "page": lambda a: posted.page(a, blank),
        "dup": lambda a: posted.dup(a, 0),
        "none": lambda a: posted.raw_delta(a, posted.encoded("posted", blank, blank)),
        "x": lambda a: posted.raw_delta(a, posted.encoded("posted", blank, b"x" + blank[1:])),
        "y": lambda a: posted.raw_delta(a, posted.encoded("posted", blank, b"y" + blank[1:])),
    }
    data = posted.stream([makes[kind](page * PAGE) for kind, page in records])
    capture = xbrletools.open(data, dialect="posted", endian="little")
    found = replayed(capture.stream)
    columns = (found.first, found.last, found.shift, found.count)
    assert [list(s) for s in zip(*(c.tolist() for c in columns), strict=True)] == naive_replays(capture)


@pytest.mark.parametrize("piece", [1 << 10, 1 << 16])
def test_a_span_is_one_where_pieces_of_the_table_meet(piece, monkeypatch):
    monkeypatch.setattr("xbrletools.verify.spans.PIECE", piece)
    blank = bytes(PAGE)
    payload = posted.encoded("posted", blank, b"x" + blank[1:])
    once = [posted.raw_delta(a * PAGE, payload) for a in range(4000)]
    capture = xbrletools.open(posted.stream(once * 2, ((b"pc.ram", 4000 * PAGE),)))
    found = replayed(capture.stream)
    assert (found.first.tolist(), found.last.tolist(), found.shift.tolist()) == ([4001], [8000], [4000])
    assert found.count.tolist() == [4000]


def test_spans_that_are_many_lie_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("xbrletools.verify.ledger.HELD", 1 << 18)
    path = tmp_path / "short.bin"
    with path.open("wb") as file:
        for part, _ in Stream(SHORT, records=500_000).pieces():
            file.write(part)
    with xbrletools.open(path, cache=False) as capture:
        found = replayed(capture.stream)
    assert len(found) > 50_000
    for column in (found.first, found.last, found.shift, found.count):
        assert isinstance(column.base, memoryview)
        assert isinstance(column.base.obj, mmap.mmap)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_a_record_s_row_is_that_whose_number_it_has(carries):
    kind = np.where(carries, Kind.PAGE, Kind.EOS).astype(np.uint8)
    numbers = Numbers(kind)
    rows = np.flatnonzero(carries)
    assert numbers.last == len(rows)
    assert numbers.rows(np.arange(1, len(rows) + 1)).tolist() == rows.tolist()
    assert numbers.of(rows).tolist() == list(range(1, len(rows) + 1))
