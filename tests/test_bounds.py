"""Memory does not grow with the input: commands on generated streams, far larger than what they may take."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.bounds import REALISTIC, SHORT, Stream
from tests.conftest import ROOT

# Runs a command, and says how far its anonymous memory rose above what it was once all was imported and tried.
_RUN = """
import os, re, sys, threading, time
import xbrletools.cli
def anonymous():
    text = open("/proc/self/status").read()
    return int(re.search(r"RssAnon:\\s+(\\d+)", text)[1])
sys.stdout = open(os.devnull, "w")
small, *words = sys.argv[1:]
xbrletools.cli.main([words[0], small, *words[2:]])
before = peak = anonymous()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.001)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
status = xbrletools.cli.main(words)
done = True
watcher.join()
peak = max(peak, anonymous())
sys.stderr.write(f"\\n{status} {peak - before}")
"""

MIB = 1 << 10  # in KiB, which is what the system tells


def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.bin"
    path.write_bytes(b"".join(bytes(piece) for piece, _ in Stream(REALISTIC, 1 << 20).pieces()))
    return path


def risen(
    tmp_path: Path, *words: str, feed: Iterator[tuple[bytes | memoryview, bool]] | None = None
) -> tuple[int, int]:
    """The exit status of a command, and how many KiB of memory it took at most."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(small(tmp_path)), *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    with suppress(BrokenPipeError):
        for piece, _ in feed or ():
            process.stdin.write(piece)
    process.stdin.close()
    reader.join()
    process.stderr.close()
    process.wait()
    status, rise = said[0].decode().rsplit("\n", 1)[1].split()
    return int(status), int(rise)


@pytest.mark.parametrize("command", ["info", "stats", "dump"])
def test_a_pipe_is_read_in_constant_memory(command: str, tmp_path: Path) -> None:
    status, rise = risen(tmp_path, command, "-", feed=Stream(REALISTIC, 120 << 20).pieces())
    assert status == 0
    assert rise < 24 * MIB


@pytest.mark.parametrize("command", ["info", "stats"])
def test_a_pipe_of_short_records_is_read_in_constant_memory(command: str, tmp_path: Path) -> None:
    stream = Stream(SHORT, 40 << 20)
    status, rise = risen(tmp_path, command, "-", feed=stream.pieces())
    assert status == 0
    assert stream.records > 900_000  # whose table alone would take 30 MB
    assert rise < 24 * MIB


@pytest.mark.parametrize(
    ("command", "room", "expected"),
    [
        (["page", "FILE", "0x4000"], 16, 0),
        (["extract", "FILE", "-o", "OUT", "--force"], 4 + 64, 1),  # it verifies: no sender begins with deltas
    ],
)
def test_many_records_take_little_beside_the_table(
    command: list[str], room: int, expected: int, tmp_path: Path
) -> None:
    path = tmp_path / "short.bin"
    stream = Stream(SHORT, 80 << 20)
    stream.pages = 1 << 10  # an image of 4 MiB
    with path.open("wb") as file:
        for piece, _ in stream.pieces():
            file.write(piece)
    words = [{"FILE": str(path), "OUT": str(tmp_path / "out")}.get(word, word) for word in command]
    status, rise = risen(tmp_path, *words)
    assert status == expected
    assert stream.records > 1_900_000
    assert rise < 32 * stream.records // 1024 + room * MIB


def test_verify_takes_little_beside_the_table_and_the_image(tmp_path: Path) -> None:
    path = tmp_path / "short.bin"
    stream = Stream(SHORT, records=1_500_000)
    stream.pages = 1 << 10  # an image of 4 MiB
    with path.open("wb") as file:
        for piece, _ in stream.pieces():
            file.write(piece)
    status, rise = risen(tmp_path, "verify", str(path))
    assert status == 1  # deltas against pages that a dup page took from the receiver
    assert rise < 32 * stream.records // 1024 + (4 + 64) * MIB
