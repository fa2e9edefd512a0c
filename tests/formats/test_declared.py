"""The declared parts that construct lacks: they are data, and they read and build what they say."""

import pytest
from construct import Byte, Bytes, IntegerError, RepeatError, StreamError, Struct, obj_, this
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.formats import qevm, ram
from xbrletools.formats.declared import FirstFlag, IfNext, Remainder, Uleb128, UntilSum, WhileNext
from xbrletools.formats.ram import Kind

ITEM = Struct("size" / Byte, "data" / Bytes(1))


@pytest.mark.parametrize("version", [ram.VERSION_FLAT, ram.VERSION_NAMED])
def test_the_first_flag_that_is_set_makes_the_kind(version):
    for flags in range(ram.FLAG_VALUES):
        order = ram.kind_order(version)
        kinds = [kind for flag, kind in order if flags & flag]
        assert ram.kind_of(flags, version) is (kinds[0] if kinds else Kind.NOOP)


@pytest.mark.parametrize("size", [1024, 4096, 65536])
def test_a_record_has_a_name_exactly_where_its_kind_and_flags_ask_for_one(size):
    grammar = ram.record(ram.VERSION_NAMED, page_size=size)
    for flags in range(ram.FLAG_VALUES):
        kind = ram.kind_of(flags, ram.VERSION_NAMED)
        data = flags.to_bytes(8, "big") + bytes(1 + 4 + size)  # a name of no bytes, a length of 0
        assert (grammar.parse(data).name is not None) == ram.is_named(flags, ram.VERSION_NAMED, kind)


def test_a_flag_s_value_is_found_in_an_expression():
    kind = FirstFlag(this.flags, ((4, "b"), (1, "a")), "none")
    assert [kind({"flags": n}) for n in (0, 1, 4, 5)] == ["none", "a", "b", "b"]
    assert (kind == "b")({"flags": 5})


def test_a_remainder_is_never_less_than_nothing():
    assert [Remainder(this.n, 3)({"n": n}) for n in (0, 3, 5)] == [0, 0, 2]


def test_items_are_read_until_their_fields_add_up():
    grammar = UntilSum("size", this._params.total, ITEM)
    assert [i.size for i in grammar.parse(b"\2a\3b\4c", total=5)] == [2, 3]
    assert grammar.parse(b"\2a", total=0) == []
    with pytest.raises(StreamError):
        grammar.parse(b"\2a", total=5)


def test_items_that_do_not_come_to_their_total_are_not_built():
    grammar, items = UntilSum("size", this._params.total, ITEM), [{"size": 2, "data": b"a"}]
    assert grammar.build(items, total=2) == b"\2a"
    with pytest.raises(RepeatError):
        grammar.build(items, total=3)


def test_a_value_that_does_not_fit_is_left_in_its_place():
    grammar = Struct("a" / IfNext(obj_ >= 10, Byte), "b" / Byte)
    assert dict(grammar.parse(b"\x0b\1"), _io=None) == {"_io": None, "a": 11, "b": 1}
    assert grammar.parse(b"\1\2").a is None
    assert grammar.parse(b"\1\2").b == 1
    assert grammar.build({"a": None, "b": 1}) == b"\1"


def test_a_row_ends_before_what_its_head_does_not_announce_and_before_an_item_that_is_cut():
    grammar = Struct("items" / WhileNext(Byte, obj_ == 5, Struct("mark" / Byte, "data" / Bytes(2))), "next" / Byte)
    parsed = grammar.parse(b"\5ab\5cd\6")
    assert ([i.data for i in parsed["items"]], parsed.next) == ([b"ab", b"cd"], 6)
    assert len(grammar.parse(b"\5ab\5c")["items"]) == 1


@given(st.binary(max_size=12))
def test_configuration_ends_before_a_subsection_of_another_name(name):
    data = qevm.Configuration.build({"machine": b"pc", "subsections": []})
    parsed = qevm.Configuration.parse(data + b"\5" + bytes([len(name)]) + name + b"\0\0\0\1")
    assert parsed.subsections == []


@given(st.integers(0, 2**21 - 1), st.integers(1, 3))
def test_a_number_that_takes_too_many_bytes_is_not_built(number, most):
    grammar = Uleb128(most)
    if number >> 7 * most:
        with pytest.raises(IntegerError):
            grammar.build(number)
    else:
        assert grammar.parse(grammar.build(number)) == number
