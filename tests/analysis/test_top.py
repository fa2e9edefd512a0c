"""`analysis.top` against a count in plain Python, record by record, and its own words."""

from collections import defaultdict

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.posted import PAGE, dup, page, stream
from xbrletools import filters
from xbrletools.analysis.top import BY_BLOCK, Order, grouped, ranges, top
from xbrletools.formats.ram import DELTA_KINDS, PAGE_KINDS

CAPTURES = [
    "qemu-2011-posted/dbg-stale-reject.bin",
    "qemu-2011-posted/dbg-vga-x.bin",
    "qemu-2010/m115-x.bin",
    "qemu-7.2/pc16-xbzrle-large-kvm.bin",
    "qemu-7.2/pc16-compress-kvm.bin",
    "qemu-7.2/s390x-ccw64-plain-tcg.bin",
    "qemu-7.2/aarch64-virt26-1kpage-plain-tcg.bin",
]


def naive(capture, size, keep=lambda number, pass_, kind: True):
    """By (block, start of the range): what `Top` counts, one record after the other."""
    columns, passes, seen = capture.records.columns, capture.records.pass_.tolist(), set()
    out = defaultdict(lambda: {"pages": set(), "records": 0, "resends": 0, "bytes": 0, "deltas": 0, "passes": set()})
    number = 0
    for i in range(len(columns)):
        kind, block, address = int(columns.kind[i]), int(columns.block[i]), int(columns.address[i])
        if kind not in PAGE_KINDS:
            continue
        number += 1
        again = (block, address) in seen
        seen.add((block, address))
        if not keep(number, passes[i], kind):
            continue
        one = out[block, 0 if size == BY_BLOCK else address // size * size]
        one["pages"].add(address)
        one["records"] += 1
        one["resends"] += again
        one["bytes"] += int(columns.head[i]) + int(columns.length[i])
        one["deltas"] += int(columns.length[i]) if kind in DELTA_KINDS else 0
        one["passes"].add(passes[i])
    return out


def counted(found):
    """The same of a `Top`."""
    return {
        (int(found.block[i]), int(found.address[i])): {
            "pages": int(found.pages[i]),
            "records": int(found.records[i]),
            "resends": int(found.resends[i]),
            "bytes": int(found.bytes[i]),
            "deltas": int(found.delta_bytes[i]),
            "passes": found.passes_of(i),
        }
        for i in range(len(found))
    }


def by(capture, size):
    """The ranges of that size, None for pages."""
    found = top(capture.stream)
    return found if size is None else ranges(found, capture.blocks, size)


def agrees(found, plain):
    expected = {k: v | {"pages": len(v["pages"]), "passes": sorted(v["passes"])} for k, v in plain.items()}
    assert counted(found) == expected
    assert found.outside == 0


@pytest.mark.parametrize("size", [None, 1 << 16, 1 << 21, BY_BLOCK])
@pytest.mark.parametrize("name", ["posted-8m.bin", "xbzrle-16m.bin"])
def test_samples_count_as_record_by_record(name, size):
    capture = xbrletools.open(SAMPLES / name)
    agrees(by(capture, size), naive(capture, capture.page_size if size is None else size))


@pytest.mark.parametrize("name", CAPTURES)
def test_real_captures_count_as_record_by_record(corpus, name):
    capture = xbrletools.open(corpus(name))
    for size in (None, 1 << 16):
        agrees(by(capture, size), naive(capture, capture.page_size if size is None else size))


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("pass:2-", lambda number, pass_, kind: pass_ >= 2),
        ("kind:delta", lambda number, pass_, kind: kind in DELTA_KINDS),
        ("record:100-400 or pass:3", lambda number, pass_, kind: 100 <= number <= 400 or pass_ == 3),
    ],
)
def test_a_filter_leaves_records_out_but_what_it_keeps_stays_a_resend(text, keep):
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    found = top(capture.stream, filters.parse(text))
    agrees(found, naive(capture, capture.page_size, keep))
    if text == "pass:2-":
        assert (found.resends == found.records).all()  # all of them came in the first pass


def test_multifd_pages_count_as_record_by_record(corpus, tmp_path):
    for i in range(3):
        (tmp_path / f"S.chan{i}.bin").write_bytes(corpus(f"qemu-7.2/pc16-multifd-none-kvm.chan{i}.bin"))
    capture = xbrletools.open(tmp_path / "S.chan0.bin", channels=[tmp_path / f"S.chan{i}.bin" for i in (1, 2)])
    agrees(top(capture.stream), naive(capture, capture.page_size))


def test_orders_put_the_largest_first_and_ties_by_bytes():
    found = top(xbrletools.open(SAMPLES / "xbzrle-16m.bin").stream)
    for order, values in {
        Order.RESENDS: lambda t: t.resends,
        Order.BYTES: lambda t: t.bytes,
        Order.PASSES: lambda t: t.counts,
        Order.DELTA: lambda t: np.nan_to_num(t.delta_share, nan=-1),
    }.items():
        ordered = found.sorted(order)
        assert (np.diff(values(ordered)) <= 0).all()
        assert sorted(map(str, counted(ordered).items())) == sorted(map(str, counted(found).items()))
    first = found.sorted(Order.RESENDS, 5)
    assert len(first) == 5
    assert first.resends[0] == found.resends.max()
    same = found.sorted(Order.RESENDS)
    tied = same.resends[1:] == same.resends[:-1]
    assert (np.diff(same.bytes)[tied] <= 0).all()


def test_a_stream_without_records_has_no_pages():
    found = top(xbrletools.open((SAMPLES / "posted-8m.bin").read_bytes()[:60]).stream)
    assert len(found) == 0
    assert len(found.sorted(Order.RESENDS, 3)) == 0


def test_records_outside_every_block_are_counted_apart():
    data = stream([page(0, b"a" * PAGE), dup(0x100000, 7), page(0, b"b" * PAGE)])
    found = top(xbrletools.open(data).stream)
    assert counted(found)[0, 0]["resends"] == 1
    assert len(found) == 1
    assert found.outside == 1


def test_groups_that_do_not_lie_together_add_up():
    found = top(xbrletools.open(SAMPLES / "posted-8m.bin").stream).sorted(Order.PASSES, 1000)
    group = np.arange(len(found)) % 3
    made = grouped(found, group, 4)
    for i in range(3):
        rows = np.flatnonzero(group == i)
        assert made.pages[i] == len(rows)
        assert made.resends[i] == found.resends[rows].sum()
        assert made.passes_of(i) == sorted({p for row in rows.tolist() for p in found.passes_of(row)})
    assert made.pages[3] == 0
    assert made.passes_of(3) == []
