"""Long work says how far it is, on a terminal; what is unpacked says whether it fits, everywhere."""

import lzma
import os
import pty
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from xbrletools import progress
from xbrletools.cli import shown as line
from xbrletools.cli import writer
from xbrletools.progress import listening, overall, tell
from xbrletools.source.packing import content_size

SAMPLE = SAMPLES / "xbzrle-16m.bin"


def heard(*arguments: object) -> dict[str, list[tuple[int, int | None, str]]]:
    """What a command tells of its work, by what it is."""
    from xbrletools.cli import main

    told: dict[str, list[tuple[int, int | None, str]]] = {}
    original = line.Shown.tells
    try:
        line.Shown.tells = lambda _, what, *rest: told.setdefault(what, []).append(rest)
        # standard error is not a terminal here, so the listener is put there by hand
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(line.sys.stderr, "isatty", lambda: True, raising=False)
            main([str(a) for a in arguments])
    finally:
        line.Shown.tells = original
    return told


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("info {S}", "reading"),
        ("verify {S}", "checking"),
        ("verify {S}", "replaying"),
        ("sender {S}", "going through what was sent"),
        ("sender {S}", "trying sizes of the cache"),
        ("whatif {S}", "trying sizes of the cache"),
        ("diff {S} --at 2000 --to 2500", "comparing"),
        ("diff {S} --at 2000 --to 2500", "replaying"),
        ("encode {raw} -o {out}", "encoding"),
        ("transcode {S} --policy none -o {out}", "writing"),
        ("extract {S} -o {out}", "writing"),
        ("report {S} -o {out}", "checking"),
        ("salvage {S} -o {out}", "writing"),
        ("grep {S} x --all", "searching"),
        ("stats {xz}", "reading"),
        ("verify {xz}", "unpacking"),
    ],
)
def test_work_that_can_be_long_tells_how_far_it_is(words, what, tmp_path, capsys):
    (tmp_path / "raw").write_bytes(bytes(4096 * 8))
    (tmp_path / "S.xz").write_bytes(lzma.compress(SAMPLE.read_bytes()))
    places = {"S": SAMPLE, "out": tmp_path / "out", "raw": tmp_path / "raw", "xz": tmp_path / "S.xz"}
    told = heard(*words.format(**places).split())
    capsys.readouterr()
    steps = next((steps for name, steps in told.items() if name.startswith(what)), [])
    assert steps, told.keys()
    for done, total, unit in steps:
        assert total is None or 0 <= done <= total
        assert unit


def test_nothing_is_told_where_nobody_listens():
    progress.tell("reading", 1, 2)
    progress.note("x")
    assert list(progress.along("reading", [1, 2])) == [1, 2]


