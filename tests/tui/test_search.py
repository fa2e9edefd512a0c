"""Searching memory: what is found, when it came and went, and that nothing waits for it."""

import asyncio
import random
import time
from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Input

import xbrletools
from tests.conftest import CORPUS
from tests.streams import PAGE, StreamBuilder, noise
from tests.tui.driving import POSTED, browsing, drives
from xbrletools.analysis.lives import search_all
from xbrletools.analysis.pattern import Form, Pattern
from xbrletools.memory import versions
from xbrletools.memory.replay import View
from xbrletools.tui import searching
from xbrletools.tui.searching import Wanted, scene, search
from xbrletools.tui.widgets.hexview import ByteMark, HexView
from xbrletools.tui.widgets.hitlist import HitList

SIZES = [(80, 24), (120, 40), (160, 50)]


def with_text(page: np.ndarray, at: int, text: bytes) -> np.ndarray:
    """A page that holds a text."""
    out = page.copy()
    out[at : at + len(text)] = np.frombuffer(text, np.uint8)
    return out


def secrets() -> bytes:
    """Four records: a secret comes with 1 and goes with 3, another comes with 2 and stays."""
    first, second = with_text(noise(1), 100, b"token=alpha"), with_text(noise(2), 4000, b"token=beta")
    b = StreamBuilder(flags=3).page(0, first).page(PAGE, second).part()
    return b.page(0, noise(3)).page(2 * PAGE, noise(4)).bytes()


@pytest.mark.parametrize("size", SIZES)
@drives
async def test_when_a_string_came_and_went_is_two_keys_and_the_string_away(size: tuple[int, int]) -> None:
    async with browsing(secrets(), size) as d:
        await d.press("slash")  # on the overview: the first key
        assert d.app.current_mode == "search"
        text = await d.press(*"token", "equals_sign", "enter")  # the string, and the second
        lines = [line.split() for line in text.splitlines() if " token=" in line and "0x" in line]
        assert [line[:4] for line in lines] == [["0x64", "token=", "1", "3"], ["0x1fa0", "token=", "2", "—"]]
        assert "2 places · 1 at the end · 1 gone before it" in text
        assert "╳" in "".join(lines[0])  # noqa: RUF001
        text = await d.press("F")
        assert "0x1fa0" not in text
        assert "0x64" in text
        text = await d.press("enter")
        assert (d.app.current_mode, d.record, d.app.session.page) == ("page", 1, (0, 0))
        view = d.widget(HexView, "#bytes")
        assert view.at == 100
        assert np.flatnonzero(view.marks == ByteMark.FOUND).tolist() == list(range(100, 106))
        await d.press("7")
        assert d.widget(HitList).count() == 1  # what was found is still there


@drives
async def test_seven_leads_there_from_every_screen_and_three_keys_do() -> None:
    async with browsing(secrets()) as d:
        for key in "1234568"[:6]:
            await d.press(key, "7")
            assert d.app.current_mode == "search"
        text = await d.fill("slash", "token=beta")
        assert [line.split()[2] for line in text.splitlines() if "0x1fa0" in line] == ["2"]


@drives
async def test_then_and_now_stand_side_by_side_and_only_then_is_marked_where_it_went() -> None:
    async with browsing(secrets(), (160, 50)) as d:
        await d.press("7")
        text = await d.fill("slash", "token=")
        assert "with record 1 · ram:0x0" in text or "with record 1" in text
        assert "gone with record 3" in text
        view = d.widget(HexView)
        then, known = view.left
        assert then[100:111].tobytes() == b"token=alpha"
        assert known.all()
        assert view.data.tobytes() == noise(3).tobytes()
        assert (view.left_marks[100:106] == ByteMark.FOUND).all()
        assert not (view.marks == ByteMark.FOUND).any()
        await d.press("down")
        assert (view.marks[4000:4006] == ByteMark.FOUND).all()


