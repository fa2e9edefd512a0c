"""Streams that begin further on in a file: found by themselves, or where the user says."""

import gzip
import io
import json
import os
import time

import pytest

import xbrletools
from tests.building import configuration, page, patterned, start, stream
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.scan.test_mapped_ram import BLOCKS, CONTENT, mapped_file
from tests.scan.test_wrappers import XML, save_file
from xbrletools.container.identify import SEARCHED, stream_in
from xbrletools.formats.libvirt import Format
from xbrletools.scan import cache

STREAM = stream(page(0, patterned(1), b"pc.ram"))
BEGIN = STREAM[:8]


def ways(data: bytes, tmp_path):
    """A file's bytes in every way in which they can be given."""
    path = tmp_path / "capture"
    path.write_bytes(data)
    return (data, path, io.BytesIO(data), gzip.compress(data))


@pytest.mark.parametrize("at", [4096, 0x100000, 1, 92, 100_001])
def test_a_stream_is_found_behind_other_bytes_and_offsets_are_those_of_the_file(at, tmp_path):
    inside = xbrletools.open(STREAM).records.columns.offset
    for what in ways(b"\x5a" * at + STREAM, tmp_path):
        capture = xbrletools.open(what)
        assert capture.facts.start == at
        assert (capture.records.columns.offset == inside + at).all()
        assert capture.memory()["pc.ram"][0].tobytes() == patterned(1)
        assert capture.problems == ()
        assert list(capture.verify()) == list(xbrletools.open(STREAM).verify())


def test_the_beginning_of_a_page_goes_before_any_other_place():
    data = b"\x5a" * 100 + STREAM
    data += b"\x5a" * (-len(data) % 4096) + STREAM
    assert xbrletools.open(data).facts.start == len(data) - len(STREAM)


def test_what_only_looks_like_a_header_is_passed_over():
    for after in (b"\x09" + bytes(300), b"\x07" + bytes(300), start(b"\1\2")[:9] + bytes(300), b"\x02" + bytes(300)):
        assert stream_in(memoryview(b"\x5a" * 50 + BEGIN + after)) is None
        assert stream_in(memoryview(b"\x5a" * 50 + BEGIN + after + BEGIN + configuration() + bytes(300))) is not None
    assert stream_in(memoryview(BEGIN * 100_000)) is None


def test_the_search_ends_and_says_what_stands_at_the_beginning(tmp_path, capsys):
    path = tmp_path / "far"
    path.write_bytes(b"\x5a" * (SEARCHED + 4096) + STREAM)
    status, _, err = run(capsys, "info", path)
    assert status == 2
    assert "starts with 5a 5a 5a 5a, not with QEVM" in err
    assert run(capsys, "info", path, "--offset", hex(SEARCHED + 4096))[0] == 0


def test_the_user_says_where_the_stream_begins_whatever_stands_before_it(tmp_path, capsys):
    for before in (b"\x1f\x8b", b"LibvirtQemudSave", b"QFI\xfb", b"\x7fELF", STREAM):
        data = before.ljust(len(STREAM) + 50, b"\x5a") + stream(page(0, patterned(2), b"pc.ram"))
        at = len(STREAM) + 50
        path = tmp_path / "capture"
        path.write_bytes(data)
        for what in (data, path):
            capture = xbrletools.open(what, offset=at)
            assert capture.memory()["pc.ram"][0].tobytes() == patterned(2)
        status, out, _ = run(capsys, "info", path, "--offset", str(at), "--json")
        assert (status, json.loads(out)["stream_offset"]) == (0, at)
        assert f"at {at:#x}; offsets count from the beginning of the file" in " ".join(
            run(capsys, "info", path, "--offset", str(at))[1].split()
        )
    status, _, err = run(capsys, "info", path, "--offset", str(at + 1))
    assert (status, f"no migration stream begins at offset {at + 1:#x}" in err) == (2, True)
    assert "ends before offset" in run(capsys, "info", path, "--offset", "1G")[2]


@pytest.mark.parametrize("command", [("dump", "--json"), ("verify", "--json"), ("stats",), ("salvage", "--list")])
def test_every_command_takes_an_offset(command, tmp_path, capsys):
    path = tmp_path / "capture"
    path.write_bytes(b"\x5a" * 77 + STREAM)
    found = run(capsys, command[0], path, *command[1:])
    assert run(capsys, command[0], path, *command[1:], "--offset", "77") == found


