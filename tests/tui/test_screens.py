"""Overview, map and findings, each with its keys."""

import numpy as np

import xbrletools
from tests.building import PAGE, patterned, zero
from tests.scan.test_channels import Packets, main_channel
from xbrletools.tui.charts import stacked, thin
from xbrletools.tui.findingtree import Tree, branches
from xbrletools.tui.widgets.explanation import Explanation
from xbrletools.tui.widgets.fieldtree import FieldTree
from xbrletools.tui.widgets.findinglist import FindingList
from xbrletools.tui.widgets.hexview import HexView

from .driving import EVERY, POSTED, browsing, browsing_capture, drives, stale


@drives
async def test_the_overview_tells_what_it_is_and_what_it_holds() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED, (100, 50)) as d:
        text = d.text
        assert "posted, little-endian, seen at 0x2830a" in text
        assert "1,151,673 bytes" in text
        assert "version 4, pages of 4,096 bytes" in text
        assert all(reason.split()[0] in text for reason in capture.evidence.reasons)
        for kind, count in capture.records.counts().items():
            line = next(x for x in text.splitlines() if f" {kind} " in x and " %" not in x and "%" in x)
            assert f"{count:,}" in line.split()
        assert "1 device-tail-unchecked" in text
        assert text.splitlines()[0].startswith(" ✓ NO FAULT  every stated sum holds")

        def head() -> list[str]:  # without the room that a scroll bar takes, which comes with what is read last
            return [line.rstrip(" ─▁▂▃▄▅▆▇█") for line in d.text.splitlines()[2:5]]

        top = head()
        await d.press("pagedown", "j", "end", "home")
        assert head() == top


@drives
async def test_the_verdict_stands_on_every_screen_and_leads_to_the_first_record_that_stays_wrong() -> None:
    capture = xbrletools.open(stale())
    found = capture.verdict()
    assert (found.first_bad_record, found.first_lasting_record, found.pages_wrong) == (5, 5, 1)
    for size in ((80, 24), (160, 50)):
        async with browsing(stale(), size) as d:
            for key in reversed(EVERY):
                text = await d.press(key)
                assert text.startswith(" ✗ CORRUPT  1 page wrong at the end · first bad record 5"), (key, size)
            await d.press("enter")
            assert (d.app.current_mode, d.record) == ("page", 5)
            await d.press("1", "n")
            assert (d.app.current_mode, d.record) == ("page", 5)


@drives
async def test_every_line_of_the_overview_that_leads_somewhere_can_be_entered() -> None:
    for size in ((80, 24), (160, 50)):
        async with browsing(stale(), size) as d:
            screen = d.app.screen
            entered, seen = set(), set()
            for pane in screen.panes:
                for row, (_, where) in enumerate(pane._entries):
                    if where is not None and where not in seen:
                        seen.add(where)
                        pane.focus()
                        pane.cursor = row
                        await d.press("enter")
                        assert d.app.current_mode == where.mode
                        entered.add(where.mode)
                        await d.press("1")
            assert entered == {"page", "findings", "fields", "records", "map", "hot"}


def test_a_thin_bar_is_as_long_as_it_may_be_and_shows_the_smallest_part() -> None:
    line = thin([(1, "#000001"), (999, "#000002"), (0, "#000003")], 50)
    assert [len(text) for text, _ in line] == [1, 49]


def test_stacked_bars_reach_as_high_as_their_share_and_one_above_nothing_is_seen() -> None:
    lines = stacked(np.array([[8, 0], [4, 0], [0, 0], [0, 1]]), ["#000001", "#000002"], 2, 8)
    text = ["".join(t for t, _ in line) for line in lines]
    assert text == ["█   ", "██ ▂"]


@drives
async def test_findings_are_explained_with_the_records_that_they_are_about() -> None:
    capture = xbrletools.open(stale())
    findings = list(capture.verify())
    async with browsing(stale()) as d:
        text = await d.press("5", "o")
        listed = d.widget(FindingList)
        assert [f.rule for f in listed.found.findings] == [f.rule for f in findings]
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
async def test_findings_are_a_tree_of_causes_in_which_each_is_under_one_branch() -> None:
    found = xbrletools.open(stale()).verdict()
    assert found.shared is not None
    listed = list(found.shared)
    made = branches(found, listed, lambda _: True)
    nodes = Tree(made, set())
    leaves = [n.finding for n in nodes if n.is_open is None]
    symptoms = [f for f, _ in listed if f.rule == "checksum-mismatch"]
    assert len(leaves) + len(symptoms) == len(listed)
    assert not {id(f) for f in leaves} & {id(f) for f in symptoms}
    texts = [n.text for n in nodes]
    assert texts[0] == "stale-base (certain)  4 findings, 2 of them sums that fail at the same record"
    assert [t for n, t in zip(nodes, texts, strict=True) if n.depth == 1 and t] == [
        "not healed  1 page, 1 finding",
        "healed later, or only odd  1 page, 1 finding",
    ]
    assert not any(n.depth for n in Tree(made, {n.key for n in nodes if not n.depth}))
    async with browsing(stale()) as d:
        text = await d.press("5")
        assert "- not healed  1 page, 1 finding" in text
        rows = d.widget(FindingList).count()
        text = await d.press("space")
        assert "+ stale-base (certain)" in text
        assert d.widget(FindingList).count() < rows
        await d.press("space", "enter")
        assert d.record == 5


@drives
async def test_findings_narrow_by_words_and_by_severity() -> None:
    async with browsing(stale()) as d:
        await d.press("5")
        listed = d.widget(FindingList)
        everything = listed.count()
        await d.fill("slash", "stale record")
        assert {f.rule for f in map(listed.finding, range(listed.rows))} == {"stale-base"}
        await d.press("escape")
        assert listed.count() == everything
        text = await d.press("s")
        assert {f.severity.value for f in map(listed.finding, range(listed.rows))} == {"error"}
        assert "2 shown: only errors" in text
        await d.press("s", "s")
        assert listed.count() == everything


@drives
async def test_a_page_that_came_over_a_channel_is_counted_in_its_pass_and_shown_as_it_lies() -> None:
    one = Packets(0).packet(0, sync=True).packet(2, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    one.packet(3, sync=True)
    capture = xbrletools.open(main_channel(zero(2 * PAGE, b"pc.ram")), channels=[one.bytes()])
    async with browsing_capture(capture, (80, 80)) as d:
        (line,) = (x for x in d.text.splitlines() if x.strip().startswith("pc.ram ") and "━" in x)
        assert line.split()[3] == "3"  # records
        pages = np.flatnonzero(capture.records.columns.kind == 2)
        await d.fill("colon", str(capture.records.number[pages[0]]))
        await d.press("2", "f")
        tree = d.widget(FieldTree)
        assert tree.count() == 1
        assert (tree.chosen.field.name, tree.chosen.field.raw) == ("page", patterned(1))
        await d.press("3")
        assert np.array_equal(d.widget(HexView, "#bytes").data, np.frombuffer(patterned(1), np.uint8))
