"""`xbrle log`."""

import lzma

import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.analysis import miglog
from xbrletools.cli import main

STREAM = str(SAMPLES / "posted-8m.bin")


@pytest.fixture(scope="module")
def log() -> bytes:
    written = miglog.written(xbrletools.open(STREAM).stream, miglog.End.RECEIVER)
    return b"".join(miglog.text(written.log))


def test_the_log_is_data_and_the_layout_a_remark(capsys):
    assert main(["log", STREAM, "--end", "sender"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2557
    assert "addr 0x800000 " in out
    assert "the PC's allocation order" in err


def test_a_base_given_by_hand_moves_the_sender_s_addresses(capsys):
    assert main(["log", STREAM, "--end", "sender", "--base", "pc.bios=0x10000000"]) == 0
    out, err = capsys.readouterr()
    assert "addr 0x10000000 " in out
    assert "pc.bios at 0x10000000" in err


@pytest.mark.parametrize("arguments", [["--base", "pc.bios"], ["--base", "gone=0"], ["--base", "pc.bios=x"], []])
def test_wrong_use_exits_2(arguments, capsys):
    assert main(["log", STREAM, *(["--end", "sender"] if arguments else []), *arguments]) == 2
    assert main(["log", STREAM, "--end", "receiver", "--base", "pc.bios=0"]) == 2
    capsys.readouterr()


def test_a_log_that_agrees_exits_0_packed_or_not(log, tmp_path, capsys):
    (tmp_path / "mig.log").write_bytes(log)
    (tmp_path / "mig.log.xz").write_bytes(lzma.compress(log))
    for name in ("mig.log", "mig.log.xz"):
        assert main(["log", STREAM, "--end", "receiver", "--check", str(tmp_path / name)]) == 0
        assert "all 2557 lines agree" in capsys.readouterr().out


def test_the_first_different_line_is_shown_twice_and_exits_1(log, tmp_path, capsys):
    path = tmp_path / "mig.log"
    path.write_bytes(log.replace(b"[seq 700 ", b"[seq 700\x1b[31m ", 1))
    assert main(["log", STREAM, "--end", "receiver", "--check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "line 700 differs" in out
    assert "expected: [seq 700 addr" in out
    assert r"found:    [seq 700\x1b[31m addr" in out


def test_a_cut_log_is_said_to_be_cut(log, tmp_path, capsys):
    path = tmp_path / "mig.log"
    path.write_bytes(log[:4096])
    assert main(["log", STREAM, "--end", "receiver", "--check", str(path)]) == 0
    assert "then the log is cut; 2557 were expected" in capsys.readouterr().out


def test_a_truncated_capture_gives_its_lines_and_exits_1(tmp_path, capsys):
    path = tmp_path / "cut.bin"
    path.write_bytes((SAMPLES / "posted-8m.bin").read_bytes()[:100000])
    assert main(["log", str(path), "--end", "receiver"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("[seq 1 ")
    assert "ends inside" in err


def test_a_log_file_that_is_not_there_exits_2(tmp_path, capsys):
    assert main(["log", STREAM, "--end", "receiver", "--check", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
