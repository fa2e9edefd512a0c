import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xbrletools.sender import fitting
from xbrletools.sender.cache import PageCache
from xbrletools.sender.fitting import CacheTrace, fitting_masks

BITS = 5


@st.composite
def traces(draw) -> CacheTrace:
    pages = np.array(draw(st.lists(st.integers(0, (1 << BITS) - 1), min_size=1, max_size=60)), np.int64)
    true = draw(st.integers(0, (1 << BITS) - 1))
    ways = draw(st.sampled_from([1, 2]))
    hits = PageCache(true + 1, 1 << BITS, ways).insert(pages)
    tested = np.array(draw(st.lists(st.booleans(), min_size=len(pages), max_size=len(pages))))
    return CacheTrace(pages, np.flatnonzero(tested & hits), np.flatnonzero(tested & ~hits), BITS, ways)


@given(traces())
@settings(max_examples=60)
def test_the_search_finds_what_trying_every_mask_finds(trace):
    fits = [m for m in range(1 << BITS) if trace.fits(m)]
    found = fitting_masks(trace)
    assert fits, "the true mask fits"
    assert found.least == fits[0]
    assert found.count == len(fits)
    assert found.of == 1 << BITS
    assert found.full == (fits[-1] == (1 << BITS) - 1)
    powers = [m for m in fits if not m & (m + 1)]
    assert found.powers == ((powers[0], powers[-1]) if powers else None)


@given(traces())
@settings(max_examples=30)
def test_a_search_cut_short_never_says_more_than_it_knows(trace):
    fits = [m for m in range(1 << BITS) if trace.fits(m)]
    for tries in range(8):
        least = fitting._Search(trace, tries).least(0, (1 << BITS) - 1, BITS)
        assert least is not None
        assert least <= fits[0]
        assert fitting._Search(trace, tries).count(0, (1 << BITS) - 1, BITS) in (None, len(fits))


def test_a_contradiction_fits_no_mask():
    trace = CacheTrace(np.array([1, 1]), np.array([], np.int64), np.array([1]), BITS, 2)
    found = fitting_masks(trace)
    assert (found.least, found.full, found.count, found.powers) == (None, False, 0, None)
