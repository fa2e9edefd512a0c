"""The dialect is found by trial, and not made up where the first deltas show none."""

import pytest

import xbrletools
from tests.building import configuration, page, patterned, stream
from tests.streams import PAGE, StreamBuilder, noise

A = noise(1)
B = A.copy()
B[100:120] ^= 0x5A


@pytest.mark.parametrize("dialect", ["posted", "lm2", "lm2dbg"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_a_stream_cut_inside_its_first_delta_shows_no_dialect(dialect, endian):
    stream = StreamBuilder(dialect=dialect, endian=endian).page(0, A).dup(PAGE).part()
    start = len(stream.out) + 8
    data = stream.delta(0, A, B).bytes()
    named = set()
    for end in range(start, len(data) - 9):
        capture = xbrletools.open(data[:end])
        assert [p.rule for p in capture.problems] == ["truncated"]
        named.add(capture.evidence.name)
        assert dialect in capture.evidence.candidates
    assert named == {None}


def test_a_sender_that_writes_configuration_could_write_no_delta_but_xbzrle():
    today = stream(page(0, patterned(1), b"pc.ram"))
    assert xbrletools.open(today).evidence.candidates == ("xbzrle",)
    older = today.replace(configuration(), b"")
    assert {"lm2", "posted", "xbzrle"} <= set(xbrletools.open(older).evidence.candidates)


def test_a_stream_with_configuration_and_deltas_of_another_dialect_reads_as_what_they_are():
    data = StreamBuilder(flags=3).page(0, A).part().delta(0, A, B).end().bytes()
    capture = xbrletools.open(data[:8] + configuration() + data[8:])
    assert capture.dialect.name == "posted"


def test_a_first_delta_that_is_bad_is_one_of_xbzrle_where_configuration_leaves_nothing_else(corpus):
    """It is not given up as unreadable, and the reason is not one of another dialect."""
    capture = xbrletools.open(corpus("cases/xbzrle/first-delta-zrun0.bin"))
    assert capture.dialect.name == "xbzrle"
    assert [(p.rule, p.message) for p in capture.problems] == []
    (finding,) = capture.verify()
    assert (finding.rule, finding.record) == ("delta-size", 9)
    assert "zero_run" in finding.message


def test_footers_show_as_much_as_configuration_where_the_first_delta_is_bad(corpus):
    """QEMU 2.4 brought both, and either can be switched off."""
    whole = corpus("cases/xbzrle/first-delta-zrun0.bin")
    length = int.from_bytes(whole[9:13])
    bare = whole[:8] + whole[13 + length :]
    capture = xbrletools.open(bare)
    assert (capture.dialect.name, capture.problems) == ("xbzrle", ())
    (finding,) = capture.verify()
    assert (finding.rule, finding.record, finding.offset) == ("delta-size", 9, 0x10B4 - 5 - length)
    assert "zrun = 0" in finding.message
    (cause,) = capture.verdict().causes
    assert cause.name == "payload-run"
