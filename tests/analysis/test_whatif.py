"""`what_if` against a plain simulation: each sender by itself, with a cache and copies of pages of its own."""

import zlib
from dataclasses import astuple

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xbrletools
from tests.conftest import SAMPLES
from tests.sender.snaps import PAGE, histories
from tests.sender.test_encode import stream_of
from xbrletools import XbrleError
from xbrletools.analysis import deltasizes, whatif
from xbrletools.analysis.whatif import Cost, what_if
from xbrletools.codec.layout import dtype_of
from xbrletools.formats.dialects import DIALECTS, Encoding
from xbrletools.memory.moments import space_of
from xbrletools.model import Stream
from xbrletools.sender import sent as sent_module
from xbrletools.sender.addresses import addresses_in_stream
from xbrletools.sender.copies import Copies
from xbrletools.sender.encode import Plan
from xbrletools.sender.policy import Dups, Policy, Sender, rules_of
from xbrletools.sender.sent import SentRecords, sent_pages
from xbrletools.sender.transcode import cache_for, choose

CACHES = [2 * PAGE, 6 * PAGE, 16 * PAGE, 1 << 20]
HEAD = 4  # of a packed page: its length


def simulated(stream: Stream) -> list[Cost]:
    """The costs, counted record by record. Without a record, caches are not tried."""
    own = stream.dialect
    xbrle = own if own is not None and own.encoding is Encoding.RLE else DIALECTS["posted"]
    xbzrle = DIALECTS["xbzrle"]
    senders = [
        ("posted", xbrle, rules_of(xbrle, Policy.POSTED, None, PAGE)),
        ("v2", xbrle, rules_of(xbrle, Policy.V2, None, PAGE)),
        ("fixed", xbrle, rules_of(xbrle, Policy.POSTED, Dups.FIXED, PAGE)),
        ("xbzrle", xbzrle, rules_of(xbzrle, Policy.XBZRLE, None, PAGE)),
    ]
    costs = [
        counted(stream, name, cache, simulated_sender(stream, rules, cache), dialect)
        for name, dialect, rules in senders
        for cache in CACHES
        if len(SentRecords.of(stream))
    ]
    pack = zstandard.ZstdCompressor(level=1).compress
    costs.append(counted(stream, "zlib", None, packing(lambda page: zlib.compress(page, 1)), None))
    costs.append(counted(stream, "zstd", None, packing(pack), None))
    return costs


def simulated_sender(stream, rules, cache_bytes):
    """A function of a batch: for each record "page", "same" or the length of its delta."""
    where = addresses_in_stream(stream, stream.facts.ram_version or 4)
    sender = Sender(rules, cache_for(rules.policy, cache_bytes, where), Copies(space_of(stream)))

    def choices(batch):
        made = choose(sender, batch, where)
        by_record = zip(made.is_delta, made.same, made.lengths, strict=True)
        return [int(length) if is_delta else "same" if same else "page" for is_delta, same, length in by_record]

    return choices


def packing(pack):
    """As `simulated_sender`, of one that packs pages."""

    def choices(batch):
        lengths = (len(pack(page.tobytes())) for page in batch.contents)
        return [length if length < PAGE else "page" for length in lengths]

    return choices


def counted(stream, name, cache_bytes, choices, dialect):
    page = PAGE + (4 if dialect is not None and dialect.page_sum else 0)
    head = HEAD if dialect is None else dtype_of(dialect.header("little")).itemsize
    before = whatif._before_payload(stream)
    sums = dict.fromkeys(("bytes", "pages", "deltas", "delta_bytes", "dups", "unsent", "resends", "resent_bytes"), 0)
    seen = set()
    for batch in sent_pages(stream):
        batch = batch.take(batch.known)
        for row, at, is_dup, choice in zip(batch.rows, batch.pages, batch.is_dup, choices(batch), strict=True):
            word = int(stream.records.columns.head[row]) - int(before[stream.records.columns.kind[row]])
            if is_dup:
                what, size = "dups", word + 1
            elif choice == "same":
                what, size = "unsent", 0
            elif choice == "page":
                what, size = "pages", word + page
            else:
                what, size = "deltas", word + head + choice
                sums["delta_bytes"] += choice
            sums[what] += 1
            sums["bytes"] += size
            if int(at) in seen:
                sums["resends"] += 1
                sums["resent_bytes"] += size
            seen.add(int(at))
    return Cost(name, cache_bytes, **sums)


