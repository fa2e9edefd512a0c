"""The report: a page that stands alone, tells what the library tells, and on which no name acts."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import xbrletools
from tests.conftest import ROOT, SAMPLES, SOUND
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.analysis import report, stats
from xbrletools.analysis.report.glossary import WORDS
from xbrletools.analysis.report.html import CONTENTS
from xbrletools.analysis.report.maps import CELLS, NO_TROUBLE, Fate, page_maps, trouble_of, unmarked
from xbrletools.analysis.report.passes import BARS, CHARTED, scale
from xbrletools.analysis.report.style import STYLE
from xbrletools.analysis.report.verdict import PER_CAUSE
from xbrletools.analysis.top import Order, top
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Kind
from xbrletools.text import shown
from xbrletools.tui.palette import DARK, LIGHT
from xbrletools.verify import sentences
from xbrletools.verify.rules import Severity

NAMES = sorted(p.stem for p in SOUND)
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


def gathered(capture) -> report.Report:
    stream = capture.stream
    return report.gather(stream, capture.source, capture.channels)


def page_of(what, **options):
    capture = xbrletools.open(what, **options)
    return report.page(gathered(capture), {"of the capture": "0" * 64}, "xbrletools test")


def width_of(paths: str) -> int:
    """The cells that a path of a map covers."""
    return sum(int(w) for w in re.findall(r"h(\d+)v1", paths))


def bars(parsed: Parsed) -> list[list[str]]:
    """The rows of the passes' bars: label, bar, records, bar, bytes, saved."""
    rows = [[cell.strip("▸") for cell in row] for row in parsed.rows if len(row) == 6]
    return [row for row in rows if row[1] == row[3] == "" and row[0]]


def bar_labels(parsed: Parsed) -> list[str]:
    """What the bars say to those who do not see them."""
    return [a["aria-label"] or "" for _, a in parsed.elements if (a.get("aria-label") or "").startswith("pass ")]


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
    assert [row[:5] for row in bars(parsed)] == wrote
    told = [sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) of kind", one)) for one in bar_labels(parsed)]
    assert told == [n for _, t in sorted(sums.passes.items()) for n in (t.pages, t.page_wire)]
    errors = sum(f.severity is Severity.ERROR for f in capture.verify())
    assert f"{errors} error" in "".join(parsed.text) or not errors
    assert capture.verdict().status.words in "".join(parsed.text)


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
    maps = page_maps(space, columns, capture.memory())
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
    known = gathered(capture)
    maps = page_maps(capture.space, capture.records.columns, known.image, trouble_of(known.verdict))
    assert maps[0].fate.tolist() == [Fate.WRONG, Fate.HEALED, Fate.WRONG, Fate.NEVER]
    maps = page_maps(capture.space, capture.records.columns, known.image)
    assert maps[0].fate.tolist() == [Fate.DELTA, Fate.PAGE, Fate.UNKNOWN, Fate.NEVER]
    assert (maps[0].given, maps[0].lost) == (3, 1)


def test_the_pages_that_stayed_wrong_are_those_that_the_destination_had_wrong(corpus):
    """Truth is the memory of a real destination beside the memory of its source."""
    stem = "qemu-2011-posted/dbg-stale-reject"
    sides = [np.frombuffer(corpus(f"{stem}.{end}"), np.uint8).reshape(-1, PAGE) for end in ("ram", "dst-default.ram")]
    wrong = np.flatnonzero((sides[0] != sides[1]).any(axis=1))
    capture = xbrletools.open(corpus(f"{stem}.bin"))
    known = gathered(capture)
    one = page_maps(capture.space, capture.records.columns, known.image, trouble_of(known.verdict))[0]
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
    assert elements.isdisjoint({"script", "img", "iframe", "b", "i", "link", "object", "form", "base"})
    assert not any(key.startswith("on") or key in ("style", "src") for _, a in parsed.elements for key in a)
    assert {a["href"] for _, a in parsed.elements if "href" in a} == {f"#{key}" for key, _ in CONTENTS}
    text = "".join(parsed.text)
    for name in [*HOSTILE, path.name.encode()]:
        assert shown(name) in text
    assert not {"\u202e", "\u2066", "\x00", "\x1b"} & set(text)
    assert parsed.count("style") == 1


