"""Keys at random on captures of every kind, sound or not: whatever is pressed, the browser stays."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input

import xbrletools
from tests.building import PAGE, zero
from tests.conftest import CORPUS, SAMPLES
from tests.scan.test_channels import main_channel
from tests.streams import StreamBuilder, noise
from xbrletools.tui.screens.base import CaptureScreen

from .driving import EVERY, POSTED, Driver, browsing, browsing_capture, drives, stale

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
KEYS = [
    *EVERY, "down", "up", "left", "right", "pagedown", "pageup", "home", "end", "tab", "shift+tab", "enter", "space",
    "escape", *"abcdfhijklmnorstvwxyABCDFLNW", "slash", "colon", "full_stop", "comma", "plus", "minus",
    "less_than_sign", "greater_than_sign", "left_square_bracket", "right_square_bracket",
    "left_curly_bracket", "right_curly_bracket", "question_mark", "backspace",
]  # fmt: skip
TEXTS = ["", "1", "@0x40", "0x1000", "pc.ram:0x0", "kind:page", "kind:", "55 aa", "(", "\\", "[", "no such", "9" * 40]
PRESSED = 40

_SOUND = StreamBuilder(flags=3).page(0, noise(1)).part().page(PAGE, noise(2)).bytes()
MADE: dict[str, Callable[[], bytes]] = {
    "stale": stale,
    "empty memory": lambda: StreamBuilder(flags=3).bytes(),
    "no blocks": lambda: StreamBuilder({}).bytes(),
    "cut in a record": lambda: POSTED.read_bytes()[:500_000],
    "cut in the head": lambda: POSTED.read_bytes()[:60],
    "bytes overwritten": lambda: _SOUND[:200] + b"\xff" * 64 + _SOUND[264:],
    "hostile names": lambda: StreamBuilder({b"\x1b[2J[bold]\xff": PAGE, "\u202eevil".encode(): PAGE}).bytes(),
    "a main channel alone": lambda: main_channel(zero(2 * PAGE, b"pc.ram")),
}
FILES = [p.name for p in sorted(SAMPLES.iterdir()) if p.suffix in (".bin", ".xz", ".save") and "truth" not in p.name]
CASES = [
    "damage/hostile.bin", "damage/mapped-killed-10.0.bin.xz", "damage/one_byte.bin.gz", "damage/stale-one-page.bin",
    "devices/desc-short.bin", "devices/device-footer-wrong.bin", "devices/xen-save-devices-state.bin",
    "devices/early-section-before-ram-11.1.head.bin", "multifd/mfd-devstate.main", "wrappers/offset4k.bin",
    "xbzrle/first-delta-zrun0.bin", "physical/dimm.bin",
]  # fmt: skip


async def play(d: Driver, seed: str, count: int = PRESSED) -> None:
    """Press keys at random, and fill what asks for text. The bar on top must stay, and nothing may be raised."""
    chance = random.Random(seed)
    pressed: list[str] = []
    for _ in range(count):
        key = chance.choice(KEYS)
        pressed.append(key)
        await d.pilot.press(key)
        if isinstance(d.app.focused, Input):
            d.app.focused.value = chance.choice(TEXTS)
            pressed.append(repr(d.app.focused.value))
            await d.pilot.press(chance.choice(["enter", "escape", "tab"]))
        assert d.app.fault is None, pressed
    while not isinstance(d.app.screen, CaptureScreen):
        await d.pilot.press("escape")
    await d.settle()
    assert d.app.fault is None, pressed
    for key in EVERY:
        if isinstance(d.app.focused, Input):
            await d.pilot.press("escape")
        await d.press(key)
        assert d.text.strip(), (key, pressed)
    assert d.app.fault is None, pressed


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", MADE)
@drives
async def test_made_up_captures(name: str, size: tuple[int, int]) -> None:
    async with browsing(MADE[name](), size, read_only=True) as d:
        await play(d, f"{name} {size}")


@pytest.mark.parametrize("name", FILES)
@drives
async def test_samples(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if len(name) % 2:
        monkeypatch.setenv("NO_COLOR", "1")
    size = SIZES[len(name) % len(SIZES)]
    with xbrletools.open(SAMPLES / name) as capture:
        async with browsing_capture(capture, size, read_only=True) as d:
            await play(d, name, PRESSED // 2)


@pytest.mark.parametrize("name", CASES)
@drives
async def test_captures_that_failed_once(name: str) -> None:
    path: Path = CORPUS / "cases" / name
    if not path.exists():
        pytest.skip("the captures are not here")
    size = SIZES[len(name) % len(SIZES)]
    with xbrletools.open(path) as capture:
        async with browsing_capture(capture, size, read_only=True) as d:
            await play(d, name)
