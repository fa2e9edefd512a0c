"""Dumps of memory: where their parts lie, and that nothing they claim is believed beyond the bytes that are there."""

import json
import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from xbrletools.errors import XbrleError
from xbrletools.formats import elf, kdump, lime
from xbrletools.source.dumps import Dump, Form, Space, Unknown, form_of, open_dump, open_folder, raw_at
from xbrletools.source.manifest import BYTES_MAX, named
from xbrletools.source.opening import open_source
from xbrletools.text import shown

PAGE = 4096


def read(path: Path, form: Form | None = None) -> Dump:
    source = open_source(str(path)).spool()
    return open_dump(str(path), source, form or form_of(bytes(source.view[:64])) or Form.RAW)


def places(dump: Dump) -> list[tuple[int, int, int]]:
    return [(p.start, p.length, p.position) for p in dump.parts]


def core(
    *segments: tuple[int, int, int],
    endian: str = "little",
    class_: int = elf.CLASS_64,
    count: int | None = None,
    shift: int = 0,
    memsz: int | None = None,
    **changed: int,
) -> bytes:
    """A core of PT_LOADs (address, length, place among the bytes behind the headers)."""
    head, program, section = (make(endian, class_) for make in (elf.header, elf.program_header, elf.section_header))
    begin = head.sizeof() + len(segments) * program.sizeof() + section.sizeof()
    fields = dict.fromkeys(("entry", "shoff", "flags", "shentsize", "shnum", "shstrndx"), 0)
    fields |= {"type": elf.TYPE_CORE, "machine": 62, "phoff": head.sizeof(), "ehsize": head.sizeof()}
    fields |= {"phentsize": program.sizeof(), "phnum": len(segments) if count is None else count}
    out = head.build(fields | changed)
    for start, length, at in segments:
        about = {"type": elf.SEGMENT_LOAD, "flags": 0, "offset": begin + at + shift, "vaddr": 0, "paddr": start}
        out += program.build(about | {"filesz": length, "memsz": length if memsz is None else memsz, "align": 0})
    names = ("name", "type", "flags", "addr", "offset", "size", "link", "addralign", "entsize")
    return out + section.build(dict.fromkeys(names, 0) | {"info": len(segments)})


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("class_", [elf.CLASS_32, elf.CLASS_64])
def test_a_core_of_either_class_and_byte_order_is_read(tmp_path, endian, class_):
    head = core((0, PAGE, 0), (0x100000, 2 * PAGE, PAGE), endian=endian, class_=class_)
    (tmp_path / "core").write_bytes(head + bytes(3 * PAGE))
    found = read(tmp_path / "core")
    assert places(found) == [(0, PAGE, len(head)), (0x100000, 2 * PAGE, len(head) + PAGE)]
    assert (found.form, found.space, found.missing) == (Form.ELF, Space.PHYSICAL, ())


def test_the_layouts_of_32_bits_are_those_of_the_abi():
    sizes = [
        grammar("little", elf.CLASS_32).sizeof() for grammar in (elf.header, elf.program_header, elf.section_header)
    ]
    assert sizes == [52, 32, 40]
    raw = struct.pack("<8I", 1, 0x34, 7, 8, 9, 10, 5, 11)
    found = elf.program_header("little", elf.CLASS_32).parse(raw)
    assert (found.offset, found.vaddr, found.paddr, found.filesz, found.memsz, found.flags) == (0x34, 7, 8, 9, 10, 5)


def test_a_count_that_stands_in_the_first_section_header_is_taken_from_there(tmp_path):
    head = core((0, PAGE, 0), (PAGE, PAGE, PAGE), count=elf.SEGMENTS_ELSEWHERE, shoff=64 + 2 * 56)
    (tmp_path / "core").write_bytes(head + bytes(2 * PAGE))
    assert len(places(read(tmp_path / "core"))) == 1  # they follow each other in memory and in the file
    (tmp_path / "cut").write_bytes(head[: 64 + 56])
    with pytest.raises(XbrleError, match="ends before the section header"):
        read(tmp_path / "cut")


