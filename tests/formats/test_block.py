"""The block section's grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.formats import block
from xbrletools.formats.block import Flag

names = st.binary(min_size=1, max_size=255)
sectors = st.integers(0, 2**55 - 1)


def built(word, **parts):
    data = block.Record.build({"word": word, "name": None, "data": None, **parts})
    parsed = block.Record.parse(data)
    assert block.Record.build(parsed) == data
    assert parsed.word == word
    return data


def test_an_idle_section_is_one_word():
    assert built(int(Flag.EOS)) == bytes.fromhex("0000000000000002")


@given(st.integers(0, 100))
def test_progress_has_its_percentage_in_the_word(percent):
    assert len(built(percent << block.SECTOR_BITS | Flag.PROGRESS)) == 8


@given(sectors, names)
def test_a_block_of_zeros_has_no_data(sector, name):
    word = sector << block.SECTOR_BITS | Flag.DEVICE_BLOCK | Flag.ZERO_BLOCK
    assert len(built(word, name=name)) == 8 + 1 + len(name)


@pytest.mark.parametrize("name", [b"ide0-hd0", b"\xff" * 255])
def test_a_block_is_one_mebibyte(name):
    data = built(5 << block.SECTOR_BITS | Flag.DEVICE_BLOCK, name=name, data=bytes(range(256)) * 4096)
    assert len(data) == 8 + 1 + len(name) + (1 << 20)
