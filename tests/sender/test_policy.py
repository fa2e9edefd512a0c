import numpy as np
import pytest

from tests.sender.snaps import PAGE
from xbrletools.formats.dialects import DIALECTS
from xbrletools.memory.image import PageSpace
from xbrletools.model import Block
from xbrletools.sender.cache import PageCache
from xbrletools.sender.copies import Copies, previous
from xbrletools.sender.policy import Choices, Dups, Policy, Sender, rules_of

START, PART, END = 1, 2, 3


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, PAGE, dtype=np.uint8)


def choose(
    contents: list[np.ndarray],
    policy: Policy = Policy.POSTED,
    dups: Dups = Dups.POSTED,
    stages: list[int] | None = None,
    batches: int = 1,
    pages: list[int] | None = None,
    dialect: str = "posted",
    sweep: int = 1,
) -> list[Choices]:
    """What a sender makes of contents of page 0, one after the other."""
    sender = Sender(
        rules_of(DIALECTS[dialect], policy, dups, PAGE, seed=1),
        PageCache(4, 16),
        Copies(PageSpace([Block(b"pc.ram", 16 * PAGE)], PAGE)),
    )
    rows = np.array(pages or [0] * len(contents))
    stage = np.array(stages or [PART] * len(contents), np.uint8)
    is_dup = np.array([bool((c == c[0]).all()) for c in contents])
    parts = np.array_split(np.arange(len(contents)), batches)
    return [
        sender.choose(rows[p], rows[p], stage[p], np.array(contents)[p], is_dup[p], np.full(len(p), sweep))
        for p in parts
    ]


def deltas(made: list[Choices]) -> list[bool]:
    return [bool(d) for c in made for d in c.is_delta]


def touched(page: np.ndarray, *at: int) -> np.ndarray:
    page = page.copy()
    page[list(at)] ^= 0x55
    return page


def test_a_page_goes_out_as_a_delta_where_it_is_held_and_byte_0_stayed():
    a = noise(1)
    made = choose([a, touched(a, 9), touched(a, 0, 9), touched(a, 0)])
    assert deltas(made) == [False, True, False, True]
    assert made[0].refused.tolist() == [False, False, True, False]


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_choices_do_not_depend_on_batches(batches):
    a = noise(1)
    contents = [a, touched(a, 9), touched(a, *range(1, 2000)), touched(a, 5)]
    for policy in (Policy.POSTED, Policy.INTENDED, Policy.V2):
        whole, cut = choose(contents, policy), choose(contents, policy, batches=batches)
        assert deltas(whole) == deltas(cut)
        assert b"".join(c.data.tobytes() for c in whole) == b"".join(c.data.tobytes() for c in cut)


def test_lookups_are_of_stage_2_alone_but_every_stage_enters():
    a = noise(1)
    contents = [a, touched(a, 1), touched(a, 2), touched(a, 3)]
    assert deltas(choose(contents, stages=[START, START, PART, END])) == [False, False, True, False]


def test_an_encoding_over_a_page_goes_out_in_full_and_one_of_a_page_as_a_delta():
    a = noise(1)
    delta = np.zeros(PAGE, np.uint8)
    delta[1:2038:2] = 3
    delta[2038] = 7  # 2039 runs of one byte, then 2057 zeros in 9 runs: 2048 pairs
    made = choose([a, a ^ delta, a, touched(a, *range(1, PAGE, 2))])[0]
    assert made.lengths.tolist() == [0, PAGE, PAGE, 0]
    assert made.is_delta.tolist() == [False, True, True, False]
    assert not made.refused.any(), "an overflow is not counted as aborted"


def test_dup_pages_left_out_keep_the_old_base_and_entered_ones_become_it():
    a = noise(1)
    a[0] = 0
    contents = [a, np.zeros(PAGE, np.uint8), touched(a, 9)]
    left_out = choose(contents, dups=Dups.POSTED)[0]
    assert left_out.is_delta.tolist() == [False, False, True]
    assert left_out.lengths[2] < 60, "against the page before the dup page"
    assert choose(contents, dups=Dups.FIXED)[0].is_delta.tolist() == [False, False, False], "over a page"
    sparse = np.zeros(PAGE, np.uint8)
    sparse[9] = 1
    assert choose([a, contents[1], sparse], dups=Dups.FIXED)[0].is_delta.tolist() == [False, False, True]
    assert choose([a, contents[1], sparse], dups=Dups.SAFE)[0].is_delta.tolist() == [False, False, False]


def test_v2_takes_no_sample_and_a_third_of_a_page_at_most():
    a = noise(1)
    assert deltas(choose([a, touched(a, 0)], Policy.V2)) == [False, True]
    assert deltas(choose([a, touched(a, *range(1, 3000, 4))], Policy.V2)) == [False, False]
    assert deltas(choose([a, touched(a, *range(1, 3000, 4))], Policy.POSTED)) == [False, True]


def test_the_intended_sample_refuses_what_changed_all_over_and_not_byte_0():
    a = noise(1)
    made = choose([a, touched(a, 0), touched(a, *range(1, PAGE))], Policy.INTENDED)
    assert deltas(made) == [False, True, False]
    assert made[0].refused.tolist() == [False, False, True]


def test_sep10_takes_no_sample():
    a = noise(1)
    assert deltas(choose([a, touched(a, 0)], dialect="sep10")) == [False, True]


def test_xbzrle_begins_once_memory_was_swept_and_leaves_unchanged_pages_out():
    a = noise(1)
    before = choose([a, touched(a, 1)], Policy.XBZRLE, Dups.FIXED, dialect="xbzrle", sweep=0)
    assert deltas(before) == [False, False]
    after = choose([a, touched(a, 0), touched(a, 0)], Policy.XBZRLE, Dups.FIXED, dialect="xbzrle")[0]
    assert after.is_delta.tolist() == [False, True, False]
    assert after.same.tolist() == [False, False, True]


def test_an_evicted_page_goes_out_in_full():
    a = noise(1)
    contents, pages = [a, a, a, touched(a, 1)], [0, 4, 8, 0]  # one bucket of four
    assert deltas(choose(contents, pages=pages)) == [False] * 4
    assert deltas(choose(contents[1:], pages=[4, 0, 4])) == [False, False, True]


def test_previous_is_the_last_place_before_with_the_same_row_that_enters():
    rows = np.array([3, 1, 3, 3, 1])
    enters = np.array([True, False, False, True, True])
    assert previous(rows, enters).tolist() == [-1, -1, 0, 0, -1]
