"""Compare: two moments of a capture, or two captures, as `xbrle diff` finds them."""

from collections import Counter

import numpy as np
import pytest

import xbrletools
from tests import posted
from tests.posted import PAGE, delta, dup, page
from xbrletools.analysis.diff import PARTS, Change, differences, tally
from xbrletools.memory.replay import View
from xbrletools.tui.app import Browser
from xbrletools.tui.comparison import usual_sides
from xbrletools.tui.palette import STEPS
from xbrletools.tui.screens.compare import CompareScreen
from xbrletools.tui.widgets.changes import ChangedLines, ChangeList
from xbrletools.tui.widgets.heat import Heat
from xbrletools.tui.widgets.hexview import HexView

from .driving import POSTED, XBZRLE, Driver, browsing, browsing_capture, drives, stale

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]


def counts(d: Driver) -> Counter[tuple[bytes, int]]:
    """The bytes of each page that the screen says differ."""
    found = d.app.screen.found
    names = [b.name for b in found.space.blocks]
    rows = zip(found.block.tolist(), found.address.tolist(), found.count.tolist(), strict=True)
    return Counter({(names[block], address): count for block, address, count in rows})


def expected(first: xbrletools.memory.image.Image, second: xbrletools.memory.image.Image) -> Counter[tuple[bytes, int]]:
    out: Counter[tuple[bytes, int]] = Counter()
    for found in differences(first, second):
        places = np.arange(found.offset, found.offset + found.length) // PAGE * PAGE
        out.update(Counter((found.block, at) for at in places.tolist()))
    return out


@drives
async def test_it_compares_the_end_of_pass_1_with_the_end_unless_told_otherwise() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED) as d:
        text = await d.press("8")
        first, second = usual_sides(d.app.session, None)
        assert first.number is not None
        assert second.number is None
        passes = {n: int(capture.records.pass_[capture.records.row(n)]) for n in (first.number, first.number + 1)}
        assert list(passes.values()) == [1, 2]
        assert f"record {first.number}, end of pass 1" in text
        assert f"record {capture.records.last_number}, the end" in text
        assert counts(d) == expected(capture.memory(first.number), capture.memory())


@drives
async def test_two_moments_are_compared_in_six_keys() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED) as d:
        await d.press("2", "end")  # where the user happens to be
        await d.fill("colon", "2100")
        await d.press("a")
        await d.fill("colon", "2300")
        text = await d.press("A")  # colon, Enter, a, colon, Enter, A
        assert d.app.current_mode == "compare"
        assert "record 2100" in text
        assert "record 2300" in text
        assert counts(d) == expected(capture.memory(2100), capture.memory(2300))
        text = await d.press("r")
        assert text.index("record 2300") < text.index("record 2100")


@drives
async def test_a_compares_this_moment_with_the_end_from_any_screen() -> None:
    capture = xbrletools.open(POSTED)
    for key in "1234567":
        async with browsing(POSTED) as d:
            await d.fill("colon", "2200")
            await d.press(key)
            number = d.record
            await d.press("a")
            assert d.app.current_mode == "compare", key
            assert number is not None
            assert counts(d) == expected(capture.memory(number), capture.memory()), key


@drives
async def test_the_list_leads_with_what_changed_most_and_the_map_and_the_lines_go_along() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED, (160, 50)) as d:
        await d.fill("colon", "2100")
        await d.press("a")
        listed, heat, lines = d.widget(ChangeList), d.widget(Heat), d.widget(ChangedLines)
        found = d.app.screen.found
        order = [found.row_of(listed.place(i)) for i in range(listed.count())]
        both = (found.count - found.one_sided)[order]
        assert (np.diff(both) <= 0).all()
        await d.press("down", "down")
        block, address = listed.place(2)
        assert (heat.page * heat.page_size, d.app.screen.block) == (address, block)
        history = capture.page(capture.blocks[block].name, address)
        differs = history.at(2100).differs(history.at())
        per = lines.per_row
        rows = np.flatnonzero(differs.reshape(-1, per).any(1))
        assert lines.count() == len(rows)
        await d.press("n")
        at = d.app.session.page
        onward = [p for p in sorted(counts(d)) if p[0] == capture.blocks[block].name and p[1] > address]
        assert at == (block, onward[0][1])
        assert d.app.screen.change_list.place(listed.cursor) == at
        await d.press("enter")
        assert d.app.current_mode == "page"
        assert d.app.session.page == at
        assert d.app.session.row == len(d.app.session) - 1
        view = d.widget(HexView, "#bytes")
        history = capture.page(capture.blocks[block].name, at[1])
        assert np.array_equal(view.left[0], history.at(2100).data)  # A on the left
        assert np.array_equal(view.data, history.at().data)
        assert "A | B" in d.text
        text = await d.press("left_square_bracket")  # another version is shown as usual
        assert view.left is None
        assert "A | B" not in text.splitlines()[2]
        await d.press("8", "tab", "tab", "right")
        assert isinstance(d.app.screen.focused, Heat)


