"""Every command that writes, under the one rule for outputs."""

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.export.test_disk import capture as disk_capture
from tests.export.test_disk import chunk
from xbrletools.cli import COMMANDS, cli
from xbrletools.cli.options import READ
from xbrletools.formats.block import CHUNK
from xbrletools.source.beside import MULTIFD_MAGIC

SAMPLE = SAMPLES / "posted-little-default.bin"

#: Every command that writes one file, without its output. S is the capture.
FILES: dict[str, list[str]] = {
    "extract one block": ["extract", "S", "--block", "pc.ram", "-o"],
    "extract elf": ["extract", "S", "--format", "elf", "-o"],
    "extract lime": ["extract", "S", "--format", "lime", "-o"],
    "salvage": ["salvage", "S", "-o"],
    "transcode": ["transcode", "S", "-o"],
    "redact": ["transcode", "S", "--redact", "page=0x1000+0x1000", "-o"],
    "encode": ["encode", "S", "--block", "pc.ram=52K", "-o"],
    "report": ["report", "S", "-o"],
}
RAW = {"extract raw": ["extract", "S", "--space", "physical", "-o"]}  # 4 GiB, nearly all of it holes
IMAGE = {"whatif": ["whatif", "S", "--cache", "1M", "--image"]}
FOLDERS: dict[str, list[str]] = {"extract": ["extract", "S", "-o"], "vectors": ["vectors", "write"]}
PUBLIC = {"report", "whatif", "vectors"}  # what does not hold memory


def named(words: list[str], path: Path) -> list[str]:
    return [str(path) if word == "S" else word for word in words]


def digests(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A capture in a folder of its own: 52 KiB, so that it is a snapshot as well."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "S.png"
    path.write_bytes(SAMPLE.read_bytes()[: 52 << 10].ljust(52 << 10, b"\0"))
    return path


@pytest.mark.parametrize("what", FILES | RAW | IMAGE)
@pytest.mark.parametrize("way", ["itself", "link", "hard link", "linked folder"])
def test_an_output_is_never_the_input(capsys, source: Path, what: str, way: str) -> None:
    words, folder = (FILES | RAW | IMAGE)[what], source.parent
    target = folder / "other.png"
    if way == "itself":
        target = source
    elif way == "link":
        target.symlink_to(source.name)
    elif way == "hard link":
        target.hardlink_to(source)
    else:
        (folder.parent / "way").symlink_to("in")
        target = folder.parent / "way" / source.name
    before = digests(folder)
    status, out, err = run(capsys, *named(words, source), target, "--force")
    assert (status, out) == (2, "")
    assert "being read" in err
    assert str(target) in err
    assert digests(folder) == before


@pytest.mark.parametrize("target", ["S.chan1", "link"])
def test_channels_that_are_found_by_other_names_are_not_written_over(capsys, tmp_path, source, target) -> None:
    main = source.rename(tmp_path / "S.chan0")
    (tmp_path / "S.chan1").write_bytes(MULTIFD_MAGIC + bytes(100))
    (tmp_path / "link").symlink_to("S.chan1")
    before = digests(tmp_path)
    for words in (["extract", main, "--block", "pc.ram"], ["transcode", main], ["report", main], ["salvage", main]):
        status, _, err = run(capsys, *words, "-o", tmp_path / target, "--force")
        assert status == 2
        assert "being read" in err
        assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["transcode", "S", "--channel", "X", "-o", "X"], "a channel"),
        (["transcode", "S", "-o", "S.1"], "a channel beside S"),
        (["salvage", "S", "-o", "S.times"], "the times of S"),
        (["extract", "S", "--block", "pc.ram", "-o", "S.1.times"], "the times of a channel beside S"),
        (["describe", "S", "-o", "S.reverse"], "what came back"),
        (["extract", "S", "--space", "physical", "--map", "X", "-o", "X"], "a map"),
        (["encode", "S", "--block", "pc.ram=52K", "--device-tail", "X", "-o", "X"], "a device tail"),
        (["encode", "S", "--layout", "X", "-o", "X"], "a layout"),
        (["encode", "F", "F", "--block", "pc.ram=52K", "-o", "F/pc.ram"], "a snapshot in a folder"),
        (["encode", "S", "S2", "--block", "pc.ram=52K", "-o", "S2"], "another snapshot"),
        (["extract", "S", "--block", "pc.ram", "-o", "Y"], "the capture, by the name of a sidecar"),
        (["extract", "S", "-o", "F2"], "the capture, in a folder by the name of a block"),
        (["transcode", "S", "-o", "index"], "an index in the cache"),
    ],
)
def test_nothing_that_is_read_is_written_over(capsys, monkeypatch, tmp_path, source, words, read) -> None:
    there = {
        name: tmp_path / name
        for name in ("S", "S2", "S.1", "S.times", "S.1.times", "S.reverse", "X", "Y", "F/pc.ram", "F2/pc.ram", "Y.json")
    }
    for name, path in there.items():
        path.parent.mkdir(exist_ok=True)
        if name in ("Y.json", "F2/pc.ram"):
            path.hardlink_to(there["S"])
        elif name not in ("Y",):
            path.write_bytes(source.read_bytes())
    (tmp_path / "F" / "manifest.json").write_text('{"blocks": [{"name": "pc.ram", "file": "pc.ram", "length": 53248}]}')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "xbrletools").mkdir(parents=True)
    (tmp_path / "index").symlink_to(tmp_path / "cache" / "xbrletools" / "i.idx")
    (tmp_path / "index").write_bytes(b"an index")
    before = digests(tmp_path)
    status, _, err = run(capsys, *[tmp_path / w if w in (*there, "F", "F2", "index") else w for w in words], "--force")
    assert status == 2, read
    assert "being read" in err
    assert digests(tmp_path) == before


