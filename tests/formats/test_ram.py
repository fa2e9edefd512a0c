"""The RAM section's grammar: every kind of record in both versions, from its word to its last byte."""

import random

import pytest
from construct import StreamError
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.codec.layout import dtype_of
from xbrletools.formats import ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.ram import Flag, Kind

names = st.binary(min_size=1, max_size=255)
contents = st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(ram.PAGE_SIZE))
pages = st.integers(0, 2**40 - 1).map(lambda n: n * ram.PAGE_SIZE)
orders = st.sampled_from(["little", "big"])
versions = st.sampled_from([ram.VERSION_FLAT, ram.VERSION_NAMED])


def built(version, word, dialect=None, endian="little", **parts):
    """Build one record, parse it back, build that again. Returns the bytes and what was parsed."""
    grammar = ram.record(version, dialect, endian)
    data = grammar.build({"word": word, "blocks": None, "name": None, "body": None, **parts})
    parsed = grammar.parse(data)
    assert grammar.build(parsed) == data
    assert parsed.word == word
    return data, parsed


def test_a_word_and_a_fill_have_their_sizes():
    assert (ram.Word.sizeof(), ram.Fill.sizeof()) == (8, 1)


@given(versions, st.sampled_from([Flag.EOS, Flag.HOOK, Flag.MULTIFD_FLUSH]))
def test_records_that_are_a_word_alone(version, flag):
    assert built(version, int(flag))[0] == int(flag).to_bytes(8, "big")


@given(pages, st.integers(0, 255), names)
def test_dup_page(address, fill, name):
    assert len(built(4, address | Flag.COMPRESS, name=name, body={"fill": fill})[0]) == 10 + len(name)
    assert len(built(4, address | Flag.COMPRESS | Flag.CONTINUE, body={"fill": fill})[0]) == 9
    assert len(built(3, address | Flag.COMPRESS, body={"fill": fill})[0]) == 9


@given(pages, contents, names)
def test_page(address, content, name):
    data, parsed = built(4, address | Flag.PAGE, name=name, body={"data": content})
    assert (len(data), parsed.name, parsed.body.data) == (8 + 1 + len(name) + 4096, name, content)
    assert len(built(4, address | Flag.PAGE | Flag.CONTINUE, body={"data": content})[0]) == 8 + 4096
    assert len(built(3, address | Flag.PAGE, body={"data": content})[0]) == 8 + 4096


@pytest.mark.parametrize("dialect", [d for d in DIALECTS.values() if d.page_sum], ids=lambda d: d.name)
def test_page_with_its_sum_before_it(dialect):
    data, parsed = built(3, Flag.PAGE, dialect, body={"checksum": 0x261C2, "data": bytes(4096)})
    assert data[:12] == bytes.fromhex("0000000000000008 000261c2")
    assert (len(data), parsed.body.checksum) == (8 + 4 + 4096, 0x261C2)


def test_only_the_debug_trees_of_november_2010_have_page_sums():
    assert {d.name for d in DIALECTS.values() if d.page_sum} == {"nov09", "m115dbg"}


@given(st.sampled_from(list(DIALECTS.values())), orders, pages, st.binary(max_size=5000), st.integers(0, 255))
def test_delta_of_every_dialect_and_byte_order(dialect, endian, address, payload, padding):
    header = dict.fromkeys(dtype_of(dialect.header(endian)).names, 7)
    header |= {"flags": 1, "length": len(payload) + dialect.length_counts, "checksum": 0x01020304}
    if "padding" in header:
        header["padding"] = padding
    flag = ram.delta_flag(dialect.ram_version)
    continued = flag | (Flag.CONTINUE if dialect.ram_version == ram.VERSION_NAMED else 0)
    body = {"header": header, "payload": payload}
    data, parsed = built(dialect.ram_version, address | continued, dialect, endian, body=body)
    assert len(data) == 8 + dialect.header(endian).sizeof() + len(payload)
    assert parsed.body.payload == payload
    assert data.endswith(payload)


@given(names, st.binary(max_size=600))
def test_compressed_page(name, data):
    body = {"length": len(data), "data": data}
    assert len(built(4, int(Flag.COMPRESS_PAGE), name=name, body=body)[0]) == 8 + 1 + len(name) + 4 + len(data)


@given(st.lists(st.tuples(names, st.integers(1, 2**20).map(lambda n: n * 4096)), min_size=1, max_size=6))
def test_block_list_ends_where_its_lengths_add_up(blocks):
    entries = [{"idstr": name, "length": length} for name, length in blocks]
    total = sum(length for _, length in blocks)
    data, parsed = built(4, total | Flag.MEM_SIZE, blocks={"entries": entries})
    assert len(data) == 8 + sum(9 + len(name) for name, _ in blocks)
    assert [(e.idstr, e.length) for e in parsed.blocks.entries] == blocks


def test_mem_size_without_a_list():
    assert len(built(3, 0x1840000 | Flag.MEM_SIZE)[0]) == 8
    assert len(built(4, int(Flag.MEM_SIZE), blocks={"entries": None})[0]) == 8


@given(names, st.integers(0, 2**64 - 1))
def test_block_entry(name, length):
    data = ram.BlockEntry.build({"idstr": name, "length": length})
    assert len(data) == 9 + len(name)
    assert ram.BlockEntry.parse(data).length == length


def test_receivers_look_for_dup_then_page_then_delta():
    assert ram.kind_of(0x02 | 0x08 | 0x40, 4) is Kind.DUP
    assert ram.kind_of(0x08 | 0x40, 4) is Kind.PAGE
    assert ram.kind_of(0x40 | 0x10, 4) is Kind.XBRLE
    assert ram.kind_of(0xA0, 4) is Kind.HOOK
    assert ram.kind_of(0x00, 4) is Kind.NOOP


def test_one_bit_is_continue_in_version_4_and_a_delta_in_version_3():
    assert ram.kind_of(0x20, 3) is Kind.XBRLE
    assert ram.kind_of(0x20, 4) is Kind.NOOP
    assert ram.kind_of(0x28, 4) is Kind.PAGE


@pytest.mark.parametrize("size", [1024, 2048, 4096, 65536])
def test_pages_have_the_size_of_the_target(size):
    grammar = ram.record(4, page_size=size)
    data = grammar.build(
        {"word": Flag.PAGE | Flag.CONTINUE, "blocks": None, "name": None, "body": {"data": bytes(size)}}
    )
    assert len(data) == 8 + size


def test_a_cut_page_is_no_page():
    with pytest.raises(StreamError):
        ram.record(4).parse(bytes.fromhex("0000000000000028") + bytes(4095))