@drives
async def test_the_map_tells_how_many_bytes_differ_and_what_is_known_in_one_only() -> None:
    whole = posted.stream([page(0, A), page(2 * PAGE, A), page(0, B), page(PAGE, A), dup(2 * PAGE, 7)])
    async with browsing_capture(xbrletools.open(whole, dialect="posted")) as d:
        await d.fill("colon", "2")
        text = await d.press("a")
        values = d.widget(Heat).values
        assert values[1] == STEPS + 1
        assert 0 < values[0] < values[2] <= STEPS
        assert values[3:].sum() == 0
        assert "2 pages changed · 1 known in one only" in text
        listed = d.widget(ChangeList)
        assert [listed.place(i)[1] for i in range(3)] == [2 * PAGE, 0, PAGE]
        assert listed.by_count
        await d.press("o")
        assert [listed.place(i)[1] for i in range(3)] == [0, PAGE, 2 * PAGE]
        parts = d.app.screen.found.parts
        assert parts.shape == (3, PARTS)
        assert np.flatnonzero(parts[0]).tolist() == [100 // (PAGE // PARTS)]


@drives
async def test_the_sender_s_view_is_compared_where_that_is_shown() -> None:
    capture = xbrletools.open(stale())
    async with browsing(stale()) as d:
        await d.fill("colon", "4")
        await d.press("a")
        for view in (View.RECEIVER, View.SENDER):
            assert counts(d) == expected(capture.memory(4, view), capture.memory(view=view)), view
            text = await d.press("v")
            assert ("in the sender's view" in text) is (view is View.RECEIVER)


@drives
async def test_another_capture_is_compared_with_this_one_s_moments() -> None:
    first = xbrletools.open(posted.stream([page(0, A), page(PAGE, A), delta(PAGE, A, B)]), dialect="posted")
    second = xbrletools.open(posted.stream([page(0, B), page(PAGE, B)]), dialect="posted")
    app_memory = tally(first.memory(), second.memory())
    assert app_memory.bytes == Counter({Change.VALUE: sum(x != y for x, y in zip(A, B, strict=True))})
    async with browsing_capture(first, other=second) as d:
        text = await d.press("8")
        assert "the end of" in text
        assert counts(d) == expected(first.memory(), second.memory())
        await d.fill("colon", "2")
        await d.press("a")
        assert counts(d) == expected(first.memory(2), second.memory())
        await d.press("r")
        assert counts(d) == expected(first.memory(2), second.memory())


@drives
async def test_a_capture_of_other_blocks_and_one_that_cannot_be_read_are_said() -> None:
    first = xbrletools.open(posted.stream([page(0, A)]), dialect="posted")
    second = xbrletools.open(posted.stream([page(0, A)], ((b"pc.ram", 4 * PAGE),)), dialect="posted")
    async with browsing_capture(first, (160, 50), other=second) as d:
        assert "no page differs · 1 block not alike in both" in await d.press("8")
    data = POSTED.read_bytes()
    async with browsing_capture(xbrletools.open(POSTED), (200, 50), other=xbrletools.open(data[:700_000])) as d:
        assert "not all of the other capture is there" in await d.press("8")
    async with browsing_capture(first, other=xbrletools.open(b"QEVM\0\0\0\3" + b"\xff" * 50)) as d:
        text = await d.press("8")
        assert "not " in text.splitlines()[3]


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40), (160, 50)])
def test_it_is_drawn_in_any_size_with_and_without_colours(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @drives
    async def drive() -> None:
        async with browsing(XBZRLE, size) as d:
            text = await d.press("8", "tab", "tab", "o", "v", "right_square_bracket")
            assert isinstance(d.app.screen, CompareScreen)
            assert "A" in text

    drive()
    monkeypatch.setattr(Browser, "plain", True)
    drive()