@pytest.mark.parametrize("what", FILES | IMAGE)
def test_a_file_is_replaced_only_with_force_and_whole(capsys, tmp_path: Path, source: Path, what: str) -> None:
    out = tmp_path / "out" / "file.png"
    out.parent.mkdir()
    out.write_bytes(b"old")
    words = [*named((FILES | IMAGE)[what], source), out]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert f"{out}: exists" in err
    assert "--force" in err
    assert digests(out.parent) == {str(out): hashlib.sha256(b"old").hexdigest()}
    assert run(capsys, *words, "--force")[0] in (0, 1)
    assert out.read_bytes() != b"old"
    for path in out.parent.iterdir():
        assert path.name in ("file.png", "file.png.json")
        assert path.stat().st_mode & 0o777 == (0o644 if what in PUBLIC else 0o600)


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_is_filled_only_if_empty_or_with_force(
    capsys, monkeypatch, tmp_path: Path, source: Path, what: str
) -> None:
    monkeypatch.setattr("xbrletools.vectors.write.files", lambda _seed: iter([("none", [], {})]))
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_bytes(b"mine")
    words = [*named(FOLDERS[what], source), out]
    assert run(capsys, *words)[0] == 2
    assert [p.name for p in out.iterdir()] == ["mine"]
    assert run(capsys, *words, "--force")[0] in (0, 1)
    assert (out / "mine").read_bytes() == b"mine"
    new = tmp_path / "up" / "new"
    assert run(capsys, *words[:-1], new)[0] in (0, 1)
    assert {p.name for p in new.iterdir()} == {p.name for p in out.iterdir()} - {"mine"}
    assert new.stat().st_mode & 0o777 == (0o755 if what in PUBLIC else 0o700)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out", "up"}


@pytest.mark.parametrize("what", FILES | IMAGE)
def test_a_hyphen_is_standard_output(capfdbinary, tmp_path: Path, source: Path, what: str) -> None:
    words = named((FILES | IMAGE)[what], source)
    assert run(capfdbinary, *words, tmp_path / "file.png")[0] in (0, 1)
    status, out, _ = run(capfdbinary, *words, "-")
    assert status in (0, 1)
    assert out == (tmp_path / "file.png").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "file.png", "file.png.json"}


def test_a_disk_can_go_to_standard_output(capfdbinary, tmp_path: Path) -> None:
    source = tmp_path / "S"
    source.write_bytes(disk_capture(chunk(CHUNK, b"\1"), chunk(0, b"\2"), chunk(CHUNK, None)))
    assert run(capfdbinary, "extract", source, "--disk", "ide0", "-o", tmp_path / "disk")[0] == 0
    assert run(capfdbinary, "extract", source, "--disk", "ide0", "-o", "-")[1] == (tmp_path / "disk").read_bytes()


