"""mig.log's lines and the statistics table's, as patterns and format strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.formats import miglog, statistics
from xbrletools.formats.dialects import DIALECTS, statistics_form

u32 = st.integers(0, 2**32 - 1)
kinds = st.one_of(
    st.sampled_from([miglog.PAGE, miglog.DUP]), st.integers(0, 4096).map(lambda n: miglog.XBRLE.format(length=n))
)

#: From the logs of real builds.
LINES = [
    b"[seq 1 addr 0x0 cksum 0x23B3C] NORMAL page\n",
    b"[seq 6730 addr 0x182D000 cksum 0x0] DUP page\n",
    b"[seq 10406 addr 0x50F000 cksum 0x8091B] XBRLE page (enc len 34)\n",
]


@given(u32, st.integers(0, 2**64 - 1), u32, kinds)
def test_a_line_reads_as_it_is_written(seq, addr, cksum, kind):
    line = miglog.FORMAT.format(seq=seq, addr=addr, cksum=cksum, kind=kind).encode() + b"\n"
    found = miglog.LINE.fullmatch(line)
    assert found
    assert (int(found["seq"]), int(found["addr"], 16), int(found["cksum"], 16)) == (seq, addr, cksum)
    assert kind.startswith(found["kind"].decode())


@pytest.mark.parametrize("line", LINES)
def test_real_lines_are_written_again_as_they_were(line):
    found = miglog.LINE.fullmatch(line)
    kind = {
        b"NORMAL": miglog.PAGE,
        b"DUP": miglog.DUP,
        b"XBRLE": miglog.XBRLE.format(length=int(found["length"] or 0)),
    }[found["kind"]]
    numbers = {"seq": int(found["seq"]), "addr": int(found["addr"], 16), "cksum": int(found["cksum"], 16)}
    assert miglog.FORMAT.format(**numbers, kind=kind).encode() + b"\n" == line


@pytest.mark.parametrize(
    "line",
    [
        b"[seq 1 addr 0x0 cksum 0x0] DUP page",
        b"[seq 1 addr 0x0 cksum 0x0] DUP page (enc len 3)\n",
        b"[seq 1 addr 0x0 cksum 0x0] XBRLE page\n",
        b"[seq 1 addr 0xab cksum 0x0] DUP page\n",
        b"[seq -1 addr 0x0 cksum 0x0] DUP page\n",
        b"x[seq 1 addr 0x0 cksum 0x0] DUP page\n",
        b"[seq 1 addr 0x0 cksum 0x1FFFFFFFF] DUP page\n",
    ],
)
def test_what_no_build_writes_is_no_line(line):
    assert not miglog.LINE.search(line)


@given(st.sampled_from(["Iterations", "Normal pages"]), st.integers(0, 10**12), st.floats(0, 100))
def test_statistics_read_as_they_are_written(label, value, share):
    found = statistics.LINE.fullmatch(statistics.SHARE.format(label=label, value=value, share=share))
    assert (found["label"], int(found["value"]), found["share"]) == (label, value, f"{share:.2f}")
    found = statistics.LINE.fullmatch("vl: " + statistics.COUNT.format(label=label, value=value))
    assert (found["label"], int(found["value"]), found["share"]) == (label, value, None)


def test_each_tree_prints_the_table_of_its_time():
    forms = {name: statistics_form(d, d.ram_version) for name, d in DIALECTS.items()}
    assert forms["posted"] is statistics.POSTED
    assert forms["nov03a"] is forms["nov03b"] is statistics.NOV03
    assert forms["lm2"] is forms["lm2dbg"] is statistics.LM2
    assert forms["m115"] is forms["m115dbg"] is statistics.M115
    assert statistics_form(None, 4) is statistics.POSTED
    assert statistics_form(None, 3) is statistics.M115
