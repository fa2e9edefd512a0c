"""Measures the browser in a real pseudo-terminal: first paint, key to paint on every screen, gaps of the event loop.

`python -m benchmarks.tui_keys` writes a capture of 10 million dup pages (90 MB) and one of 1.5 GB (pages, deltas, dup
pages), opens `xbrle tui` on each, and presses keys on every screen, while it still reads and at rest. Then it holds
PageDown in the list of records, and plays the map. The report is one JSON object a capture.

Key to paint is measured inside: from the moment the key's bytes are read to the end of the frame that shows it. A gap
is the time by which a timer of 5 ms comes late: for so long the event loop did nothing else. Both are given in
milliseconds on the clock and of the processor. The latter is what the thread that draws worked, which hangs less on
what else the machine does; `load` is the machine's when it ended. The next key is pressed once the one before was
painted, so none has to wait for another. Only PageDown held does not wait: it comes 30 times a second. A key that
changes nothing that is seen is not measured: it is one after which the event loop had nothing to do, and nothing to
paint, for `_QUIET` ticks, while nothing was worked out that the key began. The next frame is then one of what grows
meanwhile, or of what was asked for before. How many keys that are is `unseen`.
"""

import argparse
import asyncio
import compileall
import fcntl
import gc
import json
import os
import pty
import resource
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import xbrletools
from benchmarks import bounds
from xbrletools.cli.tui import FRAMES
from xbrletools.formats import qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

#: Keys of each screen: to move about, to change what is shown, and back.
KEYS = {
    "1": ["down", "pagedown", "tab", "pageup", "down"],
    "2": ["pagedown", "pagedown", "down", "end", "home"],
    "3": ["down", "pagedown", "right", "v", "o", "o", "left"],
    "4": ["down", "right", "o", "plus", "minus", "less_than_sign", "greater_than_sign"],
    "5": ["down", "pagedown", "down", "o"],
    "6": ["down", "s", "down"],
    "7": ["down"],
    "8": ["down"],
}
_BYTES = {
    "down": b"\x1b[B", "right": b"\x1b[C", "left": b"\x1b[D", "pagedown": b"\x1b[6~", "pageup": b"\x1b[5~",
    "home": b"\x1b[H", "end": b"\x1b[F", "tab": b"\t", "plus": b"+", "minus": b"-", "less_than_sign": b"<",
    "greater_than_sign": b">",
}  # fmt: skip
_TICK = 0.005
_BETWEEN = 0.05  # seconds from a key's frame to the next key
_QUIET = 4  # ticks of the event loop in time after which a key is taken to change nothing that is seen
_LOST = 30.0  # seconds after which the browser is taken not to have had a key
_HELD = 1 / 30  # seconds between two keys of one that is held


def stream(path: Path, records: int) -> None:
    """A v4 stream of dup pages over one block, swept again and again, in sections of 10000 records."""
    owner = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": 4}
    length = 1 << 30
    pages = length // ram.PAGE_SIZE
    each = 10_000
    with path.open("wb") as file:
        file.write(qevm.FileHeader.build({"version": 3}))
        file.write(bytes([SectionType.START]) + qevm.SectionStart.build(owner))
        file.write((length | Flag.MEM_SIZE).to_bytes(8, "big"))
        file.write(ram.BlockEntry.build({"idstr": b"pc.ram", "length": length}))
        file.write(int(Flag.COMPRESS).to_bytes(8, "big") + qevm.IdStr.build(b"pc.ram") + b"\0")
        record = np.dtype([("word", ">u8"), ("fill", "u1")])
        for start in range(1, records, each):
            numbers = np.arange(start, min(start + each, records))
            rows = np.zeros(len(numbers), record)
            rows["word"] = (numbers % pages) * ram.PAGE_SIZE | int(Flag.COMPRESS | Flag.CONTINUE)
            rows["fill"] = numbers & 0xFF
            file.write(rows.tobytes() + int(Flag.EOS).to_bytes(8, "big"))
            file.write(bytes([SectionType.PART]) + qevm.SectionPart.build({"section_id": 2}))
        file.write(int(Flag.EOS).to_bytes(8, "big") + b"\0")


