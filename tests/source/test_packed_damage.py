"""A packed file with one damaged byte, or cut: all that can be had before the damage comes out, and it is said."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import random
import re
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np
import pytest
import zstandard

import xbrletools
from tests.building import page, patterned, stream
from tests.cli.run import run
from tests.scan.test_wrappers import PACK, lzop_file, save_file
from xbrletools.formats import bzip2
from xbrletools.formats.libvirt import Format
from xbrletools.source.opening import open_source

BIT = 0x10


def content(size: int = 5 << 19) -> bytes:
    """Bytes that pack a little: half of each page is random, the rest is like the page before."""
    chance = np.random.default_rng(7)
    pages = np.repeat(chance.integers(0, 256, (1, 4096), np.uint8), size >> 12, 0)
    pages[:, ::2] = chance.integers(0, 256, (size >> 12, 2048), np.uint8)
    pages[size >> 14 : size >> 13] = 0
    return pages.tobytes()


CONTENT = content()


def _lzop(data: bytes) -> bytes:
    size = 256 << 10
    return lzop_file(*((len(p), p) for p in (data[i : i + size] for i in range(0, len(data), size))))


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


#: How each is packed, and the bytes of content that the unit has in which damage is found.
PACKERS = {
    "gzip": (lambda d: gzip.compress(d, 6, mtime=0), None),
    "bzip2": (bz2.compress, 900_000),
    "xz": (lambda d: lzma.compress(d, preset=1), 2 << 20),
    "zstd": (_zstd, 128 << 10),
    "lzop": (_lzop, 256 << 10),
}


def unpacked(data: bytes) -> tuple[bytes, str | None]:
    """What comes out of a packed file, and what is said of its damage."""
    source = open_source(io.BytesIO(data)).spool()
    return source.data.tobytes(), source.damage


def common(a: bytes, b: bytes) -> int:
    """How many bytes two begin with alike."""
    size = min(len(a), len(b))
    differ = np.flatnonzero(np.frombuffer(a[:size], np.uint8) != np.frombuffer(b[:size], np.uint8))
    return int(differ[0]) if len(differ) else size


@pytest.mark.parametrize("name", PACKERS)
def test_what_is_whole_comes_out_whole(name):
    pack, _ = PACKERS[name]
    for data in (CONTENT, b"", b"x", CONTENT[:100_001]):
        if data or name != "lzop":
            assert unpacked(pack(data)) == (data, None)


@pytest.mark.parametrize("name", PACKERS)
def test_files_that_follow_each_other_are_one(name):
    pack, _ = PACKERS[name]
    padding = {"gzip": bytes(5), "xz": bytes(8)}.get(name, b"")
    assert unpacked(pack(CONTENT[:70_000]) + pack(b"abc") + padding) == (CONTENT[:70_000] + b"abc", None)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("after", [b"j", b"junk" * 50, b"\0junk" * 9], ids=["a byte", "text", "zero"])
def test_bytes_after_the_end_are_said_with_their_place_and_all_that_stands_before_them_comes_out(name, after):
    packed = PACKERS[name][0](CONTENT[:70_000])
    given, said = unpacked(packed + after)
    assert given == CONTENT[:70_000]
    unit = {"bzip2": "stream", "zstd": "frame", "xz": "stream", "lzop": "file"}.get(name, "member")
    place = len(packed) + (name == "gzip" and after[0] == 0)  # a zero is padding there
    assert said == (
        f"{name} is damaged at its offset {place:#x}, {len(given):#x} of the content: no {unit} of {name} begins here"
    )


def test_bytes_after_the_end_of_an_lzop_file_show_in_the_exit_status(tmp_path, capsys):
    path = tmp_path / "S.lzo"
    whole = stream(page(0, patterned(1), b"pc.ram"))
    path.write_bytes(lzop_file((len(whole), whole)) + b"junk")
    status, _, err = run(capsys, "info", path)
    assert status == 1
    assert "no file of lzop begins here" in err


@pytest.mark.parametrize("name", PACKERS)
def test_a_cut_file_gives_what_its_decoder_can_and_says_where_it_ends(name):
    pack, unit = PACKERS[name]
    packed = pack(CONTENT)
    for cut in (len(packed) // 3, len(packed) // 2, len(packed) - 5, len(packed) - 1):
        given, said = unpacked(packed[:cut])
        assert CONTENT.startswith(given)
        lost = {"gzip": 4096, "xz": 4096}.get(name, 2 * (unit or 0))  # these give a part of what they are in
        least = len(CONTENT) * cut // len(packed) - (2 << 18) - lost
        assert len(given) >= least
        assert said == f"{name} ends early, at its offset {cut:#x}, {len(given):#x} of the content"


@pytest.mark.parametrize("name", ["bzip2", "xz", "zstd", "lzop"])
def test_one_wrong_byte_spoils_its_unit_and_nothing_before_it(name):
    """The sizes of units are those of their formats. A chunk of xz that is not stored holds up to 2 MiB."""
    pack, unit = PACKERS[name]
    packed = pack(CONTENT)
    chance = random.Random(name)
    for at in [chance.randrange(30, len(packed) - 40) for _ in range(12 if name != "bzip2" else 3)]:
        damaged = bytearray(packed)
        damaged[at] ^= BIT
        given, said = unpacked(bytes(damaged))
        alike = common(given, CONTENT)
        assert said is not None
        place = int(re.search(r"offset (0x[0-9a-f]+)", said)[1], 16)
        assert said.startswith(f"{name} is damaged at its offset {place:#x}, {len(given):#x} of the content: ")
        if alike < len(given):  # a part that is stored as it is does not have a sum of its own
            assert name == "zstd"
            assert "may be wrong as well" in said
            continue
        assert place <= at
        assert len(given) >= len(unpacked(packed[:at])[0]) - unit


def test_a_wrong_byte_in_gzip_leaves_all_before_it_and_says_what_is_unchecked():
    packed = gzip.compress(CONTENT, 6, mtime=0)
    chance = random.Random(1)
    for at in [chance.randrange(10, len(packed) - 8) for _ in range(20)]:
        damaged = bytearray(packed)
        damaged[at] ^= BIT
        given, said = unpacked(bytes(damaged))
        before = zlib.decompressobj(wbits=31).decompress(packed[:at])
        assert given.startswith(before)
        assert said.startswith("gzip is damaged at its offset ")
        assert f", {len(given):#x} of the content: " in said
        assert "gzip checks its content only at the end" in said


def test_gzip_gives_every_byte_that_stands_before_the_wrong_bit():
    """A block type that does not exist after a flush: all of the flushed bytes come out, whatever the sizes."""
    for size in (1, 7, 4096, 65_536, 300_000, 3 << 20):
        packer = zlib.compressobj(wbits=31)
        packed = packer.compress(CONTENT[:size]) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07" + bytes(1000)
        given, said = unpacked(packed)
        assert given == CONTENT[:size]
        assert "invalid block type" in said
        place = int(re.search(r"offset (0x[0-9a-f]+)", said)[1], 16)
        assert place == len(packed) - 1001


def test_a_bzip2_block_whose_sum_holds_comes_out_though_the_next_ones_magic_is_wrong():
    packed = bytearray(bz2.compress(CONTENT))
    bits = f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}"
    second = bits.index(f"{bzip2.BLOCK:048b}", 8 * bzip2.HEADER_SIZE + 1)
    for bit in (second, second + 20, second + 47):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        given, said = unpacked(bytes(damaged))
        assert given == CONTENT[: len(given)]
        assert len(given) > 600_000
        assert said is not None


@pytest.mark.parametrize("packed", [f for f in Format if f in (Format.GZIP, Format.BZIP2, Format.XZ, Format.ZSTD)])
def test_a_damaged_save_file_gives_the_pages_before_the_damage(packed, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PACK, Format.ZSTD, _zstd)  # with a sum, as its program writes it
    chance = np.random.default_rng(3)
    pages = [page(i << 12, chance.bytes(4096), None if i else b"pc.ram") for i in range(400)]
    data = bytearray(save_file(packed, inner=stream(*pages, blocks=((b"pc.ram", 400 << 12),))))
    data[len(data) * 2 // 3] ^= BIT
    path = tmp_path / "s.save"
    path.write_bytes(data)
    status, _, err = run(capsys, "info", path)
    assert status == 1
    assert f"{packed.name.lower()} is damaged at its offset" in err
    assert "Traceback" not in err
    capture = xbrletools.open(path)
    assert capture.memory().known[:20].all()


def test_a_capture_with_one_wrong_byte_in_its_gzip_is_read_as_far_as_it_stands(corpus, tmp_path, capsys):
    data = corpus("cases/damage/one_byte.bin.gz")
    given, said = unpacked(data)
    decoder, pieces = zlib.decompressobj(wbits=31), []
    with contextlib.suppress(zlib.error):
        for at in range(len(data)):
            pieces.append(decoder.decompress(data[at : at + 1]))
    assert given.startswith(b"".join(pieces))
    assert said.startswith(f"gzip is damaged at its offset {at:#x}, {len(given):#x} of the content: ")
    path = tmp_path / "one_byte.bin.gz"
    path.write_bytes(data)
    for command in ("info", "stats", "verify", "dump"):
        status, _, err = run(capsys, command, path)
        assert status == 1
        assert "internal error" not in err


def test_memory_from_a_file_whose_sum_is_wrong_is_not_called_complete(tmp_path, capsys):
    """The stream is whole, but one of its bytes may be wrong: only the sum at the end of the gzip shows it."""
    chance = np.random.default_rng(3)
    data = bytearray(gzip.compress(stream(page(0, chance.bytes(4096), b"pc.ram"))))
    data[len(data) // 2] ^= 1
    path = tmp_path / "capture.gz"
    path.write_bytes(data)
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    assert status == 1
    assert "incorrect data check" in err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"] is False


def test_much_that_is_packed_into_little_takes_no_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data = gzip.compress(stream(page(0, patterned(1), b"pc.ram")) + bytes(200 << 20))
    source = open_source(io.BytesIO(data)).spool()
    assert source.size > 200 << 20
    assert sum(high - low for low, high in source.extents(0, source.size)) < 8 << 20


@pytest.mark.parametrize("name", PACKERS)
def test_a_file_that_is_damaged_from_its_first_byte_on_is_named(name, tmp_path, capsys):
    pack, _ = PACKERS[name]
    path = tmp_path / "capture"
    path.write_bytes(pack(CONTENT[:4096])[:12])
    for command in (("info",), ("salvage", "--json")):
        status, _, err = run(capsys, command[0], path, *command[1:])
        assert status == 2
        assert f"{path}: {name} ends early, at its offset 0xc, 0x0 of the content" in err


def test_a_slow_pipe_is_not_taken_for_another_file():
    data = gzip.compress(stream(page(0, patterned(1), b"pc.ram")))
    program = "import sys, xbrletools; print(xbrletools.open('-').records.counts()['page'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for i in range(0, 12, 3):
            process.stdin.write(data[i : i + 3])
            process.stdin.flush()
            time.sleep(0.1)
        assert process.communicate(data[12:])[0] == b"1\n"
