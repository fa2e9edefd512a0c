"""What goes wrong outside: full disks, folders without permission, files that change, readers that go, interrupts."""

import contextlib
import ctypes
import io
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import SAMPLES
from tests.siege.bombs import BOMBS
from tests.siege.mutations import shortened
from tests.streams import StreamBuilder, noise
from xbrletools import cli

XBRLE = [sys.executable, "-m", "xbrletools"]
ROOT = Path(__file__).parent.parent.parent
SAMPLE = SAMPLES / "posted-8m.bin"
WRITERS = {
    "extract": lambda s, o: ["extract", s, "-o", o],
    "extract-block": lambda s, o: ["extract", s, "--block", "pc.ram", "-o", o],
    "extract-elf": lambda s, o: ["extract", s, "--format", "elf", "-o", o],
    "extract-lime": lambda s, o: ["extract", s, "--format", "lime", "-o", o],
    "salvage": lambda s, o: ["salvage", s, "-o", o],
    "transcode": lambda s, o: ["transcode", s, "--policy", "none", "-o", o],
    "report": lambda s, o: ["report", s, "-o", o],
}


def _run(arguments: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*XBRLE, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]


def _failed_clearly(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, (done.args, done.returncode, done.stderr)
    assert done.stderr.splitlines()[-1].startswith("xbrle: "), done.stderr
    assert "Traceback" not in done.stderr


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.fixture
def full(tmp_path):
    """A file system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True)
    if not made or made.returncode:
        pytest.skip("a file system cannot be mounted here; the test with a limit on files says the same")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_nothing(full, writer):
    (full / "ballast").write_bytes(bytes(480 << 10))
    _failed_clearly(_run(WRITERS[writer](SAMPLE, full / "out")))
    assert _files(full) == ["ballast"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_limit_on_files_is_one_line_and_leaves_nothing(tmp_path, writer):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))

    _failed_clearly(_run(WRITERS[writer](SAMPLE, tmp_path / "out"), preexec_fn=limit))
    assert _files(tmp_path) == []


@pytest.mark.parametrize("command", [["dump", SAMPLE], ["info", SAMPLE, "--json"], ["transcode", SAMPLE, "-o", "-"]])
def test_standard_output_on_a_full_device_is_one_line(command):
    with Path("/dev/full").open("wb") as nowhere:
        done = subprocess.run(
            [*XBRLE, *map(str, command)], cwd=ROOT, stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False
        )
    _failed_clearly(done)


def _obey_permissions() -> None:
    """Root may write everywhere, unless it gives up that right for what it starts."""
    drop_from_bounding_set, dac_override = 24, 1  # linux/prctl.h, linux/capability.h
    if os.getuid() == 0 and ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0):
        raise OSError("the right to write everywhere cannot be given up")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_without_permission_is_one_line_and_leaves_nothing(tmp_path, writer):
    tmp_path.chmod(0o555)
    try:
        _failed_clearly(_run(WRITERS[writer](SAMPLE, tmp_path / "out"), preexec_fn=_obey_permissions))
        assert _files(tmp_path) == []
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_that_is_not_there_or_is_no_folder_is_one_line(tmp_path, writer):
    (tmp_path / "file").touch()
    _failed_clearly(_run(WRITERS[writer](SAMPLE, tmp_path / "file" / "out")))
    assert _files(tmp_path) == ["file"]


def _without_reader(words: list[object], read: int) -> int:
    """The status of a command whose reader leaves after ``read`` bytes. Nothing is said of that."""
    ended = subprocess.run(
        ["bash", "-c", f'"$@" | head -c {read} >/dev/null; exit ${{PIPESTATUS[0]}}', "bash", *XBRLE, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "ipe" not in ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.returncode


@pytest.mark.parametrize(
    "words",
    [
        ["dump", SAMPLE],
        ["dump", SAMPLE, "--json"],
        ["page", SAMPLE, "0x0"],
        ["grep", SAMPLE, "--hex", "00"],
        ["log", SAMPLE, "--end", "receiver"],
        ["extract", SAMPLE, "--block", "pc.ram", "-o", "-"],
        ["transcode", SAMPLE, "--policy", "none", "-o", "-"],
    ],
)
def test_a_reader_that_leaves_ends_a_list_in_silence_with_the_status_of_sigpipe(words):
    assert _without_reader(words, 0) == 141


@pytest.fixture
def corrupt(tmp_path):
    """A capture with a delta whose sum fails at the end, and many findings before."""
    old, new = noise(1), noise(1)
    new[:9] ^= 1
    stream = StreamBuilder(flags=3).page(0, old)
    for _ in range(2000):
        stream.delta(0, old, new, checksum=1)
    path = tmp_path / "corrupt.bin"
    path.write_bytes(stream.end().bytes())
    return path


@pytest.mark.parametrize("read", [0, 1])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["verify", SAMPLE], 0),
        (["verify", "CORRUPT"], 1),
        (["verify", "CORRUPT", "--limit", "0"], 1),
        (["verify", "CORRUPT", "--json"], 1),
        (["verify", "CORRUPT", "--receiver", "debug"], 1),
        (["diff", SAMPLE, "CORRUPT"], 1),
        (["diff", SAMPLE, "CORRUPT", "--json"], 1),
        (["diff", SAMPLE, SAMPLE], 0),
        (["info", "CORRUPT"], 0),
        (["why", "Found a zero page with value 65"], 0),
    ],
)
def test_a_reader_that_leaves_does_not_change_a_verdict(words, status, read, corrupt):
    assert _without_reader([corrupt if w == "CORRUPT" else w for w in words], read) == status


LITTLE = 4_000_000  # KiB of address space: enough for the program, and not for what is claimed


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "S"],
        ["extract", "S", "-o", "OUT"],
        ["grep", "S", "x"],
        ["diff", SAMPLE, "S"],
        ["simulate", "--capture", "S"],
        ["whatif", "S"],
        ["report", "S", "-o", "OUT"],
        ["salvage", "S"],
        ["info", "LARGE"],
    ],
)
def test_a_claim_over_the_address_space_is_one_line_with_the_file_the_reason_and_what_to_do(words, tmp_path):
    (tmp_path / "S").write_bytes(BOMBS["one page of 128 GiB"]())
    (tmp_path / "LARGE").write_bytes(b"QEVM")
    os.truncate(tmp_path / "LARGE", 20 << 30)
    named = {name: str(tmp_path / name) for name in ("S", "LARGE", "OUT")}
    ended = subprocess.run(
        ["sh", "-c", f'ulimit -v {LITTLE}; exec "$@"', "sh", *XBRLE, *(named.get(w, str(w)) for w in words)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert named["LARGE" if "LARGE" in words else "S"] in line
    assert "bytes do" in line or "137,438,953,472 bytes does not fit into the address space" in line
    assert f"{LITTLE << 10:,} bytes of it (ulimit -v): raise that" in line
    assert not (tmp_path / "OUT").exists()


BEGUN = """
import sys
from xbrletools.__main__ import start
class First:
    def find_spec(self, *_):
        sys.meta_path.remove(self)
        sys.stderr.write("begun\\n")
sys.meta_path.insert(0, First())
sys.exit(start())
"""


@pytest.mark.parametrize("writer", [*WRITERS, "info", "verify", "stats", "sender"])
def test_an_interrupt_at_any_moment_is_130_and_leaves_nothing(tmp_path, writer):
    """From the moment on that the interpreter has begun. What was renamed is whole: a folder's manifest comes last."""
    chance = random.Random(writer)
    whole = _run(WRITERS[writer](SAMPLE, tmp_path / "whole") if writer in WRITERS else [writer, SAMPLE])
    assert whole.returncode in (0, 1)
    for turn in range(6):
        folder = tmp_path / str(turn)
        folder.mkdir()
        arguments = WRITERS[writer](SAMPLE, folder / "out") if writer in WRITERS else [writer, SAMPLE]
        running = subprocess.Popen(
            [sys.executable, "-c", BEGUN, *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert running.stderr is not None
        assert running.stderr.readline() == "begun\n"
        time.sleep(chance.choice((0, 0.02, 0.1, 0.3, 0.6, 1)) * chance.random())
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        running.stderr.close()
        if running.wait() in (0, 1):
            continue  # it was done
        if running.returncode == -signal.SIGINT:  # after the last of Python's handlers: a shell says 130 as well
            assert "Traceback" not in said, (turn, said)
            continue
        assert running.returncode == 130, (turn, running.returncode, said)
        assert said.endswith("xbrle: interrupted\n") and "Traceback" not in said, said
        left = _files(folder)
        if writer == "extract":
            if "out/manifest.json" in left:  # all was written, and it had yet to exit
                assert [Path(name).name for name in left[1:]] == sorted(p.name for p in (tmp_path / "whole").iterdir())
            for name in (n for n in left[1:] if n != "out/manifest.json"):
                assert (folder / name).read_bytes() == (tmp_path / "whole" / Path(name).name).read_bytes()
        for name in left if writer != "extract" else ():  # it came after one was renamed, or all
            expected = (tmp_path / name.replace("out", "whole", 1)).read_bytes()
            if name.endswith(".json"):  # it says which file it is about
                expected = expected.replace(b"whole", b"out", 1)
            assert (folder / name).read_bytes() == expected, name


SHRINKING = """
import os, sys
from xbrletools.__main__ import start
from xbrletools.verify import checker
real = checker.found_in
def shrinking(stream, *more):
    os.truncate(sys.argv[2], 1 << 16)
    return real(stream, *more)
checker.found_in = shrinking
sys.exit(start())
"""


def test_a_file_that_shrinks_under_its_reader_is_an_error_and_no_signal(tmp_path):
    path = tmp_path / "capture.bin"
    path.write_bytes(SAMPLE.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", SHRINKING, "verify", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, (done.returncode, done.stderr[-500:])
    assert done.stderr.startswith("xbrle: ") and done.stderr.count("\n") == 1


def test_a_file_that_grows_under_its_reader_is_read_as_it_was(tmp_path):
    import xbrletools

    path = tmp_path / "capture.bin"
    data = shortened(SAMPLE.read_bytes())
    path.write_bytes(data)
    capture = xbrletools.open(path)
    with path.open("ab") as file:
        file.write(b"QEVM" * 10000)
    assert len(capture.data) == len(data)
    assert not capture.problems
    capture.memory()


def test_two_readers_of_one_capture_say_the_same(tmp_path):
    path = tmp_path / "capture.bin"
    path.write_bytes(SAMPLE.read_bytes())
    both = [
        subprocess.Popen([*XBRLE, "verify", str(path), "--json"], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)
    ]
    said = [b.communicate()[0] for b in both]
    assert said[0] == said[1] != b""
    assert [b.returncode for b in both] == [0, 0]


@pytest.mark.parametrize("writer", ["extract-block", "salvage", "transcode", "report"])
def test_two_writers_of_one_file_leave_a_whole_one(tmp_path, writer):
    arguments = WRITERS[writer](SAMPLE, tmp_path / "out")
    alone = WRITERS[writer](SAMPLE, tmp_path / "alone")
    assert _run(alone).returncode in (0, 1)
    both = [
        subprocess.Popen([*XBRLE, *map(str, arguments)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for running in both:
        _, said = running.communicate()
        assert running.returncode in (0, 1, 2), said
        assert b"Traceback" not in said
    beside = ["alone.json", "out.json"] if writer == "extract-block" else []
    assert _files(tmp_path) == sorted(["alone", "out", *beside])
    assert (tmp_path / "out").read_bytes() == (tmp_path / "alone").read_bytes()


def test_an_error_of_the_disk_while_a_capture_is_read_is_one_line(tmp_path, monkeypatch):
    """A medium that fails gives errors where a file gave bytes."""
    path = tmp_path / "capture.bin"
    path.write_bytes(SAMPLE.read_bytes())

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("xbrletools.source.opening.mapped", fail)
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert cli.main(["info", str(path)]) == 2
    assert "Input/output error" in err.getvalue() and "Traceback" not in err.getvalue()
