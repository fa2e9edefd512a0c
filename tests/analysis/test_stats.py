"""Statistics: sums over records against slow ones, and the table that real senders printed."""

import json

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES, SOUND
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.analysis import facts, printed, stats
from xbrletools.formats import statistics
from xbrletools.formats.ram import Kind
from xbrletools.sender.fingerprint import CacheCounts, cache_counts
from xbrletools.table import windows

NAMES = sorted(p.stem for p in SOUND)

PRINTED = [
    *(f"qemu-2011-posted/dbg-{n}" for n in
      ("block-ix", "mixed-16m", "oddcache-1500000", "small-8m", "stage3", "stale-reject", "vga-x")),
    *(f"qemu-2010/{n}" for n in ("lm2dbg-x", "m115-plain", "m115-x", "m115dbg-x", "nov03a-x", "nov03b-x")),
]  # fmt: skip

#: Lines that take a model of the sender's page cache.
OF_THE_CACHE = (statistics.ABORTED, statistics.CACHE_MAX, statistics.CACHE_ITEMS)


def collected(name):
    return stats.collect(xbrletools.open(SAMPLES / f"{name}.bin").scan())


@pytest.mark.parametrize("name", NAMES)
def test_sums_equal_those_of_single_records(name):
    capture, sums = xbrletools.open(SAMPLES / f"{name}.bin"), collected(name)
    table = capture.records
    slow: dict[tuple[int, int], list[int]] = {}
    saved = 0
    header = capture.dialect.header("little").sizeof() if capture.dialect else 0
    for row in table.by_number.tolist():
        c = table.columns
        key = int(c.block[row]), int(table.pass_[row])
        one = slow.setdefault(key, [0, 0])
        one[0] += 1
        one[1] += int(c.head[row]) + int(c.length[row])
        if c.kind[row] in (Kind.XBRLE, Kind.XBZRLE):
            saved += capture.page_size - int(c.length[row]) - header
    assert {key: [t.pages, t.page_wire] for key, t in sums.passes.items()} == slow
    assert sums.saved(sums.total) == saved
    assert sums.stages.tolist()[1:] == [int(((table.stage == s) & table.is_page).sum()) for s in (1, 2, 3)]
    assert sums.size == capture.facts.end


def test_a_stream_without_deltas_is_its_own_plain_stream():
    sums = collected("plain-v4")
    assert sums.saved(sums.total) == 0
    assert (sums.shortest, sums.longest) == (0, 0)


@pytest.mark.parametrize("name", ["posted-little-default", "lm2-big"])
def test_deltas_saved_what_the_same_guest_s_plain_stream_takes_more(name):
    with_deltas, plain = collected(name), collected("plain-v4")
    assert with_deltas.total.deltas == plain.total.records[Kind.PAGE] - with_deltas.total.records[Kind.PAGE]
    assert with_deltas.plain(with_deltas.total) == plain.plain(plain.total)


def test_a_pipe_gives_the_same_sums_as_a_file():
    with (SAMPLES / "posted-8m.bin").open("rb") as file:
        piped = stats.collect(xbrletools.open(file).scan())
    whole = collected("posted-8m")
    assert (piped.size, piped.shortest, piped.longest) == (whole.size, 34, 4096)
    assert sorted(piped.passes) == sorted(whole.passes)
    for key, one in whole.passes.items():
        np.testing.assert_array_equal(piped.passes[key].wire, one.wire)


def test_the_cache_s_lines_come_with_its_numbers():
    capture = xbrletools.open(SAMPLES / "posted-8m.bin").scan()
    sums = stats.collect(capture)
    cache = CacheCounts(aborted=127, max_items=32768, items=132)
    form, lines = printed.posted(sums, capture.reading.dialect, 4, cache)
    text = printed.table(form, lines).splitlines()
    assert text[9:] == [
        "Aborted XBRLE pages from XBRLE: 127 (35.77%)",
        "Total pages: 2557 (100.00%)",
        "Total bytes: 1119146 (100.00%)",
        "Cache number of inserts: 465",
        "Cache max items: 32768",
        "Cache number of items: 132 (0.40%)",
        statistics.RULE,
    ]


def test_a_table_of_nothing_has_shares_of_zero():
    form, lines = printed.posted(stats.Stats(), None, 4)
    assert "Normal pages: 0 (0.00%)" in printed.table(form, lines)


