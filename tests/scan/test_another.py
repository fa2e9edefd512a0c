"""Two streams in one file, the first of them cut off: it is read up to where the second begins, which is told."""

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import StreamBuilder, noise
from xbrletools.verify.cause import CauseName
from xbrletools.verify.status import Status

XBZRLE = (SAMPLES / "xbzrle-16m.bin").read_bytes()
POSTED = (SAMPLES / "posted-8m.bin").read_bytes()
STREAMS = {"xbzrle": XBZRLE, "posted": POSTED, "m115": (SAMPLES / "m115-little.bin").read_bytes()}
#: Amid the records, amid the devices, amid the VM description.
PLACES = [("xbzrle", 0x7DD94), ("xbzrle", 0xE1000), ("xbzrle", 0xFA000), ("posted", 0x8C95C), ("m115", 0x5000)]


@pytest.mark.parametrize("second", STREAMS)
@pytest.mark.parametrize(("first", "cut"), PLACES)
@pytest.mark.parametrize("salvage", [False, True])
def test_the_first_is_read_as_if_it_stood_alone_and_the_second_is_named(first, cut, second, salvage):
    begun = STREAMS[first][:cut]
    alone = xbrletools.open(begun, salvage=salvage)
    both = xbrletools.open(begun + STREAMS[second], salvage=salvage)
    assert len(both.records) == len(alone.records)
    assert (both.damage.rule, both.damage.offset) == (alone.damage.rule, alone.damage.offset)
    assert f"another stream begins at {cut:#x}, which --offset reads" in both.damage.message
    verdict = both.verdict()
    assert (verdict.status, [c.name for c in verdict.causes]) == (Status.INCOMPLETE, [CauseName.TRUNCATED])
    assert xbrletools.open(begun + STREAMS[second], offset=cut).damage is None


def test_a_second_stream_in_the_device_tail_of_an_old_one_is_named():
    cut = len(POSTED) - 2000
    both = xbrletools.open(POSTED[:cut] + POSTED)
    assert [p.rule for p in both.problems if f"another stream begins at {cut:#x}" in p.message] == ["trailing-data"]
    assert both.facts.end <= cut


def test_a_page_that_holds_the_beginning_of_a_stream_is_a_page():
    page = noise(1)
    page[100 : 100 + 2048] = list(XBZRLE[:2048])
    sound = StreamBuilder().page(0, page).dup(4096).page(8192, noise(2)).end().bytes()
    assert xbrletools.open(sound).problems == ()
    damaged = bytearray(sound)
    damaged[sound.index(XBZRLE[:2048]) + 4000 + 8] ^= 0xFF
    assert not any("another stream" in p.message for p in xbrletools.open(bytes(damaged)).problems)


def test_a_first_stream_of_a_few_bytes_is_not_salvaged_and_the_second_is_named():
    with pytest.raises(xbrletools.XbrleError, match="Another stream begins at 0x28: --offset 0x28"):
        _ = xbrletools.open(XBZRLE[:0x28] + POSTED, salvage=True).records
