"""What waits until no key is pressed: screens that are made before they are asked for, and looks for garbage."""

import asyncio
import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic

from textual import events
from textual.app import App

LULL = 0.3  # seconds without a key
_PASSED_OVER = 5  # of so many looks at what was added all but one are left out while keys are pressed
_SOME = 3  # looks of the collector at young objects, after which one at all of them is worth while
_MANY = 12  # of those looks, after which one at all of them would halt the keys: so much is what was read, and stays
_BREATH = 0.15  # seconds without a key after which a screen is made ahead
_SOON = 0.05  # seconds until it is looked whether one can be made
_NICE = 10  # a thread beside gets about a tenth of what the one that draws gets, where both want a core (Linux)


def give_way() -> None:
    """Have the thread that calls this run after the one that draws. Linux alone gives threads different priorities."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class IdleApp(App[int]):
    """An app that works while the user does not, so that no key waits for it. In tests it leaves that.

    A look of the collector of garbage at all objects halts the keys for 20 to 80 ms. So it comes in a lull only, once
    all is read, and what is there then is not looked at again. ``settled`` is set when all was read, or reading has
    failed.
    """

    following = False  # whether what is read may be read anew, and what was is let go
    _passed_over = 0  # looks at what was added
    _pressed = 0.0  # when a key was pressed last
    _thresholds: tuple[int, int, int] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.settled = threading.Event()
        self.imported: list[str] = []  # the modes whose screens can be made at once

    def begin_to_idle(self) -> None:
        """Look for lulls from now on."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=give_way))
        if self.is_headless:
            return
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*self._thresholds[:2], 1 << 30)
        self.set_interval(LULL, self._use_lull)
        self._make_screens()

    def end_to_idle(self) -> None:
        """Leave the collector as it was."""
        if self._thresholds is not None:
            gc.set_threshold(*self._thresholds)

    async def on_event(self, event: events.Event) -> None:
        """Note when a key was pressed."""
        if isinstance(event, events.Key):
            self._pressed = monotonic()
        await super().on_event(event)

    def is_pressed(self, within: float = LULL) -> bool:
        """Whether a key was pressed just now."""
        return monotonic() - self._pressed < within

    def grow(self) -> None:
        """Show what was added since."""

    def tick(self) -> None:
        """Show what was added since, and less often while keys are pressed: they would wait for it."""
        self._passed_over = (self._passed_over + 1) % _PASSED_OVER if self.is_pressed() else 0
        if not self._passed_over:
            self.grow()

    def _use_lull(self) -> None:
        """Look for garbage, unless a key was pressed just now."""
        if not self._exit and not self.is_pressed() and gc.get_count()[2] >= _SOME:
            self.spare()

    def _make_screens(self) -> None:
        """Make the screens that were not shown yet, one after the other, each where no key was pressed just now."""
        if self._exit:
            return
        if not self.is_pressed(_BREATH):
            self.make_next_screen()
        if len(self._screen_stacks) < len(self._modes):
            self.set_timer(_SOON, self._make_screens)

    def make_next_screen(self) -> bool:
        """Make a screen that was not shown yet, and is imported. Gives false where there is none."""
        mode = next((m for m in self.imported if m not in self._screen_stacks), None)
        if mode is not None:
            self._init_mode(mode)
        return mode is not None

    def spare(self) -> None:
        """Look for garbage, and have the collector pass over what is left: it stays.

        While a capture is read, and where very much was made since the last time, nearly all of it is what was read and
        found. The collector then does not look.
        """
        if self._thresholds is not None:
            if self.following or (self.settled.is_set() and gc.get_count()[2] < _MANY):
                gc.collect()
            if not self.following:
                gc.freeze()
