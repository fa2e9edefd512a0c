import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xbrletools
from tests.conftest import SAMPLES, corpus_names
from tests.sender.snaps import PAGE, histories, history
from tests.sender.test_encode import stream_of
from tests.streams import StreamBuilder, noise
from xbrletools import Capture, XbrleError
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.ram import Kind
from xbrletools.memory.replay import View
from xbrletools.model import Block
from xbrletools.sender.addresses import addresses_in_stream
from xbrletools.sender.cache import DEFAULT_BYTES
from xbrletools.sender.encode import Plan
from xbrletools.sender.policy import Dups, Policy, rules_of
from xbrletools.sender.redact import pages_to_blank, redacted
from xbrletools.sender.saver import RecordForm
from xbrletools.sender.transcode import transcode

POSTED = "qemu-2011-posted"


def written(
    capture: Capture,
    dialect: str,
    policy: Policy,
    cache: int = DEFAULT_BYTES,
    checksums: bool = False,
    dups: Dups | None = None,
    endian: str = "little",
    blocks: tuple[Block, ...] = (),
) -> bytes:
    target = DIALECTS[dialect]
    addresses = addresses_in_stream(capture.stream, target.ram_version, blocks=blocks)
    rules = rules_of(target, policy, dups, capture.page_size)
    form = RecordForm(target, endian, checksums, capture.page_size)
    return b"".join(transcode(capture.stream, form, rules, cache, addresses))


def plain(capture: Capture) -> Capture:
    assert capture.dialect is not None
    return xbrletools.open(written(capture, capture.dialect.name, Policy.NONE))


def truth(corpus, path: str) -> dict[str, object]:
    return json.loads(corpus(f"{path}.json"))


class TestTheOriginalSendersBytes:
    """Fed with a capture's own pages in full, the model writes that capture, to the last byte."""

    def test_the_sample(self):
        capture = xbrletools.open(SAMPLES / "posted-8m.bin")
        full = plain(capture)
        assert set(full.records.counts()) == {"mem_size", "page", "dup", "eos"}
        assert written(full, "posted", Policy.POSTED, checksums=True) == capture.data.tobytes()

    @pytest.mark.parametrize("name", corpus_names(POSTED))
    def test_the_posted_builds(self, corpus, name):
        data = corpus(f"{POSTED}/{name}.bin")
        capture = xbrletools.open(data)
        if capture.dialect is None or capture.damage is not None:
            assert name in ("def-plain-v4", "dbg-cancelled")
            return
        told = truth(corpus, f"{POSTED}/{name}")
        cache = told["cache_bytes"] or DEFAULT_BYTES
        assert written(plain(capture), "posted", Policy.POSTED, cache, told["build"] == "debug") == data

    @pytest.mark.parametrize("dialect", ["m115", "m115dbg", "lm2", "lm2dbg"])
    def test_the_trees_of_2010(self, corpus, dialect):
        data = corpus(f"qemu-2010/{dialect}-x.bin")
        assert written(plain(xbrletools.open(data)), dialect, Policy.POSTED) == data

    def test_sep10(self, corpus):
        data = corpus("qemu-2010/sep10-x.bin")
        assert written(plain(xbrletools.open(data)), "sep10", Policy.POSTED) == data

    def test_nov03a_but_for_the_padding_that_was_garbage(self, corpus):
        data = np.frombuffer(corpus("qemu-2010/nov03a-x.bin"), np.uint8)
        capture = xbrletools.open(data.tobytes())
        again = np.frombuffer(written(plain(capture), "nov03a", Policy.POSTED, 4 << 20), np.uint8)
        table = capture.records
        padding = table.payload[table.columns.kind == Kind.XBRLE] - 8 + 1
        assert set(np.flatnonzero(data != again).tolist()) <= set(padding.tolist())

    def test_a_cancelled_migration_to_where_it_was_cut(self, corpus):
        data = corpus(f"{POSTED}/dbg-cancelled.bin")
        again = written(plain(xbrletools.open(data)), "posted", Policy.POSTED, checksums=True)
        assert data.startswith(again)
        assert len(data) - len(again) < PAGE + 100

    def test_qemu_7_2(self):
        data = (SAMPLES / "xbzrle-16m.bin").read_bytes()
        assert written(plain(xbrletools.open(data)), "xbzrle", Policy.XBZRLE, 64 << 20) == data


def test_plain_pages_are_those_that_the_sender_held(corpus):
    capture = xbrletools.open(corpus(f"{POSTED}/dbg-stale-reject.bin"))
    full = plain(capture)
    ram = np.frombuffer(corpus(f"{POSTED}/dbg-stale-reject.ram"), np.uint8).reshape(-1, PAGE)
    np.testing.assert_array_equal(full.memory()["pc.ram"], ram)
    assert (capture.memory()["pc.ram"] != ram).any()
    assert [f for f in full.verify() if f.rule != "device-tail-unchecked"] == []