@pytest.mark.parametrize(
    ("form", "text", "found"),
    [
        (Form.TEXT, "token=", 2),
        (Form.BYTES, "74 6f:6b-656e 3d", 2),
        (Form.REGEX, "token=[a-z]+", 2),
        (Form.UTF16, "token", 0),
    ],
)
@drives
async def test_each_form_finds_what_grep_finds(form: Form, text: str, found: int) -> None:
    async with browsing(secrets()) as d:
        await d.press("7", "slash")
        for _ in range(list(Form).index(form)):
            await d.press("down")
        d.widget(Input).value = text
        shown = await d.press("enter")
        capture = xbrletools.open(secrets())
        expected = list(search_all(capture.stream, form.pattern(text)))
        assert list(d.widget(HitList).found.hits if expected else ()) == expected
        assert f"{found} place{'' if found == 1 else 's'}" in shown
        if expected:
            await d.press("v")
            now = d.widget(HitList).found
            assert [h.offset for h in now.hits] == [h.offset for h in expected if h.vanished is None]
            assert now.writers.tolist() == [2]


@pytest.mark.parametrize("read_only", [False, True])
@drives
async def test_rules_find_what_yara_finds_but_not_for_others(tmp_path: Path, read_only: bool) -> None:
    pytest.importorskip("yara_x", reason="yara-x is not installed (extra yara)")
    (tmp_path / "r.yar").write_text('rule secret { strings: $token = "token=" condition: $token }')
    async with browsing(secrets()) as d:
        d.app.read_only = read_only
        await d.press("7", "slash")
        for _ in range(list(Form).index(Form.YARA)):
            await d.press("down")
        d.widget(Input).value = str(tmp_path / "r.yar")
        shown = await d.press("enter")
        if read_only:
            assert "rules are files here" in shown
            return
        assert "2 places" in shown and "secret:$token token=" in shown
        expected = list(search_all(xbrletools.open(secrets()).stream, Form.TEXT.pattern("token=")))
        assert [(h.offset, h.appeared, h.vanished) for h in d.widget(HitList).found.hits] == [
            (h.offset, h.appeared, h.vanished) for h in expected
        ]


@drives
async def test_what_cannot_be_searched_for_is_said_and_the_screen_stays() -> None:
    async with browsing(secrets()) as d:
        await d.press("7", "slash", "down", "down")
        d.widget(Input).value = "token=("
        assert "is not a regular expression" in await d.press("enter")
        d.widget(Input).value = ""
        await d.press("enter")
        assert d.app.current_mode == "search"


@drives
async def test_an_expression_that_takes_for_ever_ends_with_a_reason_and_is_not_called_whole() -> None:
    page = np.full(PAGE, ord("a"), np.uint8)
    page[-1] = ord("b")
    data = StreamBuilder(flags=3).page(0, page).bytes()
    async with browsing(data) as d:
        await d.press("7", "slash", "down", "down")
        d.widget(Input).value = "(a+)+$"
        assert "takes more than" in await d.press("enter")
        assert not d.widget(HitList).found.whole


@drives
async def test_escape_stops_a_search_and_what_was_found_is_not_called_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "BATCH", 16 * PAGE)
    monkeypatch.setattr(searching, "_EVERY", 0.0)
    slow = searching.AllVersions.__iter__

    def slowly(self: searching.AllVersions):
        for step in slow(self):
            time.sleep(0.02)
            yield step

    monkeypatch.setattr(searching.AllVersions, "__iter__", slowly)
    async with browsing(POSTED) as d:
        await d.press("7")
        await d.pilot.press("slash")
        d.widget(Input).value = "U"
        await d.pilot.press("enter")
        hits = d.widget(HitList)
        while hits.found is None:
            await asyncio.sleep(0.01)
        assert not hits.found.ended  # hits stream in
        assert "Esc stops" in d.text
        await d.pilot.press("escape")
        await d.settle()
        assert hits.found.ended
        assert not hits.found.whole
        assert "stopped at record" in d.text
        assert "there by now" in d.text
        capture = xbrletools.open(POSTED)
        upto = hits.found.upto
        assert upto < capture.records.last_number
        assert (
            list(hits.found.hits)
            == list(search_all(capture.stream, Pattern.of_text("U"), upto))[: len(hits.found.hits)]
        )


