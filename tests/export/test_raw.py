import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.errors import XbrleError
from xbrletools.export import raw, sidecar


def test_a_block_takes_disk_only_where_it_is_not_zero(tmp_path):
    size = 64 << 20
    stream = StreamBuilder({b"pc.ram": size}).page(0, noise(1)).dup(PAGE).dup(2 * PAGE, 3)
    image = xbrletools.open(stream.page(size - PAGE, noise(2)).bytes()).memory()
    raw.write_file(image, 0, tmp_path / "ram")
    assert (tmp_path / "ram").read_bytes() == image["pc.ram"].tobytes()
    assert (tmp_path / "ram").stat().st_blocks * 512 < 1 << 20
    assert raw.digest(image, 0) == hashlib.sha256(image["pc.ram"]).hexdigest()


def test_a_claim_of_very_much_costs_neither_time_nor_disk(tmp_path):
    image = xbrletools.open(StreamBuilder({b"pc.ram": 1 << 38}).page(0, noise(1)).bytes()).memory()
    raw.write_folder(image, tmp_path / "out")
    (block,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["blocks"]
    assert (block["sha256"], block["unknown"]) == (None, (1 << 38) - PAGE)
    pieces = noise(1).reshape(4, 1024)
    told = b"".join((i * 1024).to_bytes(8, "big") + piece.tobytes() for i, piece in enumerate(pieces))
    assert block["data_sha256"] == hashlib.sha256(told).hexdigest()
    assert (tmp_path / "out" / "pc.ram").stat().st_blocks * 512 < 1 << 20


def test_a_block_that_is_no_multiple_of_a_page_ends_where_it_says(tmp_path):
    blocks = {b"a": PAGE + 2048, b"b": PAGE - 2048}
    image = xbrletools.open(StreamBuilder(blocks).page(PAGE, noise(1), b"a").bytes()).memory()
    raw.write_folder(image, tmp_path / "out")
    content = (tmp_path / "out" / "a").read_bytes()
    assert content == bytes(PAGE) + noise(1)[:2048].tobytes()
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())["blocks"]
    assert [b["unknown"] for b in written] == [PAGE, PAGE - 2048]
    assert written[0]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "out" / "b").read_bytes() == bytes(PAGE - 2048)


def test_a_page_that_is_partly_known_counts_its_unknown_bytes():
    stream = StreamBuilder({b"pc.ram": PAGE}).page(0, noise(1)).bytes()
    cut = stream[: stream.index(noise(1).tobytes()[:64]) + 100]
    image = xbrletools.open(cut).memory()
    assert raw.unknown_bytes(image, 0) == PAGE - 100
    assert image["pc.ram"][0, :100].tolist() == noise(1)[:100].tolist()


HOSTILE = [b"..", b".", b"", b"/etc/passwd", b"../../x", b"a/b", b"A", b"a", b"con\x00\x1b[2J", b"manifest.json",
           b"\xff\xfe", b"%2E", b"~", b"x" * 255, b"x" * 254 + b"/", "\u202e".encode(),
           b"-rf", b"MANIFEST.JSON"]  # fmt: skip


def assert_safe(names):
    for name in names:
        assert name not in ("", ".", "..", raw.MANIFEST)
        assert not set(name) & set('/\\\0:*?"<>|')
        assert name.isprintable()
        assert name.isascii()
        assert not name.startswith(".")
        assert len(name) <= 255
    assert len({n.casefold() for n in names}) == len(names)


@given(st.lists(st.binary(max_size=255) | st.sampled_from(HOSTILE), max_size=30))
def test_names_become_safe_and_distinct_files(names):
    taken = {raw.MANIFEST}
    assert_safe([raw.file_name(name, taken) for name in names])


def test_ordinary_names_stay_as_they_are():
    taken = {raw.MANIFEST}
    assert [raw.file_name(n, taken) for n in (b"pc.ram", b"vga.vram", b"a/b")] == ["pc.ram", "vga.vram", "a%2Fb"]


