from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.building import page, patterned, stream, zero
from tests.scan.test_today import _discard as discard
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.memory.replay import View
from xbrletools.tui.screens.page import PageScreen, PageShows
from xbrletools.tui.widgets.hexview import ByteMark, HexView
from xbrletools.tui.widgets.pagestrip import PageStrip
from xbrletools.tui.widgets.runlist import RunList

from .driving import POSTED, XBZRLE, Driver, browsing, changed, drives, stale


def shown_bytes(d: Driver) -> HexView:
    view: HexView = d.widget(HexView, "#bytes")
    return view


@pytest.mark.parametrize(("path", "seed"), [(POSTED, 1), (XBZRLE, 2)])
@drives
async def test_the_bytes_shown_are_the_library_s_for_seeded_records_and_pages(path: object, seed: int) -> None:
    capture = xbrletools.open(path)  # type: ignore[arg-type]
    random = np.random.default_rng(seed)
    columns, numbers = capture.records.columns, capture.records.by_number
    changed_twice = np.flatnonzero(np.bincount(capture.space.pages_of(columns)[numbers]) > 1)
    async with browsing(path) as d:
        await d.press("3")
        seen, views = set(), list[View]()
        while len(seen) < 25:
            way = random.choice(["record", "page", "left", "right", "full_stop", "comma"], p=[0.1, 0.1, *[0.2] * 4])
            if way == "record" or not seen:
                await d.fill("colon", str(random.integers(1, len(numbers) + 1)))
            elif way == "page":  # another page as of the record before
                page = int(random.choice(changed_twice))
                block = int(np.searchsorted(capture.space.first, page, side="right")) - 1
                name = capture.space.blocks[block].name.decode()
                address = (page - int(capture.space.first[block])) * capture.page_size
                await d.fill("colon", f"{name}:{address:#x}")
            else:
                await d.pilot.press(str(way))
            seen.add((d.record, d.app.session.page))
            for again in (False, True):
                if again:
                    await d.pilot.press("v")
                    if d.widget(HexView, "#bytes").left is not None:
                        await d.pilot.press("v")  # past both side by side
                        await d.pilot.pause()
                view = d.app.session.view
                views.append(view)
                block, address = d.app.session.page or (-1, -1)
                row = int(capture.space.first[block]) + address // capture.page_size
                image = capture.memory(d.record, view)
                view_ = shown_bytes(d)
                assert np.array_equal(view_.data, image.pages[row])
                assert np.array_equal(view_.known, image.known_bytes(row))
            assert set(views[-2:]) == set(View)


@drives
async def test_hexadecimal_and_text_on_the_screen_are_the_page_s() -> None:
    first_page = capture_page = xbrletools.open(POSTED).page("pc.ram", 0).at().data
    async with browsing(POSTED) as d:
        text = await d.press("3")
        lines = [line for line in text.splitlines() if line.startswith("000000")]
        assert len(lines) >= 10
        for i, line in enumerate(lines):
            part = capture_page[16 * i : 16 * i + 16]
            assert bytes.fromhex(line[8:57].replace("[", " ").replace("]", " ")) == part.tobytes()
            assert line[line.index("|") + 1 :][:16] == "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        assert first_page is capture_page


@drives
async def test_left_and_right_walk_the_versions_of_a_page() -> None:
    history = xbrletools.open(POSTED).page("pc.ram", 0x8F000)
    async with browsing(POSTED) as d:
        await d.fill("colon", str(history.numbers[1]))
        text = await d.press("3")
        assert "version 2 of 12" in text
        for key, place in [("right", 2), ("right_square_bracket", 3), ("left", 2), ("left_square_bracket", 1)]:
            text = await d.press(key)
            assert d.record == history.numbers[place]
            assert f"version {place + 1} of 12" in text
            assert np.array_equal(shown_bytes(d).data, history.at(d.record).data)
        await d.press(*["left"] * 5)
        assert d.record == history.numbers[0]
        timeline = d.app.screen.query_one("#timeline")
        await d.pilot.click(timeline, offset=(timeline.start + 4 * 5 + 1, 0))  # type: ignore[attr-defined]
        assert d.record == history.numbers[5]