def test_hits_are_those_of_the_engine_and_too_many_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = xbrletools.open(POSTED)
    for text in ("SeaBIOS", "m", "no such text"):
        wanted = Wanted(Form.TEXT, text, True, False, None, View.RECEIVER, None)
        *_, last = search(capture.stream, wanted, lambda: False)
        expected = list(search_all(capture.stream, Pattern.of_text(text)))
        assert list(last.hits) == expected[: searching.HITS_MAX]
        assert (last.total, last.gone) == (len(expected), sum(h.vanished is not None for h in expected))
        assert last.whole
    monkeypatch.setattr(searching, "MATCHES_MAX", 50)
    *_, last = search(capture.stream, Wanted(Form.BYTES, "00", True, False, None, View.RECEIVER, None), lambda: False)
    assert (last.ended, last.whole) == (True, False)
    assert "more than 50 matches" in last.trouble
    *_, last = search(capture.stream, Wanted(Form.BYTES, "00", False, False, None, View.RECEIVER, None), lambda: False)
    assert "more than 50 matches" in last.trouble


@drives
async def test_what_is_found_cannot_control_the_terminal() -> None:
    text = b"x\x1b]0;evil\x07\xe2\x80\xaeZ"
    data = StreamBuilder(flags=3).page(0, with_text(noise(1), 7, text)).bytes()
    async with browsing(data, (160, 50)) as d:
        await d.press("7", "slash", "down", "down")
        d.widget(Input).value = "x.{1,20}Z"
        shown = await d.press("enter")
        assert "]0;evil" in shown
        assert not any(c in shown for c in "\x1b\x07\u202e")
        await d.press("y")
        assert not any(c in d.app.clipboard for c in "\x1b\x07\u202e")


@pytest.mark.parametrize("seed", range(3))
def test_the_scene_of_a_hit_holds_it_then(seed: int) -> None:
    capture = xbrletools.open(POSTED)
    hits = list(search_all(capture.stream, Pattern.of_regex("[a-zA-Z ]{9,}")))
    for hit in random.Random(seed).sample(hits, 10):
        what = scene(capture.stream, hit, None, View.RECEIVER)
        at = hit.offset - what.start
        assert what.then.data[at : at + len(hit.content)].tobytes() == hit.content
        still = what.now.data[at : at + len(hit.content)].tobytes() == hit.content
        assert still or hit.vanished is not None


@drives
async def test_the_secrets_of_a_linux_guest_that_were_gone_before_the_end_are_found() -> None:
    path = CORPUS / "linux-guest/keep-xbzrle-192m.bin.xz"
    if not path.is_file():
        pytest.skip("needs the corpus of real captures")
    async with browsing(path, (160, 50)) as d:
        await d.press("7")
        text = await d.fill("slash", "token=s3cr3t-cmdline")
        assert "3 gone before it" in text
        assert any(x.split()[:4] == ["0x7804391", "token=s3cr3t-cmdline", "49844", "51746"] for x in text.splitlines())


@pytest.mark.parametrize("size", SIZES)
@drives
async def test_the_bytes_of_each_hit_are_in_sight(size: tuple[int, int]) -> None:
    at = (3000, 0, 4000)
    b = StreamBuilder(flags=3)
    for i, place in enumerate(at):
        b.page(i * PAGE, with_text(noise(i), place, b"token=x"))
    async with browsing(b.bytes(), size) as d:
        await d.press("7")
        await d.fill("slash", "token=")
        view = d.widget(HexView, "#bytes")
        for place in at:
            first, end = view.sight
            assert view.at == place
            assert first <= place < end
            await d.press("down")


@drives
async def test_the_hottest_pages_stand_beside_the_hits_where_there_is_room() -> None:
    for size in SIZES:
        async with browsing(POSTED, size) as d:
            text = await d.press("7")
            assert ("Hottest pages" in text) is (size[0] == 160)
            if size[0] == 160:
                await d.press("tab", "tab", "down", "enter")
                hot = d.app.session.hot
                assert d.app.current_mode == "page"
                assert d.app.session.page == (int(hot.block[0]), int(hot.address[0]))
