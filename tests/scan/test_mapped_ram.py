"""mapped-ram files, built from the description of the format. test_mapped_captures.py has those of a real QEMU."""

import gzip
import io
import json

import numpy as np
import pytest

import xbrletools
from tests.building import EOF, EOS, HEADER, PAGE, configuration, footer, part, patterned, start, subsection
from tests.cli.run import run
from tests.conftest import CORPUS
from tests.memory.test_truth import check_clean
from tests.siege.bounds import measured
from xbrletools.formats import mapped_ram, qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.memory.image import State

ALIGNMENT = 1 << 16
BLOCKS = {b"pc.ram": 40, b"vga.vram": 9}  # pages
CONTENT = {(b"pc.ram", 0): 1, (b"pc.ram", 8): 2, (b"pc.ram", 39): 3, (b"vga.vram", 8): 4}
END = part(kind=SectionType.END) + EOS + footer()
BOUND = 64 << 20  # bytes


def content(seed: int | None, page_size: int = PAGE) -> bytes:
    return (patterned(seed) * 16)[:page_size] if seed else bytes(page_size)


def mapped_file(
    page_size: int = PAGE,
    written: bool = True,
    fill: bytes = b"\xee",
    left_out: tuple[bytes, ...] = (),
    end: bytes = END + EOF,
    **more: int,
) -> bytes:
    """Aligned pages, as a sender with direct I/O writes them. Pages of zeros are holes, here full of ``fill``.

    ``written``: the bitmaps were. ``left_out`` are blocks of which x-ignore-shared sends nothing. ``more`` has the
    ``address`` and the ``page_size_`` of each block, where its entry states them.
    """
    total = sum(BLOCKS.values()) * page_size
    names = [b"x-ignore-shared", mapped_ram.CAPABILITY] if "address" in more else [mapped_ram.CAPABILITY]
    listed = subsection(b"configuration/capabilities", qevm.Capabilities.build({"names": names}))
    out = bytearray(HEADER + configuration(subsections=listed) + start() + ram.Word.build(total | Flag.MEM_SIZE))
    entry = mapped_ram.entry("address" in more, "page_size_" in more)
    for name, pages in BLOCKS.items():
        block = {"idstr": name, "length": pages * page_size} | {n.rstrip("_"): v for n, v in more.items()}
        header = {"page_size": page_size, "bitmap_offset": 0, "pages_offset": 0}
        head = len(out) + len(entry.build({"block": block, "header": header}))
        if name in left_out:
            out += entry.build({"block": block, "header": header})
            continue
        bits = sum(1 << i for i in range(pages) if (name, i) in CONTENT)
        bitmap = (bits if written else 0).to_bytes(-(-pages // 64) * 8, "little")
        at = -(-(head + len(bitmap)) // ALIGNMENT) * ALIGNMENT
        header |= {"bitmap_offset": head, "pages_offset": at}
        out += entry.build({"block": block, "header": header}) + bitmap
        out += bytes(at - len(out))
        for i in range(pages):
            seed = CONTENT.get((name, i))
            out += content(seed, page_size) if seed else fill * page_size
    return bytes(out) + EOS + footer() + end


@pytest.mark.parametrize("page_size", [4096, 16384])
@pytest.mark.parametrize("opened", [bytes, io.BytesIO])
def test_pages_are_where_the_bitmap_says_and_zeros_elsewhere(page_size, opened):
    capture = xbrletools.open(opened(mapped_file(page_size)))
    assert capture.problems == ()
    assert capture.facts.complete
    assert capture.facts.mapped_ram
    assert capture.page_size == page_size
    image = capture.memory()
    assert image.known.all()
    for name, pages in BLOCKS.items():
        for i in range(pages):
            seed = CONTENT.get((name, i))
            assert image[name][i].tobytes() == content(seed, page_size)
    assert capture.records.counts() == {"mem_size": 1, "page": 4, "eos": 2}
    check_clean(capture)


def test_a_pipe_gives_the_same_records_as_a_file():
    data = mapped_file()
    pieces = list(xbrletools.open(io.BytesIO(data)).scan())
    columns = xbrletools.open(data).records.columns
    for name in ("offset", "address", "length", "block", "kind"):
        assert (np.concatenate([getattr(p, name) for p in pieces]) == getattr(columns, name)).all()


def test_a_file_cut_anywhere_is_truncated_and_keeps_the_pages_before():
    whole = mapped_file()
    first = whole.index(b"pc.ram") + 6 + 8 + mapped_ram.Header.sizeof()  # before that nothing shows what it is
    for cut in (*range(first, 400, 7), *range(400, len(whole), 9973)):
        capture = xbrletools.open(whole[:cut])
        assert [p.rule for p in capture.problems if p.fatal] == ["truncated"], cut
        if cut > 2 * ALIGNMENT:
            assert capture.memory()[b"pc.ram"][0].tobytes() == patterned(1)


@pytest.mark.parametrize("field", ["page_size", "bitmap_offset", "pages_offset"])
@pytest.mark.parametrize("value", [0, 3, 1 << 63, (1 << 64) - 1])
def test_hostile_headers_are_errors_and_no_traceback(field, value):
    whole = bytearray(mapped_file())
    at = whole.index(b"pc.ram") + 6 + 8 + {"page_size": 4, "bitmap_offset": 12, "pages_offset": 20}[field]
    whole[at : at + 8] = value.to_bytes(8, "big")
    capture = xbrletools.open(bytes(whole))
    assert capture.damage is not None
    list(capture.verify())


@pytest.mark.parametrize("more", [{"address": 0}, {"address": 0x1_0000_1000}, {"page_size_": 1 << 21}])
def test_an_entry_can_state_the_block_s_address_and_page_size(more):
    for both in (more, more | {"address": 0xC0000, "page_size_": 1 << 30}):
        capture = xbrletools.open(mapped_file(**both))
        assert capture.problems == ()
        assert {b.address for b in capture.blocks} == {both.get("address")}
        assert {b.page_size for b in capture.blocks} == {both.get("page_size_")}
        assert capture.memory().known.all()
        assert capture.memory()[b"vga.vram"][8].tobytes() == patterned(4)


def test_what_x_ignore_shared_leaves_out_is_unknown_and_the_list_goes_on_after_its_header(capsys, tmp_path):
    (tmp_path / "S").write_bytes(mapped_file(left_out=(b"pc.ram",), address=0))
    capture = xbrletools.open(tmp_path / "S")
    assert [(p.rule, p.fatal, p.lost) for p in capture.problems] == [("ram-elsewhere", False, False)]
    assert "not in this stream: pc.ram. The" in capture.problems[0].message
    image = capture.memory()
    assert not image.known[image.space.slice(0)].any()
    status, _, err = run(capsys, "extract", tmp_path / "S", "-o", tmp_path / "out")
    assert (status, "not in this stream: pc.ram" in err) == (1, True)
    assert image.known[image.space.slice(1)].all()
    status, out, _ = run(capsys, "info", tmp_path / "S")
    assert status == 0
    assert "pc.ram left out, so unknown" in out
    assert run(capsys, "verify", tmp_path / "S")[0] == 0
    assert [f.rule for f in capture.verify()] == ["ram-elsewhere"]


class TestWithoutItsEnd:
    """The sender writes the bitmaps last, so until RAM's END a clear bit says nothing."""

    @pytest.mark.parametrize("end", [b"", EOF, part(), part() + EOS + footer(), END[:5]])
    def test_a_clear_bit_is_unknown_and_a_set_one_is_a_page(self, end):
        capture = xbrletools.open(mapped_file(end=end))
        assert "unfinished-bitmap" in [p.rule for p in capture.problems]
        image = capture.memory()
        assert image.recovered_count == len(CONTENT)
        assert image[b"pc.ram"][8].tobytes() == patterned(2)
        assert not image[b"pc.ram"][9].any()

    @pytest.mark.parametrize("end", [b"", EOF])
    def test_every_command_says_so(self, end, capsys, tmp_path):
        (tmp_path / "S").write_bytes(mapped_file(end=end, written=False))
        for command, *more in (("info",), ("verify",), ("extract", "-o", tmp_path / "out")):
            status, out, err = run(capsys, command, tmp_path / "S", *more)
            assert status == 1
            assert "49 pages that no bit marks are unknown, not zero" in " ".join((out + err).split())
        assert not any((tmp_path / "out" / "pc.ram").read_bytes())

    def test_salvage_gives_what_stands_in_the_file_as_possible(self, capsys, tmp_path):
        (tmp_path / "S").write_bytes(mapped_file(end=b"", written=False, fill=b"\0"))
        image = xbrletools.open(tmp_path / "S", salvage=True).memory()
        assert image.recovered_count == 0
        places = np.flatnonzero(image.state == State.POSSIBLE)
        assert places.tolist() == [0, 8, 39, 40 + 8]
        assert image[b"pc.ram"][39].tobytes() == patterned(3)
        status, out, _ = run(capsys, "salvage", tmp_path / "S", "--json")
        assert (status, json.loads(out)["pages_possible"]) == (1, 4)
        status, _, err = run(capsys, "extract", "--salvage", tmp_path / "S", "--block", "pc.ram", "-o", tmp_path / "r")
        assert status == 1
        assert f"{3 * PAGE} of them are written as they may have been" in err
        assert (tmp_path / "r").read_bytes() == image[b"pc.ram"].tobytes()
        ranges = json.loads((tmp_path / "r.json").read_text())
        assert [r["start"] // PAGE for r in ranges["possible"]] == [0, 8, 39]
        assert ranges["unknown_bytes"] == 40 * PAGE

    def test_with_trust_in_checksums_alone_nothing_is_possible(self, capsys, tmp_path):
        (tmp_path / "S").write_bytes(mapped_file(end=b"", written=False, fill=b"\0"))
        run(capsys, "extract", "--salvage", tmp_path / "S", "--trust", "checksum", "-o", tmp_path / "out")
        assert not any((tmp_path / "out" / "pc.ram").read_bytes())

    def test_salvage_reads_the_same_around_holes(self, tmp_path):
        whole = mapped_file(end=b"", written=False, fill=b"\0")
        with (tmp_path / "S").open("wb") as file:
            for at in range(0, len(whole), PAGE):
                if any(whole[at : at + PAGE]):
                    file.seek(at)
                    file.write(whole[at : at + PAGE])
            file.truncate(len(whole))
        sparse, flat = (xbrletools.open(w, salvage=True).memory() for w in (tmp_path / "S", whole))
        assert (sparse.state == flat.state).all()
        assert (sparse.pages == flat.pages).all()


@pytest.mark.parametrize("cut", [300, ALIGNMENT + 5 * PAGE, ALIGNMENT + 8 * PAGE + 100, 5 * ALIGNMENT])
def test_a_cut_pipe_gives_the_same_records_as_a_cut_file(cut):
    data = mapped_file()[:cut]
    scan = xbrletools.open(io.BytesIO(data)).scan()
    pieces = list(scan)
    capture = xbrletools.open(data)
    columns = capture.records.columns
    for name in ("offset", "address", "length", "block", "kind"):
        assert (np.concatenate([getattr(p, name) for p in pieces]) == getattr(columns, name)).all()
    assert scan.problems == list(capture.problems)


def test_a_compressed_file_gives_the_same_memory(tmp_path):
    (tmp_path / "S.gz").write_bytes(gzip.compress(mapped_file()))
    image = xbrletools.open(tmp_path / "S.gz").memory()
    assert image.known.all()
    assert (image.pages == xbrletools.open(mapped_file()).memory().pages).all()


def test_a_page_of_zeros_has_no_record_and_is_known_all_the_same(capsys, tmp_path):
    (tmp_path / "S").write_bytes(mapped_file())
    status, out, _ = run(capsys, "page", tmp_path / "S", "pc.ram:0x1000")
    assert status == 0
    assert "a page of zeros: its bit in the bitmap is clear" in out
    capture = xbrletools.open(tmp_path / "S")
    content = capture.page("pc.ram", PAGE).at()
    assert content.recovered.all() and not content.data.any()
    unfinished = xbrletools.open(mapped_file(end=b""))
    assert not unfinished.page("pc.ram", PAGE).at().recovered.any()


def test_bitmaps_that_are_claimed_cost_no_memory(capsys, tmp_path):
    path = tmp_path / "S"
    path.write_bytes(mapped_file())
    run(capsys, "info", path)  # what a command imports is in memory before anything is measured
    bomb = CORPUS / "cases" / "bombs" / "mapped1M.bin.gz"
    if not bomb.exists():
        pytest.skip("the corpus of real captures is not here")
    for command in ("info", "verify", "stats", "salvage"):
        with measured() as peak:
            status, _, _ = run(capsys, command, bomb)
        assert status == 1
        assert peak.bytes < BOUND, command


_NOWHERE = {"page_size": PAGE, "bitmap_offset": 0, "pages_offset": 0}


def test_a_guest_of_100_gib_costs_what_was_written(capsys, tmp_path):
    path, length = tmp_path / "S", 100 << 30
    head = HEADER + configuration() + start() + ram.Word.build(length | Flag.MEM_SIZE)
    block = {"idstr": b"pc.ram", "length": length}
    bitmap = len(head + mapped_ram.entry().build({"block": block, "header": _NOWHERE}))
    header = {"page_size": PAGE, "bitmap_offset": bitmap, "pages_offset": 4 << 20}
    with path.open("wb") as file:
        file.write(head + mapped_ram.entry().build({"block": block, "header": header}))
        for page in (0, 12345678, (length // PAGE) - 1):
            file.seek(bitmap + page // 8)
            file.write(bytes([1 << page % 8]))
            file.seek((4 << 20) + page * PAGE)
            file.write(patterned(page + 1))
        file.write(EOS + footer() + END + EOF)
    assert path.stat().st_blocks * 512 < 1 << 20
    for command in ("info", "verify", "stats"):
        with measured() as peak:
            status, _, _ = run(capsys, command, path)
        assert status == 0
        assert peak.bytes < BOUND, command
    with measured() as peak:
        image = xbrletools.open(path).memory()
        assert image[b"pc.ram"][12345678].tobytes() == patterned(12345679)
        assert image.recovered_count == length // PAGE
    assert peak.bytes < BOUND
