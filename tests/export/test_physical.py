"""Guest-physical maps against what real machines said of themselves, and exports against what other tools read."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest

import xbrletools
from tests.conftest import CORPUS, SAMPLES, corpus_names
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.errors import XbrleError
from xbrletools.export.formats import FORMATS, write_physical
from xbrletools.export.memory import Unknown
from xbrletools.export.sidecar import Sidecar
from xbrletools.formats import elf, lime
from xbrletools.physical.given import parse_map
from xbrletools.physical.infer import map_of

GIB = 1 << 30


def _shows(name):
    told = CORPUS / "qemu-7.2" / f"{name}.json"
    return not told.exists() or bool(json.loads(told.read_text()).get("visible_ranges"))


#: Captures of one channel that say what their machine showed; the block list of ignoreshared has entries of its own.
NAMED = sorted({*corpus_names("qemu-7.2")} & {*corpus_names("qemu-7.2", ".json")} - {"pc16-ignoreshared-kvm"})
SHOWING = [name for name in NAMED if _shows(name)]


@pytest.fixture(scope="module")
def sample():
    return xbrletools.open(SAMPLES / "xbzrle-16m.bin")


def exported(form, capture, path, unknown=Unknown.ZERO):
    image = capture.memory()
    where = map_of(capture.stream)
    write_physical(form, capture.stream, image, where, path, Sidecar(), unknown)
    return image, where, json.loads(path.with_name(path.name + ".json").read_text())


class TestMaps:
    @pytest.mark.parametrize("name", SHOWING)
    def test_a_map_holds_what_the_machine_showed(self, name, corpus):
        told = json.loads(corpus(f"qemu-7.2/{name}.json"))
        shown = told["visible_ranges"]
        where = map_of(xbrletools.open(corpus(f"qemu-7.2/{name}.bin")).stream)
        for seen in shown:
            inside = [r for r in where.ranges if r.start <= seen["phys"] and seen["phys"] + seen["size"] <= r.end]
            assert len(inside) == 1, seen
            (r,) = inside
            assert r.block.decode() == seen["mr"]
            assert r.offset + seen["phys"] - r.start == seen["mr_offset"]
        assert where.end == max(seen["phys"] + seen["size"] for seen in shown)

    @pytest.mark.parametrize("name", corpus_names("qemu-2010", ".ramspace.xz"))
    def test_a_pc_of_2010_shows_its_roms_and_hides_what_is_behind_the_vga_window(self, name, corpus):
        told = json.loads(corpus(f"qemu-2010/{name}.json"))
        capture = xbrletools.open(corpus(f"qemu-2010/{name}.bin"))
        starts = {b["idstr"]: b["ram_addr_offset"] for b in told["blocks"] if b["idstr"]}
        where = map_of(capture.stream)
        for page, matches in told["pmem_page_to_ram_addr"]:
            address = int(page, 16)
            r = next((r for r in where.ranges if r.start <= address < r.end), None)
            if 0xA0000 <= address < 0xC0000:
                assert r is None
            elif isinstance(matches, list) and len(matches) == 1 and capture.facts.reading.version == 3:
                assert r.offset + address - r.start + starts.get(r.block.decode(), 0) == int(matches[0], 16)

    @pytest.mark.parametrize(
        ("machine", "length", "low"),
        [
            (b"", 0xE0000000, 0xE0000000),  # the posted trees split there only
            (b"pc-1.3", 4 * GIB, 0xE0000000),
            (b"pc-i440fx-1.7", 4 * GIB, 0xE0000000),
            (b"pc-i440fx-2.0", 4 * GIB, 0xC0000000),
            (b"pc-i440fx-7.2", 0xDFF00000, 0xDFF00000),
            (b"pc-q35-7.2", 4 * GIB, 0x80000000),
            (b"pc-q35-7.2", 0xAFF00000, 0xAFF00000),
            (b"isapc", 5 * GIB, 5 * GIB),
        ],
    )
    def test_ram_is_split_below_4_gib_by_the_rules_of_its_machine(self, machine, length, low):
        capture = xbrletools.open(StreamBuilder({b"pc.ram": length}).dup(0).end().bytes())
        capture._stream = replace(capture.stream, facts=replace(capture.facts, machine=machine))
        ranges = map_of(capture.stream).ranges
        assert max(r.end for r in ranges if r.start < 4 * GIB or (r.end > 4 * GIB and not r.offset)) >= low
        above = [r for r in ranges if r.start == 4 * GIB]
        assert [(r.offset, r.length) for r in above] == ([(low, length - low)] if low < length else [])

    def test_a_map_may_be_lines_or_json(self, sample):
        lines = "# RAM\n0 640K pc.ram 0\n0x100000 15M pc.ram 0x100000\n"
        listed = json.dumps(
            [
                {"start": 0, "length": 655360, "block": "pc.ram", "offset": 0},
                {"start": 1 << 20, "length": 15 << 20, "block": "pc.ram", "offset": 1 << 20},
            ]
        )
        assert parse_map(lines, sample.stream).ranges == parse_map(listed, sample.stream).ranges

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0 1M",
            "0 1M nowhere 0",
            "0 17M pc.ram 0",
            "0 2M pc.ram 0\n0x1000 4096 pc.ram 0",
            "[1]",
            "{",
            "0 x pc.ram 0",
        ],
    )
    def test_a_map_that_does_not_fit_is_an_error(self, text, sample):
        with pytest.raises(XbrleError):
            parse_map(text, sample.stream)

    def test_memory_of_an_unknown_machine_is_not_placed(self):
        capture = xbrletools.open(StreamBuilder({b"odd.ram": 4 * PAGE}).dup(0, block=b"odd.ram").end().bytes())
        where = map_of(capture.stream)
        assert (where.ranges, where.is_whole) == ((), False)
        assert [(u.block, u.length) for u in where.unplaced] == [(b"odd.ram", 4 * PAGE)]


class TestFiles:
    def test_raw_puts_each_byte_at_its_address(self, sample, tmp_path):
        image, where, told = exported("raw", sample, tmp_path / "raw")
        raw = np.memmap(tmp_path / "raw", np.uint8, "r")
        for r in where.ranges:
            block = image[r.block].reshape(-1)[r.offset : r.offset + r.length]
            assert (raw[r.start : r.end] == block).all()
        assert (tmp_path / "raw").stat().st_blocks * 512 < 8 << 20  # 4 GiB long, and nearly all of it a hole
        assert told["unknown"] == []
        assert told["space"] == "physical"

    def test_an_elf_core_has_a_segment_for_each_range(self, sample, tmp_path):
        image, where, _ = exported("elf", sample, tmp_path / "core")
        with (tmp_path / "core").open("rb") as file:
            head = elf.header("little").parse(file.read(64))
            assert (head.type, head.machine, head.phnum) == (elf.TYPE_CORE, elf.Machine.I386, 1 + len(where.ranges))
            first = elf.program_header("little").parse(file.read(56))
            assert (first.type, first.align) == (elf.SEGMENT_NOTE, 0)
            for i, r in enumerate(where.ranges, 1):
                file.seek(head.phoff + i * head.phentsize)
                segment = elf.program_header("little").parse(file.read(56))
                assert (segment.paddr, segment.filesz) == (r.start, r.length)
                file.seek(segment.offset)
                block = image[r.block].reshape(-1)[r.offset : r.offset + r.length]
                assert file.read(r.length) == block.tobytes()

    def test_lime_has_a_header_before_each_range(self, sample, tmp_path):
        image, where, _ = exported("lime", sample, tmp_path / "lime")
        with (tmp_path / "lime").open("rb") as file:
            for r in where.ranges:
                head = lime.Header.parse(file.read(32))
                assert (head.start, head.end) == (r.start, r.end - 1)
                block = image[r.block].reshape(-1)[r.offset : r.offset + r.length]
                assert file.read(r.length) == block.tobytes()
            assert not file.read(1)

    @pytest.mark.parametrize("form", FORMATS)
    def test_the_sidecar_names_the_format_and_the_map(self, form, sample, tmp_path):
        _, where, told = exported(form, sample, tmp_path / "memory")
        assert (told["file"], told["format"], told["space"]) == ("memory", form, "physical")
        assert [(r["start"], r["length"]) for r in told["map"]] == [(r.start, r.length) for r in where.ranges]

    def test_a_big_endian_target_has_a_big_endian_core(self, tmp_path):
        capture = xbrletools.open(StreamBuilder({b"s390.ram": 4 * PAGE}).dup(0, block=b"s390.ram").end().bytes())
        exported("elf", capture, tmp_path / "core")
        raw = (tmp_path / "core").read_bytes()
        assert raw[5] == 2
        assert struct.unpack_from(">HH", raw, 16) == (elf.TYPE_CORE, elf.Machine.S390)


class TestUnknown:
    @pytest.fixture
    def partly(self):
        """A capture whose second page was never sent."""
        builder = StreamBuilder({b"s390.ram": 4 * PAGE}).page(0, noise(1), b"s390.ram").dup(2 * PAGE, 7, b"s390.ram")
        return xbrletools.open(builder.dup(3 * PAGE, 0, b"s390.ram").end().bytes())

    def test_the_sidecar_lists_what_is_unknown(self, partly, tmp_path):
        _, _, told = exported("raw", partly, tmp_path / "raw")
        assert told["unknown"] == [{"start": PAGE, "length": PAGE}]
        assert told["unknown_bytes"] == PAGE

    def test_a_mask_marks_the_unknown_bytes_at_their_places(self, partly, tmp_path):
        exported("elf", partly, tmp_path / "core", unknown=Unknown.MASK_FILE)
        mask = np.frombuffer((tmp_path / "core.mask").read_bytes(), np.uint8)
        assert len(mask) == (tmp_path / "core").stat().st_size
        assert np.flatnonzero(mask).tolist() == list(range(4096 + PAGE, 4096 + 2 * PAGE))

    def test_fail_writes_nothing_and_says_what_is_unknown(self, partly, tmp_path):
        with pytest.raises(XbrleError, match=r"s390\.ram:0x1000 is the first of the unknown bytes"):
            exported("lime", partly, tmp_path / "lime", unknown=Unknown.FAIL)
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written_is_an_error(self, partly, tmp_path):
        with pytest.raises(XbrleError):
            exported("raw", partly, tmp_path / "nowhere" / "raw")


def needs(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


class TestOtherTools:
    ADDRESSES = (0x7C00, 0x100000, 0x315000, 0xFFFC0000, 0xFFFFFFF0)

    def bytes_at(self, image, where, address, count=16):
        r = next(r for r in where.ranges if r.start <= address < r.end)
        block = image[r.block].reshape(-1)
        return block[r.offset + address - r.start :][:count].tobytes()

    def test_readelf_reads_the_core(self, sample, tmp_path):
        _, where, _ = exported("elf", sample, tmp_path / "core")
        out = subprocess.run([needs("readelf"), "-lW", tmp_path / "core"], capture_output=True, text=True, check=True)
        assert not out.stderr
        assert [int(line.split()[3], 16) for line in out.stdout.splitlines() if "LOAD" in line] == [
            r.start for r in where.ranges
        ]

    def test_gdb_reads_the_right_bytes(self, sample, tmp_path):
        image, where, _ = exported("elf", sample, tmp_path / "core")
        dumps = [f"dump binary memory {tmp_path}/{a:x} {a:#x} {a + 16:#x}" for a in self.ADDRESSES]
        orders = [part for order in [f"core-file {tmp_path}/core", *dumps] for part in ("-ex", order)]
        subprocess.run([needs("gdb"), "-nx", "-batch", *orders], capture_output=True, check=True)
        for address in self.ADDRESSES:
            assert (tmp_path / f"{address:x}").read_bytes() == self.bytes_at(image, where, address)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("form", FORMATS)
    def test_volatility3_reads_the_right_bytes(self, form, sample, tmp_path, request):
        pytest.importorskip("volatility3", reason="volatility3 is not installed")
        from volatility3.framework import contexts
        from volatility3.framework.layers import elf as elf_layer
        from volatility3.framework.layers import lime as lime_layer
        from volatility3.framework.layers import physical

        image, where, _ = exported(form, sample, tmp_path / "memory")
        context = contexts.Context()
        context.config["file.location"] = (tmp_path / "memory").as_uri()
        layer = physical.FileLayer(context, "file", "file")
        context.add_layer(layer)
        request.addfinalizer(layer.destroy)
        kind = {"elf": elf_layer.Elf64Layer, "lime": lime_layer.LimeLayer}.get(form)
        if kind is not None:
            context.config["memory.base_layer"] = "file"
            layer = kind(context, "memory", "memory")
            context.add_layer(layer)
        for address in self.ADDRESSES:
            assert layer.read(address, 16) == self.bytes_at(image, where, address)
