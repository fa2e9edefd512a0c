"""Every screen as it was drawn, at three sizes and in several looks. After a change: look, then --snapshot-update."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

import xbrletools
from tests.conftest import ROOT
from xbrletools.tui.app import Browser

from .driving import Driver, stale

#: Name, sample, and what leads there: keys, or a key and the text to enter at its prompt.
VIEWS: list[tuple[str, str, list[str | tuple[str, str]]]] = [
    ("overview", "posted-8m", []),
    ("records", "posted-8m", [("colon", "2085"), "2"]),
    ("filtered", "posted-8m", ["2", ("slash", "kind:xbrle len>1000"), "j"]),
    ("page", "posted-8m", [("colon", "2097"), "3", "d"]),
    ("both", "posted-8m", [("colon", "2097"), "3", "o", "o", "o", "d"]),
    ("zrun", "xbzrle-16m", [("colon", "4335"), "3", "d"]),
    ("map", "posted-8m", [("colon", "2300"), "4"]),
    ("versions", "xbzrle-16m", ["2", "end", "4", "o"]),
    ("findings", "posted-8m", ["5"]),
    ("fields", "posted-8m", [("colon", "2097"), "2", "f", "j", "j"]),
    ("section", "xbzrle-16m", ["6", "s", "s", "left_square_bracket"]),
    ("devices", "xbzrle-16m", ["6", ("slash", "env.cr[0]")]),
    ("search", "posted-8m", ["7", "o", ("slash", "55 aa"), "j"]),
    ("hot", "posted-8m", ["H", "j"]),
    ("waterfall", "posted-8m", ["4", "o", "o", "o", "o"]),
    ("compare", "posted-8m", ["8", "j", "j"]),
    ("keys", "posted-8m", ["3", "question_mark"]),
]
SIZES = [(80, 24), (120, 40), (160, 50)]
SIZE_IDS = [f"{width}x{height}" for width, height in SIZES]


def leading(app: Browser, path: list[str | tuple[str, str]]) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """What leads to a picture: keys, and pairs of a key and the text to enter at its prompt."""

    async def lead(pilot: Pilot[Any]) -> None:
        driver = Driver(app, pilot)
        await driver.settle()
        for step in path:
            await (driver.press(step) if isinstance(step, str) else driver.fill(*step))
        app.clear_notifications()
        await asyncio.sleep(0.2)  # what is worked out once the cursor rests
        await driver.settle()

    return lead


@pytest.mark.parametrize("size", SIZES, ids=SIZE_IDS)
@pytest.mark.parametrize(("view", "sample", "path"), VIEWS, ids=[v[0] for v in VIEWS])
def test_screen(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    view: str,
    sample: str,
    path: list[str | tuple[str, str]],
    size: tuple[int, int],
) -> None:
    monkeypatch.chdir(ROOT)
    app = Browser(xbrletools.open(f"samples/{sample}.bin"))

    assert snap_compare(app, terminal_size=size, run_before=leading(app, path))


@pytest.mark.parametrize("theme", ["xbrle-light", "xbrle-contrast"])
def test_theme(snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, theme: str) -> None:
    monkeypatch.chdir(ROOT)
    app = Browser(xbrletools.open("samples/posted-8m.bin"))
    app.theme = theme

    async def lead(pilot: Pilot[Any]) -> None:
        driver = Driver(app, pilot)
        await driver.settle()
        await driver.fill("colon", "2097")
        await driver.press("3", "d")

    assert snap_compare(app, terminal_size=(80, 24), run_before=lead)


#: The screens that are drawn in other colours, and without any.
LOOKED_AT = [v for v in VIEWS if v[0] not in ("filtered", "both", "zrun", "versions", "section", "keys")]


@pytest.mark.parametrize("size", SIZES, ids=SIZE_IDS)
@pytest.mark.parametrize("look", ["xbrle-light", "NO_COLOR"])
@pytest.mark.parametrize(("view", "sample", "path"), LOOKED_AT, ids=[v[0] for v in LOOKED_AT])
def test_look(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    view: str,
    sample: str,
    path: list[str | tuple[str, str]],
    look: str,
    size: tuple[int, int],
) -> None:
    monkeypatch.chdir(ROOT)
    if look == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    app = Browser(xbrletools.open(f"samples/{sample}.bin"))
    if look != "NO_COLOR":
        app.theme = look

    assert snap_compare(app, terminal_size=size, run_before=leading(app, path))


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
@pytest.mark.parametrize(("view", "path"), [("overview", []), ("page", ["enter", "v", "v"]), ("findings", ["5"])])
def test_wrong(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    view: str,
    path: list[str | tuple[str, str]],
    size: tuple[int, int],
) -> None:
    (tmp_path / "stale.bin").write_bytes(stale())
    monkeypatch.chdir(tmp_path)
    app = Browser(xbrletools.open("stale.bin"))

    assert snap_compare(app, terminal_size=size, run_before=leading(app, path))