def test_the_page_refers_to_nothing_outside_it():
    for name in ("posted-8m", "xbzrle-16m"):
        page = page_of(SAMPLES / f"{name}.bin")
        assert not re.search(r"https?:|url\(|@import|src=|href=\"[^#]|<script|<link", page)
        policy = {"http-equiv": "Content-Security-Policy"}
        rules = [a["content"] for _, a in Parsed(page).elements if policy.items() <= a.items()]
        assert rules == ["default-src 'none'; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("name", ["qemu-10/pc16-mapped.bin", "qemu-10/pc16-killed-mapped.bin"])
def test_pages_without_a_bit_are_zero_where_the_bitmap_was_written_and_unknown_where_not(name, corpus):
    capture = xbrletools.open(corpus(name))
    rest = unmarked(capture.facts)
    finished = capture.facts.ram_ended
    assert set(rest.values()) == {Fate.ZERO if finished else Fate.UNKNOWN}
    for block, one in page_maps(capture.space, capture.records.columns, capture.memory(), NO_TROUBLE, rest).items():
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
    one = page_maps(capture.space, capture.records.columns, capture.memory())[0]
    assert (len(one.fate), one.given, one.lost, one.pages) == (CELLS, 2, 0, length // PAGE)
    assert np.flatnonzero(one.fate).tolist() == [0, CELLS - 1]


def test_a_sender_is_modelled_however_many_pages_are_claimed():
    length = 1 << 42
    capture = xbrletools.open(StreamBuilder({b"huge": length}).page(0, noise(1), b"huge").part().end().bytes())
    known = gathered(capture)
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
    text = "".join(parsed.text)
    found = xbrletools.open(data).verdict()
    groups = [sum(cause.explains.values()) for cause in found.causes] + [sum(found.others.values())]
    assert max(groups) > 100
    for number in groups:
        left_out = f"and {number - PER_CAUSE:,} more findings; xbrle verify S --limit 0\n lists them"
        assert number <= PER_CAUSE or left_out in text
    assert 0 < len(bars(parsed)) <= BARS * CHARTED


@pytest.mark.parametrize("end", [9, 40, 100, 5000, 100_000])
def test_a_cut_capture_gives_a_page_that_says_where_it_ends(end):
    data = (SAMPLES / "posted-8m.bin").read_bytes()[:end]
    text = "".join(Parsed(page_of(data)).text)
    assert f"Damaged at offset {xbrletools.open(data).damage.offset:#x}" in text


def test_it_says_how_much_of_a_damaged_capture_was_read():
    """It gave the size of what was read as that of the capture."""
    data = (SAMPLES / "posted-8m.bin").read_bytes()[:100_000]
    text = " ".join("".join(Parsed(page_of(data)).text).split())
    assert f"size 97.7 KiB; read up to {xbrletools.open(data).damage.offset:#x}" in text


def test_only_what_a_debug_build_wrote_has_the_statistics_that_such_builds_print():
    assert "The statistics as this debug build prints them" in page_of(SAMPLES / "posted-8m.bin")
    assert "The statistics as" not in page_of(SAMPLES / "xbzrle-16m.bin")


def test_devices_have_numbers_of_fields_only_where_a_description_names_them():
    for name, there in (("posted-8m", False), ("xbzrle-16m", True)):
        parsed = Parsed(page_of(SAMPLES / f"{name}.bin"))
        assert ["device", "instance", "version", "offset", "bytes", "fields"][: 5 + there] in parsed.rows, name
        assert ("does not have a VM description" in "".join(parsed.text)) is not there


def test_no_number_has_the_wrong_noun():
    text = "".join(Parsed(page_of(StreamBuilder({b"pc.ram": PAGE}).page(0, noise(1)).end().bytes())).text)
    assert "1 page, 1 sent" in text
    assert not re.search(r"\b1 (pages|records|findings|sections|blocks)\b", text)


def test_a_finding_says_nothing_of_receivers_that_the_verdict_does_not(corpus):
    """Below the findings stood "Receivers that stop at it: ... qemu", above a QEMU that loads the stream."""
    capture = xbrletools.open(corpus("qemu-7.2/pc16-multifd-zstd-kvm.chan0.bin"))
    assert capture.verdict().receivers["qemu-7.2"].loads
    assert "Receivers that stop" not in page_of(corpus("qemu-7.2/pc16-multifd-zstd-kvm.chan0.bin"))


def test_a_cause_that_is_not_known_is_named_once(corpus):
    text = " ".join("".join(Parsed(page_of(corpus("cases/bombs/cmd10000.bin"))).text).split())
    assert "unknown Postcopy_advise comes when" in text
    assert "unknown (unknown)" not in text
    assert "S is the capture. OUT" not in text


def test_it_counts_the_findings_that_only_the_verdict_has(corpus):
    """Beside the error that every receiver refuses it stood "1 warning"."""
    text = " ".join("".join(Parsed(page_of(corpus("cases/devices/desc-short.bin"))).text).split())
    assert "findings 1 error, 1 warning" in text


def test_a_repair_is_said_as_verify_says_it(corpus):
    data = bytearray(corpus("qemu-2011-posted/dbg-small-8m.bin"))
    capture = xbrletools.open(bytes(data))
    row = capture.records.by_number[1000]
    data[int(capture.records.columns.offset[row]) + 3] ^= 1 << 4
    found = xbrletools.open(bytes(data)).verdict()
    repairs = [sentences.repaired(c.repair) for c in found.causes if c.repair is not None]
    assert repairs
    text = "".join(Parsed(page_of(bytes(data))).text)
    assert [r for r in repairs if r not in text] == []


# -- the verdict comes first, and nothing beside it says otherwise -----------------------------------------------------


def test_the_verdict_and_its_causes_come_before_all_else(corpus):
    page = page_of(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    text = " ".join("".join(Parsed(page).text).split())
    heads = re.findall(r"<h2[^>]*>([^<]*)", page)
    assert heads[:2] == ["Causes", "Who loads it"]
    assert heads == [title for _, title in CONTENTS]
    assert text.index("CORRUPT 32 pages of pc.ram are wrong at the end") < text.index("Causes")
    assert re.findall(r"<h2[^>]* id=\"([^\"]*)", page) == [key for key, _ in CONTENTS]


def test_a_wrong_capture_that_was_read_to_its_end_is_not_called_complete(corpus):
    """It said "complete yes" beside 630 errors."""
    parsed = Parsed(page_of(corpus("qemu-2011-posted/dbg-stale-reject.bin")))
    rows = {row[0]: row[1] for row in parsed.rows if len(row) == 2}
    assert rows["read to its end"] == "yes, to the last byte; what it holds is CORRUPT all the same"
    assert "complete" not in rows
    sound = Parsed(page_of(SAMPLES / "posted-8m.bin"))
    assert {row[0]: row[1] for row in sound.rows if len(row) == 2}["read to its end"] == "yes, to the last byte"


def test_each_receiver_says_whether_it_loads_with_how_many_wrong_pages_or_why_it_refuses(corpus):
    """It said that the posted patch's default build loads it, without the 32 pages that are wrong there."""
    parsed = Parsed(page_of(corpus("qemu-2011-posted/dbg-stale-reject.bin")))
    told = {row[0].split("posted")[0].split("QEMU")[0]: row[1:] for row in parsed.rows if len(row) == 3}
    assert told["default"] == ["loads, with 32 wrong pages", ""]
    assert told["debug"][0] == "refuses it, stops at record 4433"
    assert "bad checksum" in told["debug"][1]
    assert told["qemu-11.1"][0] == "refuses it, stops at 0x8"


def test_no_receiver_is_shown_as_fine_where_it_is_not_known_which_pages_are_wrong(corpus):
    """Beside a green mark stood "loads", of a migration whose channels are all missing."""
    page = page_of(corpus("qemu-10/pc16-multifd-zstd-zpdlegacy.chan0.bin"))
    assert page.count('<span class="mark unknown">loads, and which pages are wrong is not known</span>') == 2
    assert 'class="mark good"' not in page


def test_what_is_not_judged_is_said_where_a_receiver_loads_devices():
    told = "Values in the devices' data are not judged"
    assert told in "".join(Parsed(page_of(SAMPLES / "xbzrle-16m.bin")).text)
    assert told not in page_of(StreamBuilder({b"pc.ram": PAGE}).page(0, noise(1)).end().bytes())


def test_where_nothing_is_drawn_no_drawing_is_explained(corpus):
    text = "".join(Parsed(page_of(corpus("qemu-10/pc16-killed-mapped.bin"))).text)
    assert "No record carries a page of a listed block." in text
    assert "drawing" not in text


def test_what_shows_a_cause_is_folded_below_one_line(corpus):
    page = page_of(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    summaries = re.findall(r"<summary>(.*?)</summary>", page, re.DOTALL)
    assert "stale-base (certain)" in summaries[0]
    assert "598 deltas over bases that the receiver had lost" in summaries[0]
    first = page.split("<details")[1].split("</details>")[0]
    assert "The records behind the first of these" in first
    assert "and 1,186 more findings" in first


def test_nothing_is_called_right_where_no_sum_could_show_it():
    text = "".join(Parsed(page_of(SAMPLES / "xbzrle-16m.bin")).text)
    assert "no sums to check" in text
    assert re.search(r"pages wrong at the end\s*none shown", text)


@pytest.mark.parametrize("pages", [3, 200, 512, 5000, 1 << 20, 1 << 25, 1 << 31])
def test_the_addresses_of_a_map_have_room_in_print_and_do_not_cover_each_other(pages):
    """Print is 2.3 cells high. Of a block of 128 GiB "0x1000000000" lost its beginning: 1000000000."""
    page = page_of(StreamBuilder({b"pc.ram": pages * PAGE}).page(0, noise(1)).end().bytes())
    left = [-float(box.split()[0]) for box in re.findall(r'viewBox="(-[^"]*)"', page)]
    labels = re.findall(r'<text x="-1" y="(\d+)" class="at">(0x[0-9a-f]+)</text>', page)
    assert len(left) == 2
    assert all(1 + 2.3 * 0.61 * len(label) <= room for _, label in labels for room in left)
    places = [int(y) for y, _ in labels[: len(labels) // 2]]
    assert all(b - a >= 3 for a, b in pairwise(places))


@pytest.mark.parametrize(
    ("lengths", "full"), [([100, 10, 12], 12), ([10, 9, 4], 10), ([5], 5), ([100, 1], 100), ([0], 1), ([20, 10, 1], 20)]
)
def test_a_bar_that_is_far_longer_than_the_next_runs_over(lengths, full):
    assert scale(lengths) == full


def test_the_hottest_pages_are_those_of_top():
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    hot = top(capture.stream).sorted(Order.RESENDS, 3)
    rows = {row[0].strip(): row for row in Parsed(page_of(SAMPLES / "posted-8m.bin")).rows if len(row) == 5}
    for i in range(3):
        name = f"{shown(capture.blocks[int(hot.block[i])].name)}:{int(hot.address[i]):#x}"
        assert rows[name][1] == f"{int(hot.records[i]):,}"


def test_without_arrival_times_it_is_not_told_whether_it_would_converge():
    text = "".join(Parsed(page_of(SAMPLES / "posted-8m.bin")).text)
    assert "Whether this migration would converge cannot be told." in text


def test_the_glossary_says_what_the_document_says():
    document = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", (ROOT / "docs" / "glossary.md").read_text("utf-8"))
    document = " ".join(document.split())
    for word, meaning in WORDS.items():
        place = document.index(f"{word} (", 0) if f"{word} (" in document else document.index(f"{word}")
        assert meaning in document, word
        assert place >= 0


def test_its_colours_are_those_of_the_browser_of_captures():
    for palette in (DARK, LIGHT):
        for name in ("page", "dup", "delta", "wrong", "healed", "unknown", "good"):
            assert f"--{name}: {getattr(palette, name)}" in STYLE
