import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbrletools import XbrleError
from xbrletools.sender.cache import LIFETIME, AgedCache, PageCache, buckets_of, held


class SlotByAge:
    """The cache as the facts tell it, an insert at a time: slots with ages, the smaller age goes."""

    def __init__(self, buckets: int, ways: int) -> None:
        self.mask = buckets - 1
        self.ways = ways
        self.slots: dict[int, list[tuple[int, int]]] = {}
        self.age = 0

    def insert(self, page: int) -> bool:
        slots = self.slots.setdefault(page & self.mask, [(-1, 0)] * self.ways)
        found = any(held == page for held, _ in slots)
        self.age += 1
        oldest = min(range(self.ways), key=lambda i: slots[i][1])
        slots[oldest] = (page, self.age)
        return found

    @property
    def items(self) -> int:
        return sum(age > 0 for slots in self.slots.values() for _, age in slots)


@given(
    pages=st.lists(st.integers(0, 63), max_size=120),
    buckets=st.integers(1, 80),
    ways=st.sampled_from([1, 2]),
    step=st.integers(1, 40),
)
def test_batches_find_what_slots_with_ages_find(pages, buckets, ways, step):
    cache, slow = PageCache(buckets, 64, ways), SlotByAge(buckets, ways)
    found = [cache.insert(np.array(pages[i : i + step], np.int64)) for i in range(0, len(pages), step)]
    assert [bool(f) for part in found for f in part] == [slow.insert(p) for p in pages]
    assert cache.items == slow.items


def test_buckets_that_are_no_power_of_two_leave_most_slots_unused():
    cache = PageCache(183, 8192)
    cache.insert(np.arange(8192))
    assert cache.max_items == 366
    assert cache.items == 2 * 32  # mask 182 has five bits


def test_a_page_in_both_slots_counts_twice():
    cache = PageCache(16, 64)
    cache.insert(np.array([5, 5]))
    assert cache.items == 2


def test_a_page_sent_twice_in_a_row_pushes_the_other_out():
    cache = PageCache(1, 64)
    assert cache.insert(np.array([1, 2, 2, 1])).tolist() == [False, False, True, False]


@pytest.mark.parametrize("size", [0, 4096, 8191, -5])
def test_a_cache_without_a_bucket_is_refused(size):
    with pytest.raises(XbrleError, match="too small"):
        buckets_of(size, 4096)


def test_a_huge_cache_takes_memory_for_the_pages_there_are():
    cache = PageCache(buckets_of(1 << 50, 4096), 64)
    assert cache.insert(np.array([3, 3])).tolist() == [False, True]
    assert cache.max_items == (1 << 50) // 4096


class YoungPagesStay:
    """QEMU's cache as the facts tell it, a page at a time: a slot's page goes once it is two sweeps old."""

    def __init__(self, buckets: int) -> None:
        self.mask, self.slots = buckets - 1, {}

    def look(self, page: int, sweep: int, enters: bool) -> bool:
        holds, age = self.slots.get(page & self.mask, (None, -LIFETIME))
        if holds == page or (enters and (holds is None or age + LIFETIME <= sweep)):
            self.slots[page & self.mask] = page, sweep
        return holds == page


@given(
    events=st.lists(st.tuples(st.integers(0, 31), st.sampled_from([0, 0, 0, 1, 2]), st.booleans()), max_size=150),
    buckets=st.sampled_from([1, 2, 4, 16, 64]),
    step=st.integers(1, 40),
    asked=st.booleans(),
)
def test_batches_keep_young_pages_as_slots_do(events, buckets, step, asked):
    pages = np.array([page for page, _, _ in events], np.int64)
    sweeps = np.cumsum([by for _, by, _ in events], dtype=np.int64)
    enters = np.array([enters for _, _, enters in events], bool)
    cache, slow = AgedCache(buckets, 32, pages if asked else None), YoungPagesStay(buckets)
    parts = [slice(i, i + step) for i in range(0, len(pages), step)]
    found = [cache.look(pages[p], sweeps[p], enters[p]) for p in parts]
    told = zip(pages.tolist(), sweeps.tolist(), enters.tolist(), strict=True)
    assert [bool(f) for part in found for f in part] == [slow.look(*event) for event in told]


@given(
    pages=st.lists(st.integers(0, 1 << 40), max_size=60),
    buckets=st.sampled_from([1, 3, 64, 1 << 30]),
    ways=st.sampled_from([1, 2]),
)
def test_a_cache_of_far_flung_pages_finds_what_one_of_all_pages_would(pages, buckets, ways):
    numbers = np.array(pages, np.int64)
    cache = PageCache(buckets, (1 << 40) + 1, ways, numbers)
    assert (cache.insert(numbers) == held(numbers, buckets - 1, ways)).all()
