import pytest

from xbrletools import XbrleError
from xbrletools.memory.ramaddr import BY_LIST, BY_PC, BY_SECTION, layout
from xbrletools.model import Block

MIB = 1 << 20
PC = [
    Block(b"pc.ram", 16 * MIB),
    Block(b"0000:00:03.0/e1000.rom", 128 << 10),
    Block(b"0000:00:02.0/cirrus_vga.rom", 64 << 10),
    Block(b"pc.bios", 128 << 10),
    Block(b"pc.rom", 128 << 10),
    Block(b"vga.vram", 8 * MIB),
]


def test_a_pc_of_2011_has_its_blocks_in_allocation_order_whatever_its_list_says():
    offsets, source = layout(PC, 4096)
    assert dict(zip((b.name for b in PC), offsets.tolist(), strict=True)) == {
        b"pc.ram": 0,
        b"pc.bios": 16777216,
        b"pc.rom": 16908288,
        b"vga.vram": 17039360,
        b"0000:00:02.0/cirrus_vga.rom": 25427968,
        b"0000:00:03.0/e1000.rom": 25493504,
    }
    assert source == BY_PC


def test_slots_are_compared_as_numbers_in_hexadecimal():
    blocks = [Block(b"pc.ram", 4096), Block(b"0000:00:0a.0/a.rom", 4096), Block(b"0000:00:09.0/b.rom", 4096)]
    assert layout(blocks, 4096)[0].tolist() == [0, 8192, 4096]


def test_names_that_the_pc_did_not_give_keep_the_order_of_the_list():
    blocks = [*PC, Block(b"/rom@etc/acpi/tables", 8192)]
    offsets, source = layout(blocks, 4096)
    assert source == BY_LIST
    assert offsets.tolist()[:3] == [0, 16777216, 16777216 + 131072]


def test_a_v3_stream_has_one_block_at_zero():
    offsets, source = layout([Block(b"ram", MIB)], 4096)
    assert (offsets.tolist(), source) == ([0], BY_SECTION)


def test_a_length_that_is_no_multiple_of_the_page_takes_its_last_page_whole():
    assert layout([Block(b"a", 4097), Block(b"b", 10)], 4096)[0].tolist() == [0, 8192]


def test_a_base_moves_its_block_and_those_that_follow_it():
    offsets, source = layout(PC, 4096, {b"vga.vram": 0x8000000})
    assert offsets[5] == 0x8000000
    assert offsets[2] == 0x8000000 + 8 * MIB
    assert offsets[3] == 16777216
    assert "vga.vram at 0x8000000" in source


@pytest.mark.parametrize(
    ("bases", "word"),
    [({b"gone": 0}, "no RAM block"), ({b"pc.bios": 100}, "not a multiple"), ({b"pc.bios": 4096}, "overlap")],
)
def test_a_base_that_cannot_be_is_refused(bases, word):
    with pytest.raises(XbrleError, match=word):
        layout(PC, 4096, bases)


def test_a_block_that_only_a_record_names_does_not_change_the_order():
    offsets, source = layout([*PC, Block(b"odd", 0, declared=False)], 4096)
    assert source == BY_PC
    assert offsets[3] == 16777216
