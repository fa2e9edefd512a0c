"""The map: what its cells say at any moment, how it lies on the screen, its film, and how it plays."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from tests.building import PAGE, page, patterned, stream, zero
from tests.scan.test_mapped_ram import CONTENT, mapped_file
from tests.scan.test_today import _discard as discard
from xbrletools.analysis.film import film
from xbrletools.formats.ram import Kind
from xbrletools.memory.blockstate import BlockRecords
from xbrletools.tui.app import Browser
from xbrletools.tui.mapvalues import Shows, entropy, levels
from xbrletools.tui.palette import DARK, STEPS
from xbrletools.tui.screens.map import MapScreen
from xbrletools.tui.waterfall import drawn as fall_of
from xbrletools.tui.waterfall import waterfall
from xbrletools.tui.widgets.filmbar import FilmBar
from xbrletools.tui.widgets.heat import GUTTER, Heat, fitted

from .driving import POSTED, XBZRLE, Driver, browsing, drives, stale

NEVER, ONCE, FIRST, UNKNOWN, HEALED, WRONG = 0, 1, 2, 2 + STEPS, 3 + STEPS, 4 + STEPS


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal without colours."""
    monkeypatch.setattr(Browser, "plain", True)


def drawn(d: Driver) -> str:
    """The letters of all cells in sight."""
    heat = d.widget(Heat)
    lines = ["".join(s.text for s in heat.render_line(y))[GUTTER:] for y in range(heat.size.height)]
    wide = heat.grid.wide
    return "".join(x[: heat.grid.columns * wide][::wide] for x in lines)


def number(d: Driver, page: int) -> int:
    return int(d.widget(Heat).values[page])


@drives
async def test_a_discarded_page_is_unknown_until_it_comes_again() -> None:
    whole = stream(page(0, patterned(1), b"pc.ram"), discard(0, 1), zero(PAGE), page(0, patterned(2)))
    async with browsing(whole) as d:
        for record, shown in (("1", FIRST), ("2", UNKNOWN), ("3", FIRST + STEPS - 1)):
            await d.fill("colon", record)
            await d.press("4")
            assert number(d, 0) == shown, record
            await d.press("2")


def test_letters_show_each_page_as_of_the_chosen_record(letters: None) -> None:
    _ = letters

    @drives
    async def drive() -> None:
        capture = xbrletools.open(POSTED)
        async with browsing(POSTED, (100, 40)) as d:
            await d.fill("colon", "2300")
            text = await d.press("4", "o")
            assert "cells show kind" in text
            expected = []
            for number in range(2048):
                history = capture.page("pc.ram", number * 4096)
                until = np.flatnonzero(history.numbers <= 2300)
                kind = capture.records.columns.kind[history.rows[until[-1]]] if len(until) else Kind.NOOP
                expected.append({Kind.NOOP: ".", Kind.PAGE: "P", Kind.DUP: "D", Kind.XBRLE: "X"}[Kind(int(kind))])
            assert drawn(d)[:2048] == "".join(expected)
            history = capture.page("pc.ram", 0x280000)
            assert f"page 0x280000: {(history.numbers <= 2300).sum()} versions" in text

    drive()


@drives
async def test_it_opens_at_the_end_and_what_cells_show_goes_round() -> None:
    async with browsing(POSTED) as d:
        text = await d.press("4")
        assert d.app.session.row == len(d.app.session) - 1
        assert "cells show versions" in text
        for shows in (Shows.KIND, Shows.AGE, Shows.ENTROPY, Shows.PASSES, Shows.VERSIONS):
            assert f"cells show {shows.cells.value}" in await d.press("o")


@drives
async def test_the_entropy_is_that_of_the_page_s_bytes_at_the_moment() -> None:
    capture = xbrletools.open(POSTED)
    async with browsing(POSTED) as d:
        await d.fill("colon", "2300")
        await d.press("4", "o", "o", "o")
        bits = entropy(capture.memory(at=2300).pages[capture.space.slice(0)])
        step = np.minimum(STEPS - 1, (bits / 8 * STEPS).astype(int))
        values = d.widget(Heat).values
        sent = values != NEVER
        assert sent.any()
        assert np.array_equal(values[sent], FIRST + step[sent])


