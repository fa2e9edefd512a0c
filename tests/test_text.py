"""Names, sizes and addresses between bytes and people."""

import pytest

from xbrletools.errors import XbrleError
from xbrletools.text import address, shown, size


@pytest.mark.parametrize(
    ("text", "expected"), [("010", 10), ("00", 0), ("0x10", 16), ("0X10k", 16 << 10), ("007G", 7 << 30)]
)
def test_a_size_may_begin_with_zeros(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "0x", "k", "-1", "1.5", "1e3", "1 0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(XbrleError):
        size(text)


@pytest.mark.parametrize("text", ["010", "pc.ram:", "pc.ram:08", ":"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(XbrleError):
        address(text)


def test_a_byte_and_the_character_of_its_code_are_not_shown_alike():
    byte, character = b"\x85", "\u0085".encode()
    assert (shown(byte), shown(character)) == ("\\x85", "\\u0085")


@pytest.mark.parametrize("name", [b"\x1b[2J", "\u202e".encode(), b"\0\n\r\t", b"\xff\xfe", "\ufeff\u2066".encode()])
def test_nothing_that_acts_on_a_terminal_is_shown(name):
    assert shown(name).isprintable()
    assert shown(name).startswith("\\")
