"""How screens look: words that are easy to read in every theme, and whole ones where there is little room."""

import asyncio
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from rich._palettes import STANDARD_PALETTE
from rich.cells import cell_len
from rich.color import Color, ColorSystem
from rich.segment import Segment

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.tui.app import Browser
from xbrletools.tui.palette import CONTRAST, DARK, LIGHT, READABLE, VISIBLE, contrast, with_marks, without_colour
from xbrletools.tui.widgets.explanation import Explanation
from xbrletools.tui.widgets.lines import page_name, tail, whole
from xbrletools.tui.words import wrapped

from .driving import EVERY, POSTED, Driver, browsing, drives, stale

#: What leads from one screen to the next, so that each is seen, with both views of a page and a search among them.
TOUR = ("tab", "n", "v", "v", "o", "d", "2", "4", "5", "tab", "6", "7", "8", "H", "question_mark")


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "stale.bin"
    path.write_bytes(stale())
    return path


def segments(driver: Driver) -> list[Segment]:
    """What the screen shows, with its colours."""
    return [segment for strip in driver.app.screen._compositor.render_strips() for segment in strip]


def too_faint(segment: Segment) -> bool:
    """Whether words are hard to read. Bytes that are zero are dim on purpose, and need only be seen."""
    look = segment.style
    if look is None or look.color is None or look.bgcolor is None or not any(c.isalnum() for c in segment.text):
        return False
    found = contrast(look.color.get_truecolor().hex, look.bgcolor.get_truecolor().hex)
    return round(found, 1) < (VISIBLE if segment.text.strip() == "00" else READABLE)


@pytest.mark.parametrize("theme", ["xbrle-dark", "xbrle-light", "xbrle-contrast"])
@drives
async def test_the_words_of_every_screen_are_easy_to_read(theme: str, wrong: Path) -> None:
    async with browsing(wrong, (160, 50)) as d:
        d.app.theme = theme
        for key in TOUR:
            await d.press(key)
            await asyncio.sleep(0.15)  # what is worked out once the cursor rests
            await d.settle()
            assert [s.text for s in segments(d) if too_faint(s)] == [], key


@drives
async def test_another_theme_is_taken_over_by_all_that_the_screen_shows(wrong: Path) -> None:
    async with browsing(wrong, (160, 50)) as d:
        for key in TOUR[1:-1]:
            d.app.theme = "xbrle-dark"
            await d.press(key)
            await asyncio.sleep(0.15)
            await d.settle()
            d.app.theme = "xbrle-light"
            await d.settle()
            await asyncio.sleep(0.15)
            await d.settle()
            assert [s.text for s in segments(d) if too_faint(s)] == [], key


@drives
async def test_screens_that_are_made_ahead_do_not_move_the_moment_and_the_map_opens_at_the_end(wrong: Path) -> None:
    async with browsing(wrong, (160, 50)) as d:
        while d.app.make_next_screen():
            await d.settle()
        assert (d.app.session.row, d.app.session.moved) == (0, False)
        await d.press("4")
        assert d.app.session.row == len(d.app.session) - 1


def of_few(colour: Color) -> str:
    """What a terminal of 16 colours, those of a VGA console, shows of a colour."""
    return STANDARD_PALETTE[colour.downgrade(ColorSystem.STANDARD).number or 0].hex


def is_lost(segment: Segment) -> bool:
    """Whether words cannot be read, or a line or a bar not be seen, where there are 16 colours."""
    look = segment.style
    if look is None or look.color is None or look.bgcolor is None or not segment.text.strip(" ▀▄"):
        return False
    found = contrast(of_few(look.color), of_few(look.bgcolor))
    return found < VISIBLE if any(c.isalnum() for c in segment.text) else found < 1.2


