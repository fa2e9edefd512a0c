"""What a user forces is held against what the capture shows by itself."""

import numpy as np
import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder


def deltas(size: int) -> bytes:
    """A posted stream of dup pages and deltas alone, which do not show how large pages are."""
    old = np.full(size, 7, np.uint8)
    new = old.copy()
    new[[9, size - 3]] ^= 1
    builder = StreamBuilder({b"pc.ram": 4 * size}, flags=3).dup(0, 7).part()
    return builder.delta(0, old, new).delta(0, new, old).bytes()


@pytest.mark.parametrize("forced", ["xbzrle", "xbzrle-rfc"])
@pytest.mark.parametrize("size", [PAGE, 2 * PAGE])
def test_a_wrong_dialect_is_a_finding_whatever_size_of_pages_was_given(forced: str, size: int) -> None:
    capture = xbrletools.open(deltas(size), dialect=forced, page_size=size)
    (finding,) = [f for f in capture.verify() if f.rule == "forced-reading"]
    assert finding.evidence == {"shows": "posted"}
    assert finding.offset == capture.records.columns.offset[capture.records.row(2)]


@pytest.mark.parametrize("forced", ["posted", None])
@pytest.mark.parametrize("endian", ["little", None])
def test_what_the_capture_shows_too_is_not_a_finding(forced: str | None, endian: str | None) -> None:
    capture = xbrletools.open(deltas(PAGE), dialect=forced, endian=endian)
    assert "forced-reading" not in {f.rule for f in capture.verify()}


def test_a_wrong_byte_order_is_a_finding() -> None:
    capture = xbrletools.open(deltas(PAGE), endian="big")
    (finding,) = [f for f in capture.verify() if f.rule == "forced-reading"]
    assert finding.evidence == {"shows": "little"}
