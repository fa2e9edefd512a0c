"""What the overview draws beside its words: a small map, pages and wrong records of each pass."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.tui.charts import stacked
from xbrletools.tui.palette import DARK
from xbrletools.tui.screens.sentparts import passes
from xbrletools.tui.thumbnail import COLUMNS, LINES, thumbnail, with_trouble
from xbrletools.tui.widgets.fieldtree import FieldTree
from xbrletools.tui.widgets.findinglist import FindingList
from xbrletools.tui.widgets.hexview import HexView

from .driving import POSTED, browsing, browsing_capture, drives, stale

STALE = "qemu-2011-posted/dbg-stale-reject.bin"
CELLS = COLUMNS * LINES * 2


def test_a_thumbnail_counts_records_where_they_lie_and_marks_what_is_wrong() -> None:
    b = StreamBuilder({b"pc.ram": CELLS * PAGE}).page(0, noise(1)).page(3 * PAGE, noise(2)).part()
    capture = xbrletools.open(b.page(3 * PAGE, noise(3)).dup(5 * PAGE).end().bytes())
    found = thumbnail(capture.stream)
    assert found is not None
    assert found.sent[[0, 1, 3, 5]].tolist() == [1, 0, 2, 1]
    assert found.full[[0, 1, 3, 5]].tolist() == [1.0, 0.0, 2.0, 0.0]  # a dup page fills nothing
    rows = np.flatnonzero(capture.records.columns.address == 3 * PAGE)[:1]
    marked = with_trouble(found, capture.stream, rows, np.array([CELLS - 1]))
    assert (np.flatnonzero(marked.odd).tolist(), np.flatnonzero(marked.wrong).tolist()) == ([3], [CELLS - 1])
    drawn = marked.lines(DARK)
    assert (len(drawn), {sum(len(t) for t, _ in line) for line in drawn}) == (LINES, {COLUMNS})
    assert any(s.bgcolor is not None and s.bgcolor.name == DARK.calm(DARK.wrong) for _, s in drawn[-1])


@drives
async def test_the_overview_has_a_map_and_what_each_pass_sent_and_got_wrong(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus(STALE), (160, 50)) as d:
        assert "pc.ram at the end" in d.text
        assert sum(d.app.session.wrong_in.values()) == 598
        lines = ["".join(t for t, _ in line) for line, _ in passes(d.app.session, 100, 14, DARK)]
        wrong = next(line for line in lines if line.lstrip().startswith("wrong"))
        pages = next(line for line in lines if line.lstrip().startswith("pages"))
        assert wrong[9:13:2] == "··"  # nothing is wrong before pass 3
        assert "·" not in wrong[13:]
        assert "·" not in pages
        assert "pc.ram at the end" not in (await d.press("2"))


@drives
async def test_the_last_line_of_the_findings_says_how_their_counts_add_up(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus(STALE), (160, 50)) as d:
        text = await d.press("5", "end")
        assert "1,197 findings = 598 sums that fail + 598 that say why + 1 note" in text
        listed = d.widget(FindingList)
        assert listed.finding(listed.cursor) is not None  # the cursor stays off it
        assert "findings =" not in await d.press("F")


@drives
async def test_few_fields_leave_their_room_to_the_bytes() -> None:
    async with browsing_capture(xbrletools.open(stale()), (160, 50)) as d:
        await d.press("6")
        tree, view = d.widget(FieldTree), d.widget(HexView, "#bytes")
        assert tree.count() < 10
        assert tree.size.height <= tree.count() + 2 < view.size.height


def test_without_colours_the_bars_of_kinds_differ_in_their_shade_and_the_legend_has_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def bars() -> tuple[str, str]:
        async with browsing(POSTED) as d:
            lines = d.text.splitlines()
            at = next(i for i, line in enumerate(lines) if " page  " in line and " delta " in line)
            return lines[at], "".join(lines[at + 1 : at + 5])

    legend, drawn = asyncio.run(bars())
    assert "■ page  ■ dup  ■ delta" in legend
    assert not set(drawn) & set("▓░")
    monkeypatch.setenv("NO_COLOR", "1")
    legend, drawn = asyncio.run(bars())
    assert "█ page  ░ dup  ▓ delta" in legend
    assert set("█▓") <= set(drawn)  # dup pages take too few bytes to be seen here


def test_stacked_bars_in_shades_fill_whole_cells() -> None:
    lines = stacked(np.array([[8, 0, 0], [4, 0, 4], [0, 1, 0]]), ["#000001"] * 3, 2, 8, marks="█░▓")
    assert ["".join(t for t, _ in line) for line in lines] == ["█▓ ", "██░"]