@pytest.mark.parametrize("theme", ["xbrle-dark", "xbrle-light", "xbrle-contrast"])
@drives
async def test_with_16_colours_words_can_be_read_and_frames_be_seen_on_every_screen(
    theme: str, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Browser, "plain", True)
    async with browsing(wrong, (160, 50)) as d:
        d.app.theme = theme
        await d.settle()
        for key in TOUR:
            await d.press(key)
            await asyncio.sleep(0.15)
            await d.settle()
            assert [s.text for s in segments(d) if is_lost(s)] == [], key


def test_with_16_colours_kinds_of_records_and_of_trouble_have_one_each() -> None:
    for palette in (DARK, LIGHT, CONTRAST):
        few = with_marks(palette)
        for colours in ((few.page, few.dup, few.delta, few.wrong), (few.wrong, few.healed, few.unknown)):
            shown = {of_few(Color.parse(few.calm(colour))) for colour in colours}
            assert len(shown) == len(colours)
            assert of_few(Color.parse(few.ground)) not in shown


@drives
async def test_with_16_colours_marks_tell_what_is_wrong_on_the_film(
    monkeypatch: pytest.MonkeyPatch, corpus: Callable[[str], bytes]
) -> None:
    monkeypatch.setattr(Browser, "plain", True)
    async with browsing(corpus("qemu-2011-posted/dbg-stale-reject.bin"), (160, 50)) as d:
        film = next(line for line in d.text.splitlines() if line.startswith(" ▶ "))
        assert "!!!!!!!!" in film


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
@drives
async def test_with_16_colours_bytes_that_differ_are_marked_in_the_evidence(
    size: tuple[int, int], wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Browser, "plain", True)
    async with browsing(wrong, size) as d:
        await d.press("5", "down", "down")
        await asyncio.sleep(0.15)
        lines = [line for line, _ in d.widget(Explanation).explained]
        at = next(i for i, line in enumerate(lines) if "bytes differ between" in "".join(t for t, _ in line))
        shown = [piece for line in lines[at:] for piece in line if len(piece[0]) == 3]
        assert {look for _, look in shown} == {"differs"}  # from a dup page, all do


def test_without_colour_what_is_wrong_is_not_dimmer_than_other_text() -> None:
    for palette in (DARK, LIGHT):
        plain = without_colour(palette)
        assert contrast(plain.wrong, plain.ground) >= contrast(plain.ink, plain.ground)
        assert contrast(plain.healed, plain.ground) >= contrast(plain.dim, plain.ground)
        greys = sorted(contrast(colour, plain.ground) for colour in (plain.dup, plain.page, plain.delta))
        assert all(b > 1.5 * a for a, b in pairwise(greys)), "kinds of records cannot be told apart"


@drives
async def test_without_colour_marks_tell_what_is_wrong_on_the_small_map_and_over_the_stream(
    monkeypatch: pytest.MonkeyPatch, corpus: Callable[[str], bytes]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with browsing(corpus("qemu-2011-posted/dbg-stale-reject.bin"), (160, 50)) as d:
        at = next(i for i, line in enumerate(d.text.splitlines()) if "pc.ram at the end" in line)
        assert "!!!!!!!!" in "".join(d.text.splitlines()[at + 1 : at + 9])
        text = await d.press("5")
        assert "━─━" in text


@pytest.mark.parametrize(
    ("width", "shown"),
    [(40, "sum ok · 3 changed · pass 41 PART @0x4a0"), (39, "sum ok · 3 changed"), (17, "sum ok"), (5, None)],
)
def test_a_line_loses_whole_clauses_at_its_end_where_there_is_less_room(width: int, shown: str | None) -> None:
    line = [("sum ok", "good"), (" · ", "dim"), ("3 changed", "changed"), (" · pass 41 PART @0x4a0", "dim")]
    text = "".join(piece for piece, _ in whole(line, width))
    assert text == (shown if shown is not None else "".join(piece for piece, _ in line))


def test_of_a_clause_that_does_not_fit_the_parts_that_do_are_shown() -> None:
    line = [("error stale-base: ", "strong"), ("the base is record 8; it was lost, to a dup page · x", "")]
    for width, shown in ((68, 66), (65, 38), (38, 38)):
        text = "".join(piece for piece, _ in line)[:shown]
        assert "".join(piece for piece, _ in whole(line, width)) == text


def test_of_a_long_name_the_end_is_shown() -> None:
    for cells in range(1, 30):
        assert cell_len(tail("0000:00:02.0/cirrus_vga.rom", cells)) == cells
    assert tail("0000:00:02.0/cirrus_vga.rom", 12).endswith("us_vga.rom")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)])