def in_small_parts(patch: pytest.MonkeyPatch, pages: int) -> None:
    patch.setattr(deltasizes, "_ROOM", pages * PAGE)
    patch.setattr(sent_module, "BATCH_BYTES", 3 * PAGE)
    patch.setattr(whatif, "PIECE", 4)


class TestAgainstThePlainSimulation:
    @given(
        snapshots=histories(snapshots=6),
        dialect=st.sampled_from(sorted(DIALECTS)),
        own=st.sampled_from([Policy.POSTED, Policy.NONE, Policy.XBZRLE]),
        dups=st.sampled_from([Dups.POSTED, Dups.FIXED]),
        plan=st.builds(Plan, st.sampled_from([1, 5000, 1 << 20]), st.booleans(), st.booleans()),
        flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=4),
        pages=st.integers(1, 7),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_every_sender_costs_the_same(self, snapshots, dialect, own, dups, plan, flips, pages):
        data = bytearray(stream_of(snapshots, dialect, own, dups, plan=plan))
        for share, value in flips:
            data[int(share * (len(data) - 1))] ^= value
        try:
            stream = xbrletools.open(bytes(data), dialect=dialect, endian="little", page_size=PAGE, salvage=True).stream
            expected = simulated(stream)
        except XbrleError:
            return  # what is left of it does not have memory
        assert what_if(stream, CACHES).costs == expected
        with pytest.MonkeyPatch.context() as patch:
            in_small_parts(patch, pages)
            found = what_if(stream, CACHES)
        assert found.costs == expected
        assert found.skipped == sum(int((~b.known).sum()) for b in sent_pages(stream))

    @pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
    @pytest.mark.parametrize("pages", [1, 100])
    def test_a_sample_in_small_parts_costs_what_it_does_at_once(self, monkeypatch, name, pages):
        stream = xbrletools.open(SAMPLES / f"{name}.bin").stream
        whole = what_if(stream, CACHES)
        monkeypatch.setattr(deltasizes, "_ROOM", pages * PAGE)
        assert astuple(what_if(stream, CACHES)) == astuple(whole)


@given(snapshots=histories(), room=st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_parts_give_each_record_once_and_each_page_s_in_their_order(snapshots, room):
    stream = xbrletools.open(stream_of(snapshots, policy=Policy.POSTED, dups=Dups.POSTED)).stream
    records = SentRecords.of(stream)
    whole = {int(r): (c.tobytes(), d, k) for b in sent_pages(stream) for r, c, d, k in
             zip(b.rows, b.contents, b.is_dup, b.known, strict=True)}  # fmt: skip
    given_rows, pages_of_parts = [], []
    for part in records.parts(room * PAGE):
        pages_of_parts.append(set())
        for batch in part:
            given_rows += batch.rows.tolist()
            pages_of_parts[-1] |= set(batch.pages.tolist())
            for row, content, is_dup, known in zip(batch.rows, batch.contents, batch.is_dup, batch.known, strict=True):
                assert whole[int(row)] == (content.tobytes(), is_dup, known)
    assert sorted(given_rows) == records.rows.tolist()
    assert sum(map(len, pages_of_parts)) == len(np.unique(records.pages))


def test_a_part_holds_no_more_pages_than_there_is_room_for():
    rng = np.random.default_rng(5)
    snapshots = [rng.integers(0, 256, (6, PAGE), np.uint8)] * 2
    records = SentRecords.of(xbrletools.open(stream_of(snapshots)).stream)
    assert [len({p for b in part for p in b.pages.tolist()}) for part in records.parts(2 * PAGE)] == [2, 2, 2]


def test_without_a_record_there_are_only_the_senders_without_a_cache():
    data = stream_of([np.zeros((6, PAGE), np.uint8)])
    first = int(xbrletools.open(data).records.columns.offset[1])
    stream = xbrletools.open(data[:first], page_size=PAGE).stream
    assert not len(SentRecords.of(stream))
    assert [(c.policy, c.bytes) for c in what_if(stream).costs] == [("zlib", 0), ("zstd", 0)]
