"""The tree of findings: its lines, made as they are asked for, and findings that are gathered before they are shown."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbrletools
from xbrletools.tui import findingtree
from xbrletools.tui.findingtree import Branch, Key, Node, Tree
from xbrletools.tui.rowfindings import RowFindings
from xbrletools.tui.session import Session
from xbrletools.verify.rules import Finding, Severity

from .driving import browsing, drives, stale


def finding(record: int, page: int = 0) -> Finding:
    return Finding("stale-base", Severity.ERROR, "made up", 100 * record, record, b"pc.ram", page)


def branch(key: Key, findings: list[Finding], below: list[Branch], is_open: bool) -> Branch:
    return Branch(key, repr(key), findings, below, is_open, 1, np.zeros((0, 2), np.int64), findings[0])


def causes(pages: list[int]) -> list[Branch]:
    """A cause for each number: with so many pages of two findings each, folded where they are more than eight."""
    out = []
    for cause, count in enumerate(pages):
        below = []
        for page in range(count):
            found = [finding(10 * page + i + 1, page) for i in range(2)]
            below.append(branch((cause, True, b"pc.ram", page), found, [], count <= 8))
        every = [f for b in below for f in b.findings]
        lasting = branch((cause, True), every, below, True)
        out.append(branch((cause,), every, [lasting], True))
    return out


def by_hand(found: list[Branch], turned: set[Key], depth: int = 0) -> Iterator[Node]:
    """The lines, one after the other."""
    for b in found:
        is_open = b.is_open is not (b.key in turned)
        yield Node(depth, b.text, b.first, b.key, is_open, b)
        if is_open and b.below:
            yield from by_hand(list(b.below), turned, depth + 1)
        elif is_open:
            yield from (Node(depth + 1, "", f, (*b.key, i)) for i, f in enumerate(b.findings))


def every_key(found: list[Branch]) -> list[Key]:
    return [k for b in found for k in (b.key, *every_key(list(b.below)))]


MADE = causes([1, 9, 8, 30])
KEYS = every_key(MADE)


@given(st.sets(st.sampled_from(KEYS)))
def test_a_tree_has_the_lines_of_its_branches_whichever_are_folded(turned: set[Key]) -> None:
    assert list(Tree(MADE, turned)) == list(by_hand(MADE, turned))


def test_a_line_of_a_tree_is_made_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(findingtree, "Node", lambda *what: made.append(what))
    many = [finding(i + 1) for i in range(1000)]
    pages = [branch((0, True, b"pc.ram", i), many[i : i + 1], [], False) for i in range(1000)]
    tree = Tree([branch((0,), many, pages, True), branch((1,), many, [], True)], {(0, True, b"pc.ram", 500)})
    assert (len(tree), len(made)) == (2 + 1000 + 1 + 1000, 0)
    tree[1500]
    assert len(made) == 1


def test_findings_are_shown_once_all_are_gathered_and_those_before_an_error_are_kept() -> None:
    with xbrletools.open(stale()) as capture:
        session = Session(capture)
        for _ in capture.load(session.begin):
            session.read()
        session.finish()
        found = list(capture.verify())

        def breaking() -> Iterator[tuple[Finding, int]]:
            for f in found[:-1]:
                assert session.findings.total == 0
                assert not len(session.findings.suspect_rows())
                yield f, -1
            raise OSError("no room")

        with pytest.raises(OSError, match="no room"):
            session.take_findings(breaking())
        assert session.findings.listed == found[:-1]
        session.take_findings((f, -1) for f in found)
        assert session.findings.listed == found
        rows = [session.row_of(f) for f in found]
        assert session.rows_of(found).tolist() == [-1 if row is None else row for row in rows]
        bad = {r for f, r in zip(found, rows, strict=True) if r is not None and f.severity is not Severity.NOTE}
        assert session.findings.suspect_rows().tolist() == sorted(bad)


class _Changing(dict[str, int]):
    """What another thread adds to meanwhile."""

    def items(self) -> None:  # type: ignore[override]
        raise RuntimeError("dictionary changed size during iteration")


@drives
async def test_a_fault_ends_the_browser_whatever_the_variables_around_it_are() -> None:

    def fail() -> None:
        variable = _Changing(a=1)
        raise ValueError(f"a fault of this program, {len(variable)}")

    ended = False
    with pytest.raises(ValueError, match="a fault of this program"):
        async with browsing(stale()) as d:
            d.app.screen.call_later(fail)
            async with asyncio.timeout(20):
                while d.app.is_running:
                    await asyncio.sleep(0.01)
            ended = True
    assert ended


def test_findings_of_two_readings_are_told_apart_whatever_is_in_them() -> None:
    """The Findings screen asks whether it shows these. Arrays of no or several numbers do not answer that."""
    first, second = RowFindings(), RowFindings()
    assert first == first and (1, first) != (1, second)
    first.place(np.zeros(0, np.int64))
    assert (1, first) != (1, second)