@given(
    snapshots=histories(),
    source=st.sampled_from(sorted(DIALECTS)),
    target=st.sampled_from(sorted(DIALECTS)),
    policy=st.sampled_from(sorted(Policy, key=str)),
    cache=st.sampled_from([8192, 1 << 20]),
    endian=st.sampled_from(["little", "big"]),
)
@settings(max_examples=120, deadline=None)
def test_any_stream_in_any_other_form_leaves_the_same_memory(snapshots, source, target, policy, cache, endian):
    own = Policy.XBZRLE if source.startswith("xbzrle") else Policy.POSTED
    dups = Dups.FIXED if DIALECTS[source].caches_dup else Dups.SAFE
    first = xbrletools.open(stream_of(snapshots, source, own, dups, plan=Plan(9000)), dialect=source, endian="little")
    other = xbrletools.open(
        written(first, target, policy, cache, dups=Dups.SAFE, endian=endian), dialect=target, endian=endian
    )
    assert other.problems == ()
    before, after = first.memory().pages, other.memory()
    assert after.recovered.all()
    if (first.facts.ram_version, other.facts.ram_version) == (4, 3):
        before = before[[0, 1, 2, 3, 5, 4]]  # in ram_addr order pc.bios comes before vga.vram
    np.testing.assert_array_equal(after.pages, before)


@given(
    snapshots=histories(), dialect=st.sampled_from(sorted(DIALECTS)), cache=st.sampled_from([8192, 3 * 8192, 1 << 20])
)
@settings(max_examples=60, deadline=None)
def test_writing_full_pages_and_back_is_the_stream_again(snapshots, dialect, cache):
    own = Policy.XBZRLE if dialect.startswith("xbzrle") else Policy.POSTED
    dups = Dups.FIXED if DIALECTS[dialect].caches_dup else Dups.SAFE
    data = stream_of(snapshots, dialect, own, dups, cache, Plan(9000), checksums=True)
    capture = xbrletools.open(data, dialect=dialect, endian="little")
    full = xbrletools.open(written(capture, dialect, Policy.NONE), dialect=dialect)
    again = written(full, dialect, own, cache, True, dups)
    if dialect.startswith("xbzrle"):  # what was not sent is not there to be sent
        np.testing.assert_array_equal(xbrletools.open(again, dialect=dialect).memory().pages, capture.memory().pages)
    else:
        assert again == data


def test_v3_memory_is_split_into_the_blocks_given():
    snapshots = history(1, [[5] * 6, [1] * 6])
    flat = xbrletools.open(stream_of(snapshots, "m115", dups=Dups.FIXED))
    blocks = (Block(b"pc.ram", 4 * PAGE), Block(b"pc.bios", 2 * PAGE))
    named = xbrletools.open(written(flat, "lm2", Policy.POSTED, blocks=blocks))
    assert [(b.name, b.length) for b in named.blocks] == [(b.name, b.length) for b in blocks]
    np.testing.assert_array_equal(named.memory()["pc.bios"], flat.memory().pages[4:])
    with pytest.raises(XbrleError, match="blocks come to"):
        addresses_in_stream(flat.stream, 4, blocks=blocks[:1])


def test_a_page_that_cannot_be_told_is_no_page_to_write():
    data = StreamBuilder().dup(0).part().delta(PAGE, noise(1), noise(1)).end().bytes()
    capture = xbrletools.open(data)
    with pytest.raises(XbrleError, match="cannot be told"):
        written(capture, "posted", Policy.NONE)


def test_a_record_outside_of_all_blocks_has_no_place():
    capture = xbrletools.open(StreamBuilder().dup(0).dup(99 * PAGE).end().bytes())
    with pytest.raises(XbrleError, match="none of the blocks"):
        written(capture, "posted", Policy.NONE)


