"""Addresses as people write them, to a place in a block."""

import pytest

from xbrletools import XbrleError
from xbrletools.memory.image import PageSpace
from xbrletools.model import Block

PC = PageSpace(
    [Block(b"0000:00:02.0/vga.rom", 0x8000), Block(b"pc.ram", 0x10000), Block(b"vga\x1b.vram", 0x800000)], 4096
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0x1000", (1, 0x1000)),
        ("4096", (1, 0x1000)),
        ("pc.ram:0x1000", (1, 0x1000)),
        ("0000:00:02.0/vga.rom:0x7fff", (0, 0x7FFF)),
        ("vga\\x1b.vram:0", (2, 0)),
        ("vga\x1b.vram:0", (2, 0)),
    ],
)
def test_an_address_names_its_block_or_means_the_main_one(text: str, place: tuple[int, int]) -> None:
    assert PC.locate(text) == place


def test_without_a_pc_ram_the_longest_block_is_the_main_one() -> None:
    assert PageSpace([Block(b"a", 4096), Block(b"b", 8192), Block(b"c", 8192)], 4096).locate("0x10") == (1, 0x10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0x10000", "pc.ram has 0x10000 bytes"),
        ("-1", "invalid address"),
        ("no:0x0", "there is no RAM block no; this capture has 0000:00:02.0/vga.rom, pc.ram, vga\\\\x1b.vram"),
        ("pc.ram", "invalid address"),
        ("pc.ram:", "invalid address"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(XbrleError, match=reason):
        PC.locate(text)


def test_an_address_in_a_capture_without_blocks_is_refused() -> None:
    with pytest.raises(XbrleError, match="names no RAM block"):
        PageSpace([], 4096).locate("0x0")
