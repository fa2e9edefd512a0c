import json
import re

import numpy as np
import pytest

import xbrletools
from tests.conftest import CORPUS, SAMPLES, corpus_names
from tests.sender.snaps import history
from tests.sender.test_encode import stream_of
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools import XbrleError
from xbrletools.formats import statistics
from xbrletools.sender.cache import DEFAULT_BYTES
from xbrletools.sender.encode import Plan
from xbrletools.sender.fingerprint import Fingerprint, cache_counts, fingerprint
from xbrletools.sender.policy import Dups, Policy

POSTED = "qemu-2011-posted"
OLD = {
    "m115": "default",
    "m115dbg": "debug",
    "lm2": "default",
    "lm2dbg": "debug",
    "nov03a": "default",
    "sep10": "default",
}


def holds(found: Fingerprint, cache: int) -> bool:
    return found.cache_min <= cache and (found.cache_max is None or cache <= found.cache_max)


def test_the_sample_is_the_posted_debug_build_with_the_default_cache():
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    found = fingerprint(capture.stream)
    assert (found.dialect, found.build, found.policy, found.dups) == ("posted", "debug", Policy.POSTED, Dups.POSTED)
    assert (found.choices, found.predicted, found.first_miss) == (457, 457, None)
    assert holds(found, DEFAULT_BYTES)
    assert found.cache_min > 8192
    assert fingerprint(capture.stream, DEFAULT_BYTES).first_miss is None


def test_a_cache_that_is_too_small_is_refuted_by_the_first_record_that_shows_it():
    capture = xbrletools.open(SAMPLES / "posted-8m.bin")
    found = fingerprint(capture.stream, 8192)
    assert found.first_miss is not None
    assert found.predicted < found.choices
    row = capture.records.row(found.first_miss)
    assert capture.records.columns.kind[row] == 4, "a delta that so small a cache could not have made"


def test_qemu_7_2_keeps_the_rules_of_xbzrle():
    found = fingerprint(xbrletools.open(SAMPLES / "xbzrle-16m.bin").stream)
    assert (found.dialect, found.policy) == ("xbzrle", Policy.XBZRLE)
    assert (found.choices, found.predicted, found.first_miss) == (368, 368, None)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("linux-guest/keep-xbzrle-192m", 64 << 20, 64 << 20), ("qemu-7.2/pc16-xbzrle-large-kvm", 16 << 20, None)],
)
def test_xbzrle_s_cache_is_told_and_its_counts_are_those_of_query_migrate(corpus, name, least, most):
    counted = re.search(r'"xbzrle-cache": (\{[^}]*\})', corpus(f"{name}.json").decode())
    told = json.loads(counted[1])
    found = fingerprint(xbrletools.open(corpus(f"{name}.bin")).stream)
    assert (found.cache_min, found.cache_max) == (least, most)
    assert found.best == told["cache-size"] == 64 << 20
    assert (found.predicted, found.first_miss) == (found.choices, None)
    best = next(s for s in found.sizes if s.cache_bytes == least)
    assert (best.cache_miss, best.overflow) == (told["cache-miss"], told["overflow"])


WITH_XBZRLE = [
    f"{folder.name}/{path.name.removesuffix('.json')}"
    for folder in (CORPUS / name for name in ("qemu-7.2", "qemu-10", "qemu-11", "linux-guest"))
    for path in sorted(folder.glob("*.json"))
    if '"xbzrle-cache": {' in path.read_text("utf-8")
] or ["(no corpus)"]


@pytest.mark.parametrize("name", WITH_XBZRLE)
def test_the_true_size_of_xbzrle_s_cache_is_the_best_or_among_equals(corpus, name):
    told = json.loads(re.search(r'"xbzrle-cache": (\{[^}]*\})', corpus(f"{name}.json").decode())[1])
    found = fingerprint(xbrletools.open(corpus(f"{name}.bin")).stream)
    if not told["pages"]:  # nothing was looked up: a size would be a guess
        assert (found.sizes, found.cache_min, found.best) == ((), 0, None)
        return
    predicted = {s.cache_bytes: s.predicted for s in found.sizes}
    assert found.cache_min <= told["cache-size"]
    assert found.cache_max is None or told["cache-size"] <= found.cache_max
    assert predicted.get(told["cache-size"], found.predicted) == max(predicted.values())