@drives
async def test_below_the_map_stands_what_each_pass_sent_and_where_it_left_a_page_wrong() -> None:
    capture = xbrletools.open(POSTED)
    table = capture.records
    async with browsing(POSTED, (160, 50)) as d:
        text = await d.press("4", "o", "o", "o", "o")
        assert "cells show versions, below: what each pass sent" in text
        made = d.app.screen._map
        of_block = table.is_page & (table.columns.block == made.block)
        passes = table.pass_[of_block]
        assert made.fall.sent.sum(1).tolist() == np.bincount(passes)[1:].tolist()
        parts = made.fall.sent.shape[1]
        part = table.columns.address[of_block].astype(np.int64) // 4096 * parts // made.records.pages
        for number in (1, int(passes.max())):
            counts = np.bincount(part[passes == number], minlength=parts)
            assert made.fall.sent[number - 1].tolist() == counts.tolist()
        assert not made.fall.wrong.any()
        lines = text.splitlines()
        below = next(i for i, x in enumerate(lines) if "passes ╷0x0" in x) + 1
        shown = [x.split()[0] for x in lines[below : below + -(-int(passes.max()) // 2)]]
        assert shown[0] == "1-2"
        assert shown[-1].split("-")[-1] == str(passes.max())
    async with browsing(stale()) as d:
        await d.press("4", "o", "o", "o", "o")
        assert np.argwhere(d.app.screen._map.fall.wrong).tolist() == [[2, 0], [2, 1]]


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 30), st.integers(20, 300))
def test_a_waterfall_shows_every_record_once_however_many_passes_and_pages(
    pages: int, passes: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(pages * 1000 + passes)
    count = 500
    page_of = rng.integers(0, pages, count).astype(np.int32)
    number = np.sort(rng.integers(1, passes + 1, count)).astype(np.uint32)
    nothing = np.zeros(0, np.int32)
    records = BlockRecords(pages, np.arange(count), page_of, *(nothing for _ in range(4)), np.zeros(0, np.int64))
    fall = waterfall(records, number, np.zeros(count + 1, np.uint8))
    assert fall.sent.sum() == count
    assert max(fall.sent.shape) <= 256
    assert (fall.first[:1] == 1).all()
    for plain in (False, True):
        lines = fall_of(fall, 4096, (width, height), DARK, plain, 1)
        assert len(lines) <= max(2, height)
        told = ["".join(text for text, _ in line) for line in lines[1:]]
        assert sum(int(x.rstrip("━").split()[-1].replace(",", "")) for x in told) == count


@drives
async def test_a_page_that_is_zero_by_the_bitmap_is_not_called_not_sent() -> None:
    async with browsing(mapped_file()) as d:
        text = await d.press("4")
        given = [i for name, i in CONTENT if name == b"pc.ram"]
        values = d.widget(Heat).values
        assert np.flatnonzero(values >= FIRST).tolist() == given
        assert (np.delete(values, given) == ONCE).all()
        text = await d.press("home", "right")
        assert "page 0x1000: zero by the bitmap" in text
        assert "not sent until now" not in text
        assert "zero by the bitmap" in (await d.press("enter")).splitlines()[2]
        await d.press("4", "o")
        assert d.widget(Heat).scale.letters[1] == "0"
    async with browsing(mapped_file(end=b"")) as d:  # the bitmaps are written last: nothing is known to be zero
        text = await d.press("4", "home", "right")
        assert "zero by" not in text
        assert "not sent until now" not in text
        assert "page 0x1000: ? unknown" in text
        heat = d.widget(Heat)
        assert {heat.scale.words[v] for v in np.delete(heat.values, given)} == {"unknown"}
    async with browsing(mapped_file(end=b""), (120, 40)) as d:
        assert f"? {len(np.delete(values, given)):,} unknown" in await d.press("4")


def test_entropy_counts_bytes() -> None:
    pages = np.zeros((300, 4096), np.uint8)
    pages[1] = np.arange(4096) % 256
    pages[299, :2048] = 7
    bits = entropy(pages)
    assert (bits[0], bits[1], bits[299]) == (0, 8, 1)


@given(st.integers(1, 1 << 30))
def test_the_ramp_begins_with_one_and_ends_with_the_most(most: int) -> None:
    steps = levels(np.array([1, most]), most)
    assert steps[0] == 0
    assert steps[1] == (STEPS - 1 if most > 1 else 0)
    some = np.unique(np.linspace(1, most, 50).astype(np.int64))
    assert (np.diff(levels(some, most).astype(int)) >= 0).all()


@given(st.integers(0, 1 << 24), st.integers(1, 400), st.integers(1, 100), st.sampled_from([1, 2]))
def test_every_page_has_a_cell_on_the_screen(count: int, width: int, height: int, halves: int) -> None:
    grid = fitted(count, width, height, halves)
    assert grid.columns * grid.pages * height * halves >= count
    assert grid.columns * grid.wide <= max(8, width)
    assert grid.line % 8 == 0


@drives
async def test_the_map_moves_by_cell_in_time_by_pass_and_between_blocks() -> None:
    capture = xbrletools.open(POSTED)
    passes = capture.records.pass_
    async with browsing(POSTED) as d:
        await d.press("full_stop", "4", "home")
        heat = d.widget(Heat)
        grid = heat.grid
        assert (grid.columns, grid.pages) == (64, 1)
        for keys, place in [
            (["right"], 1),
            (["l"], 2),
            (["down"], 66),
            (["j"], 130),
            (["up"], 66),
            (["k"], 2),
            (["left", "h"], 0),
            (["left"], 0),
            (["G"], 2047),
            (["g"], 0),
            (["right", "minus", "right"], 2),
            (["0", "right"], 3),
        ]:
            await d.press(*keys)
            assert heat.page == place, keys
        await d.pilot.click("#film", offset=(40, 0))
        assert d.app.session.row > 0
        assert heat.page == 3
        await d.fill("colon", "1")
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
        await d.pilot.click("#film", offset=(75, 0))
        assert d.app.session.row > row
        await d.press("home")
        text = await d.press("enter")
        assert d.app.current_mode == "page"
        assert "pc.rom:0x0" in text


@drives
async def test_zoomed_in_the_cursor_stays_in_sight() -> None:
    async with browsing(XBZRLE, (60, 20)) as d:
        await d.press("4")
        heat = d.widget(Heat)
        for _ in range(8):
            await d.press("plus")
        assert heat.grid.pages == 1
        for key in ("end", "home", "pagedown", "pagedown", "up"):
            await d.press(key)
            line = heat.page // heat.grid.line
            assert heat.top <= line < heat.top + heat.size.height, key


@drives
async def test_wrong_pages_stand_out_and_can_be_walked() -> None:
    async with browsing(stale()) as d:
        await d.fill("colon", "6")
        text = await d.press("4")
        assert (number(d, 0), number(d, 1)) == (WRONG, WRONG)
        assert "! wrong" in text
        await d.press("home", "w")
        assert d.widget(Heat).page == 1
        await d.press("W")
        assert d.widget(Heat).page == 0
        await d.press("full_stop")  # heals page 1
        assert (number(d, 0), number(d, 1)) == (WRONG, HEALED)


@drives
async def test_whoever_opens_the_map_first_stands_on_a_page_that_is_wrong_at_the_end() -> None:
    async with browsing(stale()) as d:
        await d.press("4")
        assert d.widget(Heat).page == 0
        assert number(d, 0) == WRONG


@drives
async def test_space_plays_to_the_end_and_pages_of_the_last_step_glow() -> None:
    async with browsing(POSTED) as d:
        await d.fill("colon", "100")
        await d.press("4")
        screen = d.app.screen
        assert isinstance(screen, MapScreen)
        text = await d.press("right_curly_bracket", "space")
        assert "playing in 8 s" in text
        seen = set()
        for _ in range(200):
            seen.add(d.app.session.row)
            if screen._timer is None:
                break
            screen._step()
            await asyncio.sleep(0)
        assert d.app.session.row == len(d.app.session) - 1
        assert len(seen) > 20
        assert "playing" not in await d.press("left")
        whole = d.widget(Heat).values.copy()
        await d.press("o", "o", "o", "o")
        assert np.array_equal(whole, d.widget(Heat).values)
        await d.press("space")  # from the begin again
        assert d.app.session.row < len(d.app.session) // 2
        await d.press("space")
        row = d.app.session.row
        await asyncio.sleep(0.3)
        assert d.app.session.row == row


@given(st.integers(1, 4000))
def test_the_film_has_every_byte_of_records_that_carry_pages(width: int) -> None:
    reel = FILM
    parts = reel.across(width)
    assert parts.shape == (width, 3)
    if width <= len(reel.size):
        assert parts.sum() == CAPTURE.records.columns.length[PAGES].sum() + CAPTURE.records.columns.head[PAGES].sum()
    rows = [row for _, row in reel.passes]
    assert rows == sorted(rows)
    assert all(CAPTURE.records.pass_[row] == number for number, row in reel.passes)


CAPTURE = xbrletools.open(POSTED)
PAGES = CAPTURE.records.is_page
FILM = film(CAPTURE.stream)


@drives
async def test_the_film_says_where_the_moment_is() -> None:
    async with browsing(POSTED, (160, 50)) as d:
        await d.fill("colon", "2300")
        await d.press("4")
        bar = d.widget(FilmBar)
        text = "".join(t for t, _ in bar.line(0, 160))
        at = d.app.session.row * bar.room // len(d.app.session)
        assert text[3 + at] == "┃"
        assert "╵1" in "".join(t for t, _ in bar.line(1, 160))


def test_every_screen_is_drawn_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    @drives
    async def drive() -> None:
        for size in ((80, 24), (160, 50)):
            async with browsing(stale(), size) as d:
                for key in (*"12345678H4", *"oooo"):
                    assert "CORRUPT" in await d.press(key), key
                assert d.app.fault is None

    drive()


@drives
async def test_a_few_passes_leave_their_room_to_the_map_and_the_legend_names_only_what_it_shows() -> None:
    async with browsing(POSTED, (160, 50)) as d:
        await d.press("4", "o", "o", "o")
        assert "cells show entropy" in d.text
        assert "sent once" not in d.text
        text = await d.press("o")
        fall = d.app.screen.query_one("#fall")
        passes = len(d.app.screen._map.fall.first)
        assert fall.size.height <= passes // 2 + 2
        assert f"{passes}" in text
        assert d.app.screen.heat.size.height > 20


@pytest.mark.parametrize("plain", [False, True])
@drives
async def test_the_legend_at_80_columns_names_what_most_cells_show_and_all_trouble(
    monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    monkeypatch.setattr(Browser, "plain", plain)
    for what, words in ((POSTED, ["sent once, one repeated byte"]), (stale(), ["! wrong", "h healed"])):
        async with browsing(what) as d:
            text = await d.press("4")
            line = text.splitlines()[-3]
            meaning, values = d.app.screen.heat.scale, d.app.screen.heat.values
            assert meaning.words[int(np.bincount(values).argmax())] in line
            for word in words:
                assert (word if plain else word.lstrip("!h ")) in line


@drives
async def test_the_head_of_the_map_and_the_pane_beside_it_say_the_same_of_its_cells() -> None:
    async with browsing(POSTED, (160, 50)) as d:
        text = await d.press("4")
        for _ in Shows:
            said = [words.split()[0].strip(",") for words in text.split("cells show ")[1:]]
            assert len(said) == 2
            assert said[0] == said[1]
            text = await d.press("o")


@drives
async def test_the_legend_can_be_written_before_a_first_look_at_the_pages() -> None:
    async with browsing(POSTED) as d:
        await d.press("4")
        heat = d.widget(Heat)
        heat.values, heat.scale = np.zeros(0, np.uint8), replace(heat.scale, words=())
        d.app.screen._describe()
        assert "versions" in d.text.splitlines()[-3]
