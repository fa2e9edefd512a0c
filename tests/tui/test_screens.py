"""Overview, map, findings and fields, each with its keys."""

import numpy as np

import xbrletools
from tests.building import PAGE, page, patterned, stream, zero
from tests.scan.test_channels import Packets, main_channel
from tests.scan.test_today import _discard as discard
from xbrletools.memory.blockstate import block_state
from xbrletools.tui.screens.fields import FieldTree
from xbrletools.tui.screens.findings import Explanation, FindingList
from xbrletools.tui.screens.overview import bar
from xbrletools.tui.widgets.cells import Cells
from xbrletools.tui.widgets.hexview import ByteMark, HexView

from .driving import POSTED, XBZRLE, browsing, browsing_capture, drives, stale


@drives
async def test_the_overview_tells_what_it_is_and_what_it_holds() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED, (100, 50)) as d:
        text = d.text
        assert "posted, little-endian, seen at 0x2830a" in text
        assert "1151673 bytes; 4096-byte pages" in text
        assert all(reason.split()[0] in text for reason in capture.evidence.reasons)
        for kind, count in capture.records.counts().items():
            line = next(x for x in text.splitlines() if f" {kind} " in x and " %" not in x and "%" in x)
            assert str(count) in line.split()
        assert "1 device-tail-unchecked" in text
        passes = [x for x in text.splitlines() if x.strip().startswith(tuple("123456789")) and "PPP" in x]
        assert passes or "D" in text
        top = text.splitlines()[1]
        await d.press("pagedown", "j", "end", "home")
        assert d.text.splitlines()[1] == top


def test_a_bar_is_as_long_as_its_share_and_shows_the_smallest_kind() -> None:
    counts = np.zeros(10, np.int64)
    counts[2], counts[3] = 1, 999
    text = "".join(t for t, _ in bar(counts, 1000, 50))
    assert text == "P" + "D" * 50


@drives
async def test_the_map_shows_a_discarded_page_as_unknown_until_it_comes_again() -> None:
    whole = stream(page(0, patterned(1), b"pc.ram"), discard(0, 1), zero(PAGE), page(0, patterned(2)))
    async with browsing(whole) as d:
        for record, shown in (("1", "P"), ("2", "?"), ("3", "P")):
            await d.fill("colon", record)
            await d.press("4", *["plus"] * 3)
            line = d.widget(Cells).line(0, 80)
            assert "".join(t for t, _ in line[1:])[0] == shown, record
            await d.press("2")


@drives
async def test_the_map_shows_each_page_as_of_the_chosen_record() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED) as d:
        await d.fill("colon", "2300")
        await d.press("4", *["plus"] * 3)
        cells = d.widget(Cells)
        assert cells.zoom == 0
        columns = capture.records.columns.take(slice(0, capture.records.row(2300) + 1))
        pages = block_state(columns, capture.space, 0, np.zeros(0, np.int64))
        letters = {0: ".", 2: "P", 3: "D", 4: "X"}
        drawn = "".join("".join(t for t, _ in cells.line(i, 80)[1:]) for i in range(cells.count()))
        assert drawn == "".join(letters[k] for k in pages.kind.tolist())
        assert f"page 0x280000: {pages.versions[0x280]} versions" in d.text
        await d.press("o")
        drawn = "".join("".join(t for t, _ in cells.line(i, 80)[1:]) for i in range(cells.count()))
        assert drawn == "".join("." if v == 0 else str(v) if v < 10 else "+" for v in pages.versions.tolist())
        text = await d.press("o")
        assert "cells show age" in text
        text = await d.press("o", "0")
        assert "2 pages a cell, cells show kind" in text


@drives
async def test_the_map_moves_by_cell_in_time_by_pass_and_between_blocks() -> None:
    capture = xbrletools.open(POSTED)
    passes = capture.records.pass_
    async with browsing(POSTED) as d:
        await d.press("full_stop", "4")
        cells = d.widget(Cells)
        for keys, page in [
            (["right"], 2),
            (["l"], 4),
            (["down"], 132),
            (["j"], 260),
            (["up"], 132),
            (["k"], 4),
            (["left", "h"], 0),
            (["G"], 2047),
            (["g"], 0),
            (["right", "minus", "right"], 4 + 2),
        ]:
            await d.press(*keys)
            assert cells.page == page, keys
        await d.press("greater_than_sign")
        row = d.app.session.row
        page_rows = np.flatnonzero(capture.records.is_page & (capture.records.columns.block == 0))
        assert row == page_rows[passes[page_rows] == passes[row]][-1]
        await d.press("greater_than_sign")
        assert d.app.session.row > row
        await d.press("less_than_sign")
        assert d.app.session.row == row
        text = await d.press("right_square_bracket")
        assert "pc.bios (2 of 3)" in text
        text = await d.press("left_square_bracket", "left_square_bracket")
        assert "pc.rom (3 of 3)" in text
        await d.pilot.click("#slider", offset=(75, 0))
        assert d.app.session.row > row
        await d.press("home")
        text = await d.press("enter")
        assert d.app.current_mode == "page"
        assert "pc.rom:0x0" in text


