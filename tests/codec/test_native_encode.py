"""The encoders in C against those of NumPy: the same bytes for any pages, and none outside of what they were given."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from tests.codec.wire import noise, page_pairs
from tests.conftest import SAMPLES
from xbrletools.codec import native, xbrle, xbzrle
from xbrletools.codec.batches import Bytes, Ints

pytestmark = pytest.mark.skipif(native.loops is None, reason="the loops in C are not built: no C compiler was there")

SIZES = [1 << bits for bits in range(10, 17)]
CODECS = pytest.mark.parametrize("codec", [xbrle, xbzrle], ids=["xbrle", "xbzrle"])
LAYOUTS = {"write_pairs": (0, 1), "write_runs": (128, 7)}
LOOPS = pytest.mark.parametrize("loop", LAYOUTS)
#: Where runs begin, and how long they are: beside words, stretches of 64, runs of 128 and pairs of 255.
STARTS = [0, 1, 7, 8, 9, 48, 49, 63, 64, 65, 127, 128, 129, 254, 255, 256, 257, 511, -256, -255, -64, -17, -16, -9, -1]
RUNS = [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 254, 255, 256, 257, 510, 511, 1 << 16]


def same(codec, old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """What both give, which is the same."""
    payload, lengths = codec.encode(old, new, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "loops", None)
        expected, of_numpy = codec.encode(old, new, limit)
    np.testing.assert_array_equal(lengths, of_numpy)
    np.testing.assert_array_equal(payload, expected)
    assert (payload.dtype, lengths.dtype) == (np.uint8, np.int64)
    return payload, lengths


def limits_around(lengths: Ints) -> Iterator[int]:
    """Every limit at which one of these lengths may turn into a page given up, and some that no length is near."""
    near = {int(length) + k for length in lengths for k in range(-3, 4)}
    yield from sorted(near | {-(1 << 70), -1, 0, 1, 2, 3, 33, 34, 35, 1 << 20, 1 << 62, 1 << 70})


def edges(size: int) -> Bytes:
    """XORs of single runs at the places above, of patterns that change all the time, and of nothing."""
    made = [np.zeros(size, np.uint8), np.full(size, 9, np.uint8), np.arange(size).astype(np.uint8)]
    for start in STARTS:
        for run in RUNS:
            made.append(np.zeros(size, np.uint8))
            made[-1][start:][:run] = 0x5A
    for step in (2, 3, 64, 65, 129):
        for first in (0, 1):
            made.append(np.zeros(size, np.uint8))
            made[-1][first::step] = 1
    return np.array(made)


@CODECS
@given(page_pairs(), st.one_of(st.none(), st.integers(-2, 3000)))
def test_both_give_the_same_for_any_pages_and_limit(codec, pair, limit):
    same(codec, *pair, limit)


@CODECS
@pytest.mark.parametrize("size", SIZES)
def test_both_give_the_same_at_every_edge_and_around_every_limit(codec, size):
    xor = edges(size)
    old = np.random.default_rng(1).integers(0, 256, xor.shape, np.uint8)
    _, lengths = same(codec, old, old ^ xor, 10 * size)
    for limit in (None, size - 1, size - 2, size // 2, 0, 2):
        same(codec, old, old ^ xor, limit)
    some = np.random.default_rng(2).choice(len(xor), 8, replace=False)
    for limit in limits_around(lengths[some]):
        same(codec, old[some], old[some] ^ xor[some], limit)


@CODECS
@pytest.mark.parametrize("size", SIZES)
def test_both_give_the_same_for_random_and_clustered_changes(codec, size):
    rng = np.random.default_rng(size)
    old = rng.integers(0, 256, (12, size), np.uint8)
    for count in (1, 5, 50, 400, size):
        new = old.copy()
        for page in new:
            page[rng.integers(0, size, count)] ^= rng.integers(0, 256, count, np.uint8)
        same(codec, old, new)
        for page in new:
            for start in rng.integers(0, size, min(count, 60)):
                cluster = page[start:][: rng.choice(RUNS[:-1])]
                cluster ^= rng.integers(0, 256, len(cluster), np.uint8) if rng.random() < 0.5 else np.uint8(0x77)
        _, lengths = same(codec, old, new, 10 * size)
        for limit in limits_around(lengths[:2]):
            same(codec, old, new, limit)


@CODECS
def test_a_run_of_unchanged_or_new_bytes_that_two_bytes_cannot_count(codec):
    size, most = 1 << 15, 16383
    xor = np.zeros((4, size), np.uint8)
    xor[0, : most + 1], xor[1, :most], xor[2, most + 1], xor[3, most] = 1, 1, 1, 1
    old = noise(4, size, seed=1)
    _, lengths = same(codec, old, old ^ xor, 1 << 40)
    assert (lengths < 0).tolist() == [codec is xbzrle, False, codec is xbzrle, False]


@CODECS
def test_threads_give_what_one_gives_in_order(codec, monkeypatch):
    old = noise(400, 1024, seed=1)
    new = old.copy()
    new[::3, 7::50] ^= 0x31
    new[5] ^= 1 + np.arange(1024, dtype=np.uint8) % 2  # XBRLE gives it up
    one = same(codec, old, new)
    monkeypatch.setattr(native, "THREADS", 3)
    monkeypatch.setattr(native, "THREAD_BYTES", 50 * 1024)
    monkeypatch.setattr(native, "_DELTA_ROOM", 0)  # a page at a time
    for mine, its in zip(one, codec.encode(old, new), strict=True):
        np.testing.assert_array_equal(mine, its)


@CODECS
def test_no_pages_and_pages_that_may_only_be_read(codec):
    none = np.zeros((0, 1024), np.uint8)
    assert [len(part) for part in same(codec, none, none)] == [0, 0]
    old, new = noise(3, 1024, seed=1), noise(3, 1024, seed=2)
    old.flags.writeable = new.flags.writeable = False
    same(codec, old, new)
    assert (same(codec, old, old)[1] == (0 if codec is xbzrle else 10)).all()


@CODECS
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.bin")), ids=lambda p: p.stem)
def test_both_give_the_same_for_the_memory_of_a_capture(codec, path):
    pages = xbrletools.open(path).memory().pages
    pages = np.ascontiguousarray(pages[:2000])
    same(codec, pages, np.roll(pages, 1, axis=0))
    same(codec, pages[:-1], pages[1:])


@CODECS
@pytest.mark.parametrize("name", ["qemu-2011-posted/dbg-block-ix", "qemu-10/pc16-mapped-offset"])
def test_both_give_the_same_for_what_a_guest_did_to_its_memory(codec, name, corpus):
    capture = xbrletools.open(corpus(f"{name}.bin"))
    start = capture.memory(at=len(capture.records) // 2).pages
    end = capture.memory().pages
    changed = np.flatnonzero((start != end).any(axis=1))[:4000]
    assert len(changed)
    same(codec, start[changed], end[changed])
    same(codec, np.zeros_like(end[changed]), end[changed])


def call(loop: str, old: Bytes, new: Bytes, **changed):
    """The loop itself, with room for one page or what ``changed`` says."""
    size = old.shape[-1]
    arguments = {"lengths": np.zeros(len(old), np.int64), "out": np.zeros(3 * size + 64, np.uint8), "limit": size}
    arguments |= {"layout": LAYOUTS[loop]} | changed
    return getattr(native.loops, loop)(old, new, *arguments.values())


@LOOPS
@pytest.mark.parametrize("limit", [-(1 << 63), -1, 0, 5000, (1 << 63) - 1])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_worst_page_stays_in_the_least_room(loop, limit, step):
    old, new = np.zeros((3, 1024), np.uint8), np.zeros((3, 1024), np.uint8)
    new[:, ::step] = np.arange(1, 1024 // step + 2)[: len(new[0, ::step])] % 255 + 1
    around = np.full(3 * 1024 + 64 + 200, 0x55, np.uint8)
    pages, used = call(loop, old, new, out=around[100:-100], limit=limit)
    assert (1 <= pages <= 3) and used <= max(0, min(limit, pages * 3 * 1024))
    assert (around[:100] == 0x55).all() and (around[-100:] == 0x55).all()


@LOOPS
@pytest.mark.parametrize(
    "changed",
    [
        {"lengths": np.zeros(3, np.int64)},
        {"lengths": np.zeros(1, np.int64)},
        {"lengths": np.zeros(2, np.int32)},
        {"lengths": np.zeros((2, 1), np.int64)},
        {"lengths": np.zeros(4, np.int64)[::2]},
        {"out": np.zeros(3 * 1024 + 63, np.uint8)},
        {"out": np.zeros(0, np.uint8)},
        {"out": np.zeros((1, 9999), np.uint8)},
        {"out": np.frombuffer(bytes(9999), np.uint8)},
        {"layout": (0, 2)},
        {"layout": (-1, 1)},
        {"layout": (128, 9)},
        {"layout": (256, 7)},
        {"new": np.zeros((1, 1024), np.uint8)},
        {"new": np.zeros((2, 2048), np.uint8)},
        {"new": np.zeros(2048, np.uint8)},
        {"new": np.zeros((2, 1024), np.int8).astype(np.int16)},
        {"new": np.zeros((2, 2048), np.uint8)[:, ::2]},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_what_does_not_fit_is_refused_and_not_kept(loop, changed):
    pages = {"old": np.zeros((2, 1024), np.uint8), "new": np.ones((2, 1024), np.uint8)} | changed
    before = {name: sys.getrefcount(each) for name, each in pages.items()}
    with pytest.raises((ValueError, BufferError)):
        call(loop, **pages)
    assert {name: sys.getrefcount(each) for name, each in pages.items()} == before


@LOOPS
@pytest.mark.parametrize("size", [0, 1, 8, 63, 65, 1000])
def test_pages_of_no_whole_stretches_are_refused(loop, size):
    with pytest.raises(ValueError):
        call(loop, np.zeros((2, size), np.uint8), np.ones((2, size), np.uint8))


@LOOPS
def test_pages_that_are_written_over_while_they_are_read_stay_in_their_room(loop):
    """What is written changes the pages that are still to come, and the one that is being read."""
    for shift in (0, 1, 7, 64, 700, 1024):
        memory = np.random.default_rng(shift).integers(0, 256, 20 * 1024, np.uint8)
        pages, out = memory[4096 : 4096 + 8192].reshape(8, 1024), memory[4096 + shift :][: 3 * 1024 + 64]
        kept = memory.copy()
        call(loop, pages, pages[::-1].copy(), out=out, limit=1 << 40)
        assert (memory[: 4096 + shift] == kept[: 4096 + shift]).all()
        assert (memory[4096 + shift + len(out) :] == kept[4096 + shift + len(out) :]).all()
