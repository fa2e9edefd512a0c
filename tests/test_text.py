"""Names, sizes and addresses between bytes and people."""

import pytest

from xbrletools.errors import XbrleError
from xbrletools.text import address, bytes_of, called, shown, size


@pytest.mark.parametrize(
    ("text", "expected"), [("010", 10), ("00", 0), ("0x10", 16), ("0X10k", 16 << 10), ("007G", 7 << 30)]
)
def test_a_size_may_begin_with_zeros(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "0x", "k", "-1", "1.5", "1e3", "1 0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(XbrleError):
        size(text)


@pytest.mark.parametrize("text", ["-1", "pc.ram:", "pc.ram:0x", ":", "0o10"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(XbrleError):
        address(text)


def test_an_address_may_begin_with_zeros():
    assert (address("010"), address("pc.ram:08")) == ((None, 10), ("pc.ram", 8))


def test_a_byte_and_the_character_of_its_code_are_not_shown_alike():
    byte, character = b"\x85", "\u0085".encode()
    assert (shown(byte), shown(character)) == ("\\x85", "\\u0085")


@pytest.mark.parametrize("name", [b"\x1b[2J", "\u202e".encode(), b"\0\n\r\t", b"\xff\xfe", "\ufeff\u2066".encode()])
def test_nothing_that_acts_on_a_terminal_is_shown(name):
    assert shown(name).isprintable()
    assert shown(name).startswith("\\")


def test_a_block_is_called_by_its_bytes_or_as_it_is_shown_and_bytes_come_first():
    names = [b"a", b"\\x01", b"\x01", b"a"]
    assert called(names, "a") == called(names, b"a") == [0, 3]
    assert called(names, "\\x01") == [1, 2]  # the first is so in bytes, the second is shown so
    assert called(names, b"\\x01") == [1]
    assert called(names, "b") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("pc.ram", b"pc.ram"), ("\u00e4", b"\xc3\xa4"), ("\udcff", b"\xff"), ("\ud800\udcff", b"\xed\xa0\x80\xff")],
)
def test_every_text_has_bytes_even_one_that_json_made_up(text, expected):
    assert bytes_of(text) == expected