@pytest.mark.parametrize("name", PRINTED)
def test_every_line_that_a_debug_build_printed_comes_out_as_it_was(name, corpus):
    lines_printed = json.loads(corpus(f"{name}.json"))["statistics"].splitlines()
    rules = [i for i, line in enumerate(lines_printed) if line.endswith(statistics.RULE)]
    expected = [
        line for line in lines_printed[rules[0] : rules[1] + 1] if not any(label in line for label in OF_THE_CACHE)
    ]
    scan = xbrletools.open(corpus(f"{name}.bin")).scan()
    form, lines = printed.posted(stats.collect(scan), scan.reading.dialect, scan.ram_version)
    assert printed.table(form, lines).splitlines() == expected


@pytest.mark.parametrize("name", [n for n in PRINTED if "2011" in n])
def test_with_the_caches_size_the_whole_table_comes_out_as_it_was_printed(name, corpus):
    made = json.loads(corpus(f"{name}.json"))
    lines_printed = made["statistics"].splitlines()
    rules = [i for i, line in enumerate(lines_printed) if line.endswith(statistics.RULE)]
    capture = xbrletools.open(corpus(f"{name}.bin"))
    counts = cache_counts(capture.stream, made["cache_bytes"] or 128 << 20)
    form, lines = printed.posted(stats.collect(capture.scan()), capture.dialect, 4, counts)
    assert printed.table(form, lines).splitlines() == lines_printed[rules[0] : rules[1] + 1]


def test_sep10_counts_its_three_header_bytes(corpus):
    lines_printed = json.loads(corpus("qemu-2010/sep10-x.json"))["source_stderr_tail"]
    sums = stats.collect(xbrletools.open(corpus("qemu-2010/sep10-x.bin")).scan())
    total = sums.total
    assert f"No of compressed pages: {total.deltas}, bytes: {total.delta_payload + 3 * total.deltas}\n" in lines_printed
    assert f"No of blank pages: {total.records[Kind.DUP]}\n" in lines_printed


def test_passes_beyond_those_with_sums_of_their_own_are_in_the_sums_of_their_blocks(monkeypatch):
    out = StreamBuilder({b"a": 9 * PAGE, b"b": PAGE, b"c": PAGE})
    for i in range(40):
        out.dup(8 * PAGE, 0, b"a").page(0, noise(i), b"a").dup(0, 1, b"b")
    data = out.dup(0, 0, b"c").end().bytes()
    scan = xbrletools.open(data)
    whole, tables = stats.collect(scan.scan()), stats.collect_table(scan.stream)
    monkeypatch.setattr(stats, "PASSES_MAX", 5)
    for piece in (1, 2, 7, 1 << 14):
        monkeypatch.setattr(windows, "WINDOW_RECORDS", piece)
        for sums in (stats.collect(xbrletools.open(data).scan()), stats.collect_table(scan.stream)):
            assert list(sums.passes) == list(whole.passes)[:5] == list(tables.passes)[:5]
            assert (sums.passes_left_out, sums.blocks_left_out) == (len(whole.passes) - 5, 1)
            assert sums.spans == {key: whole.spans[key] for key in sums.passes}
            assert set(sums.blocks()) == {0, 1}
            for block, of_block in sums.blocks().items():
                for name in ("records", "wire", "payload"):
                    assert (getattr(of_block, name) == getattr(whole.blocks()[block], name)).all()
            one, other = facts.overview_of(scan.facts, sums), facts.gather(scan.stream)
            assert (one.passes, one.blocks) == (other.passes, other.blocks)


def test_text_and_json_say_how_many_passes_they_leave_out(monkeypatch, tmp_path, capsys):
    out = StreamBuilder()
    for _ in range(9):
        out.dup(PAGE).dup(0)
    (tmp_path / "S").write_bytes(out.end().bytes())
    monkeypatch.setattr(stats, "PASSES_MAX", 4)
    assert run(capsys, "stats", tmp_path / "S")[1].endswith("\n\nand 6 more passes: the sums have them\n")
    told = json.loads(run(capsys, "stats", tmp_path / "S", "--json")[1])
    assert (told["passes_left_out"], told["blocks_left_out"]) == (6, 0)
    assert (told["blocks"][0]["records"], len(told["blocks"][0]["passes"])) == (18, 4)