def test_transcode_writes_the_stream_without_what_stands_before_it(tmp_path, capsys):
    path, out = tmp_path / "capture", tmp_path / "out"
    for sample in ("posted-8m.bin",):
        data = (SAMPLES / sample).read_bytes()
        path.write_bytes(b"\x5a" * 4096 + data)
        assert run(capsys, "transcode", path, "--policy", "none", "-o", out)[0] == 0
        (tmp_path / "plain").write_bytes(data)
        assert run(capsys, "transcode", tmp_path / "plain", "--policy", "none", "-o", tmp_path / "other")[0] == 0
        assert out.read_bytes() == (tmp_path / "other").read_bytes()


def test_an_index_belongs_to_one_offset(tmp_path, monkeypatch):
    monkeypatch.setattr(xbrletools.capture, "INDEXED", 1)
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "cache")
    path = tmp_path / "two"
    other = stream(page(0, patterned(2), b"pc.ram"), page(4096, patterned(3)))
    path.write_bytes(STREAM + other)
    past = time.time() - 100
    os.utime(path, (past, past))
    for _ in range(2):
        assert xbrletools.open(path).records.counts()["page"] == 1
        assert xbrletools.open(path, offset=len(STREAM)).records.counts()["page"] == 2


def _is_the_mapped_guest(capture: xbrletools.Capture) -> None:
    image = capture.memory()
    assert image.known.all()
    for name, pages in BLOCKS.items():
        for i in range(pages):
            seed = CONTENT.get((name, i))
            assert image[name][i].tobytes() == (patterned(seed) if seed else bytes(4096))


def moved(data: bytes, by: int) -> bytes:
    """A mapped-ram stream as it stands ``by`` bytes into a file: its offsets count from the file's beginning."""
    out = bytearray(data)
    for name in BLOCKS:
        at = data.index(name) + len(name) + 8 + 4 + 8  # the block's length, the header's version and page size
        for place in (at, at + 8):
            value = int.from_bytes(out[place : place + 8], "big")
            out[place : place + 8] = (value + by).to_bytes(8, "big")
    return bytes(out)


@pytest.mark.parametrize("at", [4096, 1 << 20])
def test_mapped_ram_at_an_offset_finds_its_pages(at, tmp_path):
    for what in ways(b"\x5a" * at + moved(mapped_file(), at), tmp_path):
        _is_the_mapped_guest(xbrletools.open(what))


def test_a_sparse_save_file_of_libvirt_is_a_mapped_ram_file_with_xml(tmp_path, capsys):
    by = len(save_file(Format.SPARSE, inner=b""))
    data = save_file(Format.SPARSE, inner=moved(mapped_file(), by))
    for what in ways(data, tmp_path):
        capture = xbrletools.open(what)
        _is_the_mapped_guest(capture)
        assert capture.source.wrapping.xml == XML
    status, out, _ = run(capsys, "info", tmp_path / "capture", "--xml")
    assert (status, out.encode().strip()) == (0, XML)


@pytest.mark.parametrize("name", ["libvirt11.3-sparse-16m", "libvirt11.3-sparse-par2-16m"])
def test_real_sparse_save_files_give_the_guests_memory(name, corpus, tmp_path, capsys):
    path = tmp_path / "s.save"
    path.write_bytes(corpus(f"libvirt-11/{name}.save"))
    capture = xbrletools.open(path)
    truth = corpus("libvirt-11/libvirt11.3-sparse-16m.truth")
    if "par2" not in name:  # the truth is the other guest's
        assert capture.memory()["pc.ram"].tobytes() == truth
    assert capture.facts.mapped_ram
    status, out, err = run(capsys, "info", path, "--xml")
    assert (status, err) == (0, "")
    assert "<domain" in out
    status, out, err = run(capsys, "info", path)
    assert (status, err) == (0, "")
    assert "libvirt save file, sparse" in out


def test_the_case_of_a_stream_at_4096(corpus, tmp_path, capsys):
    path = tmp_path / "capture"
    path.write_bytes(corpus("cases/wrappers/offset4k.bin"))
    status, out, err = run(capsys, "info", path)
    assert (status, err) == (0, "")
    assert "at 0x1000;" in out
