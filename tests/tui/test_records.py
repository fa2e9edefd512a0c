import asyncio

import numpy as np
import pytest
from textual.widgets import Input

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.ram import Kind
from xbrletools.memory.replay import View
from xbrletools.tui.selection import Selection
from xbrletools.tui.widgets.minimap import Minimap
from xbrletools.tui.widgets.recordlist import RecordList

from .driving import POSTED, browsing, changed, drives, stale


@drives
async def test_the_list_walks_by_line_page_and_end() -> None:
    table = xbrletools.open(POSTED).records
    async with browsing(POSTED) as d:
        text = await d.press("2")
        assert "mem_size" in text
        assert "[2 Rec]" in text
        session = d.app.session
        for keys, row in [
            (["down"], 1),
            (["j", "j"], 3),
            (["up"], 2),
            (["k"], 1),
            (["end"], len(table) - 1),
            (["home"], 0),
            (["G"], len(table) - 1),
            (["g"], 0),
        ]:
            await d.press(*keys)
            assert session.row == row, keys
        await d.press("pagedown")
        first = session.row
        assert 10 < first < 24
        await d.press("ctrl+d")
        assert first < session.row < 2 * first
        await d.press("ctrl+u", "pageup")
        assert session.row == 0


@drives
async def test_keys_go_to_the_next_change_of_page_and_kind() -> None:
    capture = xbrletools.open(POSTED)
    history = capture.page("pc.ram", 0x8F000)
    kinds = capture.records.columns.kind
    async with browsing(POSTED) as d:
        await d.press("2")
        await d.fill("colon", str(history.numbers[1]))
        for key, place in [("c", 2), ("c", 3), ("C", 2)]:
            await d.press(key)
            assert d.record == history.numbers[place]
        row = d.app.session.row
        await d.press("x")
        expected = row + int(np.argmax(kinds[row:] != kinds[row]))
        assert d.app.session.row == expected
        await d.press("X")
        assert kinds[d.app.session.row] != kinds[expected]
        await d.press("home", "C")
        assert d.messages == ["no more changes of this page in this direction"]


@drives
async def test_full_stop_and_comma_step_over_rows_without_a_page() -> None:
    async with browsing(POSTED) as d:
        await d.press("2", "full_stop")
        assert d.record == 1
        await d.press("full_stop", "full_stop")
        assert d.record == 3
        await d.press("comma")
        assert d.record == 2


@drives
async def test_go_to_takes_a_record_an_offset_or_a_page_and_says_at_once_what_is_wrong() -> None:
    capture = xbrletools.open(POSTED)
    offset = int(capture.records.columns.offset[capture.records.row(600)])
    async with browsing(POSTED) as d:
        await d.press("2")
        await d.fill("colon", "600")
        assert d.record == 600
        await d.fill("colon", f"@{offset - 1:#x}")
        assert d.record == 599
        await d.fill("colon", "pc.ram:0x8f123")
        assert d.app.session.page == (0, 0x8F000)
        text = await d.fill("colon", "99999")
        assert "! there is no record 99999" in text
        await d.press("escape")
        text = await d.fill("colon", "nothing:0x1000")
        assert "! there is no RAM block 'nothing'" in text


@drives
async def test_a_filter_narrows_the_list_and_its_errors_show_as_typed() -> None:
    capture = xbrletools.open(POSTED)
    wanted = np.flatnonzero(capture.records.columns.kind == Kind.XBRLE)
    async with browsing(POSTED) as d:
        await d.press("2", "slash", *"kin")
        assert "! character" in d.text
        await d.press("d", "colon", *"xbrl")
        assert "there is no kind 'xbrl'" in d.text
        text = await d.press("e", "enter")
        assert f"{len(wanted):,} of {len(capture.records):,} rows" in text
        listed = d.widget(RecordList)
        assert [listed.row(i) for i in range(listed.count())] == wanted.tolist()
        await d.press("j", "j")
        assert d.app.session.row == wanted[2]
        text = await d.press("1", "2")
        assert f"{len(wanted)} of" in text
        await d.press("escape")
        assert listed.count() == len(capture.records)
        assert d.app.session.row == wanted[2]


