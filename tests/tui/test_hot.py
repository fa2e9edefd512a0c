"""The hottest pages: the table of `xbrle top`, with when each page was sent."""

from collections.abc import Callable

import numpy as np

import xbrletools
from xbrletools.analysis.film import CLASSES, lives
from xbrletools.analysis.top import Order, top
from xbrletools.formats.ram import DELTA_KINDS, Kind
from xbrletools.tui.screens.names import SCREENS
from xbrletools.tui.widgets.hotlist import PARTS, HotList
from xbrletools.tui.widgets.pane import Pane

from .driving import POSTED, browsing, drives, stale


@drives
async def test_the_hottest_pages_are_two_keys_away_and_lead_to_their_page() -> None:
    capture = xbrletools.open(POSTED)
    expected = top(capture.stream).sorted(Order.RESENDS)
    for size in ((80, 24), (160, 50)):
        async with browsing(POSTED, size) as d:
            text = await d.press("H")
            listed = d.widget(HotList)
            assert [listed.place(i) for i in range(20)] == list(
                zip(expected.block[:20].tolist(), expected.address[:20].tolist(), strict=True)
            )
            again = int((expected.resends > 0).sum())
            assert f"{len(expected):,} pages came, {again} of them again, in {expected.resends.sum()} resends" in text
            assert f"{expected.resends[0]}" in text.splitlines()[4]
            await d.press("enter")
            assert d.app.current_mode == "page"
            assert d.app.session.page == listed.place(0)


@drives
async def test_the_pages_come_in_every_order_of_top() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED) as d:
        await d.press("H")
        listed = d.widget(HotList)
        for order in [*list(Order)[1:], Order.RESENDS]:
            await d.press("o")
            wanted = top(capture.stream).sorted(order, 30)
            assert [listed.place(i)[1] for i in range(30)] == wanted.address.tolist(), order


def test_a_life_counts_each_record_of_a_page_in_its_part_of_the_stream() -> None:
    for capture in (xbrletools.open(POSTED), xbrletools.open(stale())):
        stream, rows = capture.stream, len(capture.records)
        found = top(stream).sorted(Order.BYTES, 7)
        suspect = np.array([rows - 2, rows - 1])
        sent, wrong = lives(stream, found.numbers(capture.space.first), PARTS, suspect)
        for i in range(len(found)):
            history = capture.page(capture.blocks[int(found.block[i])].name, int(found.address[i]))
            expected = np.zeros((PARTS, len(CLASSES)), np.int64)
            for row in history.rows.tolist():
                kind = Kind(int(capture.records.columns.kind[row]))
                expected[row * PARTS // rows, 2 if kind in DELTA_KINDS else int(kind is Kind.DUP)] += 1
            assert np.array_equal(sent[i], expected)
            assert wrong[i].sum() == np.isin(history.rows, suspect).sum()


@drives
async def test_escape_leads_back_to_the_screen_from_which_the_hottest_pages_were_opened() -> None:
    async with browsing(POSTED) as d:
        for screen in (*SCREENS, *SCREENS[::-1]):
            await d.press(screen.key, "H")
            assert d.app.current_mode == "hot"
            await d.press("question_mark", "escape", "H")  # a dialog, and the key again
            text = await d.press("escape")
            assert d.app.current_mode == screen.mode
            assert f"[{screen.key} " in text
        await d.press("2", "H", "enter")
        assert d.app.current_mode == "page"
        await d.press("H", "escape")
        assert d.app.current_mode == "page"


@drives
async def test_a_hot_page_is_opened_at_a_version_that_it_has() -> None:
    capture = xbrletools.open(POSTED)
    hottest = top(capture.stream).sorted(Order.RESENDS, 1)
    rows = capture.page(capture.blocks[int(hottest.block[0])].name, int(hottest.address[0])).rows
    between = int(rows[len(rows) // 2]) + 1
    assert between not in rows
    for size, ways in (((80, 24), ["H"]), ((160, 50), ["H", "overview", "search"])):
        for way in ways:
            for row, version in ((0, 1), (int(rows[0]) - 1, 1), (between, len(rows) // 2 + 1), (None, len(rows))):
                async with browsing(POSTED, size) as d:
                    if row != 0:
                        d.app.go(len(d.app.session) - 1 if row is None else row)
                    await d.press({"H": "H", "overview": "1", "search": "7"}[way])
                    if way != "H":
                        pane = d.widget(Pane, "#hottest")
                        pane.focus()
                        pane.cursor = 1
                    text = await d.press("enter")
                    assert d.app.current_mode == "page"
                    assert f"version {version} of {len(rows)} " in text, (size, way, row)
                    assert "before its first record" not in text
                    if row != 0 and version > 1:
                        assert d.app.session.row == (len(d.app.session) - 1 if row is None else row)


@drives
async def test_rows_of_blocks_with_wide_characters_in_their_names_are_whole(corpus: Callable[[str], bytes]) -> None:
    for size in ((80, 24), (160, 50)):
        async with browsing(corpus("cases/damage/hostile.bin"), size) as d:
            text = await d.press("H")
            rows = [line.rstrip() for line in text.splitlines() if ":0x" in line]
            assert len(rows) == 12
            assert not [line for line in rows if line.endswith("…")]
