"""Spans of whole records that were replayed or dropped: the framing is whole, and memory is not."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.conftest import corpus_names
from tests.sender.snaps import PAGE, history, write
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.ram import DELTA_KINDS
from xbrletools.sender.encode import Plan, encode, placed
from xbrletools.sender.policy import Dups, Policy, rules_of
from xbrletools.sender.saver import Form
from xbrletools.sender.snapshots import open_snapshots
from xbrletools.stream.scan import Block

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
    form = Form(DIALECTS["lm2"], "little", False)
    with tempfile.TemporaryDirectory() as folder:
        mapped, known = open_snapshots(write(Path(folder), [sent, other, sent]), blocks, PAGE, b"pc.ram")
        where = placed(known, form.version, PAGE)
        return b"".join(
            encode(mapped, where, form, rules_of(form.dialect, Policy.POSTED, Dups.SAFE, PAGE), 1 << 20, Plan())
        )


@pytest.mark.parametrize("pages", [6, 64])
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
