"""A capture that is written to while a command reads it: said, and in the exit status."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import ROOT, SAMPLES
from xbrletools.source.changed import WRITTEN_TO, watching
from xbrletools.verify.checker import found_in

SAMPLE = SAMPLES / "posted-8m.bin"


def dumped(path: Path, meanwhile: Callable[[], object]) -> tuple[int, str]:
    """How ``xbrle dump --json`` ends, and what it says, where ``meanwhile`` is done when its first line has come."""
    command = [sys.executable, "-m", "xbrletools", "dump", "--json", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the rest does not fit into the pipe: the command waits for us
        meanwhile()
        _, err = process.communicate()
    return process.returncode, err


def rewritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5)
        file.write(b"\0")
    os.utime(path, (5, 5))


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"1234567")
    os.utime(path, (5, 5))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"another file")
    other.replace(path)


def renamed_and_marked(path: Path) -> None:
    path.chmod(0o400)
    path.rename(path.with_name("other"))


@pytest.mark.parametrize(
    ("meanwhile", "sizes"), [(rewritten, ""), (grown, " (it had 1,151,673 bytes, and has 1,151,680)")]
)
def test_a_capture_that_is_written_to_is_said_and_the_status_is_1(
    tmp_path: Path, meanwhile: Callable[[Path], None], sizes: str
) -> None:
    path = Path(shutil.copy(SAMPLE, tmp_path / "S"))
    status, err = dumped(path, lambda: meanwhile(path))
    mixed = "so what is said of it may be of several moments. Run this again when nobody writes to it"
    assert (status, err) == (1, f"xbrle: {path}: written to while it was read{sizes}, {mixed}\n")


@pytest.mark.parametrize("meanwhile", [replaced, renamed_and_marked, Path.unlink, Path.exists])
def test_another_file_of_its_name_is_no_change_of_it(tmp_path: Path, meanwhile: Callable[[Path], object]) -> None:
    path = Path(shutil.copy(SAMPLE, tmp_path / "S"))
    assert dumped(path, lambda: meanwhile(path)) == (0, "")


def test_what_fails_by_a_change_is_no_internal_error(tmp_path: Path, monkeypatch, capsys) -> None:
    from xbrletools.cli import main, stats

    path = Path(shutil.copy(SAMPLE, tmp_path / "S"))

    def failing(*_: object, **__: object) -> None:
        rewritten(path)
        raise LookupError("it was there a moment ago")

    monkeypatch.setattr(stats.command, "callback", lambda **_: (xbrletools.open(path).stream, failing()))
    status = main(["stats", str(path)])
    said = capsys.readouterr().err
    assert status == 2 and WRITTEN_TO in said and "internal error" not in said


def test_a_finding_that_is_gone_when_it_is_described_is_an_error_of_the_input(tmp_path: Path) -> None:
    damaged = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
    records = xbrletools.open(bytes(damaged)).records
    delta = next(r for r in records if r.kind.name == "XBRLE")
    at, kept = delta.payload, damaged[delta.payload]
    damaged[at] ^= 0x55
    path = tmp_path / "S"
    path.write_bytes(damaged)
    capture = xbrletools.open(path, cache=False)
    found = found_in(capture.stream)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([kept]))
    with pytest.raises(xbrletools.XbrleError, match=f"the capture was {WRITTEN_TO}"):
        list(found)


def test_only_who_watches_keeps_the_files(tmp_path: Path) -> None:
    path = Path(shutil.copy(SAMPLE, tmp_path / "S"))
    with watching() as read:
        xbrletools.open(path)
    xbrletools.open(path)
    assert [file.path for file in read] == [str(path)] and read[0].change() is None
