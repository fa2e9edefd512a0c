"""64 MiB of anonymous memory beside the table, on streams of many records that are alike.

Each would make an object for each record where a rule holds one: a pass for each record, a broken delta, an idle one, a
wrong sum, a section. What `verify` and `report` put into unnamed files may stay in the kernel's cache.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.siege.bombs import delta, dup, page, stream
from tests.streams import StreamBuilder, noise
from xbrletools.formats.ram import Flag

COUNT = 60_000
ROW = 32  # bytes of a record in the table
ROOM = {"verify": 24 << 20, "report": 64 << 20}  # bytes beside the table; a report tries senders, in large pieces

# The exit status, and the most anonymous memory beyond what there was before, in bytes.
_RUN = """
import json, os, sys, threading, time
import numpy, construct, importlib
from xbrletools.cli import main
for name in ("cli.verify", "cli.report", "cli.info", "analysis.report.html", "verify.verdict"):
    importlib.import_module("xbrletools." + name)

def anonymous():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("RssAnon"))

before, most, done = anonymous(), 0, False

def watch():
    global most
    while not done:
        most = max(most, anonymous())
        time.sleep(0.002)

watching = threading.Thread(target=watch)
watching.start()
out, stdout = os.open(os.devnull, os.O_WRONLY), os.dup(1)
os.dup2(out, 1)
status = main(sys.argv[1:])
done = True
watching.join()
os.dup2(stdout, 1)
print(json.dumps([status, most - before]))
"""


def _word(flags: int, address: int = 0) -> bytes:
    return struct.pack(">Q", address | flags | Flag.CONTINUE)


def _xbzrle(payload: bytes, count: int = COUNT) -> bytes:
    record = _word(Flag.XBRLE) + b"\1" + struct.pack(">H", len(payload)) + payload
    return stream([(b"pc.ram", 1 << 20)], page(0) + delta(0) + record * count)


def _wrong_sums() -> bytes:
    old, new = noise(1), noise(1)
    new[5] ^= 1
    built = StreamBuilder(dialect="posted").page(0, old).part()
    begin = len(built.out)
    built.delta(0, old, new, checksum=77)
    built.out += built.out[begin:] * (COUNT - 1)
    return built.end().bytes()


#: By what each is made of: what makes it, and how many rows its table has.
MANY: dict[str, tuple[Callable[[], bytes], int]] = {
    "dups of one page": (lambda: stream([(b"pc.ram", 1 << 20)], dup(0) * 8 * COUNT), 8 * COUNT),
    "sections of one dup": (lambda: stream([(b"pc.ram", 1 << 20)], dup(0), stages=2 * COUNT), 4 * COUNT),
    "broken deltas of one page": (lambda: _xbzrle(bytes([7, 1]), COUNT // 4), COUNT // 4),
    "deltas that change nothing": (lambda: _xbzrle(bytes([7, 1, 0x55]), COUNT // 4), COUNT // 4),
    "wrong sums": (_wrong_sums, COUNT),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what memory is taken")
@pytest.mark.parametrize("command", ["verify", "report"])
@pytest.mark.parametrize("many", MANY)
def test_no_object_is_held_for_a_record(many: str, command: str, tmp_path: Path) -> None:
    if command == "report" and not many.startswith(("dups", "broken")) and os.environ.get("XBRLE_SIEGE") != "all":
        pytest.skip("XBRLE_SIEGE=all tries this as well")
    build, rows = MANY[many]
    path = tmp_path / "S"
    path.write_bytes(build())
    more = ["-o", str(tmp_path / "out")] if command == "report" else []
    done = subprocess.run(
        [sys.executable, "-c", _RUN, command, str(path), *more], capture_output=True, text=True, cwd=ROOT, check=True
    )
    status, taken = json.loads(done.stdout)
    assert status in (0, 1), done.stderr
    assert taken < ROOM[command] + ROW * rows, (taken, done.stderr)