@drives
async def test_wrong_pages_stand_out_on_the_map_and_can_be_walked() -> None:
    async with browsing(stale()) as d:
        await d.fill("colon", "6")
        text = await d.press("4")
        assert "!!" in text
        await d.press("home", "w")
        assert d.widget(Cells).page == 1
        await d.press("W")
        assert d.widget(Cells).page == 0
        text = await d.press("full_stop")  # heals page 1
        assert "!P" in text


@drives
async def test_findings_are_explained_with_the_records_that_they_are_about() -> None:
    capture = xbrletools.open(stale())
    findings = list(capture.verify())
    async with browsing(stale()) as d:
        text = await d.press("5")
        listed = d.widget(FindingList)
        assert [f.rule for f in listed.chosen] == [f.rule for f in findings]
        assert f"{sum(f.severity.value == 'error' for f in findings)} errors" in text
        place = next(i for i, f in enumerate(findings) if f.rule == "stale-base")
        text = await d.press(*["down"] * place)
        assert "-> record 1 " in text
        assert "-> record 3 " in text
        assert "-> record 5 " in text
        await d.press("tab", *["down"] * 2)
        explanation = d.widget(Explanation)
        line = next(i for i, (_, row) in enumerate(explanation.explained) if row is not None)
        await d.press(*["down"] * (line - explanation.cursor))
        await d.press("enter")
        assert d.record == 1
        assert d.app.current_mode == "page"
        await d.press("5", "tab", "home")
        await d.press(*["down"] * place, "enter")
        assert d.record == findings[place].record


@drives
async def test_findings_narrow_by_words_and_by_severity() -> None:
    async with browsing(stale()) as d:
        await d.press("5")
        listed = d.widget(FindingList)
        everything = listed.count()
        await d.fill("slash", "stale record")
        assert {f.rule for f in listed.chosen} == {"stale-base"}
        await d.press("escape")
        assert listed.count() == everything
        text = await d.press("s")
        assert {f.severity.value for f in listed.chosen} == {"error"}
        assert "error or worse" in text
        await d.press("s", "s")
        assert listed.count() == everything


@drives
async def test_fields_show_the_grammar_s_tree_and_mark_the_bytes() -> None:
    capture = xbrletools.open(POSTED)
    row = int(np.flatnonzero(capture.records.columns.kind == 4)[0])
    record = int(capture.records.number[row])
    offset = int(capture.records.columns.offset[row])
    async with browsing(POSTED) as d:
        await d.fill("colon", str(record))
        text = await d.press("6")
        assert f"record {record}: xbrle" in text
        tree, view = d.widget(FieldTree), d.widget(HexView)
        names = [field.name for _, field in tree.rows]
        assert "checksum" in names
        await d.press(*["down"] * names.index("checksum"))
        field = tree.rows[tree.cursor][1]
        assert field.value == int(capture.records.columns.checksum[row])
        marked = np.flatnonzero(view.marks == ByteMark.CHANGED)
        assert marked.tolist() == list(range(field.offset - offset, field.offset - offset + field.size))
        assert view.data[marked].tobytes() == field.raw
        payload = next(i for i, (_, f) in enumerate(tree.rows) if f.name == "payload")
        before = tree.count()
        await d.press(*["down"] * (payload - tree.cursor), "space")
        assert tree.count() > before
        await d.press("enter")
        assert tree.count() == before
        await d.press("tab", "home")
        assert tree.rows[tree.cursor][1].name == "word"


@drives
async def test_fields_go_from_record_to_section_to_header_and_between_sections() -> None:
    async with browsing(XBZRLE) as d:
        await d.press("full_stop", "6")
        text = await d.press("s")
        assert "section 2 of 148: PART of ram, end parsed" in text
        text = await d.press("right_square_bracket")
        assert "section 3 of 148" in text
        text = await d.press(*["left_square_bracket"] * 3)
        assert "section 0 of 148: CONFIGURATION" in text
        assert "pc-i440fx-7.2" in text
        text = await d.press("s")
        assert "file header" in text
        assert "version" in text
        text = await d.press("s")
        assert "record 1: page" in text


@drives
async def test_a_page_that_came_over_a_channel_is_counted_in_its_pass_and_shown_as_it_lies() -> None:
    one = Packets(0).packet(0, sync=True).packet(2, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    one.packet(3, sync=True)
    capture = xbrletools.open(main_channel(zero(2 * PAGE, b"pc.ram")), channels=[one.bytes()])
    async with browsing_capture(capture) as d:
        assert "        1         3 PPPPPP" in d.text
        pages = np.flatnonzero(capture.records.columns.kind == 2)
        await d.fill("colon", str(capture.records.number[pages[0]]))
        await d.press("6")
        ((_, field),) = d.widget(FieldTree).rows
        assert (field.name, field.raw) == ("page", patterned(1))
        await d.press("3")
        assert np.array_equal(d.widget(HexView, "#bytes").data, np.frombuffer(patterned(1), np.uint8))