def test_segments_that_say_the_same_twice_are_one(tmp_path):
    head = core((0, 4 * PAGE, 0), (PAGE, PAGE, PAGE), (0, 4 * PAGE, 0), (3 * PAGE, 2 * PAGE, 3 * PAGE))
    (tmp_path / "core").write_bytes(head + bytes(5 * PAGE))
    assert places(read(tmp_path / "core")) == [(0, 5 * PAGE, len(head))]


@pytest.mark.parametrize("second", [(PAGE, PAGE, 0), (0, PAGE, 4 * PAGE), (3 * PAGE, 2 * PAGE, 0)])
def test_two_contents_for_one_address_are_refused(tmp_path, second):
    (tmp_path / "core").write_bytes(core((0, 4 * PAGE, 0), second) + bytes(8 * PAGE))
    with pytest.raises(XbrleError, match="two contents for address"):
        read(tmp_path / "core")


def test_a_segment_that_was_left_out_is_not_memory_and_is_noted(tmp_path):
    (tmp_path / "core").write_bytes(core((0, PAGE, 0), (8 * PAGE, 0, 0), memsz=2 * PAGE) + bytes(PAGE))
    found = read(tmp_path / "core")
    assert [p[0] for p in places(found)] == [0]
    assert found.notes == ("0x3000 bytes of its segments were left out when it was written",)


@pytest.mark.parametrize(
    ("cut", "missing"),
    [(PAGE // 2, "before 0x800 of the bytes"), (PAGE + 1, "before 0x1001 of the bytes that its headers name, in 2")],
)
def test_a_cut_core_keeps_what_is_there_and_says_how_much_is_missing(tmp_path, cut, missing):
    raw = core((0, 2 * PAGE, 0), (0x100000, PAGE, 2 * PAGE)) + bytes(3 * PAGE)
    (tmp_path / "core").write_bytes(raw[:-cut])
    found = read(tmp_path / "core")
    assert sum(p.length for p in found.parts) == 3 * PAGE - cut
    assert missing in found.missing[0]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x7fELF", "of an unknown class"),
        (b"\x7fELF\x02\x01", "ends inside the ELF header"),
        (b"\x7fELF\x07\x01" + bytes(90), "of an unknown class"),
        (b"\x7fELF\x02\x03" + bytes(90), "of an unknown class"),
        (b"\x7fELF\x02\x01\x02" + bytes(90), "of an unknown version"),
        (core((0, PAGE, 0), type=2) + bytes(PAGE), "of type 2, not a core"),
        (core() + bytes(PAGE), "has no program headers"),
        (core((0, PAGE, 0), phentsize=57) + bytes(PAGE), "has no program headers of 56 bytes"),
        (core((0, PAGE, 0), count=0xFFFE) + bytes(PAGE), "ends inside the program headers"),
        (core((0, PAGE, 0), phoff=1 << 63) + bytes(PAGE), "ends inside the program headers"),
        (core((0, PAGE, 0), count=0xFFFF, shoff=8) + bytes(PAGE), "claims|has no program headers"),
        (core((0, PAGE, 0), count=0xFFFF) + bytes(PAGE), "has no program headers"),
        (core((0, PAGE, 0), shift=1 << 62) + bytes(PAGE), "holds no memory; it ends before"),
        (core(((1 << 64) - PAGE, 2 * PAGE, 0)) + bytes(2 * PAGE), "beyond the last address"),
        (core((0, 1 << 63, 0))[:176], "holds no memory"),
        (b"EMiL", "holds no memory; it ends inside a LiME header at offset 0x0"),
        (struct.pack("<IIQQ8x", lime.MAGIC, 2, 0, PAGE - 1) + bytes(PAGE), "not a LiME header of version 1"),
        (struct.pack("<IIQQ8x", lime.MAGIC, 1, PAGE, 0) + bytes(PAGE), "ends at 0x0, before its start"),
        (struct.pack("<IIQQ8x", lime.MAGIC, 1, 0, (1 << 64) - 1), "holds no memory"),
    ],
)  # fmt: skip
def test_what_is_not_a_dump_is_refused_in_words(tmp_path, raw, reason):
    (tmp_path / "dump").write_bytes(raw)
    with pytest.raises(XbrleError, match=reason):
        read(tmp_path / "dump")


