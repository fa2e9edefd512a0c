"""The report: a page that stands alone, tells what the library tells, and on which no name acts."""

import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.analysis import report, stats
from xbrletools.analysis.report.findings import PER_RULE
from xbrletools.analysis.report.maps import CELLS, Fate, page_maps, unmarked
from xbrletools.analysis.report.passes import BARS, CHARTED
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Kind
from xbrletools.text import shown
from xbrletools.verify.rules import Severity

NAMES = sorted(p.stem for p in SAMPLES.glob("*.bin"))
VOID = {"meta"}
HOSTILE = [
    b"<script>alert(1)</script>",
    b'"><img src=x onerror=alert(1)>',
    b"' onload='alert(1)",
    b"</style></title></svg><iframe src=//example.org>",
    b"&lt;b&gt;&#x3c;i&#x3e;",
    "\u202eevil\u2066".encode() + b"\xff\x00\x1b[2J",
]


class Parsed(HTMLParser):
    """Elements with their attributes, and text. Every element must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "tr" in self.open and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data.replace("\n", "")

    def count(self, element: str, **attributes: str) -> int:
        """How many such elements there are."""
        return sum(tag == element and attributes.items() <= found.items() for tag, found in self.elements)


def page_of(what, **options):
    capture = xbrletools.open(what, **options)
    return report.page(report.gather(capture.stream), {"of the capture": "0" * 64}, "xbrletools test")


def width_of(paths: str) -> int:
    """The cells that a path of a map covers."""
    return sum(int(w) for w in re.findall(r"h(\d+)v1", paths))


def covered(parsed: Parsed, class_: str) -> int:
    return sum(width_of(a["d"] or "") for tag, a in parsed.elements if tag == "path" and a["class"] == class_)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_gives_a_page_that_parses_and_tells_the_library_s_numbers(name):
    path = SAMPLES / f"{name}.bin"
    parsed = Parsed(page_of(path))
    capture = xbrletools.open(path)
    sums = stats.collect(capture.scan())
    rows = {row[0]: row[1:] for row in parsed.rows if row}
    for kind in Kind:
        if sums.total.records[kind]:
            told = rows[kind.name.lower()]
            assert told[0] == f"{sums.total.records[kind]:,}"
            assert told[2:] == [f"{sums.total.wire[kind]:,}", f"{sums.total.payload[kind]:,}"]
    for i, block in enumerate(capture.blocks):
        mine = [number for of, number in sums.passes if of == i]
        told = next(r for r in parsed.rows if r[:2] == [shown(block.name), f"{block.length:,}"])
        assert told[2:] == [f"{sums.blocks()[i].pages if mine else 0:,}", str(len(mine))]
    wrote = [
        [f"{number}", "", f"{t.pages:,}", "", f"{t.page_wire:,}"] for (_, number), t in sorted(sums.passes.items())
    ]
    bars = [[row[0], "", row[2], "", row[4]] for row in parsed.rows if len(row) == 6 and row[1].startswith("pass ")]
    assert bars == wrote
    errors = sum(f.severity is Severity.ERROR for f in capture.verify())
    assert f"{errors} error" in "".join(parsed.text) or not errors


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
def test_a_page_map_has_what_a_loop_over_all_records_finds(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    columns, space = capture.records.columns, capture.space
    fates = {Kind.DUP: Fate.DUP, Kind.PAGE: Fate.PAGE, Kind.XBRLE: Fate.DELTA, Kind.XBZRLE: Fate.DELTA}
    fate, sent = np.zeros(len(space), int), np.zeros(len(space), int)
    for row in capture.records.by_number.tolist():
        at = int(space.first[columns.block[row]]) + int(columns.address[row]) // PAGE
        fate[at] = fates[Kind(columns.kind[row])]
        sent[at] += 1
    maps = page_maps(space, columns, capture.memory(), [])
    for block in range(len(space.blocks)):
        here = space.slice(block)
        if not sent[here].any():
            assert block not in maps
            continue
        one = maps[block]
        assert one.given == np.count_nonzero(sent[here])
        per = one.per_cell
        cells = range(0, here.stop - here.start, per)
        assert one.fate.tolist() == [fate[here][c : c + per].max() for c in cells]
        assert one.sent.tolist() == [sent[here][c : c + per].max() for c in cells]


def test_pages_that_nobody_knows_are_shown_as_unknown_and_healed_ones_as_healed():
    old, new, other = noise(1), noise(1), noise(3)
    new[5] ^= 1
    stream = StreamBuilder({b"pc.ram": 4 * PAGE}, flags=3).page(0, old).page(PAGE, old).part()
    stream.dup(0).dup(PAGE).part().delta(0, old, new).delta(PAGE, old, new).delta(2 * PAGE, old, new)
    capture = xbrletools.open(stream.part().page(PAGE, other).end().bytes())
    known = report.gather(capture.stream)
    maps = page_maps(capture.space, capture.records.columns, known.image, known.findings)
    assert maps[0].fate.tolist() == [Fate.WRONG, Fate.HEALED, Fate.WRONG, Fate.NEVER]
    maps = page_maps(capture.space, capture.records.columns, known.image, [])
    assert maps[0].fate.tolist() == [Fate.DELTA, Fate.PAGE, Fate.UNKNOWN, Fate.NEVER]
    assert (maps[0].given, maps[0].lost) == (3, 1)


def test_the_pages_that_stayed_wrong_are_those_that_the_destination_had_wrong(corpus):
    """Truth is the memory of a real destination beside the memory of its source."""
    stem = "qemu-2011-posted/dbg-stale-reject"
    sides = [np.frombuffer(corpus(f"{stem}.{end}"), np.uint8).reshape(-1, PAGE) for end in ("ram", "dst-default.ram")]
    wrong = np.flatnonzero((sides[0] != sides[1]).any(axis=1))
    capture = xbrletools.open(corpus(f"{stem}.bin"))
    known = report.gather(capture.stream)
    one = page_maps(capture.space, capture.records.columns, known.image, known.findings)[0]
    assert one.per_cell == 1
    assert np.flatnonzero(one.fate == Fate.WRONG).tolist() == wrong.tolist()
    assert covered(Parsed(report.page(known, {}, "test")), "fate-wrong") == len(wrong) == 32


def hostile() -> bytes:
    stream = StreamBuilder(dict.fromkeys(HOSTILE, PAGE), flags=3)
    for i, name in enumerate(HOSTILE):
        stream.page(0, noise(i), name)
    stream.part()
    for i, name in enumerate(HOSTILE):
        stream.delta(0, noise(i), noise(i + 9), name, checksum=1)
    owner = {"section_id": 7, "idstr": HOSTILE[0], "instance_id": 0, "version_id": 1}
    tail = bytes([SectionType.FULL]) + qevm.SectionStart.build(owner) + bytes(40) + b"\0"
    return stream.page(0, noise(1), b"<b>unlisted").end().bytes(tail)


def test_no_name_from_the_stream_becomes_markup(tmp_path):
    path = tmp_path / "<script>alert(2)<&\"'>.bin"
    path.write_bytes(hostile())
    parsed = Parsed(page_of(path))
    elements = {tag for tag, _ in parsed.elements}
    assert elements.isdisjoint({"script", "img", "iframe", "b", "i", "link", "object", "form", "a", "base"})
    assert not any(key.startswith("on") or key in ("style", "href", "src") for _, a in parsed.elements for key in a)
    text = "".join(parsed.text)
    for name in [*HOSTILE, path.name.encode()]:
        assert shown(name) in text
    assert not {"\u202e", "\u2066", "\x00", "\x1b"} & set(text)
    assert parsed.count("style") == 1


def test_the_page_refers_to_nothing_outside_it():
    for name in ("posted-8m", "xbzrle-16m"):
        page = page_of(SAMPLES / f"{name}.bin")
        assert not re.search(r"https?:|url\(|@import|src=|href=|<script|<link", page)
        policy = {"http-equiv": "Content-Security-Policy"}
        rules = [a["content"] for _, a in Parsed(page).elements if policy.items() <= a.items()]
        assert rules == ["default-src 'none'; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("name", ["qemu-10/pc16-mapped.bin", "qemu-10/pc16-killed-mapped.bin"])
def test_pages_without_a_bit_are_zero_where_the_bitmap_was_written_and_unknown_where_not(name, corpus):
    capture = xbrletools.open(corpus(name))
    rest = unmarked(capture.facts)
    finished = capture.facts.ram_ended
    assert set(rest.values()) == {Fate.ZERO if finished else Fate.UNKNOWN}
    for block, one in page_maps(capture.space, capture.records.columns, capture.memory(), [], rest).items():
        if one.per_cell == 1:
            pages = capture.memory()[capture.blocks[block].name.decode()]
            zero = capture.memory().known[capture.space.slice(block)] & ~pages.any(axis=1)
            assert not (one.fate == Fate.NEVER).any()
            assert ((one.fate == Fate.ZERO) <= zero).all()
            assert finished or not (one.fate == Fate.ZERO).any()


def test_a_map_of_a_claim_of_terabytes_costs_no_more_than_its_records():
    length = 1 << 42
    stream = StreamBuilder({b"huge": length}).page(0, noise(1), b"huge").page(length - PAGE, noise(2), b"huge")
    capture = xbrletools.open(stream.part().end().bytes())
    one = page_maps(capture.space, capture.records.columns, capture.memory(), [])[0]
    assert (len(one.fate), one.given, one.lost, one.pages) == (CELLS, 2, 0, length // PAGE)
    assert np.flatnonzero(one.fate).tolist() == [0, CELLS - 1]


def test_a_sender_is_modelled_however_many_pages_are_claimed():
    length = 1 << 42
    capture = xbrletools.open(StreamBuilder({b"huge": length}).page(0, noise(1), b"huge").part().end().bytes())
    known = report.gather(capture.stream)
    assert known.sender is not None and not known.failures
    assert "0, all full pages" in "".join(Parsed(report.page(known, {}, "test")).text)


def test_the_size_is_bounded_by_constants_whatever_the_stream_holds():
    """Thousands of findings, hundreds of blocks, passes and sections, and a map without two equal neighbours."""
    blocks = {b"\xff" * 200 + b"%03d" % i: 4 * PAGE for i in range(200)}
    stream = StreamBuilder({b"pc.ram": 8192 * PAGE, **blocks}, flags=3)
    for place in range(0, 8192, 2):
        stream.dup(place * PAGE)
    for name in blocks:
        stream.page(0, noise(1), name)
    old, new = noise(1), noise(1)
    new[100] ^= 1
    for turn in range(300):
        stream.part().delta(0, old, new, checksum=turn).dup(2 * PAGE)
    data = stream.end().bytes()
    many = page_of(data)
    parsed = Parsed(many)
    assert len(many) < 400_000
    assert "and 161 more blocks" in "".join(parsed.text)
    counted = Counter((f.severity, f.rule) for f in xbrletools.open(data).verify())
    assert max(counted.values()) > 100
    for number in counted.values():
        assert number <= PER_RULE or f"and {number - PER_RULE:,} more findings" in "".join(parsed.text)
    assert sum(row[1].startswith("pass ") for row in parsed.rows if len(row) == 6) <= BARS * CHARTED


@pytest.mark.parametrize("end", [9, 40, 100, 5000, 100_000])
def test_a_cut_capture_gives_a_page_that_says_where_it_ends(end):
    data = (SAMPLES / "posted-8m.bin").read_bytes()[:end]
    text = "".join(Parsed(page_of(data)).text)
    assert f"Damaged at offset {xbrletools.open(data).damage.offset:#x}" in text
