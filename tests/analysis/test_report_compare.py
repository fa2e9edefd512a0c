"""The report about two captures: it says what `diff` says, beside both verdicts."""

import re

import pytest

import xbrletools
from tests.analysis.test_report import Parsed, covered, gathered, hostile
from tests.conftest import CORPUS, SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.analysis import report
from xbrletools.analysis.diff import differences
from xbrletools.analysis.report.compare import CONTENTS, DEVICES, PAGES

ENDED = ["yes, to the last byte", "differs"]


def compared(one, two) -> tuple[report.Comparison, str]:
    found = report.compare(*(gathered(xbrletools.open(what)) for what in (one, two)))
    digests = [{"of the capture": digit * 64} for digit in "01"]
    return found, report.compared_page(found, digests, "xbrletools test")


def words(page: str) -> str:
    return " ".join("".join(Parsed(page).text).split())


def test_the_verdicts_stand_side_by_side(corpus):
    stems = "dbg-stale-reject", "def-plain-v4"
    found, page = compared(*(corpus(f"qemu-2011-posted/{stem}.bin") for stem in stems))
    rows = {row[0]: row[1:] for row in Parsed(page).rows if len(row) == 4}
    assert found.is_bad
    assert rows["verdict"] == ["CORRUPT", "NO FAULT", "differs"]
    assert rows["pages wrong at the end"] == ["32", "none shown", "differs"]
    assert rows["RAM section"] == ["version 4, pages of 4,096 bytes"] * 2 + [""]
    assert rows["read to its end"] == ["yes, to the last byte; what it holds is CORRUPT all the same", *ENDED]
    assert rows["defaultposted, default build"] == ["loads, with 32 wrong pages", "loads", "differs"]