@drives
async def test_modes_show_new_old_delta_and_both() -> None:
    old = noise(1)
    new = old.copy()
    new[[0, 17, 18]] ^= 0xFF
    async with browsing(StreamBuilder().page(0, old).delta(0, old, new).bytes()) as d:
        await d.fill("colon", "2")
        text = await d.press("3")
        view = shown_bytes(d)
        assert np.array_equal(view.data, new)
        assert f"({new[0]:02x})" in text  # the run under the cursor
        assert f"[{new[17]:02x} {new[18]:02x}]" in text
        assert "3 changed" in text
        text = await d.press("o")
        assert "delta · receiver view" in text
        assert np.array_equal(view.data, old ^ new)
        assert "(ff).. .." in text
        text = await d.press("o")
        assert "old · receiver" in text
        assert np.array_equal(view.data, old)
        text = await d.press("o")
        assert f"0000({old[0]:02x})" in text
        assert f"▐({new[0]:02x})" in text
        screen: PageScreen = d.app.screen  # type: ignore[assignment]
        assert screen.shows is PageShows.BOTH
        assert "A before the first record  B record 2, the end" in await d.press("o")
        text = await d.press("o")
        assert "new · receiver" in text


@drives
async def test_the_view_goes_from_receiver_to_sender_to_both_side_by_side() -> None:
    first = noise(1)
    second = changed(first)
    async with browsing(StreamBuilder(flags=3).page(0, first).dup(0).delta(0, first, second).bytes()) as d:
        await d.fill("colon", "3")
        assert "new · receiver view" in await d.press("3")
        assert "new · sender view" in await d.press("v")
        text = await d.press("v")
        view = shown_bytes(d)
        assert "new · receiver | sender" in text
        assert view.left is not None
        assert np.array_equal(view.left[0], first ^ second)
        assert np.array_equal(view.data, second)
        assert "receiver WRONG 0x" in text
        assert "sender ok" in text
        assert "delta · receiver | sender" in await d.press("o")
        assert "old · receiver | sender" in await d.press("o")
        assert view.left is not None
        assert not view.left[0].any(), "the dup page that the receiver had"
        assert np.array_equal(view.data, first)
        assert "old | new · sender view" in await d.press("o")
        assert "A | B · sender view" in await d.press("o")
        assert "new · sender view" in await d.press("o")


@drives
async def test_a_page_at_a_and_at_b_stands_side_by_side_whatever_record_is_chosen(tmp_path: Path) -> None:
    first, other = noise(1), noise(7)
    second, third = changed(first), changed(first, 2000, 3)
    stream = StreamBuilder().page(0, first).delta(0, first, second).delta(0, second, third).bytes()
    async with browsing(stream, (160, 50)) as d:
        await d.fill("colon", "1")
        await d.press("a")
        await d.fill("colon", "2")
        await d.press("A", "3")
        text = await d.press("o", "o", "o", "o")
        view = shown_bytes(d)
        assert view.left is not None
        assert np.array_equal(view.left[0], first)
        assert np.array_equal(view.data, second)
        assert "A record 1, pass 1  B record 2, pass 1 · 8 changed" in text
        await d.fill("colon", "3")
        assert np.array_equal(view.data, second)
        assert "new · receiver view" in await d.press("o")
    path = tmp_path / "other.bin"
    path.write_bytes(StreamBuilder().page(0, other).bytes())
    async with browsing(stream, (160, 50), other=xbrletools.open(path)) as d:
        await d.fill("colon", "1")
        text = await d.press("3", "o", "o", "o", "o")
        view = shown_bytes(d)
        assert view.left is not None
        assert np.array_equal(view.left[0], third)
        assert np.array_equal(view.data, other)
        assert "B the end of other.bin" in text


def _left(line: str, per: int) -> bytes:
    """The bytes of the left of two columns, as drawn."""
    return bytes.fromhex("".join(c if c.isalnum() else " " for c in line[4 : 5 + 3 * per]))


@drives
async def test_both_sides_scroll_together_until_the_lock_is_taken_off() -> None:
    old, new = noise(1), noise(2)
    async with browsing(StreamBuilder().page(0, old).page(0, new).bytes()) as d:
        await d.fill("colon", "2")
        await d.press("3", "o", "o", "o")
        view = shown_bytes(d)
        await d.press("pagedown")
        row, per = view.scroll_offset.y, view.per_row
        assert row > 0
        line = d.text.splitlines()[view.region.y]
        assert _left(line, per) == old[row * per : (row + 1) * per].tobytes()
        await d.press("L", "pagedown")
        later = view.scroll_offset.y
        assert later > row
        line = d.text.splitlines()[view.region.y]
        assert line.startswith(f"{later * per:04x}")
        assert _left(line, per) == old[row * per : (row + 1) * per].tobytes()
        assert "(stays, " in d.text
        await d.press("L")
        line = d.text.splitlines()[view.region.y]
        assert _left(line, per) == old[later * per : (later + 1) * per].tobytes()