@drives
async def test_no_line_of_the_overview_is_cut_and_it_says_who_loads_the_stream(
    size: tuple[int, int], wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wrong.parent)  # a long path is cut at its beginning
    async with browsing(Path(wrong.name), size) as d:
        assert "…" not in d.text.replace("…cirrus", "")
        assert "● default" in d.text
        assert "loads it, with 1 wrong page" in d.text


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 50)])
@drives
async def test_before_the_first_search_there_are_examples_of_what_can_be_searched_for(size: tuple[int, int]) -> None:
    async with browsing(POSTED, size) as d:
        text = await d.press("7")
        for form, example in (("text", "login:"), ("bytes", "7f 45 4c 46"), ("regex", "root:[^:]*:")):
            assert f" {form:8}{example}" in text
        text = await d.press("enter")  # an example is not a hit
        assert d.screen_key == "7"
        text = await d.fill("slash", "55 aa no such text")
        assert "login:" not in text
        assert "0 places" in text


@drives
async def test_the_keys_are_written_alike_and_the_letters_of_versions_are_explained() -> None:
    async with browsing(POSTED, (120, 50)) as d:
        text = await d.press("3", "question_mark")
        assert "ctrl+" not in text
        assert "Quit" not in text
        text = await d.press("end")
        assert "P page · D dup · X xbrle · Z xbzrle · C compressed · ! error · ~ warning · i note" in text


def test_of_a_page_in_a_block_with_a_long_name_the_address_is_shown() -> None:
    for cells in range(12, 40):
        name = page_name(b"0000:00:02.0/cirrus_vga.rom", 0x1234000, cells)
        assert cell_len(name) == cells
        assert name.rstrip().endswith(":0x1234000")


def test_lines_break_at_blanks_and_only_a_word_that_is_longer_than_a_line_is_cut() -> None:
    text = "payload: mem_size 132, page 12,423,168, dup 2,379"
    for width in range(14, 60):
        assert " ".join(line.strip() for line in wrapped(text, width)) == text
        assert all(len(line) <= width for line in wrapped(text, width))
    assert wrapped("at " + 25 * "x", 21, "") == ["at " + 18 * "x", 7 * "x"]


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
@drives
async def test_a_capture_without_a_record_says_so_on_every_screen(
    size: tuple[int, int], corpus: Callable[[str], bytes]
) -> None:
    async with browsing(corpus("cases/devices/xen-save-devices-state.bin"), size) as d:
        assert "the stream has no records" in d.text
        for key in "234":
            assert "this capture has no records · 6 shows its sections" in await d.press(key), key
        assert "no page was sent" in await d.press("H")
        assert "chosen record: none" in await d.press("6")
        assert "no RAM block to compare" in await d.press("8")
        for key in EVERY:
            text = await d.press(key)
            assert all(word not in text for word in ("read yet", "record yet", "working out", "record 0")), key


@drives
async def test_the_hottest_pages_of_blocks_with_long_names_can_be_told_apart(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus("cases/damage/hostile.bin")) as d:
        text = await d.press("H")
        assert all(f":{page:#x} " in text for page in range(0, 0x8000, 0x1000))


@drives
async def test_a_map_of_which_no_page_was_sent_does_not_count_from_one_to_none(corpus: Callable[[str], bytes]) -> None:
    for size in ((80, 24), (160, 50)):
        async with browsing(corpus("cases/damage/mapped-killed-10.0.bin"), size) as d:
            text = await d.press("4")
            assert "0 versions" not in text
            assert "no page was sent" in text
            assert "hottest pages" not in text


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
@drives
async def test_no_hint_and_no_value_is_cut_in_the_middle(size: tuple[int, int]) -> None:
    async with browsing(POSTED, size) as d:
        for keys in (("3",), ("2", "slash"), ("escape", "colon")):
            assert "…" not in await d.press(*keys), keys


