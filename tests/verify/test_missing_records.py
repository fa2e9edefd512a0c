"""Records that were cut out of a capture with its framing whole: only the deltas after them can tell."""

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.formats.ram import DELTA_KINDS
from xbrletools.verify.explain import conclusion

DATA = (SAMPLES / "posted-8m.bin").read_bytes()
RECORDS = xbrletools.open(DATA).records
DELTAS = RECORDS.number[np.isin(RECORDS.columns.kind, DELTA_KINDS)]


def offset(number: int) -> int:
    return int(RECORDS.columns.offset[RECORDS.by_number[number - 1]])


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("span", [20, 80])
def test_a_span_that_is_missing_is_one_finding_where_its_pages_begin_to_fail(share: float, span: int):
    first = int(DELTAS[int(len(DELTAS) * share)])
    capture = xbrletools.open(DATA[: offset(first)] + DATA[offset(first + span) :])
    (dropped,) = [f for f in capture.verify() if f.rule == "dropped-span"]
    assert dropped.evidence["after_record"] < first <= dropped.record
    assert "missing" in conclusion(capture.stream, dropped)


def test_a_span_that_came_twice_is_not_called_missing():
    first = int(DELTAS[len(DELTAS) // 2])
    start, end = offset(first), offset(first + 20)
    capture = xbrletools.open(DATA[:end] + DATA[start:end] + DATA[end:])
    rules = [f.rule for f in capture.verify()]
    assert rules.count("replayed-span") == 1
    assert "dropped-span" not in rules