@drives
async def test_a_stale_delta_of_two_bytes_marks_two_bytes_as_changed(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus("cases/damage/stale-one-page.bin")) as d:
        await d.press("enter")
        view = shown_bytes(d)
        text = d.text
        assert "2 changed" in text
        assert np.count_nonzero(np.isin(view.marks, [ByteMark.CHANGED, ByteMark.BOTH, ByteMark.LINKED])) == 2
        text = await d.press("o")
        assert "delta · receiver view" in text
        assert np.count_nonzero(view.marks) == 2


@drives
async def test_the_panel_is_shown_and_hidden_and_the_strip_leads_along_the_page() -> None:
    async with browsing(POSTED, (120, 40)) as d:
        await d.fill("colon", "2097")
        await d.press("3")
        below, strip = d.app.screen.query_one("#below"), d.widget(PageStrip)
        assert below.display
        await d.press("i")
        assert not below.display
        await d.press("i")
        assert below.display
        assert strip.renewed_count == strip.size.height
        await d.pilot.click(strip, offset=(2, strip.size.height - 1))
        assert shown_bytes(d).at > 3500


@drives
async def test_the_strip_shows_the_whole_page_from_the_first_look_on() -> None:
    async with browsing(stale(), (120, 40)) as d:
        await d.press("enter")
        strip = d.widget(PageStrip)
        assert strip.renewed_count == strip.size.height


@drives
async def test_a_sentence_says_what_is_special_about_a_page() -> None:
    async with browsing(stale()) as d:
        assert "! stale-base" in await d.press("enter")
        text = await d.press("left")
        assert "1 of its 3 versions are suspect, first record 5; it is wrong at the end" in text
    async with browsing(StreamBuilder().page(0, noise(1)).dup(PAGE).page(0, noise(2)).bytes()) as d:
        assert "the page that was sent most: 2 records" in await d.press("3")
        await d.fill("colon", "2")
        assert "every byte is zero" in d.text


@drives
async def test_what_a_stale_delta_changed_and_what_differs_between_the_ends_are_two_marks() -> None:
    old = noise(1)
    new = changed(old, 100, 2)
    whole = StreamBuilder(flags=3).page(0, old).part().dup(0).delta(0, old, new).bytes()
    async with browsing(whole) as d:
        await d.fill("colon", "3")
        await d.press("3")
        view = shown_bytes(d)
        receiver = np.zeros(PAGE, np.uint8)
        receiver[100:102] = old[100:102] ^ new[100:102]
        assert np.array_equal(view.data, receiver)
        assert set(view.marks[100:102]) <= {ByteMark.BOTH, ByteMark.CHANGED}
        differs = (receiver != new).sum()
        text = await d.press("v", "v")
        assert np.array_equal(view.data, new)  # the sender's, on the right
        assert np.array_equal(view.left[0], receiver)  # type: ignore[index]
        assert (view.marks == ByteMark.DIFFERS).sum() + (view.marks == ByteMark.BOTH).sum() == differs
        assert f"{{{differs:,} differ}}" in text
        text = await d.press("o")
        assert "delta" in text
        shown = np.flatnonzero(view.marks)
        assert shown.tolist() == [100, 101]
        assert np.array_equal(view.data[shown], (old ^ new)[shown])


@drives
async def test_runs_and_bytes_are_linked_both_ways() -> None:
    old = np.zeros(PAGE, np.uint8)
    old[0] = 1
    new = old.copy()
    new[100:110] = 7
    new[3000] = 9
    async with browsing(StreamBuilder().page(0, old).delta(0, old, new).bytes()) as d:
        await d.fill("colon", "2")
        await d.press("3", "d")
        view, runs = shown_bytes(d), d.widget(RunList)
        assert view.at == 100
        assert runs.runs[runs.cursor].start == 100
        assert set(view.marks[100:110]) == {ByteMark.LINKED}
        await d.press("d")
        assert (view.at, runs.runs[runs.cursor].start) == (3000, 3000)
        await d.press("D")
        assert view.at == 100
        await d.press("tab", "down", "down")
        run = runs.runs[runs.cursor]
        assert run.start <= view.at < run.start + run.length
        await d.press("enter")
        assert d.app.focused is view


@drives
async def test_the_two_views_differ_after_a_lost_base_and_the_difference_is_marked() -> None:
    first = noise(1)
    second = changed(first)
    async with browsing(StreamBuilder(flags=3).page(0, first).dup(0).delta(0, first, second).bytes()) as d:
        await d.fill("colon", "3")
        text = await d.press("3")
        assert "sum WRONG: stated" in text
        assert "differ}" in text
        assert np.array_equal(shown_bytes(d).data, first ^ second)
        text = await d.press("v")
        assert "sender view" in text
        assert " ok " in text
        assert np.array_equal(shown_bytes(d).data, second)