def inside(path: str, report: str) -> None:
    """Run the browser with its clock."""
    from textual import events
    from textual._time import get_time

    from xbrletools import cli
    from xbrletools.tui import app

    started, painted = float(os.environ["BENCH_STARTED"]), int(os.environ["BENCH_PAINTED"])
    found: dict[str, Any] = {}
    delays: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    gaps: dict[str, list[tuple[float, float]]] = defaultdict(list)

    class Clocked(app.Browser):
        pressed: ClassVar[list[tuple[float, float, str]]] = []
        quiet = 0  # ticks of the timer, in time, while a key waits and nothing is to be painted
        unseen = 0
        _last: events.Event | None = None
        older: ClassVar[set[object]] = set()  # what was worked out when the key was pressed

        def _when(self) -> str:
            session = self.session
            return "rest" if self.settled.is_set() else "verify" if session.complete else "scan"

        def _display(self, screen: object, renderable: object) -> None:
            super()._display(screen, renderable)  # type: ignore[arg-type]
            if not found:
                found["first_paint_s"] = round(time.time() - started, 2)
                found["first_paint_cpu_s"] = round(time.process_time(), 2)
            now, playing = get_time(), self.shown_screen is not None and self.shown_screen.playing
            worked = time.thread_time()
            for begun, work, key in self.pressed:
                name = f"{self.current_mode} {'playing' if playing else self._when()}"
                delays[name].append((1000 * (now - begun), 1000 * (worked - work), key))
                os.write(painted, b".")
            self.pressed.clear()

        def _is_quiet(self) -> bool:
            """Whether nothing is to be painted, and nothing that the key began is worked out for it."""
            s = self.screen
            painting = s._layout_required or s._scroll_required or s._repaint_required or s._dirty_widgets
            began = (w for w in self.workers if w not in self.older)
            return not (painting or s._callbacks or any(w.is_running and w.node.screen is s for w in began))

        async def on_event(self, event: events.Event) -> None:
            work = time.thread_time()
            if isinstance(event, events.Key) and event is not self._last:
                self.older.clear()
                self.older.update(self.workers)
            await super().on_event(event)
            if isinstance(event, events.Key) and event is not self._last:  # it bubbles up to here a second time
                self.pressed.append((event.time, work, event.key))
                self._last = event

        async def _clock(self) -> None:
            while True:
                begun, work = time.perf_counter(), time.thread_time()
                await asyncio.sleep(_TICK)
                if self.settled.is_set() and "settled_s" not in found:
                    found["settled_s"] = round(time.time() - started, 1)
                    Path(report + ".settled").touch()
                late, worked = time.perf_counter() - begun - _TICK, time.thread_time() - work
                if not self._exit:  # closing the terminal takes a while
                    gaps[f"{self.current_mode} {self._when()}"].append((1000 * worked, 1000 * late))
                in_time = self.pressed and late < _TICK and self._is_quiet()
                self.quiet = self.quiet + 1 if in_time else 0
                if self.quiet >= _QUIET:
                    os.write(painted, b"." * len(self.pressed))
                    self.unseen += len(self.pressed)
                    self.pressed.clear()

        def on_mount(self) -> None:  # Textual calls that of the browser as well
            self.clock = asyncio.get_running_loop().create_task(self._clock())

        def grow(self) -> None:
            super().grow()
            if self.session.complete:
                found.setdefault("table_s", round(time.time() - started, 1))

        def on_unmount(self) -> None:
            found["records"], found["unseen"] = len(self.session), self.unseen

    app.Browser = Clocked  # type: ignore[misc]
    gc.collect()
    with suppress(SystemExit):
        cli.main(["tui", "--no-cache", path])
    found["delays"] = delays
    found["longest_gap_ms"] = {name: round(max(late for _, late in g), 1) for name, g in sorted(gaps.items())}
    found["longest_gap_cpu_ms"] = {name: round(max(worked for worked, _ in g), 1) for name, g in sorted(gaps.items())}
    found["peak_rss_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    found["load"] = os.getloadavg()[0]
    Path(report).write_text(json.dumps(found))


def _of(values: list[float], percentile: int) -> float:
    return round(float(np.percentile(values, percentile)), 1)


def _pooled(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several runs: all keys together, the longest of all gaps, and the median of what comes once."""
    delays: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    longest: dict[str, dict[str, float]] = {"longest_gap_ms": {}, "longest_gap_cpu_ms": {}}
    for run in runs:
        for name, taken in run.pop("delays").items():
            delays[name] += taken
        for kind, gaps in longest.items():
            for name, gap in run.pop(kind).items():
                gaps[name] = max(gap, gaps.get(name, 0.0))
    out: dict[str, Any] = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
    out["key_to_paint_ms"] = {
        name: {
            "keys": len(taken),
            "p50": _of([t for t, _, _ in taken], 50),
            "p95": _of([t for t, _, _ in taken], 95),
            "p95_cpu": _of([w for _, w, _ in taken], 95),
            "worst_cpu": [round(max(w for _, w, _ in taken), 1), max((w, key) for _, w, key in taken)[1]],
        }
        for name, taken in sorted(delays.items())
    }
    return out | {kind: dict(sorted(gaps.items())) for kind, gaps in longest.items()}


class _Pty:
    """The browser on a terminal of 160 columns and 50 lines. What the command sets for Textual is set before: it is
    imported here before the command runs.
    """

    def __init__(self, capture: Path, report: Path, folder: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        words = [sys.executable, "-m", "benchmarks.tui_keys", "--inside", str(capture), str(report)]
        environment = os.environ | {
            "BENCH_STARTED": str(time.time()), "XDG_STATE_HOME": folder, "TERM": "xterm-256color",
            "COLORTERM": "truecolor", "COLORFGBG": "15;0", "TEXTUAL_FPS": FRAMES,
        }  # fmt: skip
        self.painted, told = os.pipe()
        environment["BENCH_PAINTED"] = str(told)
        self.process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, pass_fds=(told,)
        )
        os.close(theirs)
        os.close(told)

    def wait(self, seconds: float) -> None:
        """Take in what is drawn."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.ours], [], [], left)[0]:
                try:
                    os.read(self.ours, 1 << 16)
                except OSError:
                    return

    def press(self, key: str) -> None:
        """Press a key, and wait for its frame."""
        os.write(self.ours, _BYTES.get(key, key.encode()))
        end = time.monotonic() + _LOST
        while (left := end - time.monotonic()) > 0:
            ready = select.select([self.ours, self.painted], [], [], left)[0]
            if self.ours in ready:
                try:
                    os.read(self.ours, 1 << 16)
                except OSError:  # the browser has ended
                    return
            if self.painted in ready:
                os.read(self.painted, 1 << 10)
                break
        self.wait(_BETWEEN)

    def hold(self, key: str, count: int) -> None:
        """Hold a key down."""
        for _ in range(count):
            os.write(self.ours, _BYTES[key])
            self.wait(_HELD)
        self.wait(_BETWEEN)

    def round(self) -> None:
        """Press the keys of every screen."""
        for screen, keys in KEYS.items():
            self.press(screen)
            self.wait(0.3)
            for key in keys:
                self.press(key)


def measure(capture: Path, rounds: int, folder: str) -> dict[str, Any]:
    """Open a capture, press keys until all is read and then some. Gives the report."""
    report = Path(folder) / "report.json"
    report.unlink(missing_ok=True)
    settled = Path(f"{report}.settled")
    settled.unlink(missing_ok=True)
    terminal = _Pty(capture, report, folder)
    terminal.wait(1.0)
    until = time.monotonic() + 3600
    while not settled.exists() and time.monotonic() < until and terminal.process.poll() is None:
        terminal.round()
    for _ in range(rounds):
        terminal.round()
    terminal.press("2")
    terminal.press("home")
    terminal.hold("pagedown", 300)
    terminal.press("4")
    terminal.press("home")
    terminal.press(" ")
    for _ in range(40):
        terminal.press("down")
        terminal.press("right")
    terminal.press(" ")
    terminal.press("1")
    terminal.press("q")
    while terminal.process.poll() is None and time.monotonic() < until:
        terminal.wait(0.2)
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def _report(capture: Path, chosen: argparse.Namespace, folder: str) -> None:
    runs = [measure(capture, chosen.rounds, folder) for _ in range(chosen.runs)]
    print(json.dumps(_pooled(runs), indent=1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--bytes", type=int, default=1_500_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--runs", type=int, default=1, help="how many times each capture is opened; all keys are pooled"
    )
    parser.add_argument("--folder", type=Path, help="where the captures are written, and kept")
    parser.add_argument("--only", choices=["records", "bytes"])
    parser.add_argument("--inside", nargs=2, metavar=("CAPTURE", "REPORT"))
    chosen = parser.parse_args()
    if chosen.inside:
        inside(*chosen.inside)
        return
    compileall.compile_dir(str(Path(xbrletools.__file__).parent), quiet=2)  # as what is installed is
    with tempfile.TemporaryDirectory() as folder:
        where = chosen.folder or Path(folder)
        many, large = where / "records.bin", where / "bytes.bin"
        if chosen.only != "bytes":
            if not many.exists():
                stream(many, chosen.records)
            _report(many, chosen, folder)
        if chosen.only != "records":
            if not large.exists():
                with large.open("wb") as file:
                    for piece, _ in bounds.Stream(bounds.REALISTIC, chosen.bytes).pieces():
                        file.write(piece)
            _report(large, chosen, folder)


if __name__ == "__main__":
    main()