@drives
async def test_a_filter_that_cannot_be_read_stays_with_its_error_and_the_last_good_one_goes_on() -> None:
    capture = xbrletools.open(POSTED)
    wanted = int((capture.records.columns.kind == Kind.XBRLE).sum())
    async with browsing(POSTED) as d:
        await d.press("2", "slash", *"kind:xbrle", "space", *"nosuch>1")
        listed = d.widget(RecordList)
        for _ in range(2):
            text = await d.press("enter")
            assert "! character 12: there is no field 'nosuch'" in text
            assert "kind:xbrle nosuch>1" in text
            assert listed.count() == wanted
        text = await d.press("escape")
        assert "filter kind:xbrle " in text
        assert "nosuch" not in text
        assert listed.count() == wanted


@drives
async def test_tab_completes_fields_and_values_of_a_filter() -> None:
    capture = xbrletools.open(POSTED)
    wanted = int((capture.records.columns.kind == Kind.XBRLE).sum())
    async with browsing(POSTED) as d:
        text = await d.press("2", "slash", "k")
        assert "Tab: kind:" in text
        text = await d.press("tab")
        assert "Tab: eos" not in text
        assert "xbrle" in text
        text = await d.press(*"xbr", "tab", "enter")
        assert f"filter kind:xbrle  · {wanted} of" in text.replace("xbrle ·", "xbrle  ·")
        text = await d.press("slash", "space", *"block:p", "tab")
        assert d.widget(Input).value == "kind:xbrle block:pc.ram"


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (160, "record offset stage pass kind block page bytes sum finding"),
        (120, "record kind page bytes sum finding"),
        (80, "record pass kind block page bytes sum finding"),
        (60, "record kind page sum finding"),
    ],
)
def test_columns_are_left_out_by_what_they_are_worth(width: int, heads: str) -> None:
    @drives
    async def drive() -> None:
        async with browsing(stale(), (width, 24)) as d:
            text = await d.press("2")
            shown = text.splitlines()[2].replace("│", " ").split()
            every = ("record", "offset", "stage", "pass", "kind", "block", "page", "bytes", "sum", "finding")
            assert " ".join(x for x in shown if x in every) == heads

    drive()


