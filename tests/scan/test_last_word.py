"""A word without a page kind at the capture's end, where no word follows that could tell what it is."""

import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.ram import Flag

ADDRESS_BITS = 52  # of a word: no guest's address is longer


def scanned(word: int, tail: bytes) -> xbrletools.Capture:
    builder = StreamBuilder().page(0, noise(1)).page(PAGE, noise(2)).word(word)
    return xbrletools.open(bytes(builder.out) + tail)


@pytest.mark.parametrize("tail", [b"", b"\0" * 7])
@pytest.mark.parametrize("address", [0, 7 * PAGE, (1 << ADDRESS_BITS) - PAGE])
def test_one_with_an_address_is_a_record_that_receivers_pass_over(address: int, tail: bytes):
    capture = scanned(address | Flag.COMPRESS_PAGE, tail)
    assert [p.rule for p in capture.problems] == ["truncated"]
    assert capture.records.counts()["noop"] == 1


@pytest.mark.parametrize("tail", [b"", b"\0" * 7])
@pytest.mark.parametrize("bit", range(ADDRESS_BITS, 64))
def test_one_with_a_bit_above_every_address_shows_that_framing_is_lost(bit: int, tail: bytes):
    capture = scanned(1 << bit | 7 * PAGE | Flag.COMPRESS_PAGE, tail)
    assert [p.rule for p in capture.problems] == ["bad-record"]
    assert "noop" not in capture.records.counts()
