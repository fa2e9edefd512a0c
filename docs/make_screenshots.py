"""Draws the pictures of docs/tui.md: `python docs/make_screenshots.py`.

Those of samples are always drawn. Those of real captures need the folder of captures (`XBRLE_CORPUS`, or
../shared/captures), and are left as they are without it. Of the Linux guest's memory, pictures show only what its
kernel calls itself.
"""

import asyncio
import lzma
import os
import sys
import tempfile
from pathlib import Path

from textual.widgets import Input

import xbrletools
from xbrletools.tui.app import Browser
from xbrletools.tui.themes import palette_of

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from drawing import drawing  # noqa: E402

#: What leads to a picture: keys. A pair is a key, and the text to enter at its prompt.
Path_ = list[str | tuple[str, str]]
STALE, LINUX = "qemu-2011-posted/dbg-stale-reject.bin.xz", "linux-guest/keep-xbzrle-192m.bin.xz"
LARGE, SMALL = (160, 50), (100, 30)

#: For each picture its capture, its size, and what leads there.
PICTURES: dict[str, tuple[str, tuple[int, int], Path_]] = {
    "overview": (STALE, LARGE, []),
    "narrow": (STALE, (80, 24), []),
    "why": (STALE, LARGE, ["enter"]),
    "side-by-side": (STALE, LARGE, ["enter", "v", "v"]),
    "findings": (STALE, LARGE, ["5", "down"]),
    "map": (STALE, LARGE, ["4"]),
    "linux-overview": (LINUX, LARGE, []),
    "linux-map": (LINUX, LARGE, ["4"]),
    "records": ("posted-8m", SMALL, ["2", ("slash", "kind:xbrle len>1000"), "j"]),
    "page": ("posted-8m", SMALL, [("colon", "2097"), "3", "d"]),
    "devices": ("xbzrle-16m", SMALL, ["6", ("slash", "env.cr[0]")]),
    "search": ("posted-8m", SMALL, ["7", "o", ("slash", "55 aa"), "j"]),
}


async def draw(name: str, capture: Path, size: tuple[int, int], path: Path_) -> None:
    """Draw one picture."""
    os.chdir(capture.parent)
    app = Browser(xbrletools.open(capture.name))
    async with app.run_test(size=size) as pilot:
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
        app.clear_notifications()
        await pilot.pause(0.2)
        colours = palette_of(app.theme)
        lines = app.screen._compositor.render_strips()
        picture = drawing(lines, size, colours.ink, colours.ground, f"xbrle tui {capture.name}")
        (ROOT / "docs" / "tui" / f"{name}.svg").write_text(picture, encoding="utf-8")


def found(capture: str, folder: Path) -> Path | None:
    """The file of a capture: a sample, or a real one, unpacked. None where that is not at hand."""
    if "/" not in capture:
        return ROOT / "samples" / f"{capture}.bin"
    packed = Path(os.environ.get("XBRLE_CORPUS", ROOT.parent / "shared" / "captures")) / capture
    file = folder / packed.stem
    if packed.exists() and not file.exists():
        file.write_bytes(lzma.decompress(packed.read_bytes()))
    return file if file.exists() else None


def main() -> None:
    """Draw them all, or those that are named."""
    (ROOT / "docs" / "tui").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = state
        os.environ.pop("COLORFGBG", None)
        for name, (capture, size, path) in PICTURES.items():
            file = found(capture, Path(state))
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            if file is None:
                sys.stderr.write(f"{name}: left as it is, {capture} is not at hand\n")
            else:
                asyncio.run(draw(name, file, size, path))


if __name__ == "__main__":
    main()