class TestRedact:
    def blanked(self, capture: Capture, *wishes: str) -> Capture:
        return xbrletools.open(b"".join(redacted(capture.stream, pages_to_blank(capture.stream, wishes))))

    @pytest.mark.parametrize("dialect", ["posted", "m115", "m115dbg", "nov03a", "lm2dbg", "xbzrle"])
    def test_the_structure_stays_and_the_contents_go(self, dialect):
        snapshots = history(1, [[5, 5, 5, 4, 5, 5], [1] * 6, [1, 1, 5, 1, 4, 1]])
        policy = Policy.XBZRLE if dialect == "xbzrle" else Policy.POSTED
        capture = xbrletools.open(stream_of(snapshots, dialect, policy, Dups.SAFE))
        space = f"{capture.blocks[0].name.decode()}"
        blank = self.blanked(capture, f"page={space}:0x0-0x1fff", f"page={3 * PAGE}+1")
        for name in ("offset", "address", "length", "flags", "block", "kind", "head"):
            np.testing.assert_array_equal(getattr(blank.records.columns, name), getattr(capture.records.columns, name))
        before, after = capture.memory().pages, blank.memory().pages
        assert not after[[0, 1, 3]].any()
        np.testing.assert_array_equal(after[[2, 4, 5]], before[[2, 4, 5]])
        assert {f.rule for f in blank.verify()} <= {"delta-form"}
        payload = blank.data.tobytes()
        assert all(snapshots[-1][i, 100:116].tobytes() not in payload for i in (0, 1))

    @pytest.mark.parametrize("dialect", ["posted", "m115", "nov03a", "xbzrle"])
    def test_deltas_over_dup_pages_do_not_look_as_if_their_base_were_wrong(self, dialect):
        pages = [np.zeros(PAGE, np.uint8)]
        for i in range(3):
            pages.append(pages[-1].copy())
            pages[-1][50 * i : 50 * i + 100] = 7 + i
        builder = StreamBuilder(dialect=dialect).page(PAGE, noise(1)).dup(0).part()
        for old, new in pairwise(pages):
            builder.delta(0, old, new).part()
        capture = xbrletools.open(builder.end().bytes())
        blank = self.blanked(capture, "page=0x0")
        assert len(blank.data) == len(capture.data)
        assert {f.rule for f in blank.verify()} <= {f.rule for f in capture.verify()} | {"delta-form"}
        assert not set(range(7, 10)) & set(blank.memory().pages[0].tolist())

    def test_a_byte_that_is_written_again_after_255_deltas_of_its_page_is_changed_then_as_well(self):
        """There are 255 bytes that are not zero, and a delta may rest on a byte that any earlier one left."""
        page = np.zeros(PAGE, np.uint8)
        builder = StreamBuilder(dialect="xbzrle").page(PAGE, noise(1)).dup(0).part()
        for i in range(600):
            new = page.copy()
            new[slice(0, 64) if i % 255 == 0 else slice(1024, 1088)] ^= 1 + i % 2
            builder.delta(0, page, new).part()
            page = new
        capture = xbrletools.open(builder.end().bytes())
        blank = self.blanked(capture, "page=0x0")
        assert len(blank.data) == len(capture.data)
        assert {f.rule for f in blank.verify()} <= {f.rule for f in capture.verify()}
        assert blank.verdict().status is capture.verdict().status

    def test_a_block_by_name_with_its_colons(self):
        blocks = {b"pc.ram": PAGE, b"0000:00:02.0/vga.rom": PAGE}
        builder = StreamBuilder(blocks).page(0, noise(1)).page(0, noise(2), b"0000:00:02.0/vga.rom")
        blank = self.blanked(xbrletools.open(builder.end().bytes()), "block=0000:00:02.0/vga.rom")
        assert blank.memory()["pc.ram"].any()
        assert not blank.memory()["0000:00:02.0/vga.rom"].any()

    @pytest.mark.parametrize(
        "wish", ["page=pc.ram:0x9000", "page=0x2000-0x1000", "block=gone", "all", "page=x", "page="]
    )
    def test_a_wish_for_what_is_not_there_is_refused(self, wish):
        capture = xbrletools.open(StreamBuilder().page(0, noise(1)).end().bytes())
        with pytest.raises(XbrleError):
            pages_to_blank(capture.stream, [wish])

    @pytest.mark.parametrize("wish", ["page=0x0", "block=pc.ram", "page=pc.ram:0x0"])
    def test_a_stream_that_ends_before_its_blocks_is_refused(self, wish):
        with pytest.raises(XbrleError):
            pages_to_blank(xbrletools.open((SAMPLES / "xbzrle-16m.bin").read_bytes()[:8]).stream, [wish])

    def test_a_delta_that_cannot_keep_its_size_is_refused(self):
        capture = xbrletools.open(stream_of(history(1, [[5] * 6, [1] * 6]), "sep10"))
        with pytest.raises(XbrleError, match="with --policy none"):
            self.blanked(capture, "page=0x0")


def test_the_sender_view_of_what_was_written_as_posted_is_the_source(corpus):
    capture = xbrletools.open(corpus(f"{POSTED}/dbg-small-8m.bin"))
    other = xbrletools.open(written(capture, "posted", Policy.POSTED, 8192))
    assert other.records.counts()["xbrle"] < capture.records.counts()["xbrle"]
    np.testing.assert_array_equal(other.memory(view=View.SENDER).pages, capture.memory(view=View.SENDER).pages)
