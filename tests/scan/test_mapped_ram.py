"""mapped-ram files, built from the description of the format: no file of a real QEMU was at hand."""

import io

import numpy as np
import pytest

import xbrletools
from tests.building import EOF, EOS, HEADER, PAGE, configuration, footer, part, patterned, start
from tests.memory.test_truth import check_clean
from xbrletools.formats import mapped_ram, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

ALIGNMENT = 1 << 16
BLOCKS = {b"pc.ram": 40, b"vga.vram": 9}  # pages
CONTENT = {(b"pc.ram", 0): 1, (b"pc.ram", 8): 2, (b"pc.ram", 39): 3, (b"vga.vram", 8): 4}


def mapped_file(page_size: int = PAGE) -> bytes:
    """Aligned pages, as a sender with direct I/O writes them. Pages of zeros are holes, here full of rubbish."""
    total = sum(BLOCKS.values()) * page_size
    out = bytearray(HEADER + configuration() + start() + ram.Word.build(total | Flag.MEM_SIZE))
    for name, pages in BLOCKS.items():
        head = len(out) + 1 + len(name) + 8 + mapped_ram.Header.sizeof()
        bitmap = sum(1 << i for i in range(pages) if (name, i) in CONTENT).to_bytes(-(-pages // 64) * 8, "little")
        at = -(-(head + len(bitmap)) // ALIGNMENT) * ALIGNMENT
        header = {"page_size": page_size, "bitmap_offset": head, "pages_offset": at}
        out += mapped_ram.Entry.build({"idstr": name, "length": pages * page_size, "header": header}) + bitmap
        out += bytes(at - len(out))
        for i in range(pages):
            seed = CONTENT.get((name, i))
            out += (patterned(seed) * 16)[:page_size] if seed else b"\xee" * page_size
    return bytes(out) + EOS + footer() + part(kind=SectionType.END) + EOS + footer() + EOF


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
            assert image[name][i].tobytes() == ((patterned(seed) * 16)[:page_size] if seed else bytes(page_size))
    assert capture.records.counts() == {"mem_size": 1, "page": 4, "dup": 45, "eos": 2}
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