@drives
async def test_the_minimap_marks_where_findings_lie_and_what_is_in_sight() -> None:
    rows = 4000
    noted = np.array([0, 1000]), np.array([3999])
    async with browsing(POSTED) as d:
        await d.press("2")
        minimap = d.widget(Minimap)
        minimap.plain = True
        minimap.show(rows, noted, (1000, 1999))
        lines = [strip.text for strip in map(minimap.render_line, range(minimap.size.height))]
        height = minimap.size.height
        assert [i for i, line in enumerate(lines) if line[1] == "~"] == [0, height // 4]
        assert [i for i, line in enumerate(lines) if line[1] == "!"] == [height - 1]
        seen = [i for i, line in enumerate(lines) if line[0] != " "]
        assert seen[0] == height // 4
        assert abs(len(seen) - height / 4) <= 1


@drives
async def test_beside_the_list_stands_why_a_record_is_wrong_and_the_story_of_its_page() -> None:
    capture = xbrletools.open(stale())
    async with browsing(stale(), (160, 50)) as d:
        await d.press("2")
        await d.fill("colon", "6")
        await asyncio.sleep(0.15)
        await d.settle()
        text = d.text
        history = capture.page("pc.ram", PAGE)
        differs = int(history.at(6, View.RECEIVER).differs(history.at(6, View.SENDER)).sum())
        for wanted in ("base        dup         delta       healed", "✗ wrong", "● healed", "the page's 4 records"):
            assert wanted in text, wanted
        assert f"first bytes that differ, {differs:,} of 4,096 do" in text
        assert "WRONG" in next(x for x in text.splitlines() if "stated" in x)


@drives
async def test_a_click_on_the_minimap_goes_there() -> None:
    async with browsing(POSTED) as d:
        await d.press("2")
        height = d.widget(Minimap).size.height
        await d.pilot.click(Minimap, offset=(1, height // 2))
        await d.settle()
        assert d.app.session.row == height // 2 * len(d.app.session) // height


@drives
async def test_a_filter_that_hides_the_record_gone_to_is_dropped() -> None:
    async with browsing(POSTED) as d:
        await d.press("2")
        await d.fill("slash", "kind:xbrle")
        await d.fill("colon", "1")
        assert d.record == 1
        assert d.messages == ["the filter hid this record and was dropped"]


@drives
async def test_marks_are_set_and_walked() -> None:
    async with browsing(POSTED) as d:
        await d.press("2", "j", "m", "j", "j", "m", "home")
        await d.press("apostrophe")
        assert d.app.session.row == 1
        await d.press("apostrophe")
        assert d.app.session.row == 3
        await d.press("quotation_mark")
        assert d.app.session.row == 1
        assert d.text.splitlines()[4].startswith(">+")
        await d.press("m")
        assert d.app.session.marks == {3}


@drives
async def test_the_mouse_chooses_and_opens_a_record() -> None:
    async with browsing(POSTED) as d:
        await d.press("2")
        await d.pilot.click(RecordList, offset=(10, 5))
        assert d.app.session.row == 5
        await d.pilot.click(RecordList, offset=(10, 6), times=2)
        await d.settle()
        assert d.app.current_mode == "page"
        await d.pilot.click("NavBar", offset=(3, 0))
        await d.settle()
        assert d.app.current_mode == "overview"


@drives
async def test_verdicts_on_checksums_are_what_verification_found() -> None:
    old = noise(1)
    new = changed(old)
    b = StreamBuilder(flags=3)
    b.page(3 * PAGE, old).part().page(0, old).delta(0, old, new).page(PAGE, old).delta(PAGE, old, new, checksum=1).dup(
        2 * PAGE
    )
    async with browsing(b.bytes()) as d:
        text = await d.press("2")
        rows = [line for line in text.splitlines()[3:] if "pc.ram" in line]
        at = text.splitlines()[2].index("sum")
        assert [row[at : at + 5].strip() for row in rows] == ["-", "-", "ok", "-", "WRONG", "-"]
        assert "!" in rows[4][:4]
        await d.press("home", "n")
        assert d.record == 5
        assert "corrupt-page" in d.text  # the sum that fails is only its symptom
        await d.press("N")
        assert d.record == 5


@pytest.mark.parametrize("row", [0, 4, 5, 6, 29, 30, 99])
def test_a_selection_finds_the_line_of_a_row_or_of_the_next(row: int) -> None:
    selection = Selection("", None, None)  # type: ignore[arg-type]
    chosen = [4, 6, 20, 30, 31]
    selection.add(np.array(chosen[:2]))
    selection.add(np.array([], np.int64))
    selection.add(np.array(chosen[2:]))
    assert [selection.row(i) for i in range(5)] == chosen
    onward = [c for c in chosen if c >= row]
    assert selection.line(row) == (chosen.index(onward[0]) if onward else len(chosen) - 1)


@drives
async def test_what_is_said_of_a_record_is_the_cause_and_not_the_sum_that_fails_by_it() -> None:
    capture = xbrletools.open(stale())
    rules = {f.rule for f in capture.verify() if f.record == 6}
    assert {"stale-base", "checksum-mismatch"} <= rules  # a warning, since record 7 heals the page, and an error
    async with browsing(stale()) as d:
        await d.press("2")
        text = await d.fill("colon", "6")
        assert "stale-base: " in text.splitlines()[-3]
        row = next(x for x in text.splitlines() if x.startswith(">"))
        assert row[2] == "!"  # the worst that is said of it


@drives
async def test_the_foot_says_of_a_finding_as_many_parts_of_its_sentence_as_fit() -> None:
    for width, wanted in (
        (160, "; healed by record 7"),
        (80, "the sender's base is the page of record"),
        (60, "warning stale-base"),
    ):
        async with browsing(stale(), (width, 24)) as d:
            await d.press("2")
            text = await d.fill("colon", "6")
            foot = next(line.rstrip() for line in text.splitlines() if line.startswith(" warning stale-base"))
            assert wanted in foot, (width, foot)
            assert "…" not in foot, (width, foot)
