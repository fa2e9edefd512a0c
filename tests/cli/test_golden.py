"""What people see of one small stream. A golden is the command, then what it printed. --update-goldens writes them."""

import numpy as np
import pytest

from tests.cli.run import run
from tests.conftest import ROOT
from tests.streams import PAGE, StreamBuilder

GOLDENS = ROOT / "tests" / "golden"

COMMANDS = {
    "info": "info small.bin",
    "info-truncated": "info cut.bin",
    "dump": "dump small.bin",
    "dump-filter": "dump small.bin page:0x1000-0x1fff not kind:page",
    "dump-fields": "dump small.bin record:1-3 --fields",
    "dump-runs": "dump small.bin kind:xbrle --fields --runs",
    "dump-hex": "dump small.bin kind:dup,xbrle --hex",
    "dump-json": "dump small.bin --json",
    "dump-wrong-filter": "dump small.bin kind:page colour:red",
    "extract": "extract cut.bin -o out",
}


def stream() -> bytes:
    """Two blocks, a delta over a known page, one over a page that nobody sent, and one over a stale base."""
    old = (np.arange(PAGE) * 7 % 251).astype(np.uint8)
    new = old.copy()
    new[100:104] ^= 0x5A
    made = StreamBuilder({b"pc.ram": 4 * PAGE, b"0000:00:02.0/vga\x1b.rom": PAGE}, flags=3)
    made.page(0, old).page(PAGE, old).dup(2 * PAGE, 7).page(0, old, b"0000:00:02.0/vga\x1b.rom").part()
    made.delta(0, old, new).dup(PAGE).delta(PAGE, old, new).delta(3 * PAGE, old, new).end()
    return made.bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_transcript_is_the_golden(name, capsys, monkeypatch, tmp_path, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "small.bin").write_bytes(stream())
    (tmp_path / "cut.bin").write_bytes(stream()[:9000])
    status, out, err = run(capsys, *COMMANDS[name].split())
    transcript = f"$ xbrle {COMMANDS[name]}\n{out}{err}[{status}]\n"
    golden = GOLDENS / f"{name}.txt"
    if request.config.getoption("--update-goldens"):
        golden.write_text(transcript, "utf-8")
    assert transcript == golden.read_text("utf-8")