def test_hostile_names_stay_inside_the_folder(tmp_path):
    blocks = {name: PAGE for name in HOSTILE if name}
    stream = StreamBuilder(blocks)
    for i, name in enumerate(blocks):
        stream.page(0, noise(i), name)
    raw.write_folder(xbrletools.open(stream.bytes()).memory(), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert files == sorted([raw.MANIFEST, *(b["file"] for b in manifest["blocks"])])
    assert_safe([b["file"] for b in manifest["blocks"]])
    for i, block in enumerate(manifest["blocks"]):
        assert (tmp_path / "out" / block["file"]).read_bytes() == noise(i).tobytes()


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space")

    image = xbrletools.open(StreamBuilder().page(0, noise(1)).bytes()).memory()
    monkeypatch.setattr(raw, "digest", fail)
    with pytest.raises(XbrleError, match="no space"):
        raw.write_folder(image, tmp_path / "out")
    monkeypatch.setattr(raw, "write_block", fail)
    with pytest.raises(XbrleError, match="no space"):
        raw.write_file(image, 0, tmp_path / "ram")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_replaced_only_by_force(tmp_path):
    image = xbrletools.open(StreamBuilder().page(0, noise(1)).bytes()).memory()
    raw.write_file(image, 0, tmp_path / "ram")
    with pytest.raises(XbrleError, match="not empty"):
        raw.write_file(image, 0, tmp_path / "ram")
    with pytest.raises(XbrleError, match="not empty"):
        raw.write_folder(image, tmp_path)
    with pytest.raises(XbrleError, match="not a folder"):
        raw.write_folder(image, tmp_path / "ram", force=True)
    with pytest.raises(XbrleError, match="is a directory"):
        raw.write_file(image, 0, tmp_path, force=True)
    image.pages[0] = 0
    image.pages[0, 0] = 1
    raw.write_file(image, 0, tmp_path / "ram", force=True)
    assert np.fromfile(tmp_path / "ram", np.uint8).sum() == 1
    raw.write_folder(image, tmp_path, force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "pc.ram", "ram"]


def test_an_empty_folder_and_an_empty_file_may_be_filled(tmp_path):
    image = xbrletools.open(StreamBuilder().page(0, noise(1)).bytes()).memory()
    raw.write_folder(image, tmp_path)
    (tmp_path / "empty").touch()
    raw.write_file(image, 0, tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == (tmp_path / "pc.ram").read_bytes()


def test_bytes_that_nobody_sent_are_hashed_up_to_a_limit_over_all_blocks(tmp_path):
    blocks = dict.fromkeys((b"pc.ram", b"b", b"c", b"d"), 4 * PAGE)
    stream = StreamBuilder(blocks)
    for i in range(4):
        stream.dup(i * PAGE, block=b"d")  # sent, though zeros
    image = xbrletools.open(stream.bytes()).memory()
    written = raw.write_folder(image, tmp_path / "some", hash_unknown=9 * PAGE)
    assert [w.sha256 is not None for w in written] == [True, True, False, True]
    assert written[0].sha256 == written[3].sha256 == hashlib.sha256(bytes(4 * PAGE)).hexdigest()
    none = raw.write_folder(image, tmp_path / "none", hash_unknown=0)
    assert [w.sha256 is not None for w in none] == [False, False, False, True]


def test_the_digest_of_the_data_is_that_of_the_pieces_that_are_not_zero(tmp_path):
    blocks = {b"a": 5 * PAGE + 1100, b"b": 2 * PAGE}
    stream = StreamBuilder(blocks).page(5 * PAGE, noise(1), b"a").page(PAGE, noise(2), b"a").dup(2 * PAGE, 3, b"a")
    half = noise(3)
    half[: PAGE // 2] = 0
    image = xbrletools.open(stream.page(3 * PAGE, half, b"a").dup(0, 0, b"b").bytes()).memory()
    written = raw.write_folder(image, tmp_path / "out", hash_unknown=0)
    for file in written[:1]:
        out, content = hashlib.sha256(), (tmp_path / "out" / file.file).read_bytes()
        for at in range(0, len(content), 1024):
            if any(content[at : at + 1024]):
                out.update(at.to_bytes(8, "big") + content[at : at + 1024])
        assert (file.sha256, file.data_sha256) == (None, out.hexdigest())


def test_a_capture_of_holes_has_a_digest_of_its_data(tmp_path, monkeypatch):
    path = tmp_path / "S.bin"
    data = StreamBuilder().page(0, noise(1)).end().bytes()
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(64 << 20)
    stream = xbrletools.open(path).stream
    whole = hashlib.sha256(data + bytes((64 << 20) - len(data))).hexdigest()
    assert sidecar.digests(stream.source) == {"sha256": whole, "data_sha256": None}
    monkeypatch.setattr(sidecar, "ZEROS_MAX", 1 << 20)
    told = hashlib.sha256()
    for at in range(0, len(data), 1024):
        told.update(at.to_bytes(8, "big") + data[at : at + 1024].ljust(1024, b"\0"))
    assert sidecar.digests(stream.source) == {"sha256": None, "data_sha256": told.hexdigest()}
