"""Measures how fast the record list scrolls: 10 million records in a real terminal (tmux), with PageDown held.

`python benchmarks/tui_scroll.py` makes the stream (a table of 10 million dup pages, 90 MB), opens `xbrle tui` on it in
tmux, and reports first paint, time to the full table, key to paint in percentiles (while it scans, while it verifies,
and at rest), and the peak of resident memory. Key to paint is measured inside: from the moment the key's bytes are read
to the end of the frame that shows it.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from xbrletools.formats import qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag


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
    """Run the app with its clock, inside tmux."""
    from textual import events
    from textual._time import get_time

    from xbrletools import cli
    from xbrletools.tui import app

    started = float(os.environ["BENCH_STARTED"])
    found: dict[str, object] = {}
    delays: dict[str, list[float]] = {"scan": [], "verify": [], "rest": []}
    works: list[float] = []  # processor time of the thread that draws, which hangs less on what else the machine does

    class Clocked(app.Browser):
        pressed: ClassVar[list[float]] = []
        worked = 0.0

        def _display(self, screen: object, renderable: object) -> None:
            super()._display(screen, renderable)  # type: ignore[arg-type]
            if not found:
                found["first_paint"] = time.time() - started
                found["first_paint_cpu"] = time.process_time()
            if self.pressed:
                session = self.session
                during = "rest" if self.settled.is_set() else "verify" if session.complete else "scan"
                delays[during] += [get_time() - t for t in self.pressed]
                works.append(time.thread_time() - self.worked)
                self.pressed.clear()

        async def on_event(self, event: events.Event) -> None:
            paged = isinstance(event, events.Key) and event.key == "pagedown"
            if paged and not self.pressed:
                self.worked = time.thread_time()
            await super().on_event(event)
            if paged:
                self.pressed.append(event.time)

        def grow(self) -> None:
            super().grow()
            if self.session.complete:
                found.setdefault("full_table", time.time() - started)

        def on_unmount(self) -> None:
            super().on_unmount()
            found["records"] = len(self.session)

    app.Browser = Clocked  # type: ignore[misc]
    cli.main(["tui", path])
    found |= {"keys": sum(map(len, delays.values())), "frames": len(works)}
    for during, taken in delays.items():
        if taken:
            found |= {f"{during}_p{p}_ms": round(1000 * float(np.percentile(taken, p)), 1) for p in (50, 95, 99)}
    if works:
        found |= {f"p{p}_cpu_ms": round(1000 * float(np.percentile(works, p)), 1) for p in (50, 95, 99)}
    found["peak_rss_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    Path(report).write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--inside", nargs=2, metavar=("CAPTURE", "REPORT"))
    chosen = parser.parse_args()
    if chosen.inside:
        inside(*chosen.inside)
        return
    with tempfile.TemporaryDirectory() as folder:
        capture, report = Path(folder) / "big.bin", Path(folder) / "report.json"
        stream(capture, chosen.records)
        name = f"bench-{os.getpid()}"
        words = [sys.executable, __file__, "--inside", str(capture), str(report)]
        command = f"BENCH_STARTED={time.time()} XDG_STATE_HOME={folder} PYTHONPATH={Path.cwd()} {shlex.join(words)}"
        subprocess.run(["tmux", "new-session", "-d", "-s", name, "-x", "160", "-y", "50", command], check=True)

        def press(*keys: str) -> None:
            subprocess.run(["tmux", "send-keys", "-t", name, *keys], check=True)

        def shown() -> str:
            taken = subprocess.run(
                ["tmux", "capture-pane", "-p", "-t", name], capture_output=True, text=True, check=True
            )
            return taken.stdout

        def page_down(count: int) -> None:
            for _ in range(count):
                press("NPage")
                time.sleep(0.03)  # a held key repeats about 30 times a second

        until = time.time() + 600
        while "Overview" not in shown() and time.time() < until:
            time.sleep(0.05)
        press("2")
        while ("reading" in (screen := shown()) or "verifying" in screen) and time.time() < until:
            page_down(20)
        time.sleep(5)  # the fingerprint and the digest
        page_down(chosen.keys)
        time.sleep(1)
        press("q")
        while not report.exists() and time.time() < until:
            time.sleep(0.1)
        print(report.read_text())


if __name__ == "__main__":
    main()
