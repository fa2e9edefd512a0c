import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.arrays import distinct, overlapped


@pytest.mark.parametrize("size", range(4))
def test_bytes_that_are_shorter_than_a_value_have_none(size: int) -> None:
    nowhere = np.empty(0, np.int64)
    assert overlapped(np.zeros(size, np.uint8), nowhere, np.dtype(">u4")).tolist() == []


def test_values_may_overlap_and_the_last_ends_with_the_bytes() -> None:
    data = np.arange(6, dtype=np.uint8)
    assert overlapped(data, np.array([0, 1, 2]), np.dtype(">u4")).tolist() == [0x00010203, 0x01020304, 0x02030405]


@given(st.lists(st.integers(-3, 40)), st.sampled_from([np.int64, np.int8]))
def test_distinct_values_are_those_of_a_set(values: list[int], dtype: type[np.integer]) -> None:
    found = distinct(np.array(values, dtype))
    assert found.tolist() == sorted(set(values))
    assert found.dtype == dtype


def test_distinct_values_of_a_table_are_one_row() -> None:
    assert distinct(np.array([[3, 1], [1, 2]])).tolist() == [1, 2, 3]
