"""XBZRLE runs begin and end where the sender's page differs, so a byte that is there already shows another page."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.codec import deltas, xbzrle
from xbrletools.formats.dialects import Encoding
from xbrletools.verify.cause import CauseName
from xbrletools.verify.rules import Finding

REAL = ["linux-guest/keep-xbzrle-192m", "qemu-7.2/pc16-xbzrle-large-kvm"]
OLD, CHANGED = noise(1), noise(1)
CHANGED[100:200] ^= 0xFF
NEW = CHANGED.copy()
NEW[150:260] ^= 0x0F


def found(stream: bytes) -> list[Finding]:
    return [f for f in xbrletools.open(stream).verify() if f.rule == "base-wrong"]


def lost(*after: str) -> bytes:
    """A stream whose delta is against a page that the receiver does not have.

    ``after`` are the records behind it, which heal.
    """
    stream = StreamBuilder(dialect="xbzrle").page(0, OLD).part().page(0, OLD).delta(0, CHANGED, OLD)
    for _ in after:
        stream.page(0, NEW)
    return stream.end().bytes()


def test_a_run_over_what_is_there_already_is_found_with_its_first_byte():
    (finding,) = found(lost())
    assert (finding.severity.value, finding.record, finding.page) == ("error", 3, 0)
    assert finding.evidence["byte"] == 100
    assert "0x64" in finding.message and "never healed" in finding.message


def test_it_is_a_warning_where_a_later_record_gives_the_page_again():
    (finding,) = found(lost("page"))
    assert (finding.severity.value, finding.evidence["healed_by_record"]) == ("warning", 4)


def test_a_right_delta_a_merged_run_and_blanked_pages_say_nothing():
    right = StreamBuilder(dialect="xbzrle").page(0, OLD).part().delta(0, OLD, CHANGED).delta(0, CHANGED, NEW)
    assert found(right.end().bytes()) == []
    merged = bytes([0, 3, OLD[0] ^ 1, OLD[1], OLD[2] ^ 1])
    new = OLD.copy()
    new[[0, 2]] ^= 1
    assert found(StreamBuilder(dialect="xbzrle").page(0, OLD).part().raw_delta(0, merged, new).end().bytes()) == []
    assert found((SAMPLES / "xbzrle-16m.bin").read_bytes()) == []


def test_zeros_over_a_page_of_zeros_are_found_where_no_page_was_blanked():
    """Blanking leaves pages of zeros in full, which senders write as dup pages."""
    zeros, literal = np.zeros(PAGE, np.uint8), bytes([100, 1, 0])
    (finding,) = found(StreamBuilder(dialect="xbzrle").dup(0).part().raw_delta(0, literal, zeros).end().bytes())
    assert (finding.severity.value, finding.record, finding.evidence["byte"]) == ("error", 2, 100)
    blanked = StreamBuilder(dialect="xbzrle").page(PAGE, zeros).dup(0).part().raw_delta(0, literal, zeros)
    assert found(blanked.end().bytes()) == []


def test_the_stale_zero_is_found(corpus):
    (finding,) = found(corpus("cases/xbzrle/xbzrle-stale-zero.bin"))
    assert (finding.evidence["byte"], finding.severity.value) == (100, "error")


def test_the_sender_is_among_the_causes_of_a_wrong_base_and_one_run_is_not_where_several_pages_are_wrong(corpus):
    one = xbrletools.open(corpus("cases/xbzrle/xbzrle-stale-zero.bin")).verdict().causes[0]
    several = xbrletools.open(SAMPLES / "xbzrle-wrong-base.bin").verdict().causes[0]
    assert {CauseName.BASE_WRONG, CauseName.PAYLOAD_RUN} <= set(one.candidates)
    assert CauseName.BASE_WRONG in several.candidates and CauseName.PAYLOAD_RUN not in several.candidates
    assert CauseName.PAYLOAD_RUN in dict(several.refuted)


@pytest.mark.parametrize("name", REAL)
def test_real_senders_never_do_this(corpus, name):
    capture = xbrletools.open(corpus(f"{name}.bin"))
    assert capture.records.counts()["xbzrle"] > 2000
    assert [f for f in capture.verify() if f.rule == "base-wrong"] == []


@pytest.mark.usefixtures("loops")
@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from([0, 1, 1, 2])), min_size=1, max_size=60), st.booleans())
def test_the_first_idle_byte_is_that_of_a_walk_over_the_runs(changes, other):
    old = np.full((1, 1024), 7, np.uint8)
    new, base = old.copy(), old.copy()
    for at, value in changes:
        new[0, at * 3] = value
    if other:
        base[0, : 3 * changes[0][0] + 2] = 1
    payload, lengths = deltas.encode(Encoding.ZRUN, old, new)
    if lengths[0] < 1:
        return
    edges = np.flatnonzero(np.diff((old != new)[0].astype(int), prepend=0, append=0)).reshape(-1, 2)
    idle = [at for start, stop in edges for at in (start, stop - 1) if base[0, at] == new[0, at]]
    got = xbzrle.idle(payload, np.zeros(1, np.int64), lengths, base, np.zeros(1, np.int64))
    assert got.tolist() == [min(idle, default=-1)]