def limes(*ranges: tuple[int, bytes]) -> bytes:
    return b"".join(lime.Header.build({"start": s, "end": s + len(d) - 1}) + d for s, d in ranges)


ONE, TWO = bytes(range(256)) * 16, bytes(range(255, -1, -1)) * 16


def packed(pages: dict[int, tuple[int, bytes]], endian: str = "little", left_out: int = 0, **changed: int) -> bytes:
    """A kdump of pages by their frames, (flags, bytes as packed) each. ``left_out``: a frame that only memory had."""
    bits = [0, 0]
    for frame in pages:
        bits = [b | 1 << frame for b in bits]
    bits[0] |= 1 << left_out if left_out else 0
    fields = {"version": 6, "system": bytes(390), "status": 0, "block_size": PAGE, "sub_header_blocks": 1}
    out = kdump.header(endian).build(fields | {"bitmap_blocks": 2, "max_mapnr": 64} | changed).ljust(PAGE, b"\0")
    out += bytes(PAGE) + b"".join(b.to_bytes(PAGE, "little") for b in bits)
    at = len(out) + 24 * len(pages)
    table, data, places = b"", b"", {}
    for _, (flags, raw) in sorted(pages.items()):
        if raw not in places:
            places[raw] = at + len(data)
            data += raw
        about = {"offset": places[raw], "size": len(raw), "flags": flags, "page_flags": 0}
        table += kdump.page(endian).build(about)
    return bytes(out + table + data)


def contents(dump: Dump) -> dict[int, bytes]:
    return {p.start: bytes(p.source.view[p.position : p.position + p.length]) for p in dump.parts}


@pytest.mark.parametrize("endian", ["little", "big"])
def test_the_pages_of_a_kdump_lie_at_their_frames(tmp_path, endian):
    zeros = (kdump.ZLIB, zlib.compress(bytes(PAGE)))
    pages = {0: zeros, 1: (kdump.ZLIB, zlib.compress(ONE)), 2: zeros, 9: (0, TWO)}
    (tmp_path / "k").write_bytes(packed(pages, endian))
    found = read(tmp_path / "k")
    assert contents(found) == {0: bytes(PAGE) + ONE + bytes(PAGE), 9 * PAGE: TWO}
    assert (found.form, found.space, found.missing, found.notes) == (Form.KDUMP, Space.PHYSICAL, (), ())


def test_a_flattened_kdump_is_put_together(tmp_path):
    whole = packed({3: (0, ONE), 4: (0, TWO)})
    flat = kdump.FlatHeader.build({"type": 1, "version": 1}).ljust(kdump.FLAT_AT, b"\0")
    for at in (5000, 0):  # in any order
        piece = whole[at : at + 5000] if not at else whole[at:]
        flat += kdump.FlatPiece.build({"offset": at, "size": len(piece)}) + piece
    (tmp_path / "k").write_bytes(flat + kdump.FlatPiece.build({"offset": -1, "size": -1}))
    assert contents(read(tmp_path / "k")) == {3 * PAGE: ONE + TWO}
    far = kdump.FlatPiece.build({"offset": 1 << 45, "size": 1})
    (tmp_path / "k").write_bytes(flat[: kdump.FLAT_AT] + far + b"x")
    with pytest.raises(XbrleError, match="is damaged at 0x1000: a piece belongs at 0x200000000000"):
        read(tmp_path / "k")


def test_what_a_kdump_does_not_have_is_said(tmp_path):
    pages = {0: (0, ONE), 1: (kdump.ZLIB, b"nothing"), 2: (kdump.ZLIB, zlib.compress(bytes(100))), 3: (0, ONE + b"x")}
    raw = packed(pages, left_out=7)
    (tmp_path / "k").write_bytes(raw)
    found = read(tmp_path / "k")
    assert contents(found) == {0: ONE}
    assert found.missing == ("3 of its pages cannot be unpacked",)
    assert found.notes == ("0x1000 bytes of memory were left out when it was written",)
    (tmp_path / "k").write_bytes(packed({0: (0, ONE), 1: (0, TWO)})[: 4 * PAGE + 24])
    with pytest.raises(XbrleError, match="it ends before 1 of its pages; 1 of its pages cannot be unpacked"):
        read(tmp_path / "k")


