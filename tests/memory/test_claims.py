"""What records state of their pages: one answer for many records, as one asked record by record."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from xbrletools.formats.dialects import DIALECTS, Checksum, Dialect
from xbrletools.formats.ram import DELTA_KINDS, Kind
from xbrletools.formats.xbrle import HeaderFlag
from xbrletools.memory.replay import View, forgets_dups
from xbrletools.table.claims import field_of, stated, stated_sum, states_sums
from xbrletools.table.columns import Columns

MASK = 0xFFFFFFFF


def expected(kind: int, checksum: int, flags: int, dialect: Dialect | None) -> int | None:
    if kind == Kind.PAGE:
        return checksum or None
    if kind not in DELTA_KINDS or dialect is None or dialect.checksum is Checksum.NONE:
        return None
    if dialect.checksum is Checksum.FLAGGED and not flags & HeaderFlag.CHECKSUM:
        return None
    return ~checksum & MASK if dialect.checksum is Checksum.COMPLEMENT else checksum


@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.sampled_from([0, 1, MASK]), st.integers(0, 3)), min_size=1),
    st.sampled_from([None, *DIALECTS.values()]),
)
def test_the_stated_sums_of_many_records_are_those_of_each(
    records: list[tuple[Kind, int, int]], dialect: Dialect | None
) -> None:
    nothing = np.zeros(len(records), np.uint16)
    kind, checksum, flags = (np.array(column) for column in zip(*records, strict=True))
    columns = Columns(
        offset=nothing.astype(np.uint64),
        address=nothing.astype(np.uint64),
        length=nothing.astype(np.uint32),
        checksum=checksum.astype(np.uint32),
        flags=nothing,
        block=nothing,
        head=nothing,
        kind=kind.astype(np.uint8),
        header_flags=flags.astype(np.uint8),
    )
    states, sums = stated(columns, dialect)
    one_by_one = [expected(int(k), c, f, dialect) for k, c, f in records]
    assert [int(s) if says else None for says, s in zip(states, sums, strict=True)] == one_by_one
    assert stated_sum(columns, dialect) == one_by_one[0]
    backwards = np.arange(len(records))[::-1]
    assert stated(columns, dialect, backwards)[0].tolist() == states[::-1].tolist()
    assert states_sums(dialect) or not states[kind != Kind.PAGE].any()


@pytest.mark.parametrize("name", ["nov03a-little", "m115dbg-big", "posted-big-debug", "lm2dbg-little", "xbzrle-16m"])
def test_what_a_header_holds_for_a_sum_states_that_sum(samples: Path, name: str) -> None:
    capture = xbrletools.open(samples / f"{name}.bin")
    columns, dialect = capture.records.columns, capture.dialect
    assert dialect is not None
    states, sums = stated(columns, dialect)
    states &= columns.kind != Kind.PAGE
    assert np.array_equal(field_of(sums[states], dialect), columns.checksum[states])


def test_only_a_sender_forgets_dup_pages_and_only_one_that_does_not_cache_them() -> None:
    assert {name for name, dialect in DIALECTS.items() if forgets_dups(dialect)} == {"sep10", "posted"}
    assert not any(forgets_dups(dialect, View.RECEIVER) for dialect in DIALECTS.values())
    assert not forgets_dups(None)
