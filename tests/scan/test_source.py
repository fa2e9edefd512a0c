"""Sources: what they call themselves, and files that change while they are read."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from xbrletools.source.opening import open_source

SAMPLE = SAMPLES / "m115-big.bin"


def test_a_file_made_of_a_descriptor_is_called_so() -> None:
    with os.fdopen(os.open(SAMPLE, os.O_RDONLY), "rb") as file:
        number = file.fileno()
        with xbrletools.open(file) as capture:
            assert capture.name == f"file descriptor {number}"
            assert capture.facts.complete


def test_a_packed_file_made_of_a_descriptor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "packed.gz"
    path.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file, xbrletools.open(file) as capture:
        assert capture.facts.complete


def test_a_cut_gzip_is_one_finding_that_says_both() -> None:
    data = gzip.compress((SAMPLES / "posted-big-debug.bin").read_bytes(), mtime=0)
    with xbrletools.open(data[: len(data) // 2]) as capture:
        (cut,) = [p for p in capture.problems if p.rule == "truncated"]
    assert "gzip ends early" in cut.message
    assert "the capture ends" in cut.message
    assert cut.fatal


def test_a_gzip_that_ends_early_after_the_stream_is_still_found() -> None:
    data = gzip.compress(SAMPLE.read_bytes(), mtime=0)
    with xbrletools.open(data[:-6]) as capture:
        assert [p.rule for p in capture.problems] == ["truncated"]
        assert "gzip ends early" in capture.problems[0].message


def test_a_file_that_shrinks_before_it_is_scanned_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shrinks.bin"
    path.write_bytes((SAMPLES / "posted-8m.bin").read_bytes())
    source = open_source(path)
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(xbrletools.XbrleError, match="has shrunk while it was read"):
        source.window(0, 1)


def test_a_file_that_shrinks_after_its_scan_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "shrinks.bin"
    path.write_bytes((SAMPLES / "posted-8m.bin").read_bytes())
    with xbrletools.open(path) as capture:
        assert len(capture.records)
        with path.open("r+b") as file:
            file.truncate(5000)
        with pytest.raises(xbrletools.XbrleError, match="has shrunk"):
            capture.memory()


_FAULT = """
import os, sys
from xbrletools.cli import guard
from xbrletools.source.opening import open_source
guard()
source = open_source(sys.argv[1])
os.truncate(sys.argv[1], 0)
{touch}
print("still there")
"""


@pytest.mark.parametrize(
    "touch",
    [
        "source.data.sum()",
        "bytes(source.view)",
        "import re; re.compile(b'x').search(source.view)",
        "import threading; t = threading.Thread(target=source.data.sum); t.start(); t.join()",
    ],
)
def test_a_read_of_bytes_that_are_gone_ends_with_a_message_and_status_2(touch: str, tmp_path: Path) -> None:
    path = tmp_path / "gone.bin"
    path.write_bytes(bytes(1 << 20))
    words = [sys.executable, "-c", _FAULT.format(touch=touch), str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "shrunk" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_that_grows_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "grows.bin"
    path.write_bytes(SAMPLE.read_bytes())
    with xbrletools.open(path) as capture:
        with path.open("ab") as file:
            file.write(bytes(100_000))
        assert capture.facts.complete
        assert not capture.problems


def test_an_unknown_rule_in_a_filter_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("finding:nosuch",), ("--finding", "nosuch"), ("finding!=nosuch",), ("not", "finding:any,nosuch")):
        status, out, err = run(capsys, "dump", SAMPLE, *words)
        assert (status, out) == (2, "")
        assert "there is no rule 'nosuch'" in err
        assert "stale-base" in err


def test_an_unknown_block_in_a_filter_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("block:nosuch",), ("--block", "nosuch"), ("page:nosuch:0x1000",), ("block!=nosuch",)):
        assert "there is no RAM block nosuch; this capture has ram" in run(capsys, "dump", SAMPLE, *words)[2]
    assert "RAM block" not in run(capsys, "dump", SAMPLE, "block:ram")[2]


def test_an_empty_log_holds_no_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mig.log"
    path.write_bytes(b"")
    status, out, _ = run(capsys, "log", SAMPLES / "posted-big-debug.bin", "--end", "receiver", "--check", path)
    assert status == 1
    assert "the log is empty" in out
