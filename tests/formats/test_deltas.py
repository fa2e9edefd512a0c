"""Delta headers and payloads: the dialects' layouts, in both byte orders, against bytes from real captures."""

import pytest
from construct import StreamError
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.formats import doubled, xbrle, xbzrle
from xbrletools.formats.dialects import DIALECTS, Checksum

HEADER_SIZES = {
    "sep10": 3,
    "sep20": 4,
    "nov03a": 8,
    "nov03b": 12,
    "nov09": 8,
    "m115": 8,
    "m115dbg": 8,
    "lm2": 4,
    "lm2dbg": 8,
    "posted": 8,
    "xbzrle-rfc": 7,
    "xbzrle": 3,
}

#: The start of a delta in a real capture of each tree, and what its header says.
SEEN = {
    "sep10": ("01 007e", {"flags": 1, "length": 126}),
    "sep20": ("01 00 a400", {"flags": 1, "padding": 0, "length": 164}),
    "nov03a": ("01 a0 5601 de10f8ff", {"padding": 0xA0, "length": 342, "checksum": 0xFFF810DE}),
    "nov03b": ("01 00 8600 79fff7ff 08020000", {"length": 134, "checksum": 0xFFF7FF79, "sequence": 520}),
    "m115": ("01 00 3400 90ff0700", {"length": 52, "checksum": 0x7FF90}),
    "lm2": ("01 00 7000", {"length": 112}),
    "lm2dbg": ("01 00 6e00 2d050800", {"length": 110, "checksum": 0x8052D}),
}


def test_every_dialect_has_a_header_of_known_size():
    assert list(DIALECTS) == list(HEADER_SIZES)


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize(("name", "size"), HEADER_SIZES.items())
def test_size_of_each_header(name, size, endian):
    assert DIALECTS[name].header(endian).sizeof() == size


@pytest.mark.parametrize(("name", "seen"), SEEN.items())
def test_headers_from_real_captures(name, seen):
    data, values = bytes.fromhex(seen[0]), seen[1]
    grammar = DIALECTS[name].header("little")
    parsed = grammar.parse(data)
    assert {field: parsed[field] for field in values} == values
    assert grammar.build(parsed) == data


@given(st.sampled_from(list(DIALECTS.values())), st.sampled_from(["little", "big"]), st.data())
def test_headers_parse_and_build_any_bytes(dialect, endian, data):
    grammar = dialect.header(endian)
    raw = data.draw(st.binary(min_size=grammar.sizeof(), max_size=grammar.sizeof()))
    assert grammar.build(grammar.parse(raw)) == raw


@given(st.sampled_from(list(DIALECTS.values())), st.binary(min_size=12, max_size=12))
def test_the_other_byte_order_swaps_structs_and_nothing_else(dialect, raw):
    little, big = dialect.header("little").parse(raw), dialect.header("big").parse(raw)
    assert little.flags == big.flags
    swapped = int.from_bytes(little.length.to_bytes(2, "little"), "big")
    assert big.length == (swapped if dialect.host_endian else little.length)


def test_which_dialects_carry_which_checksum():
    of = {c: {d.name for d in DIALECTS.values() if d.checksum is c} for c in Checksum}
    assert of == {
        Checksum.NONE: {"sep10", "sep20", "lm2", "xbzrle-rfc", "xbzrle"},
        Checksum.SUM: {"nov09", "m115", "m115dbg", "lm2dbg"},
        Checksum.COMPLEMENT: {"nov03a", "nov03b"},
        Checksum.FLAGGED: {"posted"},
    }


def test_two_senders_forget_dup_pages():
    assert {d.name for d in DIALECTS.values() if not d.caches_dup} == {"sep10", "posted"}


def test_a_pair_is_a_run_and_a_byte():
    assert xbrle.Pair.sizeof() == 2
    assert xbrle.Pair.build({"run": 255, "byte": 7}) == b"\xff\x07"


def test_an_unchanged_page_is_seventeen_pairs():
    payload = b"\xff\0" * 16 + b"\x10\0"
    pairs = xbrle.Pairs.parse(payload)
    assert (len(payload), sum(p.run for p in pairs)) == (34, 4096)
    assert xbrle.Pairs.build(pairs) == payload


@given(st.binary(max_size=600))
def test_pairs_leave_an_odd_byte_over(payload):
    assert xbrle.Pairs.build(xbrle.Pairs.parse(payload)) == payload[: len(payload) // 2 * 2]


@given(st.binary(min_size=2, max_size=2))
def test_marks_of_the_doubled_codings(raw):
    assert (doubled.Repeats.sizeof(), doubled.NextRun.sizeof()) == (1, 2)
    assert doubled.Repeats.build(doubled.Repeats.parse(raw[:1])) == raw[:1]
    assert doubled.NextRun.build(doubled.NextRun.parse(raw)) == raw


@given(st.integers(0, xbzrle.ULEB_MAX))
def test_a_number_takes_one_byte_below_128_and_two_to_16383(number):
    data = xbzrle.Uleb128.build(number)
    assert len(data) == (1 if number < 128 else 2)
    assert xbzrle.Uleb128.parse(data) == number


@pytest.mark.parametrize(("number", "data"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (16383, "ff7f")])
def test_numbers_are_low_bits_first(number, data):
    assert xbzrle.Uleb128.build(number) == bytes.fromhex(data)


runs = st.fixed_dictionaries(
    {"zrun": st.integers(0, 16383), "data": st.binary(min_size=1, max_size=300)},
)


@given(st.lists(runs, max_size=8))
def test_runs_hold_the_new_bytes_themselves(wanted):
    data = xbzrle.Runs.build(wanted)
    parsed = xbzrle.Runs.parse(data)
    assert [(r.zrun, r.nzrun, r.data) for r in parsed] == [(w["zrun"], len(w["data"]), w["data"]) for w in wanted]
    assert len(data) == sum((1 + (w["zrun"] > 127)) + (1 + (len(w["data"]) > 127)) + len(w["data"]) for w in wanted)
    assert xbzrle.Runs.build(parsed) == data


def test_a_cut_run_is_no_run():
    with pytest.raises(StreamError):
        xbzrle.Run.parse(b"\x04\x03ab")
