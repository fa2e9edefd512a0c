"""Two streams in one file, the first of them cut off: it is read up to where the second begins, which is told."""

import io
import json
import re

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import StreamBuilder, noise
from xbrletools.formats.qevm import SectionType
from xbrletools.scan.strict import Scanner
from xbrletools.source.sources import MappedSource, PipeSource
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


#: Small streams with footers and all that QEMU writes of today, and as the posted build wrote them without footers.
SMALL = {"today": (SAMPLES / "multifd.bin").read_bytes(), "m115": STREAMS["m115"]}


def delicate(data):
    """Places in and right behind what frames the parts of a stream: heads, words and footers."""
    with xbrletools.open(data) as capture:
        sections, rows = list(capture.facts.sections), capture.records.columns
    known = (SectionType.CONFIGURATION, SectionType.VMDESCRIPTION)
    places = {at + n for s in sections if s.type in known for at in (s.offset, s.end - 20) for n in range(20)}
    places |= {s.end - n for s in [*sections[:2], *sections[-3:]] for n in range(-9, 16)}
    places |= {int(at) + n for at in rows.offset[:: max(1, len(rows) // 4)] for n in range(16)}
    return [at for at in sorted(places) if 8 < at < len(data)]


@pytest.mark.parametrize("second", ["xbzrle-rfc", "m115-little"])
@pytest.mark.parametrize("first", SMALL)
@pytest.mark.parametrize("salvage", [False, True])
def test_wherever_the_first_is_cut_the_second_is_named(first, second, salvage):
    unnamed, behind = [], (SAMPLES / f"{second}.bin").read_bytes()
    for cut in delicate(SMALL[first]):
        data = SMALL[first][:cut] + behind
        try:
            said = " ".join(p.message for p in xbrletools.open(data, salvage=salvage).problems)
        except xbrletools.XbrleError as error:
            said = str(error)
        if not re.search(f"nother (stream|one) begins at {cut:#x}", said):
            unnamed.append((hex(cut), said[:80]))
    assert unnamed == []


def scanned(source):
    """The offsets of the records that a scan gives, and its facts."""
    scan = Scanner(source)
    offsets = [int(at) for columns in scan for at in columns.offset]
    return offsets, scan.facts


@pytest.mark.parametrize("second", ["xbzrle-rfc", "m115-little"])
@pytest.mark.parametrize("first", SMALL)
def test_through_a_pipe_the_second_is_named_and_its_records_are_not_given(first, second):
    unnamed, behind = [], (SAMPLES / f"{second}.bin").read_bytes()
    for cut in delicate(SMALL[first])[::2]:
        data = SMALL[first][:cut] + behind
        offsets, facts = scanned(PipeSource("p", io.BytesIO(data)))
        if not any(re.search(f"nother (stream|one) begins at {cut:#x}", p.message) for p in facts.problems):
            unnamed.append((hex(cut), [p.message for p in facts.problems]))
        if cut > 100:  # the first has a block list
            of_file, about = scanned(MappedSource("p", data))
            assert offsets in (of_file, of_file[:-1])  # a record that is cut may count in a file
            assert facts.complete == about.complete
            assert len(about.sections) - len(facts.sections) in (0, about.complete)  # EOF is not told in a device tail
            assert {p.rule for p in facts.problems} == {p.rule for p in about.problems}
    assert unnamed == []


def test_a_pipe_is_searched_a_little_before_what_is_held_of_it():
    many = StreamBuilder(blocks={b"pc.ram": 2048 * 4096})
    for i in range(1024):
        many.page(4096 * i, noise(i))
    whole = bytes(many.out)
    for cut in range(len(whole) - 900_000, len(whole), 90_001):
        _, facts = scanned(PipeSource("p", io.BytesIO(whole[:cut] + POSTED)))
        assert f"another stream begins at {cut:#x}" in facts.damage.message


def test_info_of_a_pipe_says_that_it_is_cut_and_names_the_second(monkeypatch, capsys):
    data = XBZRLE[:0x7DD94] + POSTED
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    status, out, err = run(capsys, "info", "-", "--json")
    assert status == 1 and json.loads(out)["truncated"] and "another stream begins at 0x7dd94" in out + err


@pytest.mark.parametrize("salvage", [False, True])
def test_a_second_that_begins_in_a_footer_costs_the_first_nothing(salvage):
    today = SMALL["today"]
    footer = next(s for s in xbrletools.open(today).facts.sections if s.owner is not None).end
    assert today[footer] == SectionType.FOOTER
    for cut in range(footer, footer + 5):
        alone = xbrletools.open(today[:cut], salvage=salvage)
        both = xbrletools.open(today[:cut] + POSTED, salvage=salvage)
        assert len(both.records) == len(alone.records)
        assert (both.damage.rule, both.damage.offset) == (alone.damage.rule, alone.damage.offset)


@pytest.mark.parametrize("salvage", [False, True])
def test_bytes_behind_a_stream_whose_last_page_holds_another_are_not_one(salvage):
    page = noise(1)
    page[4096 - 2048 :] = list(XBZRLE[:2048])
    for tail in (b"\0", b"\0" + bytes(100), b"\0QEV", b"\0" + XBZRLE[4:300]):
        sound = StreamBuilder().dup(4096).page(0, page).bytes(tail)
        found = xbrletools.open(sound, salvage=salvage)
        assert not any("nother" in p.message for p in found.problems)
        assert salvage or len(found.records) == 4
        offsets, facts = scanned(PipeSource("p", io.BytesIO(sound[:-9])))  # cut before its EOS
        assert not any("nother" in p.message for p in facts.problems) and len(offsets) >= 2


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