@pytest.mark.parametrize(
    "words", [["extract", "S", "-o", "-"], ["extract", "S", "--block", "r", "--unknown", "mask-file", "-o", "-"]]
)
def test_what_is_more_than_one_file_does_not_go_to_standard_output(capsys, source: Path, words: list[str]) -> None:
    status, out, err = run(capsys, *named(words, source))
    assert (status, out) == (2, "")
    assert "-o -" in err


def test_what_a_command_says_does_not_mix_with_what_it_writes(capfdbinary, source: Path) -> None:
    for more in ([], ["--json"]):
        status, out, err = run(capfdbinary, "salvage", source, "-o", "-", *more)
        assert status in (0, 1)
        assert out.startswith(b"QEVM")
        assert b"unprotected" in err
        assert run(capfdbinary, "whatif", source, "--image", "-", *more)[1].startswith(b"\x89PNG")


def limited(words: list[str], size: int) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    environment = os.environ | {"XDG_CACHE_HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-m", "xbrletools", *words],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env=environment,
        check=False,
    )


@pytest.mark.parametrize("what", [*FILES, *IMAGE, "extract"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, source: Path, what: str) -> None:
    target = tmp_path / "out.png"
    ended = limited([*named((FILES | IMAGE | FOLDERS)[what], source), str(target)], 4096)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last == f"xbrle: {target}: File too large"
    assert "Traceback" not in ended.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("way", ["-", "/dev/full"])
def test_a_full_device_is_one_line(source: Path, what: str, way: str) -> None:
    words = [*named(FILES[what], source), way]
    if what.startswith("extract") and way != "-":
        words.append("--force")
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "xbrletools", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 2
    name = "standard output" if way == "-" else "/dev/full"
    assert ended.stderr.splitlines()[-1] == f"xbrle: {name}: No space left on device"


@pytest.mark.parametrize(
    "words", [["info", "S"], ["dump", "S"], ["verify", "S", "--json"], ["transcode", "S", "-o", "-"]]
)
def test_a_closed_standard_output_is_one_line(source: Path, words: list[str]) -> None:
    line = f'exec {sys.executable} -m xbrletools "$@" >&-'
    ended = subprocess.run(
        ["sh", "-c", line, "sh", *named(words, source)], stderr=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == "xbrle: standard output is closed, and there is something to write to it"
    assert "Traceback" not in ended.stderr


def test_what_does_not_print_does_not_need_standard_output(tmp_path: Path) -> None:
    line = f'exec {sys.executable} -m xbrletools "$@" >&- <&- 2>&-'
    words = ["transcode", str(SAMPLE), "-o", str(tmp_path / "T")]
    assert subprocess.run(["sh", "-c", line, "sh", *words], check=False).returncode == 0
    assert (tmp_path / "T").read_bytes()[:4] == b"QEVM"


def options() -> list[tuple[str, click.Parameter]]:
    """Every option and argument of every command."""
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        members: dict[str, click.Command] = getattr(command, "commands", {name: command})
        found += [(called, parameter) for called, member in members.items() for parameter in member.params]
    return found


#: What the help calls a name that is not that of a file to read.
NOT_READ = {
    ("write", "folder"),
    ("check", "folder"),
    ("capture", "output"),
    ("capture", "where"),
    ("capture", "forward"),
}


def test_every_option_that_names_a_file_is_known_to_be_read_or_written() -> None:
    unknown = []
    for command, parameter in options():
        metavar = parameter.metavar or ""
        names_file = metavar.strip("[].") in ("FILE", "S", "S2", "SNAP", "WORKLOAD", "DIR", "OUT", "T", "LOG", "SOURCE")
        if names_file and parameter.name not in READ | {"output"} and (command, parameter.name) not in NOT_READ:
            unknown.append((command, parameter.name))
    assert unknown == []


def test_whoever_writes_can_be_forced() -> None:
    writing = {command for command, parameter in options() if parameter.name in ("output", "image")}
    forced = {command for command, parameter in options() if parameter.name == "force"}
    assert writing <= forced
    assert writing >= {"extract", "salvage", "transcode", "encode", "report", "whatif", "capture"}