def test_it_counts_the_pages_and_bytes_that_diff_finds(corpus):
    captures = [corpus(f"qemu-2011-posted/{stem}.bin") for stem in ("dbg-mixed-16m", "def-mixed-16m")]
    found, page = compared(*captures)
    spans = list(differences(*(xbrletools.open(c).memory() for c in captures)))
    pages = {(s.block, at) for s in spans for at in range(s.offset // PAGE, (s.offset + s.length - 1) // PAGE + 1)}
    assert found.changes is not None
    assert sum(len(c.count) for c in found.changes.values()) == len(pages)
    assert sum(int(c.count.sum()) for c in found.changes.values()) == sum(s.length for s in spans)
    assert f"{len(pages):,} pages of " in words(page) or f"{len(pages):,} pages differ" in words(page)


def test_equal_captures_are_said_to_be_equal():
    found, page = compared(SAMPLES / "posted-8m.bin", SAMPLES / "posted-8m.bin")
    assert not found.differ
    assert not found.is_bad
    assert "Memory does not differ in what both have. Devices do not differ." in words(page)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is absent")
def test_devices_that_differ_are_named_with_their_fields():
    found, page = compared(*(CORPUS / "cases" / "devices" / f"dev-{letter}.bin" for letter in "ab"))
    assert found.device_count == 2
    assert "0000:00:01.3/piix4_pm acpi_index: in the first only, 4 bytes: 0x55" in words(page)
    assert found.is_bad


def test_the_records_that_wrote_a_page_last_are_named():
    first = StreamBuilder({b"pc.ram": 2 * PAGE}).page(0, noise(1)).page(PAGE, noise(2)).end().bytes()
    second = StreamBuilder({b"pc.ram": 2 * PAGE}).page(0, noise(1)).page(PAGE, noise(2)).part().dup(PAGE).end().bytes()
    _, page = compared(first, second)
    row = next(row for row in Parsed(page).rows if row[0] == "pc.ram:0x1000")
    assert row[1:3] == ["record 2 (page)", "record 3 (dup)"]


def test_pages_that_only_one_of_them_knows_are_not_said_to_differ():
    """Two pages are in both, of which one differs, and two are in the first alone."""
    first, second = (StreamBuilder({b"pc.ram": 8 * PAGE}).page(0, noise(1)) for _ in range(2))
    first.page(PAGE, noise(2)).dup(2 * PAGE).dup(3 * PAGE)
    second.page(PAGE, noise(3))
    _, page = compared(first.end().bytes(), second.end().bytes())
    rows = Parsed(page).rows
    assert ["pc.ram", "32,768", "32,768", "4", "2", "1", "2"] in rows
    assert "pc.ram 1 of 8 pages differ, and 2 are known in one of the two only." in words(page)
    listed = {row[0]: row[1:] for row in rows if row and row[0].startswith("pc.ram:")}
    assert listed["pc.ram:0x2000"] == ["record 3 (dup)", "no record", "0", "4,096"]
    assert next(iter(listed)) == "pc.ram:0x1000"
    assert listed["pc.ram:0x1000"][3] == "0"


def test_pages_that_only_the_longer_block_has_are_not_drawn_as_the_same():
    """Of 8 and 2 pages 8 were drawn, 6 of them as "the same"."""
    long = StreamBuilder({b"pc.ram": 8 * PAGE, b"a": PAGE}).page(0, noise(1)).page(PAGE, noise(2)).end().bytes()
    short = StreamBuilder({b"pc.ram": 2 * PAGE, b"b": PAGE}).page(0, noise(1)).page(PAGE, noise(3)).end().bytes()
    for one, two in ((long, short), (short, long)):
        _, page = compared(one, two)
        parsed = Parsed(page)
        assert "pc.ram 1 of the 2 pages that both have differ. A row is" in words(page)
        assert covered(parsed, "fate-never") == covered(parsed, "sent-4") == 1
        row = {row[0]: row[1:] for row in parsed.rows if len(row) == 7}
        assert (row["pc.ram"][-2:], row["a"][-2:], row["b"][-2:]) == (["1", "0"], ["-", "-"], ["-", "-"])


def test_no_number_has_the_wrong_noun_and_the_page_names_its_captures():
    one, two = (StreamBuilder({b"pc.ram": 2 * PAGE}).page(0, noise(seed)).end().bytes() for seed in (1, 2))
    told = words(compared(one, two)[1])
    assert not re.search(r"\b1 (records|findings|sections|blocks)\b", told)
    assert "A and B are the captures." in told
    assert "S is the capture." not in told


def test_what_receivers_leave_open_is_said_of_two_captures_too():
    path = SAMPLES / "xbzrle-16m.bin"
    assert "Values in the devices' data are not judged" in words(compared(path, path)[1])


def test_no_name_becomes_markup_and_nothing_is_asked_for(tmp_path):
    path = tmp_path / "<script>alert(2)<&\"'>.bin"
    path.write_bytes(hostile())
    _, page = compared(path, SAMPLES / "posted-8m.bin")
    parsed = Parsed(page)
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "iframe", "b", "i", "link", "base"})
    assert {a["href"] for _, a in parsed.elements if "href" in a} == {f"#{key}" for key, _ in CONTENTS}
    assert not re.search(r"https?:|url\(|@import|<link", page)


def test_what_differs_a_lot_is_cut_and_counted():
    one, two = (StreamBuilder({b"pc.ram": 500 * PAGE}).page(0, noise(seed)) for seed in (1, 2))
    for place in range(1, 500):
        one.dup(place * PAGE, 1)
        two.dup(place * PAGE, 2)
    found, page = compared(one.end().bytes(), two.end().bytes())
    assert found.changes is not None
    assert f"and {500 - PAGES} more pages" in words(page)
    assert len(found.devices) <= DEVICES
    assert len(page) < 100_000


def test_a_block_that_claims_more_than_any_guest_has_is_said_and_counts_as_bad():
    claim = StreamBuilder({b"pc.ram": 1 << 50}).page(0, noise(1)).end().bytes()
    found, page = compared(claim, SAMPLES / "posted-8m.bin")
    assert found.is_bad
    assert "claims 0x4000000000000 bytes, more than any guest has" in words(page)