def test_the_line_comes_after_a_second_and_goes_before_anything_else_is_printed(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(line.time, "monotonic", lambda: now[0])
    lines: list[str] = []
    monkeypatch.setattr(line, "progress_line", lines.append)
    shown = line.Shown()
    shown.tells("reading", 1 << 20, 4 << 20, "bytes")
    assert not lines
    now[0] += 1.5
    shown.tells("reading", 2 << 20, 4 << 20, "bytes")
    shown.tells("reading", 3 << 20, 4 << 20, "bytes")  # too soon after the last
    now[0] += 0.5
    shown.tells("writing", 9 << 20, None, "bytes")  # what does not say its end waits behind what does
    now[0] += 3
    shown.tells("writing", 9 << 20, None, "bytes")
    now[0] += 1
    shown.tells("trying sizes", 3, 12, "sizes")
    assert lines == ["reading: 2 of 4 MiB (50 %)", "writing: 9 MiB", "trying sizes: 3 of 12 sizes (25 %)"]


def on_terminal(*words: str) -> str:
    """What a command prints to a terminal that is both of its outputs."""
    code = "import time; now = time.monotonic; time.monotonic = lambda: now() * 1000; "  # a second is a millisecond
    code += "from xbrletools.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    parent, child = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, stdout=child, stderr=child) as process:
        os.close(child)
        seen = b""
        while True:
            try:
                piece = os.read(parent, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        process.wait()
    os.close(parent)
    return seen.decode()


def test_a_terminal_shows_it_and_keeps_nothing_of_it(tmp_path):
    packed = tmp_path / "S.xz"
    packed.write_bytes(lzma.compress(SAMPLE.read_bytes()))
    seen = on_terminal("verify", str(packed))
    assert "unpacking S.xz into" in seen
    last = seen.rindex("\r\x1b[K")
    assert "NO FAULT" in seen[last:]


def test_a_pipe_gets_nothing_of_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "xbrletools", "sender", SAMPLE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "\r" not in done.stdout


def test_a_name_cannot_control_the_terminal(monkeypatch):
    written: list[str] = []
    monkeypatch.setattr(writer.sys.stderr, "write", written.append)
    writer.progress_line("unpacking \x1b]0;x\x07\n evil")
    writer.clear_progress()
    assert "\x1b]" not in "".join(written)
    assert "\n" not in "".join(written)


# -- what is unpacked --------------------------------------------------------------------------------------------------


def size_of(path: Path) -> int | None:
    with path.open("rb") as file:
        return content_size(file.fileno())


def test_xz_says_how_much_it_unpacks_to(tmp_path):
    path = tmp_path / "x.xz"
    for size in (0, 1, 100, 3 << 20):
        path.write_bytes(lzma.compress(bytes(size)))
        assert size_of(path) == size


@pytest.mark.parametrize("made", ["cut", "junk", "footer", "gzip", "empty", "magic"])
def test_what_does_not_say_it_is_not_believed(made, tmp_path):
    import gzip

    whole = lzma.compress(bytes(5000))
    footer = whole[:-12] + struct.pack("<II", 0, 0xFFFFFFFF) + whole[-4:]
    content = {
        "cut": whole[:-3], "junk": b"\xfd7zXZ\0" + bytes(range(256)), "footer": footer,
        "gzip": gzip.compress(bytes(5000)), "empty": b"", "magic": b"\xfd7zXZ\0",
    }[made]  # fmt: skip
    path = tmp_path / "x"
    path.write_bytes(content)
    assert size_of(path) is None


def test_a_packed_capture_that_may_not_fit_says_so_before(monkeypatch, tmp_path, capsys):
    path = tmp_path / "S.xz"
    path.write_bytes(lzma.compress(SAMPLE.read_bytes()))
    real = os.statvfs

    class Full:
        f_bavail, f_frsize = 10, 4096

    monkeypatch.setattr(os, "statvfs", lambda folder: Full if folder == str(tmp_path) else real(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status, _, err = run(capsys, "verify", path)
    assert status == 0
    assert f"unpacks to {SAMPLE.stat().st_size:,} bytes, and {tmp_path} has 40,960 bytes free" in err
    assert "TMPDIR" in err


def test_where_it_does_not_fit_the_message_says_where_and_what_to_do(tmp_path):
    path = tmp_path / "S.xz"
    path.write_bytes(lzma.compress(SAMPLE.read_bytes()))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    done = subprocess.run(
        [sys.executable, "-m", "xbrletools", "verify", path],
        cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, preexec_fn=limited,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"xbrle: {tmp_path}: File too large: {path} needs more room there. "
        "To put it elsewhere, set TMPDIR to a folder with more room"
    ]


def test_of_many_parts_only_their_number_is_told():
    told: list[tuple[str, int, int | None, str]] = []
    with listening(lambda *words: told.append(words)):
        for _ in overall("writing", range(2), 2, "files"):
            tell("inside", 0)
        tell("after", 0)
    assert told == [("writing", 1, 2, "files"), ("writing", 2, 2, "files"), ("after", 0, None, "bytes")]
