"""Files around a migration stream: libvirt's save files, and VM state inside a qcow2 image."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
import zstandard
from dissect.util.compression import lzo

import xbrletools
from tests.building import EOF, footer, page, patterned, start, stream
from tests.memory.test_truth import FOLDER, KINDS, check_clean
from xbrletools.cli import main
from xbrletools.formats import libvirt, lzop, qcow2
from xbrletools.formats.libvirt import Format
from xbrletools.formats.qevm import SectionType
from xbrletools.physical.libvirt import parse

STREAM = stream(page(0, patterned(1), b"pc.ram"))
XML = b"<domain type='kvm'><name>lab</name></domain>"
COOKIE = b"<cookie/>"
PACK = {
    Format.RAW: bytes,
    Format.GZIP: gzip.compress,
    Format.BZIP2: bz2.compress,
    Format.XZ: lzma.compress,
    Format.ZSTD: zstandard.ZstdCompressor().compress,
}


def save_file(
    packed: Format = Format.RAW,
    magic: bytes = libvirt.MAGIC,
    endian: str = "little",
    data_length: int | None = None,
    inner: bytes = STREAM,
    prolog: bytes = b"",
) -> bytes:
    text = prolog + XML + b"\0" + COOKIE + b"\0" + bytes(13)
    header = {
        "magic": magic,
        "version": 2,
        "data_length": len(text) if data_length is None else data_length,
        "was_running": 1,
        "format": packed,
        "cookie_offset": len(prolog + XML) + 1,
        "unused": [0] * 14,
    }
    return libvirt.header(endian).build(header) + text + PACK.get(packed, bytes)(inner)


def check(capture: xbrletools.Capture) -> None:
    assert capture.memory()["pc.ram"][0].tobytes() == patterned(1)
    assert capture.facts.complete


class TestLibvirt:
    @pytest.mark.parametrize("packed", PACK)
    @pytest.mark.parametrize("endian", ["little", "big"])
    def test_the_stream_in_a_save_file_is_found_whatever_its_packing(self, packed, endian, tmp_path):
        data = save_file(packed, endian=endian)
        path = tmp_path / "s.save"
        path.write_bytes(data)
        for what in (data, path, io.BytesIO(data)):
            capture = xbrletools.open(what)
            check(capture)
            about = capture.source.wrapping
            assert (about.xml, about.cookie, about.running) == (XML, COOKIE, True)
            assert str(about) == f"libvirt save file, {packed.name.lower()}"

    @pytest.mark.parametrize("prolog", [b'<?xml version="1.0"?>\n', b"<?xml version='1.0' ?>\n<!-- -->\n"])
    def test_xml_with_a_prolog_names_the_domain(self, prolog):
        about = xbrletools.open(save_file(prolog=prolog)).source.wrapping
        assert about.xml == prolog + XML
        assert about.domain == b"lab"
        assert parse(about.xml) is not None

    @pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress])
    def test_a_save_file_that_was_packed_once_more_is_read(self, pack, tmp_path):
        path = tmp_path / "s.save.packed"
        for packed in (Format.RAW, Format.GZIP):
            path.write_bytes(pack(save_file(packed)))
            check(xbrletools.open(path))
            check(xbrletools.open(path.read_bytes()))

    def test_offsets_count_from_the_files_beginning_or_in_what_was_unpacked(self, tmp_path):
        inside = xbrletools.open(STREAM).records.columns.offset
        raw = save_file()
        path = tmp_path / "s.save"
        path.write_bytes(raw)
        for what in (raw, path, io.BytesIO(raw), gzip.compress(raw)):
            capture = xbrletools.open(what)
            assert (capture.records.columns.offset == inside + len(raw) - len(STREAM)).all()
            assert capture.facts.start == len(raw) - len(STREAM)
        assert (xbrletools.open(save_file(Format.GZIP)).records.columns.offset == inside).all()

    def test_an_unfinished_save_is_said_to_be_so(self):
        capture = xbrletools.open(save_file(magic=libvirt.MAGIC_UNFINISHED))
        check(capture)
        assert "unfinished-save" in [f.rule for f in capture.verify()]

    def test_a_packing_that_is_not_read_is_named(self):
        data = bytearray(save_file())
        data[28] = 9
        with pytest.raises(xbrletools.XbrleError, match="packed as format 9, which is not read"):
            xbrletools.open(bytes(data))

    @pytest.mark.parametrize("cut", [17, 91, 92, 120])
    def test_a_file_that_ends_before_its_stream_says_where(self, cut):
        with pytest.raises(xbrletools.XbrleError, match="ends inside"):
            xbrletools.open(save_file()[:cut])

    def test_a_packed_stream_that_is_cut_gives_what_is_there(self):
        pages = (page(0, patterned(1), b"pc.ram"), *(page(i << 12, np.random.bytes(4096)) for i in range(1, 16)))
        capture = xbrletools.open(save_file(Format.GZIP, inner=stream(*pages))[:-3000])
        assert capture.memory().known[0]
        assert capture.damage is not None

    @pytest.mark.parametrize("pages", [60, 300])
    def test_a_packed_file_is_read_past_the_point_where_its_end_was_seen(self, pages, tmp_path, capsys):
        """What follows the RAM is looked at after the packed file was read to its end and closed."""
        records = (page(i << 12, patterned(i), None if i else b"pc.ram") for i in range(pages))
        device = b"".join(start(b"dev", i, 1, SectionType.FULL) + bytes(9000) + footer(i) for i in (5, 6, 7))
        inner = stream(*records, blocks=((b"pc.ram", pages << 12),), last=device + EOF)
        path = tmp_path / "s.save"
        path.write_bytes(save_file(Format.GZIP, inner=inner))
        assert main(["info", str(path)]) == 0
        assert capsys.readouterr().err == ""

    def test_a_claimed_length_allocates_nothing(self):
        data = save_file(data_length=0xFFFF_FFFF)
        tracemalloc.start()
        with pytest.raises(xbrletools.XbrleError, match="ends inside the domain's XML"):
            xbrletools.open(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
        tracemalloc.stop()

    @pytest.mark.parametrize("name", ["raw", "gzip", "bzip2"])
    def test_a_real_save_file_gives_the_guests_memory(self, name, corpus):
        about = json.loads(corpus(f"{FOLDER}/labdom-{name}.json"))
        capture = xbrletools.open(corpus(f"{FOLDER}/labdom-{name}.save"))
        truth = np.frombuffer(corpus(f"{FOLDER}/labdom-{name}.truth"), np.uint8)
        image = capture.memory()
        assert (image["pc.ram"].reshape(-1) == truth).all()
        assert image.known.all()
        check_clean(capture)
        assert capture.source.wrapping.start == about["stream_offset"]
        assert b"<name>labdom</name>" in capture.source.wrapping.xml
        counts = {KINDS[k]: n for k, n in about["counts"].items() if k in KINDS}
        assert capture.records.counts() == counts


def lzop_file(*blocks: tuple[int, bytes], flags: int = lzop.Flag.ADLER32, version: int = 0x1040) -> bytes:
    """An lzop file of stored or packed blocks, each with the size of its content."""
    header = {
        "version": version,
        "library_version": 0x20A0,
        "needed_version": 0x0940,
        "method": 1,
        "level": 5,
        "flags": flags,
        "filter": 1,
        "mode": 0o644,
        "mtime_low": 0,
        "mtime_high": 0,
        "name": b"",
        "checksum": 0,
        "extra_length": 2,
        "extra": b"ab",
        "extra_checksum": 0,
    }
    out = lzop.Header.build(header)
    for size, data in blocks:
        content = lzo.decompress(data, False, size) if len(data) < size else data
        sums = [f(content) for f, b in ((zlib.adler32, lzop.Flag.ADLER32), (zlib.crc32, lzop.Flag.CRC32)) if flags & b]
        if len(data) < size:
            sums += [7 for b in (lzop.Flag.ADLER32_PACKED, lzop.Flag.CRC32_PACKED) if flags & b]
        out += struct.pack(f">{2 + len(sums)}I", size, len(data), *sums) + data
    return out + bytes(4)


ALL_SUMS = int(lzop.Flag.ADLER32 | lzop.Flag.ADLER32_PACKED | lzop.Flag.CRC32 | lzop.Flag.CRC32_PACKED)
LZOP = shutil.which("lzop")


class TestLzop:
    @pytest.mark.parametrize("flags", [0, 1, ALL_SUMS, int(lzop.Flag.EXTRA | lzop.Flag.FILTER | lzop.Flag.CRC32)])
    @pytest.mark.parametrize("version", [0x0900, 0x1040])
    def test_a_save_file_packed_with_lzop_is_read(self, flags, version, tmp_path):
        blocks = [(len(p), p) for p in (STREAM[:2000], STREAM[2000:])]
        packed = lzop_file(*blocks, flags=flags, version=version)
        path = tmp_path / "s.save"
        for data in (packed, save_file(Format.LZOP, inner=packed)):
            path.write_bytes(data)
            for what in (path, data, io.BytesIO(data)):
                check(xbrletools.open(what))

    def test_a_block_that_is_not_what_its_sum_says_ends_the_capture_there(self):
        whole = stream(page(0, patterned(1), b"pc.ram"), page(4096, patterned(2)))
        data = bytearray(lzop_file((6000, whole[:6000]), (len(whole) - 6000, whole[6000:])))
        data[-5] ^= 1
        capture = xbrletools.open(bytes(data))
        assert capture.memory().known[0]
        assert any("checksum" in p.message for p in capture.problems if p.fatal)

    def test_a_file_cut_anywhere_or_with_any_size_is_an_error_or_a_truncated_capture(self):
        whole = lzop_file((2000, STREAM[:2000]), (len(STREAM) - 2000, STREAM[2000:]), flags=ALL_SUMS)
        head = len(lzop_file(flags=ALL_SUMS)) - 4
        hostile = [whole[:head] + struct.pack(">II", size, packed) + whole[head + 8 :]
                   for size, packed in ((0xFFFFFFFF, 9), (9, 0xFFFFFFFF), (1 << 20, 5), (0, 0))]  # fmt: skip
        for data in [whole[:cut] for cut in range(9, len(whole) - 4, 97)] + hostile:
            with contextlib.suppress(xbrletools.XbrleError):
                assert xbrletools.open(data).damage is not None

    def test_without_the_library_what_to_do_is_said(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "dissect.util.compression", None)
        with pytest.raises(xbrletools.XbrleError, match=r"bytes: is packed with lzop: unpack it with lzop, or install"):
            xbrletools.open(save_file(Format.LZOP, inner=lzop_file()))

    @pytest.mark.skipif(LZOP is None, reason="lzop is not installed; .ci/install-tools does it")
    @pytest.mark.parametrize("options", [(), ("-9",), ("--crc32",), ("-C",), ("-F",), ("-1",)])
    def test_what_lzop_packs_is_read(self, options, samples, tmp_path):
        data = (samples / "xbzrle-16m.bin").read_bytes()
        packed = subprocess.run([LZOP, "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout
        assert packed[:9] == lzop.MAGIC
        path = tmp_path / "s.save"
        path.write_bytes(save_file(Format.LZOP, inner=packed))
        capture = xbrletools.open(path)
        _ = capture.records
        assert capture.data.tobytes() == data


CLUSTER_BITS = 9
CLUSTER = 1 << CLUSTER_BITS
PER_TABLE = CLUSTER // qcow2.Entry.sizeof()


def image(
    state: bytes = STREAM,
    disk: int = 3 * CLUSTER * PER_TABLE + 1,
    extra: bool = True,
    features: int = 0,
    snapshots: tuple[bytes, ...] = (b"first", b"last"),
    other: bytes = b"other state",
) -> bytes:
    """A qcow2 image: the last of its snapshots has ``state`` as its VM state, the others have ``other``."""
    out = bytearray(CLUSTER)

    def put(data: bytes) -> int:
        out.extend(bytes(-len(out) % CLUSTER))
        at = len(out)
        out.extend(data)
        return at

    first = -(-disk // (CLUSTER * PER_TABLE))
    table = b""
    for number, name in enumerate(snapshots, 1):
        content = state if name == snapshots[-1] else other
        places = [put(content[i : i + CLUSTER]) for i in range(0, len(content), CLUSTER)]
        used = [p | 1 << 63 for p in places]
        tables = [
            put(struct.pack(f">{PER_TABLE}Q", *(used[i : i + PER_TABLE] + [0] * PER_TABLE)[:PER_TABLE])) | 1 << 63
            for i in range(0, len(used), PER_TABLE)
        ]
        l1 = put(struct.pack(f">{first + len(tables)}Q", *[0] * first, *tables))
        more = {"vm_state_size": len(content), "disk_size": disk} if extra else None
        entry = qcow2.Snapshot.build(
            {
                "l1_table_offset": l1,
                "l1_size": first + len(tables),
                "id_length": 1,
                "name_length": len(name),
                "date_seconds": 0,
                "date_nanoseconds": 0,
                "vm_clock": 0,
                "vm_state_size": len(content),
                "extra_length": 16 if extra else 0,
                "extra": more,
                "rest": b"",
                "id": b"%d" % number,
                "name": name,
            }
        )
        table += entry + bytes(-len(entry) % 8)
    at = put(table)
    header = qcow2.Header.build(
        {
            "version": 3,
            "backing_file_offset": 0,
            "backing_file_size": 0,
            "cluster_bits": CLUSTER_BITS,
            "size": disk,
            "crypt_method": 0,
            "l1_size": 0,
            "l1_table_offset": 0,
            "refcount_table_offset": 0,
            "refcount_table_clusters": 0,
            "snapshots": len(snapshots),
            "snapshots_offset": at,
            "incompatible_features": features,
        }
    )
    out[: len(header)] = header
    return bytes(out)


class TestQcow2:
    @pytest.mark.parametrize("extra", [True, False])
    @pytest.mark.parametrize("disk", [0, 1, CLUSTER * PER_TABLE, 5 * CLUSTER * PER_TABLE - 7])
    def test_vm_state_begins_at_the_first_l1_entry_past_the_disk(self, disk, extra, tmp_path):
        path = tmp_path / "disk.qcow2"
        path.write_bytes(image(disk=disk, extra=extra))
        for what in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), gzip.compress(path.read_bytes())):
            capture = xbrletools.open(what)
            check(capture)
            assert capture.data.tobytes() == STREAM

    def test_the_snapshots_with_state_are_named(self):
        about = xbrletools.open(image()).source.wrapping
        assert (about.name, about.names) == (b"last", (b"first", b"last"))

    def test_a_snapshot_is_chosen_by_its_name_or_else_its_id(self, tmp_path, capsys):
        earlier = stream(page(0, patterned(2), b"pc.ram"))
        path = tmp_path / "disk.qcow2"
        path.write_bytes(image(other=earlier, snapshots=(b"before\x1b", b"2", b"last")))
        for wanted, content in ((None, 1), ("last", 1), ("3", 1), ("1", 2), ("2", 2), ("before\\x1b", 2)):
            for what in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
                capture = xbrletools.open(what, snapshot=wanted)
                assert capture.memory()["pc.ram"][0].tobytes() == patterned(content)
        assert main(["stats", str(path), "--snapshot", "2"]) == 0
        assert main(["stats", str(path), "--snapshot", "4"]) == 2
        assert "it has before\\x1b (id 1), 2 (id 2), last (id 3)" in capsys.readouterr().err
        with pytest.raises(xbrletools.XbrleError, match="is not a qcow2 image"):
            xbrletools.open(STREAM, snapshot="last")

    def test_an_image_that_does_not_name_its_data_file_is_refused(self):
        with pytest.raises(xbrletools.XbrleError, match="in another file, which it does not name"):
            xbrletools.open(image(features=qcow2.INCOMPATIBLE_DATA_FILE))

    def test_an_image_without_a_snapshot_is_refused(self):
        data = bytearray(image())
        data[60:64] = bytes(4)
        with pytest.raises(xbrletools.XbrleError, match="without an internal snapshot"):
            xbrletools.open(bytes(data))

    def test_an_image_cut_anywhere_is_one_error_or_a_truncated_capture(self):
        whole = image()
        for cut in range(0, len(whole), 509):
            try:
                capture = xbrletools.open(whole[:cut])
                assert capture.damage is not None
            except xbrletools.XbrleError:
                pass

    def test_claims_beyond_the_image_allocate_nothing(self):
        data = bytearray(image())
        at = data.index(b"last") - 17 + 0  # the extra data: state size and disk size
        data[at : at + 8] = (1 << 50).to_bytes(8, "big")
        tracemalloc.start()
        capture = xbrletools.open(bytes(data))
        assert capture.memory().known[0]
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
        tracemalloc.stop()

    def test_a_real_snapshot_holds_the_stream_that_was_taken_out_of_it(self, corpus):
        capture = xbrletools.open(corpus(f"{FOLDER}/pc16-savevm-kvm.qcow2"))
        assert capture.data.tobytes() == corpus(f"{FOLDER}/pc16-savevm-kvm.bin")
        truth = np.frombuffer(corpus(f"{FOLDER}/pc16-savevm-kvm.truth"), np.uint8)
        assert (capture.memory()["pc.ram"].reshape(-1) == truth).all()