def test_a_kdump_that_claims_much_takes_no_more_than_there_is(tmp_path):
    (tmp_path / "k").write_bytes(packed({0: (0, ONE)}, bitmap_blocks=0xFFFFFFFE))
    with pytest.raises(XbrleError, match="holds no memory"):
        read(tmp_path / "k")
    for changed in ({"block_size": 1 << 30}, {"bitmap_blocks": 0}, {"max_mapnr": 0xFFFFFFFF}):
        (tmp_path / "k").write_bytes(packed({0: (0, ONE)}, **changed))
        with pytest.raises(XbrleError, match="of an unknown layout"):
            read(tmp_path / "k")
    bomb = zlib.compress(bytes(64 << 20), 9)[: 2 * PAGE]
    (tmp_path / "k").write_bytes(packed({0: (kdump.ZLIB, bomb), 1: (0, ONE)}))
    assert contents(read(tmp_path / "k")) == {0: bytes(PAGE) + ONE}


def test_the_ranges_of_a_lime_image_are_read_in_any_order(tmp_path):
    (tmp_path / "l").write_bytes(limes((0x100000, bytes(100)), (0, b"x" * 50)))
    assert places(read(tmp_path / "l")) == [(0, 50, 164), (0x100000, 100, 32)]


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        (b"EMiL\x01", "it ends inside a LiME header at offset 0x84"),
        (b"x" * 40, "what stands at offset 0x84 is not a LiME header"),
        (struct.pack("<IIQQ8x", lime.MAGIC, 1, 0x9000, 0x9FFF) + bytes(16), "it ends before 0xff0 of the bytes"),
    ],
)
def test_what_stands_before_the_damage_of_a_lime_image_is_kept(tmp_path, more, missing):
    (tmp_path / "l").write_bytes(limes((0, bytes(100))) + more)
    found = read(tmp_path / "l")
    assert places(found)[0] == (0, 100, 32)
    assert missing in found.missing[0]


def test_ranges_of_a_lime_image_that_lie_over_each_other_are_refused(tmp_path):
    (tmp_path / "l").write_bytes(limes((0, bytes(100)), (99, bytes(10))))
    with pytest.raises(XbrleError, match="two contents for address 0x63"):
        read(tmp_path / "l")


def test_no_more_ranges_are_read_than_a_guest_has(tmp_path, monkeypatch):
    monkeypatch.setattr("xbrletools.source.dumps.PARTS_MAX", 3)
    (tmp_path / "l").write_bytes(limes(*((i * 10, b"x") for i in range(4))))
    with pytest.raises(XbrleError, match="more than 3 ranges"):
        read(tmp_path / "l")
    (tmp_path / "core").write_bytes(core(*((i * PAGE, 1, i) for i in range(4))) + bytes(4))
    with pytest.raises(XbrleError, match="claims 4 program headers"):
        read(tmp_path / "core")


def test_a_raw_file_lies_where_it_is_said_to(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(100))
    raw = read(tmp_path / "raw")
    assert (raw.space, places(raw)) == (None, [(0, 100, 0)])
    assert raw_at(raw, 0x1000, b"pc.ram").parts[0].start == 0x1000
    assert (raw_at(raw, 0, b"x").space, raw_at(raw, 0, None).space) == (Space.BLOCK, Space.PHYSICAL)
    with pytest.raises(XbrleError, match="beyond the last address"):
        raw_at(raw, (1 << 64) - 50, None)
    (tmp_path / "raw").write_bytes(b"")
    with pytest.raises(XbrleError, match="is empty"):
        read(tmp_path / "raw")


