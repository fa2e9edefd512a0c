"""What a user meets on every screen: help in a sentence, a theme that stays, dialogs that say what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Input

import xbrletools
from tests.building import PAGE, patterned, zero
from tests.conftest import SAMPLES
from tests.scan.test_channels import Packets, main_channel
from xbrletools.analysis.stats import Tally
from xbrletools.tui.conclusion import clauses, shortened
from xbrletools.tui.places import SOME, WRONG
from xbrletools.tui.screens.dialogs import KeyList
from xbrletools.tui.screens.names import FURTHER, SCREENS
from xbrletools.tui.session import Session
from xbrletools.tui.story import over_stream
from xbrletools.tui.themes import THEMES, palette_of
from xbrletools.tui.widgets.explanation import Explanation
from xbrletools.tui.widgets.filmbar import FilmBar
from xbrletools.tui.widgets.findinglist import FindingList
from xbrletools.tui.widgets.heat import Heat
from xbrletools.tui.widgets.hexview import HexView
from xbrletools.tui.widgets.lines import Caption

from .driving import EVERY, POSTED, browsing, browsing_capture, drives, stale

STALE = "qemu-2011-posted/dbg-stale-reject.bin"


@drives
async def test_the_keys_of_a_screen_begin_with_a_sentence_on_what_it_is_for() -> None:
    async with browsing(POSTED) as d:
        for screen in (*SCREENS, *FURTHER):
            text = await d.press(screen.key, "question_mark")
            assert isinstance(d.app.screen, KeyList)
            shown = d.app.screen._about
            assert shown.endswith(".")
            assert any(line.strip("│ ").startswith(shown.split(" ")[0]) for line in text.splitlines())
            await d.press("escape")


@drives
async def test_the_theme_is_remembered_and_chosen_by_the_background_before(
    state_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dark, light, contrast = (theme.name for theme in THEMES)
    for background, theme in (("", dark), ("15;0", dark), ("0;15", light), ("0;default;7", light)):
        monkeypatch.setenv("COLORFGBG", background)
        async with browsing(POSTED) as d:
            assert d.app.theme == theme, background
    async with browsing(POSTED) as d:
        await d.press("t")
        assert d.app.theme == contrast
    async with browsing(POSTED) as d:
        assert d.app.theme == contrast
    (state_home / "xbrletools" / "theme").write_text("no such theme")
    async with browsing(POSTED) as d:
        assert d.app.theme == light


@drives
async def test_the_palette_names_keys_as_they_are_typed() -> None:
    async with browsing(POSTED) as d:
        for screen in SCREENS:
            await d.press(screen.key)
            commands = list(d.app.get_system_commands(d.app.screen))
            titles = [c.title for c in commands]
            assert len(titles) == len(set(titles))
            assert not {"Screenshot", "Keys", "Theme", "Maximize"} & set(titles)
            assert "Quit" in titles
            keys = [c.help for c in commands if c.help.startswith("key ")]
            assert "key ?" in keys
            assert not [k for k in keys if "_" in k or k.count(" ") > 1], keys


@drives
async def test_a_file_that_is_there_is_named_in_the_dialog_which_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with browsing(POSTED) as d:
        await d.fill("colon", "2097")
        await d.press("3", "e", "enter")
        assert (tmp_path / "pc.ram-0x209000-r2097.bin").stat().st_size == PAGE
        await d.press("e")
        assert d.app.screen.query_one(Input).value == "pc.ram-0x209000-r2097-2.bin"
        d.app.screen.query_one(Input).value = "pc.ram-0x209000-r2097.bin"
        await d.pilot.pause()
        text = await d.press("enter")
        assert "exists already, enter another name" in text
        assert d.app.screen.is_modal
        d.app.screen.query_one(Input).value = "no/such/folder"
        await d.pilot.pause()
        text = await d.press("enter")
        assert "! no/such/folder: No such file or directory" in text
        assert d.app.screen.is_modal
        await d.press("escape")
        assert not d.app.screen.is_modal
        (tmp_path / "memory-2097").mkdir()
        (tmp_path / "memory-2097" / "x").write_text("x")
        await d.press("E")
        assert d.app.screen.query_one(Input).value == "memory-2097-2"


@drives
async def test_the_first_wrong_record_and_why_take_two_keys_and_both_views_of_its_page_two_more(
    corpus: Callable[[str], bytes],
) -> None:
    async with browsing(corpus(STALE)) as d:
        text = await d.press("enter")
        assert d.record == 12280
        assert "pc.ram:0x30c000 record 12280 xbrle" in text
        assert "stale-base: the sender's base is the page of record 11680" in text
        text = await d.press("v", "v")
        view = d.widget(HexView, "#bytes")
        assert view.left is not None
        assert (view.data != view.left[0]).sum() == 4081


@drives
async def test_the_head_of_the_overview_and_of_the_findings_say_the_same_number(corpus: Callable[[str], bytes]) -> None:
    capture = xbrletools.open(corpus(STALE))
    async with browsing_capture(capture, (160, 50)) as d:
        assert d.text.splitlines()[0].startswith(" ✗ CORRUPT  32 pages wrong at the end")
        assert "■ base 11680 → □ dup 11974 → ✗ delta 12280 → ✗ never healed" in d.text
        assert " 32 pages wrong at the end, at most 36 at once" in d.text
        text = await d.press("5")
        assert "- not healed  32 pages, 303 findings" in text
        assert "healed later, or only odd  32 pages, 295" in text
        listed = d.widget(FindingList)
        await d.press("F")
        assert "healed later, or only odd" not in d.text
        assert listed.finding(0) is not None
        await d.press("F")


@drives
async def test_a_finding_is_explained_by_two_lanes_the_sums_and_the_first_bytes_that_differ(
    corpus: Callable[[str], bytes],
) -> None:
    async with browsing(corpus(STALE), (160, 50)) as d:
        text = await d.press("5", "down")
        explanation = d.widget(Explanation)
        assert explanation.finding is not None
        assert explanation.finding.record == 12280
        lines = "\n".join("".join(t for t, _ in line) for line, _ in explanation.explained)
        assert "base" in text
        assert " sender   ●━" in lines
        assert "sums: receiver 0x3, sender 0x77f43" in lines
        assert "4,081 of 4,096 bytes differ between the ends" in lines
        assert "receiver    0 00 00" in lines
        assert " the page's 21 records" in lines


@drives
async def test_filters_that_leave_nothing_say_so() -> None:
    async with browsing(POSTED) as d:
        text = await d.press("5", "F")
        assert "no finding lasts to the end: F shows all" in text
        await d.press("F")
        text = await d.fill("slash", "nothing like it")
        assert "0 shown: with nothing like it" in text
        assert "no finding fits · Escape: any words" in text
        text = await d.press("enter")
        assert "this line does not lead to a record" in d.messages[-1]
        await d.press("escape")
        assert "device-tail-unchecked" in d.text


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 44)])
@drives
async def test_filters_of_every_kind_name_the_keys_that_leave_them(size: tuple[int, int]) -> None:
    async with browsing(POSTED, size) as d:
        await d.press("5", "F", "s")
        text = await d.fill("slash", "nothing like it")
        assert "no finding fits · Escape: any words · s: any severity · F:" in text


@drives
async def test_only_what_lasts_counts_only_what_is_shown() -> None:
    async with browsing(stale(), (160, 50)) as d:
        text = await d.press("5")
        assert "stale-base (certain)  4 findings" in text
        assert "not healed  1 page, 1 finding" in text
        text = await d.press("F")
        assert "stale-base (certain)  2 findings" in text
        assert "1 shown: wrong at the end" in text
        assert "not healed  1 page, 1 finding" in text


@drives
async def test_the_overview_says_once_what_is_wrong(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus("cases/xbzrle/bad-number.bin"), (100, 40)) as d:
        assert d.text.count("The length of a run in a delta was changed (payload-run)") == 1
        assert "Cause: payload-run, certain" in " ".join(d.text.split())


@drives
async def test_findings_without_a_page_are_not_said_to_have_pages() -> None:
    async with browsing(POSTED.read_bytes()[:500_000]) as d:
        text = await d.press("5")
        assert "errors  1 finding" in text
        assert "0 pages" not in text


def test_a_line_over_the_stream_is_red_where_a_page_stays_wrong_and_amber_where_all_were_healed() -> None:
    colours = palette_of(THEMES[0].name)
    line = over_stream(np.array([[11, 15], [41, -1]]), 100, 10, colours)
    assert "".join(text for text, _ in line) == "·━··━━━━━━"
    shades = [style.color.name for text, style in line for _ in text]  # type: ignore[union-attr]
    assert shades[1] == colours.healed
    assert shades[4:] == [colours.wrong] * 6


@drives
async def test_a_damaged_capture_offers_to_read_on_after_the_damage() -> None:
    data = bytearray(POSTED.read_bytes())
    at = int(xbrletools.open(POSTED).records.columns.offset[1000])
    data[at : at + 8] = b"\xff" * 8
    expected = xbrletools.open(bytes(data), salvage=True)
    async with browsing(bytes(data)) as d:
        before = len(d.app.session)
        screen = d.app.screen
        pane = screen.panes[0]
        row = next(i for i, (_, where) in enumerate(pane._entries) if where is not None and where.mode == "salvage")
        pane.cursor = row
        await d.press("enter")
        assert d.app.session.capture.salvaged
        assert len(d.app.session) == len(expected.records) > before


@drives
async def test_a_main_channel_alone_asks_for_its_channels(tmp_path: Path) -> None:
    one = Packets(0).packet(0, sync=True).packet(2, [(0, patterned(1)), (PAGE, patterned(2))], sync=True)
    other = tmp_path / "channel one"
    other.write_bytes(one.packet(3, sync=True).bytes())
    async with browsing(main_channel(zero(2 * PAGE, b"pc.ram"))) as d:
        pane = d.app.screen.panes[0]
        row = next(i for i, (_, where) in enumerate(pane._entries) if where is not None and where.mode == "channels")
        pane.cursor = row
        await d.press("enter")
        d.app.screen.query_one(Input).value = str(tmp_path / "no such file")
        await d.pilot.pause()
        assert "there is no file" in await d.press("enter")
        d.app.screen.query_one(Input).value = f"'{other}'"
        await d.pilot.pause()
        await d.press("enter")
        assert d.app.session.capture.channels is not None
        assert any(label == "channel" for label, _ in d.app.session.about)


@pytest.mark.parametrize("size", [(60, 20), (60, 16)])
@drives
async def test_sixty_columns_show_the_screens_names_and_the_key_for_help(size: tuple[int, int]) -> None:
    async with browsing(stale(), size) as d:
        for screen in SCREENS:
            text = await d.press(screen.key)
            lines = text.splitlines()
            assert f"[{screen.key} " in lines[1]
            assert "? keys" in lines[-1]
            assert lines[0].startswith(" ✗ CORRUPT")


@drives
async def test_while_it_reads_the_overview_says_what_runs_and_what_is_done() -> None:
    async with browsing(POSTED, (100, 40)) as d:
        session = d.app.session
        done = "adding up, describing, verifying, the sender's fingerprint, guest and places of memory, bookmarks"
        assert ", ".join(name for name, _, end in session.steps if end is not None) == done
        assert session.running is None
        session.begin_step("verifying")
        d.app.screen.grow()
        await d.pilot.pause()
        assert "verifying …" in d.text


@drives
async def test_nothing_that_info_says_is_missing_from_the_overview() -> None:
    from .infowords import info_lines

    async with browsing(POSTED, (160, 50)) as d:
        told = "\n".join(f"{label} {value}" for label, value in d.app.session.about)
        for label, value in info_lines(POSTED):
            assert f"{label} {value}" in told, label


def test_a_pass_that_comes_while_a_screen_counts_passes_does_not_disturb_it() -> None:
    session = Session(xbrletools.open(POSTED))
    for _ in session.capture.load(session.begin):
        session.read()
    counting = iter(session.stats.passes)
    next(counting)
    session._sums.passes[99, 99] = Tally()  # what the thread that reads does
    assert len(list(counting)) == len(session.stats.passes) - 1
    assert (99, 99) not in session.stats.passes
    session.read()
    assert (99, 99) in session.stats.passes


@pytest.mark.parametrize(
    ("name", "at_80", "at_100"),
    [
        ("truncated", "The capture ends inside record 293", "The capture ends inside record 293"),
        ("multifd", "Only pages of zeros are here", "Only pages of zeros are here"),
        ("xbzrle-wrong-base", "3 pages of pc.ram may be wrong at the end", "3 pages of pc.ram may be wrong at the end"),
        ("posted-8m", "every stated sum holds (228)", "every stated sum holds (228)"),
    ],
)
def test_the_conclusion_on_top_is_never_cut_in_the_middle_of_a_clause(name: str, at_80: str, at_100: str) -> None:
    found = xbrletools.open(SAMPLES / f"{name}.bin").verdict()
    assert [clauses(found, room)[0] for room in (66, 86)] == [at_80, at_100]


def test_a_sentence_is_shortened_where_a_part_of_it_ends() -> None:
    text = "one thing, and another: a third; a fourth"
    cuts = [shortened(text, room) for room in (99, 41, 40, 30, 22, 3)]
    parts = ["one thing", "one thing, and another", "one thing, and another: a third", text]
    assert cuts == [parts[i] for i in (3, 3, 2, 1, 1, 0)]


@drives
async def test_the_moments_that_are_compared_stand_on_the_film() -> None:
    async with browsing(POSTED, (120, 40)) as d:
        await d.fill("colon", "500")
        await d.press("a")
        await d.fill("colon", "1500")
        await d.press("A", "2")
        film = d.widget(FilmBar)
        rows, marks = len(d.app.session), {}
        line = "".join(text for text, _ in film.line(0, 120))
        for name, number in (("A", 500), ("B", 1500)):
            row = d.app.session.table.row_of(number)
            marks[name] = 3 + row * film.room // rows
        assert line[marks["A"]] == "A"
        assert line[marks["B"]] in ("B", "┃")
        await d.fill("colon", "1")
        line = "".join(text for text, _ in film.line(0, 120))
        assert (line[marks["A"]], line[marks["B"]]) == ("A", "B")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 50)])
@drives
async def test_what_labels_something_never_has_a_scroll_bar(size: tuple[int, int]) -> None:
    async with browsing(stale(), size) as d:
        await d.press("enter")
        for key in EVERY:
            await d.press(key)
            assert not [w for w in d.app.screen.query(Caption) if w.show_vertical_scrollbar]


@drives
async def test_a_map_below_the_findings_shows_where_they_lie_and_which_pages_are_wrong_at_the_end() -> None:
    capture = xbrletools.open(stale())
    found = capture.verdict()
    async with browsing_capture(capture, (160, 50)) as d:
        text = await d.press("5")
        assert "Where they lie in pc.ram" in text
        values = d.widget(Heat).values
        assert np.flatnonzero(values == WRONG).tolist() == found.wrong.tolist() == [0]
        assert np.flatnonzero(values == SOME).tolist() == [1, 2]  # one was healed, and from one on some were never sent
        listed = d.widget(FindingList)
        for row, finding in enumerate(map(listed.finding, range(listed.rows))):
            listed.cursor = row
            await d.settle()
            assert finding.page is None or d.widget(Heat).page == finding.page // PAGE
    async with browsing_capture(xbrletools.open(stale()), (120, 40)) as d:
        assert "Where they lie" not in await d.press("5")


@drives
async def test_nothing_is_in_colour_where_no_colours_are_wanted_and_the_film_has_a_mark_for_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with browsing(stale(), (120, 40)) as d:
        for key in EVERY:
            await d.press(key)
            for strip in d.app.screen._compositor.render_strips():
                for segment in strip:
                    for colour in (segment.style.color, segment.style.bgcolor) if segment.style is not None else ():
                        assert colour is None or colour.triplet is None or len(set(colour.triplet)) == 1, (key, segment)
            assert "!" in d.text.splitlines()[-3]


def test_what_loads_with_a_capability_is_not_said_to_load_nowhere() -> None:
    found = xbrletools.open(SAMPLES / "mapped-ram.bin.xz", cache=False).verdict()
    assert clauses(found, 60)[-1] == "needs mapped-ram on the destination"


def test_what_perhaps_loads_is_not_said_to_load_nowhere() -> None:
    found = xbrletools.open(SAMPLES / "xbzrle-16m.bin", cache=False).verdict()
    none = {name: replace(told, loads=False) for name, told in found.receivers.items()}
    assert clauses(replace(found, receivers=none), 60)[-1] == "no receiver loads it"
    perhaps = none | {name: replace(none[name], loads=None) for name in ("qemu-10.0", "qemu-11.1")}
    assert clauses(replace(found, receivers=perhaps), 60)[-1] == "loads perhaps: QEMU 10.0 and 11.1"
