import numpy as np
import pytest

import xbrletools
from tests.sender.snaps import PAGE, history, write
from xbrletools.cli import main
from xbrletools.formats.dialects import DIALECTS


@pytest.fixture
def snapshots() -> list[np.ndarray]:
    return history(5, [[5, 5, 5, 4, 5, 5], [1, 4, 1, 5, 1, 3], [1, 5, 1, 1, 4, 1]])


def test_snapshots_become_a_stream_that_verifies_and_holds_the_last_one(tmp_path, snapshots, capsys):
    out = tmp_path / "s.bin"
    assert main(["encode", *write(tmp_path, snapshots), "-o", str(out)]) == 0
    assert main(["verify", str(out)]) == 0
    capture = xbrletools.open(out)
    np.testing.assert_array_equal(capture.memory()["pc.ram"], snapshots[-1])
    assert capture.records.counts()["xbrle"] > 0


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_dialect_and_every_knob(tmp_path, snapshots, dialect):
    out = tmp_path / "s.bin"
    knobs = [
        "--dialect",
        dialect,
        "--cache",
        "16K",
        "--rate",
        "6K",
        "--endian",
        "big",
        "--no-checksum",
        "--last-in-end",
    ]
    knobs += ["--policy", "v2", "--dup-pages", "fixed", "--no-block-section", "--seed", "3"]
    knobs += ["--block", "pc.ram=16K", "--block", "pc.bios=8K", "--base", "pc.bios=1M"]
    assert main(["encode", *write(tmp_path, snapshots), "-o", str(out), *knobs]) == 0
    capture = xbrletools.open(out, dialect=dialect, endian="big")
    image = capture.memory()
    if capture.facts.ram_version == 3:
        np.testing.assert_array_equal(image.pages[256:], snapshots[-1][4:])
        np.testing.assert_array_equal(image.pages[:4], snapshots[-1][:4])
    else:
        np.testing.assert_array_equal(image.pages, snapshots[-1])


def test_the_same_knobs_give_the_same_bytes(tmp_path, snapshots):
    paths = write(tmp_path, snapshots)
    for name in "ab":
        assert main(["encode", *paths, "-o", str(tmp_path / name), "--policy", "intended", "--seed", "9"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_layout_file_names_the_blocks(tmp_path, snapshots):
    layout = tmp_path / "layout.json"
    layout.write_text('{"blocks": [{"name": "pc.ram", "length": 16384}, {"name": "pc.rom", "length": 8192}]}')
    out = tmp_path / "s.bin"
    assert main(["encode", *write(tmp_path, snapshots), "-o", str(out), "--layout", str(layout)]) == 0
    assert [(b.name, b.length) for b in xbrletools.open(out).blocks] == [(b"pc.ram", 16384), (b"pc.rom", 8192)]


@pytest.mark.parametrize(
    ("knobs", "word"),
    [
        (["--block", "pc.ram=4K"], "its blocks come to"),
        (["--dialect", "gone"], "unknown dialect"),
        (["--cache", "4K"], "too small"),
        (["--page-size", "1000"], "power of two"),
        (["--block", "x"], "use NAME=NUMBER"),
        (["--layout", "/nonexistent/layout"], "layout"),
        (["--device-tail", "/nonexistent/tail"], "tail"),
        (["--block", "a=8K", "--block", "a=16K"], "two blocks"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_no_file(tmp_path, snapshots, capsys, knobs, word):
    out = tmp_path / "out" / "s.bin"
    out.parent.mkdir()
    assert main(["encode", *write(tmp_path, snapshots), "-o", str(out), *knobs]) == 2
    message = capsys.readouterr().err
    assert word in message
    assert message.count("\n") == 1
    assert list(out.parent.iterdir()) == []


def test_a_snapshot_that_is_not_there_is_said(tmp_path, capsys):
    assert main(["encode", str(tmp_path / "gone"), "-o", str(tmp_path / "s")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_sparse_files_become_dup_pages(tmp_path):
    out, paths = tmp_path / "s.bin", []
    for i in range(2):
        path = tmp_path / f"sparse{i}"
        with path.open("wb") as file:
            file.truncate(256 << 20)
            file.seek(200 << 20)
            file.write(bytes([i + 2, 1]) * (PAGE // 2))
        paths.append(str(path))
    assert main(["encode", *paths, "-o", str(out)]) == 0
    capture = xbrletools.open(out)
    assert capture.records.counts() == {"mem_size": 1, "page": 2, "dup": 65535, "eos": 3}


@pytest.mark.parametrize(
    ("seed", "dialect"), [(703, "xbzrle"), (707, "xbzrle"), (711, "xbzrle"), (725, "xbzrle"), (708, "posted")]
)
def test_a_page_that_ends_one_snapshot_and_begins_the_next_breaks_no_law_of_the_walk(seed, dialect, tmp_path, capsys):
    rng = np.random.default_rng(seed)
    memory = rng.integers(0, 256, (256, 4096), np.uint8)
    names = []
    for number in range(5):
        memory = memory.copy()
        memory[rng.integers(0, 256, 60), rng.integers(0, 4000)] += 1
        memory[rng.integers(0, 256, 4)] = 0
        names.append(tmp_path / f"{number}.raw")
        names[-1].write_bytes(memory.tobytes())
    out = tmp_path / "out.bin"
    assert main(["encode", *map(str, names), "--block", "pc.ram=1M", "--dialect", dialect, "-o", str(out)]) == 0
    capsys.readouterr()
    assert main(["verify", str(out)]) == 0, capsys.readouterr().out
