"""The one rule for files that are written: never an input, never over another without force, whole or not at all."""

import errno
import io
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xbrletools import outputs
from xbrletools.errors import XbrleError
from xbrletools.interrupts import Interrupted, interruptible, uninterrupted
from xbrletools.outputs import Forward, filling, protecting, replacing


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with replacing(tmp_path / "out") as file:
        file.write(b"half")
        file.flush()
        assert not (tmp_path / "out").exists()
        (lying,) = names(tmp_path)
        assert lying.startswith(".out.xbrle-")
        file.write(b" and half")
    assert (tmp_path / "out").read_bytes() == b"half and half"
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, OSError])
def test_nothing_is_left_after_any_exception(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises((error, XbrleError)), replacing(tmp_path / "old", force=True) as file:
        file.write(b"new")
        raise error
    with pytest.raises((error, XbrleError)), filling(tmp_path / "made" / "up" / "folder") as folder:
        (folder / "file").write_bytes(b"new")
        raise error
    assert names(tmp_path) == {"old"}
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_file_that_is_there_is_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(XbrleError, match="--force"), replacing(path):
        pass
    assert path.read_bytes() == b"old"
    with replacing(path, force=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(XbrleError, match="meanwhile"), replacing(tmp_path / "out") as file:
        file.write(b"mine")
        (tmp_path / "out").write_bytes(b"another's")
    assert (tmp_path / "out").read_bytes() == b"another's"
    assert names(tmp_path) == {"out"}


def test_an_input_is_never_replaced_whatever_path_leads_to_it(tmp_path: Path) -> None:
    read = tmp_path / "S"
    read.write_bytes(b"evidence")
    (tmp_path / "link").symlink_to("S")
    (tmp_path / "hard").hardlink_to(read)
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").symlink_to("folder")
    others = [tmp_path / "link", tmp_path / "hard", tmp_path / "folder" / ".." / "S", tmp_path / "there" / ".." / "S"]
    for given in ([read], [tmp_path]):
        for path in (read, *others):
            with pytest.raises(XbrleError, match="being read"), protecting(given), replacing(path, force=True):
                pass
    with pytest.raises(XbrleError, match="being read"), protecting([read]), filling(tmp_path, force=True) as lying:
        (lying / "hard").write_bytes(b"new")
    assert read.read_bytes() == (tmp_path / "hard").read_bytes() == b"evidence"
    assert names(tmp_path) == {"S", "link", "hard", "folder", "there"}


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"


def test_errors_name_the_path_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "circle").symlink_to("circle")
    for path in ("no/such", "file/below", "circle", ".", "x" * 300):
        with pytest.raises(XbrleError) as caught, replacing(path, force=True):
            pass
        assert str(caught.value).startswith(f"{path}: "), caught.value
        assert ".part" not in str(caught.value)
    assert names(tmp_path) == {"file", "circle"}


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    with replacing(tmp_path / ("n" * 255)) as file:
        file.write(b"x")
    assert names(tmp_path) == {"n" * 255}


def test_what_holds_memory_is_for_its_owner_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "memory", mode=outputs.MEMORY):
        assert (next(tmp_path.iterdir()).stat().st_mode & 0o777) == 0o600
    assert (tmp_path / "memory").stat().st_mode & 0o777 == 0o600
    with filling(tmp_path / "folder", mode=outputs.MEMORY) as folder:
        (folder / "block").write_bytes(b"x")
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "folder" / "block").stat().st_mode & 0o777 == 0o600
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "report"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o640


def test_a_folder_s_description_comes_last_and_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest").write_bytes(b"old")
    (tmp_path / "a").write_bytes(b"old")
    moved: list[tuple[str, bool]] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        moved.append((target.name, (tmp_path / "manifest").exists()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    with filling(tmp_path, force=True, last="manifest") as folder:
        for name in ("manifest", "a", "b"):
            (folder / name).write_bytes(b"new")
    assert moved == [("a", False), ("b", False), ("manifest", False)]
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"new"}


KILLED = """
import sys, time
from xbrletools.outputs import filling, replacing
with replacing(sys.argv[1]) as file, filling(sys.argv[2]) as folder:
    (folder / "big").write_bytes(b"x")
    print("ready", flush=True)
    time.sleep(100)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(tmp_path / "folder")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        other = tmp_path / ".notes.xbrle-1.part"
        other.write_bytes(b"not ours")
        with replacing(tmp_path / "first"):
            pass
        assert len(names(tmp_path)) == 4  # the two that it has, another file, and the new one
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(names(tmp_path)) == 4
    with replacing(tmp_path / "second"):
        pass
    assert names(tmp_path) == {"first", "second", other.name}


def test_a_device_gets_the_bytes_and_says_when_it_is_full(tmp_path: Path) -> None:
    with replacing("/dev/null") as file:
        file.write(b"x")
    with pytest.raises(XbrleError, match=r"^/dev/full: No space left"), replacing("/dev/full") as file:
        file.write(b"x")


def test_a_full_disk_leaves_nothing_and_names_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(XbrleError, match=rf"out: {os.strerror(errno.EFBIG)}"), replacing(tmp_path / "out") as file:
            file.write(bytes(1 << 17))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == set()


def test_what_can_only_be_written_onwards_gets_zeros_for_holes() -> None:
    raw = io.BytesIO()
    file = Forward(raw)
    file.seek(3)
    file.write(b"ab")
    file.seek(7)
    file.truncate(9)
    assert raw.getvalue() == b"\0\0\0ab\0\0\0\0"
    with pytest.raises(OSError, match="seek"):
        file.seek(2)


def test_signals_wait_while_something_must_not_be_interrupted() -> None:
    steps = []
    with pytest.raises(Interrupted), interruptible():
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            steps.append("done")
        steps.append("not reached")
    assert steps == ["done"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_disturb_what_the_first_has_to_put_in_order(number: signal.Signals) -> None:
    steps = []
    with pytest.raises(Interrupted), interruptible():
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        finally:
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            steps.append("in order")
    assert steps == ["in order"]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)
