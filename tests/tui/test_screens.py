"""Overview, map, findings and fields, each with its keys."""

import numpy as np

import xbrletools
from tests.building import PAGE, patterned, zero
from tests.scan.test_channels import Packets, main_channel
from xbrletools.tui.screens.fields import FieldTree
from xbrletools.tui.screens.findings import Explanation, FindingList
from xbrletools.tui.screens.overview import bar
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
