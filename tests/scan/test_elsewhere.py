"""Whether the pages that came leave holes, against sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.formats.ram import Kind
from xbrletools.ram.elsewhere import counted, skips
from xbrletools.table.columns import DTYPES, NO_BLOCK, Columns

_SIZE = 4096
_RECORDS = st.lists(
    st.tuples(
        st.sampled_from([Kind.DUP, Kind.PAGE, Kind.FLUSH]),
        st.sampled_from([0, 1, 5, NO_BLOCK]),
        st.one_of(st.integers(0, 6), st.just((1 << 52) - 1)),
    ),
    max_size=30,
)


@given(_RECORDS)
def test_pages_leave_holes_where_one_below_the_last_did_not_come(records: list[tuple[Kind, int, int]]) -> None:
    columns = Columns(**{name: np.zeros(len(records), dtype) for name, dtype in DTYPES.items()})
    came: dict[int, set[int]] = {}
    for i, (kind, block, page) in enumerate(records):
        columns.kind[i], columns.block[i], columns.address[i] = kind, block, page * _SIZE
        if kind is not Kind.FLUSH and block != NO_BLOCK:
            came.setdefault(block, set()).add(page)
    expected = any(max(pages) + 1 > len(pages) for pages in came.values())
    assert skips(columns, _SIZE, counted(columns)[1]) is expected
