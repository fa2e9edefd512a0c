"""Records that were cut out of a capture with its framing whole: only the deltas after them can tell."""

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.ram import DELTA_KINDS
from xbrletools.verify.explain import conclusion
from xbrletools.verify.spans import MISSING_PAGES

DATA = (SAMPLES / "posted-8m.bin").read_bytes()
RECORDS = xbrletools.open(DATA).records
DELTAS = RECORDS.number[np.isin(RECORDS.columns.kind, DELTA_KINDS)]


def offset(number: int) -> int:
    return int(RECORDS.columns.offset[RECORDS.by_number[number - 1]])


def touched(page: int, *places: int) -> np.ndarray:
    """What a page held at first, with other bytes at some places."""
    content = noise(page)
    content[[*places]] ^= 1
    return content


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


def test_a_page_that_fails_twice_counts_once_among_those_whose_records_are_missing():
    pages = range(2 * MISSING_PAGES)
    builder = StreamBuilder({b"pc.ram": len(pages) * PAGE}, flags=3)
    for page in pages:
        builder.page(page * PAGE, noise(page))
    builder.part()
    for page in pages:  # each over one more delta, which is missing
        builder.delta(page * PAGE, touched(page, 100), touched(page, 100, 200))
    for page in pages:
        builder.page(page * PAGE, noise(page))
    builder.delta(0, touched(0, 100), touched(0, 100, 200))
    findings = list(xbrletools.open(builder.bytes()).verify())
    (dropped,) = [f for f in findings if f.rule == "dropped-span"]
    assert dropped.evidence["pages"] == len(pages)
    assert dropped.evidence["after_record"] == len(pages)
    assert dropped.record == len(pages) + 1
    corrupt = [(f.record, f.page) for f in findings if f.rule == "corrupt-page"]
    first_chains = [(len(pages) + 1 + page, page * PAGE) for page in pages]
    assert corrupt == [*first_chains, (3 * len(pages) + 1, 0)]
