"""Draws the pictures of docs/tui.md from the samples: `python docs/make_screenshots.py`."""

import asyncio
import os
import tempfile
from pathlib import Path

from textual.widgets import Input

import xbrletools
from xbrletools.tui.app import Browser

ROOT = Path(__file__).parent.parent

#: For each picture its sample, and the keys that lead there. A pair is a key, and the text to enter at its prompt.
PICTURES: dict[str, tuple[str, list[str | tuple[str, str]]]] = {
    "overview": ("posted-8m", []),
    "records": ("posted-8m", ["2", ("slash", "kind:xbrle len>1000"), "j"]),
    "page": ("posted-8m", [("colon", "2097"), "3", "d"]),
    "side-by-side": ("posted-8m", [("colon", "2097"), "3", "o", "o", "o", "d"]),
    "map": ("posted-8m", [("colon", "2300"), "4"]),
    "findings": ("posted-8m", ["5"]),
    "fields": ("posted-8m", [("colon", "2097"), "6", "j", "j"]),
}


async def draw(name: str, sample: str, path: list[str | tuple[str, str]]) -> None:
    """Draw one picture."""
    app = Browser(xbrletools.open(f"samples/{sample}.bin"))
    async with app.run_test(size=(100, 30)) as pilot:
        while not app.settled.is_set():
            await pilot.pause(0.01)
        for step in path:
            key, text = (step, None) if isinstance(step, str) else step
            await pilot.press(key)
            await pilot.pause()
            if text is not None:
                app.screen.query_one(Input).value = text
                await pilot.pause()
                await pilot.press("enter")
            await app.workers.wait_for_complete()
            await pilot.pause()
        drawing = app.export_screenshot(title=f"xbrle tui {sample}.bin")
        (ROOT / "docs" / "tui" / f"{name}.svg").write_text(drawing, encoding="utf-8")


def main() -> None:
    """Draw them all."""
    os.chdir(ROOT)
    (ROOT / "docs" / "tui").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        for name, (sample, path) in PICTURES.items():
            asyncio.run(draw(name, sample, path))


if __name__ == "__main__":
    main()