def sidecar(path: Path, **changed: object) -> None:
    about = {
        "file": path.name,
        "format": "raw",
        "space": "block",
        "map": [{"start": 0, "length": 100, "block": "a\\x1bb", "offset": 0}],
        "unknown": [{"start": 10, "length": 5}],
    }
    Path(f"{path}.json").write_text(json.dumps(about | changed))


def test_a_sidecar_says_which_block_a_raw_file_is_and_what_is_not_known(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(bytes(100))
    sidecar(path)
    found = read(path)
    assert (found.space, found.parts[0].block) == (Space.BLOCK, b"a\x1bb")
    assert found.unknown == (Unknown(10, 15, b"a\x1bb"),)
    assert raw_at(found, 0x1000, b"c").unknown == (Unknown(0x100A, 0x100F, b"c"),)
    sidecar(path, space="physical")
    assert (read(path).space, read(path).parts[0].block) == (Space.PHYSICAL, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "elf"},
        {"map": [{"start": 0, "length": 99, "block": "a", "offset": 0}]},
        {"map": [{"start": 1 << 62, "length": 1 << 62, "block": "a", "offset": 0}]},
    ],
)
def test_a_sidecar_that_does_not_fit_the_file_is_not_used_and_that_is_said(tmp_path, changed):
    path = tmp_path / "raw"
    path.write_bytes(bytes(100))
    sidecar(path, **changed)
    found = read(path)
    assert (found.space, found.unknown) == (None, ())
    assert found.notes == (f"{path}.json is not of this file and is not used",)


