"""Opens the browser on a capture and ends once its first frame is drawn: `python -m benchmarks.paint CAPTURE`."""

import asyncio
import os
import sys

import xbrletools
from xbrletools.tui.app import Browser


class _Painted(Browser):
    def _display(self, screen: object, renderable: object) -> None:
        super()._display(screen, renderable)  # type: ignore[arg-type]
        os.write(sys.__stdout__.fileno(), b"painted")  # type: ignore[union-attr]
        os._exit(0)


async def _paint(path: str) -> None:
    async with _Painted(xbrletools.open(path, cache=False)).run_test(size=(160, 50)):
        pass


asyncio.run(_paint(sys.argv[1]))