@drives
async def test_that_there_are_no_findings_is_said_in_whole_clauses(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus("cases/damage/hostile.bin"), (120, 40)) as d:
        assert "…" not in d.text.replace(" …", "").replace("/…", "")  # the legend of the passes, too
        text = await d.press("5")
        assert "no findings" in text
        assert "…" not in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@drives
async def test_what_a_finding_says_is_not_cut_and_a_cause_without_pages_has_no_healed_ones(
    size: tuple[int, int], corpus: Callable[[str], bytes]
) -> None:
    for capture in (POSTED.read_bytes()[:700_000], corpus("cases/damage/mapped-killed-10.0.bin")):
        async with browsing(capture, size) as d:
            for keys in (("5",), ("o",)):
                text = await d.press(*keys)
                assert "…" not in text, keys
                assert "truncated" in text
                assert "healed" not in text
                assert "no page " not in text.replace("about no page", "")


@drives
async def test_a_capture_that_is_cut_names_the_record_that_is(tmp_path: Path) -> None:
    async with browsing(POSTED.read_bytes()[:700_000]) as d:
        assert "The capture ends inside record 2268" in d.text
        assert " 2268 " in await d.press("2", "end")


@drives
async def test_the_overview_says_what_shows_a_cause(corpus: Callable[[str], bytes]) -> None:
    data = corpus("qemu-2010/lm2dbg-x.bin")[:1672060] + corpus("qemu-2011-posted/dbg-vga-x.bin")[1576308:]
    async with browsing(data) as d:
        assert "spliced, certain: CONTINUE before a block was named" in " ".join(d.text.split())


@drives
async def test_no_page_is_said_to_be_right_where_the_verdict_does_not_know_it(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus("cases/damage/salvage_known_wrong.bin"), (160, 50)) as d:
        assert "which pages are" in d.text
        assert "no page is wrong" not in d.text
    async with browsing(POSTED, (160, 50)) as d:
        assert "no page is wrong" in d.text


@pytest.mark.parametrize(
    "name",
    ["cases/xbzrle/bad-number.bin", "cases/xbzrle/first-delta-zrun0.bin", "cases/xbzrle/xbzrle-stale-zero.bin",
     "cases/receivers/xbzrle-flags3.bin", "cases/receivers/page-flag400.bin", "cases/damage/one_byte.bin.gz",
     "cases/damage/stale-one-page.bin", "truncated.bin", "stale-base.bin", "xbzrle-wrong-base.bin", "posted-8m.bin"],
)  # fmt: skip
@drives
async def test_the_map_and_the_overview_call_those_pages_wrong_that_the_verdict_does(
    name: str, corpus: Callable[[str], bytes]
) -> None:
    data = corpus(name) if "/" in name else (SAMPLES / name).read_bytes()
    found = xbrletools.open(data).verdict()
    async with browsing(data, (160, 50)) as d:
        overview = d.text
        text = await d.press("4", "end")
        count = found.pages_wrong
        words = re.findall(r"! ([0-9,]+) (maybe wrong|wrong)", text)
        if count is None:
            assert all(word == "maybe wrong" for _, word in words)
            assert not re.search(r"[0-9] (pages? )?wrong at the end", overview)
        else:
            assert words == ([(str(count), "wrong")] if count else [])
            assert "maybe wrong" not in text + overview


@drives
async def test_a_page_is_called_healed_also_where_the_finding_that_says_so_is_left_out() -> None:
    async with browsing(SAMPLES / "stale-base.bin") as d:
        assert "not healed  4 pages, 4 findings" in await d.press("5")
        text = await d.press("s")
        assert "only errors" in text
        assert "not healed  4 pages, 4 findings" in text
        assert "not healed  10" not in text