@pytest.mark.parametrize(
    "changed",
    [
        {"file": "other"}, {"map": []}, {"map": 3}, {"map": [{"start": -1, "length": 1, "block": "a"}]}, {"space": "x"},
        {"unknown": [{"start": True, "length": 1}]}, {"unknown": [1]}, {"unknown": {"start": 1}}, {"format": 1},
        {"map": [{"start": 0, "length": 1 << 80, "block": "a"}]}, {"map": [{"start": 0, "length": 100, "block": 7}]},
    ],
)  # fmt: skip
def test_what_is_not_a_sidecar_is_not_used(tmp_path, changed):
    path = tmp_path / "raw"
    path.write_bytes(bytes(100))
    sidecar(path, **changed)
    assert (read(path).space, read(path).unknown) == (None, ())


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", "\ud800".encode("utf-8", "surrogatepass"), "[" * 99999, "x" * (BYTES_MAX + 1)]
)
def test_a_sidecar_that_cannot_be_read_is_said(tmp_path, text):
    path = tmp_path / "raw"
    path.write_bytes(bytes(100))
    Path(f"{path}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read(path)
    assert (found.space, found.unknown) == (None, ())
    assert found.missing and "raw.json" in found.missing[0]


def folder(where: Path, **changed: object) -> Path:
    where.mkdir()
    (where / "pc.ram").write_bytes(b"r" * 100)
    (where / "vga").write_bytes(b"v" * 50)
    blocks = [
        {"name": "pc.ram", "file": "pc.ram", "length": 100, "unknown_ranges": [{"start": 3, "length": 4}]},
        {"name": "v\\ga", "file": "vga", "length": 50} | changed,
    ]
    (where / "manifest.json").write_text(json.dumps({"blocks": blocks}))
    return where


def test_a_folder_has_a_part_for_each_block_of_its_manifest(tmp_path):
    found = open_folder(str(folder(tmp_path / "f", name="v\\\\g\\x00")))
    assert [(p.block, p.length) for p in found.parts] == [(b"pc.ram", 100), (b"v\\g\0", 50)]
    assert found.unknown == (Unknown(3, 7, b"pc.ram"),)
    assert (found.space, found.missing) == (Space.BLOCK, ())


@pytest.mark.parametrize("length", [49, 51, 0, 1 << 62])
def test_a_file_of_another_length_than_the_manifest_says_is_said(tmp_path, length):
    found = open_folder(str(folder(tmp_path / "f", length=length)))
    assert sum(p.length for p in found.parts) == 100 + min(50, length)
    assert "the manifest says" in found.missing[0]


def test_a_block_without_its_file_is_said_and_the_others_are_there(tmp_path):
    where = folder(tmp_path / "f")
    (where / "vga").unlink()
    assert "No such file" in open_folder(str(where)).missing[0]
    os.mkfifo(where / "vga")
    assert "is not a file" in open_folder(str(where)).missing[0]
    (where / "vga").unlink()
    (where / "vga").mkdir()
    assert "is not a file" in open_folder(str(where)).missing[0]
    (where / "pc.ram").unlink()
    with pytest.raises(XbrleError, match="holds no memory"):
        open_folder(str(where))


@pytest.mark.parametrize("name", ["../vga", "/etc/passwd", "", ".", "..", "a/b", "a\0b"])
def test_a_manifest_cannot_name_a_file_elsewhere(tmp_path, name):
    with pytest.raises(XbrleError, match="names a file outside the folder"):
        open_folder(str(folder(tmp_path / "f", file=name)))


@pytest.mark.parametrize(
    "changed",
    [{"length": -1}, {"length": "50"}, {"length": True}, {"name": 3}, {"file": None}, {"unknown_ranges": 3},
     {"unknown_ranges": [{"start": 0}]}],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused(tmp_path, changed):
    with pytest.raises(XbrleError, match="not a list of blocks with names, files and lengths"):
        open_folder(str(folder(tmp_path / "f", **changed)))


def test_a_folder_without_a_manifest_and_one_with_a_block_twice_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(XbrleError, match="a directory without"):
        open_folder(str(tmp_path / "empty"))
    with pytest.raises(XbrleError, match="lists one block twice"):
        open_folder(str(folder(tmp_path / "f", name="pc.ram")))


@pytest.mark.parametrize(
    "name", [b"pc.ram", b"a\\b", b"\x1b\xff\0", "\u202ex\u2028".encode(), "\U000e0001".encode(), b"\\x41", "ä".encode()]
)
def test_a_name_comes_back_from_how_it_is_shown(name):
    assert named(shown(name)) == name


def test_random_changes_of_a_dump_are_read_or_refused_and_never_more_than_there_is(tmp_path):
    seeds = [core((0, PAGE, 0), (0x10000, PAGE, PAGE)) + bytes(2 * PAGE), limes((0, bytes(500)), (0x1000, bytes(500)))]
    random_ = random.Random(15)
    path = tmp_path / "d"
    for i in range(400):
        raw = bytearray(seeds[i % 2])
        for _ in range(random_.randint(1, 4)):
            at = random_.randrange(min(len(raw), 260))
            raw[at] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)))
        raw = raw[: random_.choice((len(raw), random_.randrange(4, len(raw))))]
        path.write_bytes(raw)
        try:
            found = read(path)
        except XbrleError:
            continue
        for part in found.parts:
            assert part.position + part.length <= len(raw)
        assert all(a.end <= b.start for a, b in zip(found.parts, found.parts[1:], strict=False))


def test_random_changes_of_a_kdump_are_read_or_refused(tmp_path):
    first = {0: (kdump.ZLIB, zlib.compress(ONE)), 3: (0, TWO)}
    pages = first | {5: (kdump.ZSTD, ONE), 6: (kdump.LZO, TWO), 7: (kdump.SNAPPY, ONE)}
    seed, random_, path = packed(pages, left_out=9), random.Random(15), tmp_path / "d"
    places = [*range(440), *range(2 * PAGE, 2 * PAGE + 4), *range(3 * PAGE, 3 * PAGE + 4), *range(4 * PAGE, len(seed))]
    for _ in range(400):
        raw = bytearray(seed)
        for _ in range(random_.randint(1, 4)):
            raw[random_.choice(places)] = random_.choice((0, 1, 2, 4, 0x20, 0x7F, 0x80, 0xFF, random_.randrange(256)))
        path.write_bytes(raw[: random_.choice((len(raw), random_.randrange(16, len(raw))))])
        try:
            found = read(path)
        except XbrleError:
            continue
        for part in found.parts:
            assert part.position + part.length <= part.source.size <= 64 * PAGE
