"""Disks out of block migration."""

import os

import pytest

from tests.building import EOF, EOS, HEADER, block_list, footer, part, start
from tests.cli.run import run
from xbrletools.formats import block
from xbrletools.formats.block import CHUNK, Flag
from xbrletools.formats.qevm import SectionType

PROGRESS = block.Record.build({"word": 50 << 9 | Flag.PROGRESS, "name": None, "data": None})
END = block.Record.build({"word": int(Flag.EOS), "name": None, "data": None})


def chunk(at: int, content: bytes | None, name: bytes = b"ide0") -> bytes:
    flags = Flag.DEVICE_BLOCK | (Flag.ZERO_BLOCK if content is None else 0)
    data = None if content is None else (content * CHUNK)[:CHUNK]
    return block.Record.build({"word": at | flags, "name": name, "data": data})


def capture(*chunks: bytes) -> bytes:
    ram = start() + block_list([(b"pc.ram", 4096)]) + EOS + footer()
    opened = start(b"block", 1, 1) + END + footer(1)
    parts = b"".join(part(1) + PROGRESS + c + END + footer(1) for c in chunks)
    return HEADER + opened + ram + parts + part(kind=SectionType.END) + EOS + footer() + EOF


@pytest.fixture
def path(tmp_path):
    def write(*chunks: bytes):
        found = tmp_path / "s.bin"
        found.write_bytes(capture(*chunks))
        return found

    return write


def test_a_disk_is_its_last_chunks_with_holes_for_zeros_and_for_what_never_came(path, capsys, tmp_path):
    found = path(
        chunk(0, b"one"),
        chunk(CHUNK, b"two") + chunk(0, b"other", b"ide1"),
        chunk(CHUNK, None),
        chunk(3 * CHUNK, b"four"),
        chunk(2 * CHUNK, None) + chunk(0, b"uno"),
        chunk(5 * CHUNK, b"six"),
    )
    status, _, err = run(capsys, "extract", found, "--disk", "ide0", "-o", tmp_path / "disk")
    assert status == 0
    expected = [b"uno", b"\0", b"\0", b"four", b"\0", b"six"]
    assert (tmp_path / "disk").read_bytes() == b"".join((e * CHUNK)[:CHUNK] for e in expected)
    assert f"{CHUNK} bytes were not sent" in err
    assert "does not record the disk size" in err
    assert (tmp_path / "disk").stat().st_blocks * 512 < 5 * CHUNK


def test_another_disk_is_refused_and_those_there_are_named(path, capsys, tmp_path):
    found = path(chunk(0, b"one", b"a\x1b"), chunk(0, None, b"b"))
    assert run(capsys, "extract", found, "--disk", "c", "-o", tmp_path / "disk")[::2] == (
        2,
        f"xbrle: {found}: disk c was not found. Disks in this capture: a\\x1b, b\n",
    )
    assert run(capsys, "extract", found, "--disk", "a\\x1b", "-o", tmp_path / "disk")[0] == 0
    assert run(capsys, "extract", found, "--disk", "b", "-o", tmp_path / "disk")[0] == 2  # there is a file already
    assert run(capsys, "extract", found, "--disk", "b", "-o", tmp_path / "disk", "--force")[0] == 0
    assert run(capsys, "extract", found, "--disk", "b", "--block", "ram", "-o", tmp_path / "x")[0] == 2


def test_a_chunk_beyond_any_disk_is_one_error_and_no_file(path, capsys, tmp_path):
    for at in (1 << 60, (1 << 64) - 512):
        found = path(chunk(0, b"one"), chunk(at, b"two"))
        status, _, err = run(capsys, "extract", found, "--disk", "ide0", "-o", tmp_path / "disk")
        assert status == 2
        assert "a disk is not that large" in err
        assert not (tmp_path / "disk").exists()


def test_of_a_truncated_capture_what_came_is_written(path, capsys, tmp_path):
    found = path(chunk(0, b"one"), chunk(CHUNK, b"two"))
    os.truncate(found, CHUNK + CHUNK // 2)
    assert run(capsys, "extract", found, "--disk", "ide0", "-o", tmp_path / "disk")[0] == 1
    assert (tmp_path / "disk").read_bytes() == (b"one" * CHUNK)[:CHUNK]


def test_the_disk_of_a_real_block_migration_is_the_guests(corpus, capsys, tmp_path):
    (tmp_path / "s.bin").write_bytes(corpus("qemu-7.2/pc16-block-kvm.bin"))
    assert run(capsys, "extract", tmp_path / "s.bin", "--disk", "d1", "-o", tmp_path / "disk")[0] == 0
    assert (tmp_path / "disk").read_bytes() == corpus("qemu-7.2/pc16-block-kvm.disk.img")