@drives
async def test_unknown_bytes_show_as_question_marks_and_never_as_zeros() -> None:
    first = noise(1)
    second = changed(first)
    async with browsing(StreamBuilder().page(PAGE, first).delta(0, first, second).bytes()) as d:
        await d.fill("colon", "2")
        text = await d.press("3")
        assert "?? ?? ?? ??" in text
        assert "4,096 unknown" in text
        assert "at 0x000: unknown" in text


@drives
async def test_the_cursor_moves_by_byte_row_and_page_and_the_values_follow() -> None:
    async with browsing(POSTED) as d:
        await d.press("3")
        view = shown_bytes(d)
        page = xbrletools.open(POSTED).page("pc.ram", 0).at(1).data
        for keys, at in [
            (["l"], 1),
            (["j"], 17),
            (["down"], 33),
            (["h"], 32),
            (["k"], 16),
            (["up"], 0),
            (["up"], 0),
            (["end"], 4095),
            (["home"], 0),
            (["G"], 4095),
            (["g"], 0),
        ]:
            await d.press(*keys)
            assert view.at == at, keys
        await d.press("l", "l")
        assert f"u8    {page[2]:#x}" in d.text
        await d.press("pagedown")
        assert view.at > 100
        await d.press("pageup")
        assert view.at == 2
        await d.pilot.click(view, offset=(8 + 3 * 5 + 1, 3))
        assert view.at == 3 * 16 + 5
        await d.pilot.click(view, offset=(8 + 48 + 3 + 7, 2))
        assert view.at == 2 * 16 + 7


@drives
async def test_search_finds_bytes_in_this_version_and_in_others() -> None:
    first = np.zeros(PAGE, np.uint8)
    first[0] = 1
    second = first.copy()
    second[1000:1006] = list(b"needle")
    second[2000:2006] = list(b"needle")
    stream = StreamBuilder().page(0, first).page(0, second).page(0, first).page(0, second).bytes()
    async with browsing(stream) as d:
        await d.fill("colon", "1")
        await d.press("3")
        text = await d.fill("slash", '"needle"')
        assert "0 places here" in text
        text = await d.press("s")
        assert d.record == 2
        assert "2 places here" in text
        view = shown_bytes(d)
        assert view.at == 1000
        assert set(view.marks[1000:1006]) == {ByteMark.FOUND}
        await d.press("n")
        assert view.at == 2000
        await d.press("n")
        assert view.at == 1000
        await d.press("N", "s")
        assert d.record == 4
        await d.press("S")
        assert d.record == 2
        text = await d.fill("slash", "zz")
        assert "! invalid pattern 'zz'" in text
        await d.press("escape")
        text = await d.fill("slash", "6e 65 65")
        assert "2 places here" in text


@drives
async def test_steps_in_time_take_the_page_of_the_next_record_along() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED) as d:
        await d.fill("colon", "2300")
        await d.press("3", "full_stop")
        row = capture.records.row(2301)
        assert d.record == 2301
        assert d.app.session.page == (capture.records.columns.block[row], capture.records.columns.address[row])
        page = capture.page("pc.ram", int(capture.records.columns.address[row])).at(2301).data
        assert np.array_equal(shown_bytes(d).data, page)
        await d.press("comma")
        assert d.record == 2300


@drives
async def test_a_page_that_was_discarded_is_unknown_from_then_on() -> None:
    async with browsing(stream(page(0, patterned(1), b"pc.ram"), discard(0, 1), zero(PAGE), zero(2 * PAGE))) as d:
        await d.press("3")
        await d.fill("colon", "pc.ram:0x0")
        assert shown_bytes(d).known.all()
        await d.fill("colon", "3")
        await d.fill("colon", "pc.ram:0x0")
        assert shown_bytes(d).known.all(), "this is its last record, before the discard"
        await d.fill("colon", "2")
        d.app.go(d.app.session.row, (0, 0))
        await d.settle()
        assert not shown_bytes(d).known.any()
        assert "4,096 unknown" in d.text


@drives
async def test_the_foot_names_the_keys_of_most_use_at_80_columns_and_all_of_them_at_120() -> None:
    for size, named in (((80, 24), 5), ((120, 40), len(PageScreen.KEYS))):
        async with browsing(POSTED, size) as d:
            foot = (await d.press("3")).splitlines()[-1]
            for key, words in PageScreen.KEYS[:named]:
                assert f" {key} {words} " in foot
            assert [key for key, _ in PageScreen.KEYS[:5]] == ["[ ]", "v", "o", "d", "/"]
