import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.codec import batches

DATA = np.random.default_rng(1).integers(1, 256, 2000, np.uint8)

_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@given(
    _lengths, st.lists(st.integers(-30, 70), min_size=12, max_size=12), st.integers(0, 40), st.booleans(), st.booleans()
)
def test_joined_payloads_stand_where_the_answer_says(
    lengths: list[int], gaps: list[int], skip: int, in_pairs: bool, narrow: bool
) -> None:
    unit = 2 if in_pairs else 1
    sizes = np.array(lengths) * unit
    steps = np.append(300, sizes[:-1] + np.array(gaps)[: len(sizes) - 1])  # payloads may overlap and go backwards
    offsets = np.cumsum(steps)
    if narrow:
        offsets, sizes = offsets.astype(np.int32), sizes.astype(np.int32)
    joined, ends = batches.join(DATA, offsets, sizes, pad=5, skip=skip, unit=unit)
    expected = bytearray(len(joined))
    for offset, size, end in zip(offsets.tolist(), sizes.tolist(), ends.tolist(), strict=True):
        expected[end - size : end] = DATA[offset : offset + size].tobytes()
    assert joined.tobytes() == bytes(expected)  # and zeros in between
    assert not (ends % unit).any()
    assert ends[-1] == len(joined) - 5
    assert (np.diff(ends) - sizes[1:] <= skip).all()


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9)), max_size=20))
def test_runs_of_any_length_are_copied_and_nothing_else(runs: list[tuple[int, int]]) -> None:
    counts = np.array([n for n, _ in runs], np.int64)
    gaps = np.array([g for _, g in runs], np.int64)
    at = np.arange(len(runs)) * 7
    to = np.cumsum(counts + gaps) - counts
    target = np.zeros(int((counts + gaps).sum()), np.uint8)
    batches.copy_bytes(DATA, at, target, to, counts)
    expected = bytearray(len(target))
    for source, place, count in zip(at.tolist(), to.tolist(), counts.tolist(), strict=True):
        expected[place : place + count] = DATA[source : source + count].tobytes()
    assert target.tobytes() == bytes(expected)