def test_a_page_that_is_young_keeps_its_slot_and_a_cache_of_another_size_is_told_apart():
    """Pages 0 and 4 share a slot of a cache of four pages. QEMU keeps page 0 there for two sweeps."""
    contents = {page: noise(page) for page in (0, 2, 4)}
    stream = StreamBuilder({b"pc.ram": 8 * PAGE}, "xbzrle")
    for page, content in contents.items():
        stream.page(page * PAGE, content)
    stream.part()
    for sweep in range(3):
        for page, old in contents.items():
            contents[page] = new = old.copy()
            new[100 + sweep] ^= 1
            if sweep and page != 4:
                stream.delta(page * PAGE, old, new)
            else:
                stream.page(page * PAGE, new)
    found = fingerprint(xbrletools.open(stream.end().bytes()).stream)
    assert (found.choices, found.predicted, found.best) == (9, 9, 4 * PAGE)
    assert [(s.cache_bytes // PAGE, s.predicted) for s in found.sizes] == [(4, 9), (1, 7), (2, 7), (8, 7)]


def test_the_first_sweep_ends_though_its_first_block_never_comes_again():
    stream = (
        StreamBuilder({b"rom": 2 * PAGE, b"pc.ram": 4 * PAGE}, "xbzrle").dup(0, 0, b"rom").dup(PAGE, 0, b"rom").part()
    )
    old = [noise(i) for i in range(4)]
    for _ in range(2):  # the second one fills the cache
        for i, page in enumerate(old):
            stream.page(i * PAGE, page)
    for i, page in enumerate(old):
        new = page.copy()
        new[9] ^= 1
        stream.delta(i * PAGE, page, new)
    found = fingerprint(xbrletools.open(stream.end().bytes()).stream)
    assert (found.choices, found.predicted, found.first_miss) == (12, 12, None)


@pytest.mark.parametrize("name", corpus_names(POSTED))
def test_the_posted_builds(corpus, name):
    told = json.loads(corpus(f"{POSTED}/{name}.json"))
    capture = xbrletools.open(corpus(f"{POSTED}/{name}.bin"))
    cache = told.get("cache_bytes") or DEFAULT_BYTES
    for found in (fingerprint(capture.stream), fingerprint(capture.stream, cache)):
        assert (found.predicted, found.first_miss) == (found.choices, None)
        assert holds(found, cache)
    if name == "def-plain-v4":
        assert (found.dialect, found.build, found.policy) == (None, None, Policy.NONE)
    else:
        assert (found.dialect, found.build) == ("posted", told["build"])
        assert (found.policy, found.dups) == (Policy.POSTED, Dups.POSTED)


@pytest.mark.parametrize("name", OLD)
def test_the_trees_of_2010(corpus, name):
    found = fingerprint(xbrletools.open(corpus(f"qemu-2010/{name}-x.bin")).stream)
    assert (found.dialect, found.build) == (name, OLD[name])
    assert (found.predicted, found.first_miss) == (found.choices, None)
    assert holds(found, 4 << 20 if name in ("nov03a", "sep10") else DEFAULT_BYTES)


def test_an_odd_cache_shows_its_mask_and_nothing_else(corpus):
    capture = xbrletools.open(corpus(f"{POSTED}/dbg-oddcache-1500000.bin"))
    found = fingerprint(capture.stream)
    assert found.masks == (4296, 8192)
    assert found.power_of_two == (8192, 32 * 8192)
    assert fingerprint(capture.stream, 1500000).first_miss is None
    wrong = fingerprint(capture.stream, 2 << 20)
    assert wrong.first_miss is not None
    assert wrong.predicted < wrong.choices


@pytest.mark.parametrize("name", corpus_names(POSTED))
def test_cache_counts_are_those_that_the_sender_printed(corpus, name):
    told = json.loads(corpus(f"{POSTED}/{name}.json"))
    printed = {m["label"]: int(m["value"]) for m in statistics.LINE.finditer(told.get("statistics") or "")}
    if statistics.ABORTED not in printed:
        assert name.startswith("def-") or name == "dbg-cancelled"
        return
    capture = xbrletools.open(corpus(f"{POSTED}/{name}.bin"))
    counts = cache_counts(capture.stream, told["cache_bytes"] or DEFAULT_BYTES)
    assert counts.aborted == printed[statistics.ABORTED]
    assert counts.max_items == printed[statistics.CACHE_MAX]
    assert counts.items == printed[statistics.CACHE_ITEMS]


def test_cache_counts_of_the_sample_are_those_of_the_capture_it_was_made_from():
    counts = cache_counts(xbrletools.open(SAMPLES / "posted-8m.bin").stream, DEFAULT_BYTES)
    assert (counts.aborted, counts.max_items, counts.items) == (127, 32768, 132)


def mixed() -> list[np.ndarray]:
    steps = [[5] * 6, *([[1, 3, 4, 5, 2, 1], [1, 1, 5, 1, 4, 3], [2, 3, 1, 4, 1, 1]] * 3)]
    snapshots = history(7, steps)
    now = history(8, [[5] * 6])[0]
    blank, back = now.copy(), now.copy()
    blank[2] = 0
    back[2, 9] ^= 1  # against the page before the blank one, a short delta
    return [*snapshots, now, blank, back]


@pytest.mark.parametrize("policy", [Policy.POSTED, Policy.V2])
@pytest.mark.parametrize("dups", [Dups.SAFE, Dups.POSTED])
def test_a_stream_written_here_is_known_by_its_policy(policy, dups):
    found = fingerprint(xbrletools.open(stream_of(mixed(), policy=policy, dups=dups, plan=Plan(9000))).stream)
    assert (found.policy, found.dups) == (policy, dups)
    assert (found.predicted, found.first_miss) == (found.choices, None)


@pytest.mark.parametrize("cache", [8192, 2 * 8192, 3 * 8192, 6 * 8192])
def test_bounds_hold_the_cache_that_a_stream_was_written_with(cache):
    capture = xbrletools.open(stream_of(mixed(), dups=Dups.POSTED, cache=cache, plan=Plan(9000)))
    assert holds(fingerprint(capture.stream), cache)
    assert fingerprint(capture.stream, cache).first_miss is None


def test_blocks_that_share_buckets_need_their_ram_addrs():
    snapshots = mixed()
    capture = xbrletools.open(stream_of(snapshots, dups=Dups.POSTED, cache=3 * 8192, plan=Plan(9000)))
    assert fingerprint(capture.stream, 3 * 8192).layout == "the PC's allocation order"
    moved = fingerprint(capture.stream, 3 * 8192, {b"vga.vram": 64 * 4096})
    assert "vga.vram at 0x40000" in moved.layout


def test_statistics_of_a_stream_without_deltas_have_no_cache():
    capture = xbrletools.open(stream_of(mixed()[:1]))
    with pytest.raises(XbrleError, match="did not use a cache"):
        cache_counts(capture.stream, DEFAULT_BYTES)


def test_a_cache_without_a_bucket_is_refused():
    with pytest.raises(XbrleError, match="too small"):
        fingerprint(xbrletools.open(stream_of(mixed())).stream, 100)
