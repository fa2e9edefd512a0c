"""The findings as a tree: cause -> lasting or healed -> run of pages -> page -> record.

What another finding about the same record explains is folded into that one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..text import shown
from ..verify.rules import CHECKSUM_MISMATCH, Finding, Severity
from ..verify.verdict import Verdict
from .words import counted

#: What tells a branch from others: the cause's index, whether it lasts, the block and the page, as far as it goes.
Key = tuple[object, ...]
Wanted = Callable[[Finding], bool]
OPEN_MAX = 8  # pages of a branch up to which they are unfolded from the start, and not gathered into runs


@dataclass(frozen=True, slots=True)
class Branch:
    """Findings that belong together. ``is_open`` is whether it is unfolded from the start.

    ``first`` is the first of them, where it lasts the first that does. ``pages`` counts their pages.
    ``spans`` (k, 2) int64 are the records from which on a page is wrong, and those that healed it, -1 for none.
    """

    key: Key
    text: str
    findings: Sequence[Finding]
    below: "Sequence[Branch]"
    is_open: bool
    pages: int
    spans: NDArray[np.int64]
    first: Finding
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree. ``finding`` is its own, or the first of its branch. ``is_open`` is None for a leaf."""

    depth: int
    text: str
    finding: Finding
    key: Key
    is_open: bool | None = None
    branch: Branch | None = None


def branches(
    found: Verdict, listed: Iterable[tuple[Finding, int]], wanted: Wanted, only_lasting: bool = False
) -> list[Branch]:
    """The causes, with all that is below them. ``only_lasting`` leaves out pages that are right at the end."""
    groups: dict[int, list[Finding]] = {}
    for finding, cause in listed:
        groups.setdefault(cause if cause >= 0 else len(found.causes), []).append(finding)
    out = [_cause(found, index, groups[index], wanted, only_lasting) for index in sorted(groups)]
    return [branch for branch in out if branch is not None]


class Tree(Sequence[Node]):
    """The lines of branches, those of unfolded ones with what is below them. ``turned`` the user folded or unfolded.

    A line is made when it is asked for. So it takes no longer to unfold 100,000 findings than to unfold ten.
    """

    def __init__(self, found: Sequence[Branch], turned: Set[Key]) -> None:
        self._turned = turned
        self._parts: list[tuple[int, Sequence[Branch] | Branch]] = []  # folded branches, or one with its findings
        self._starts: list[int] = []  # the first line of each
        self._count = 0
        self._add_all(found, 0)

    def _put(self, depth: int, what: Sequence[Branch] | Branch, count: int) -> None:
        self._parts.append((depth, what))
        self._starts.append(self._count)
        self._count += count

    def _add_all(self, found: Sequence[Branch], depth: int) -> None:
        """Add branches that have one depth. All of them are folded from the start, or none is."""
        if not found or found[0].is_open:
            for branch in found:
                self._add(branch, depth)
            return
        places = (bisect_left(found, key, key=lambda branch: branch.key) for key in self._turned)
        unfolded = sorted({i for i in places if i < len(found) and found[i].key in self._turned})
        for start, i in pairwise((-1, *unfolded, len(found))):
            if i > start + 1:
                self._put(depth, found[start + 1 : i], i - start - 1)
            if i < len(found):
                self._add(found[i], depth)

    def _add(self, branch: Branch, depth: int) -> None:
        """Add a branch and what is below it."""
        is_open = branch.is_open is not (branch.key in self._turned)
        if is_open and not branch.below:
            self._put(depth, branch, 1 + len(branch.findings))
            return
        self._put(depth, [branch], 1)
        if is_open:
            self._add_all(branch.below, depth + 1)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, row: int) -> Node: ...
    @overload
    def __getitem__(self, row: slice) -> list[Node]: ...
    def __getitem__(self, row: int | slice) -> Node | list[Node]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not 0 <= row < self._count:
            raise IndexError(row)
        place = bisect_right(self._starts, row) - 1
        depth, what = self._parts[place]
        i = row - self._starts[place]
        if isinstance(what, Branch) and i:
            return Node(depth + 1, "", what.findings[i - 1], (*what.key, i - 1))
        branch = what if isinstance(what, Branch) else what[i]
        is_open = branch.is_open is not (branch.key in self._turned)
        return Node(depth, branch.text, branch.first, branch.key, is_open, branch)


def _reasons(findings: list[Finding]) -> list[Finding]:
    """Those that another one about the same record does not explain."""
    explained = {f.record for f in findings if f.rule != CHECKSUM_MISMATCH.id and f.record is not None}
    return [f for f in findings if f.rule != CHECKSUM_MISMATCH.id or f.record not in explained]


def _cause(found: Verdict, index: int, all_of_it: list[Finding], wanted: Wanted, only_lasting: bool) -> Branch | None:
    """A cause and what is below it, None where nothing of it is wanted. All of it tells what lasts."""
    findings = [f for f in all_of_it if wanted(f)]
    if not findings:
        return None
    shown_ones = _reasons(findings)
    if index >= len(found.causes):
        text = _sum("without a cause", findings, shown_ones)
        return None if only_lasting else _branch((index,), text, shown_ones, (), True)
    by_page: dict[tuple[bytes, int], list[Finding]] = {}
    for finding in sorted(shown_ones, key=_page_of):
        by_page.setdefault(_page_of(finding), []).append(finding)
    lasting = {_page_of(f) for f in _reasons(all_of_it) if f.severity is Severity.ERROR}
    if only_lasting:
        findings = [f for f in findings if _page_of(f) in lasting]
        shown_ones = [f for f in shown_ones if _page_of(f) in lasting]
    below = []
    for lasts, words, without in ((True, "not healed", "errors"), (False, "healed later, or only odd", "only odd")):
        part = {page: group for page, group in by_page.items() if (page in lasting) is lasts}
        if part and (lasts or not only_lasting):
            below.append(_pages(part, (index, lasts), words if any(b for b, _ in part) else without, lasts))
    name = f"{found.causes[index].name.value} ({found.causes[index].sure.value})"
    text = _sum(name, findings, shown_ones)
    return _branch((index,), text, shown_ones, below, True, not lasting.isdisjoint(by_page)) if below else None


def _sum(name: str, findings: list[Finding], shown_ones: list[Finding]) -> str:
    """A cause's name with how many findings it has, and how many of them are folded into others."""
    folded = len(findings) - len(shown_ones)
    text = f"{name}  {counted(len(findings), 'finding')}"
    return f"{text}, {folded:,} of them sums that fail at the same record" if folded else text


def _pages(by_page: dict[tuple[bytes, int], list[Finding]], key: Key, words: str, lasts: bool) -> Branch:
    """Pages that are wrong at the end, or that were healed. Many are gathered into runs of neighbours."""
    below = [
        _branch((*key, block, page), _place(block, page, group), group, (), len(by_page) <= OPEN_MAX, lasts)
        for (block, page), group in by_page.items()
    ]
    findings = [f for group in by_page.values() for f in group]
    count = sum(1 for block, _ in by_page if block)
    of_pages = f"{counted(count, 'page')}, " if count else ""
    text = f"{words}  {of_pages}{counted(len(findings), 'finding')}"
    if len(by_page) > OPEN_MAX:
        below = _runs(below, key, lasts)
    return _branch(key, text, findings, below, True, lasts)


def _runs(pages: list[Branch], key: Key, lasts: bool) -> list[Branch]:
    """Pages, with neighbours gathered: each run lies in one block, and steps by the least step between two pages."""
    places = [_page_of(page.findings[0]) for page in pages]
    steps = [b[1] - a[1] for a, b in pairwise(places) if a[0] == b[0] and a[1] >= 0]
    step = min(steps, default=0)
    starts = [0]
    for i, (a, b) in enumerate(pairwise(places), 1):
        starts.append(starts[-1] if a[0] == b[0] and b[1] - a[1] == step and step else i)
    out: list[Branch] = []
    for start, group in groupby(range(len(pages)), key=starts.__getitem__):
        run = [pages[i] for i in group]
        if len(run) == 1:
            out += run
            continue
        (block, first), (_, last) = places[start], places[start + len(run) - 1]
        findings = [f for page in run for f in page.findings]
        text = f"{shown(block)}:{first:#x} to {last:#x}  {len(run):,} pages, {counted(len(findings), 'finding')}"
        out.append(_branch((*key, block, first, last), text, findings, run, False, lasts))
    return out


def _branch(
    key: Key, text: str, findings: Sequence[Finding], below: Sequence[Branch], is_open: bool, lasts: bool = False
) -> Branch:
    healed = [f.evidence.get("healed_by_record") for f in findings]
    spans = [(f.record, -1 if h is None else h) for f, h in zip(findings, healed, strict=True) if f.record is not None]
    pages = len({_page_of(f) for f in findings if f.block})
    errors = [f for f in findings if f.severity is Severity.ERROR] if lasts else []
    first = min(errors or findings, key=lambda f: f.offset if f.offset is not None else -1)
    return Branch(key, text, findings, below, is_open, pages, np.array(spans, np.int64).reshape(-1, 2), first, lasts)


def _place(block: bytes, page: int, group: Sequence[Finding]) -> str:
    place = f"{shown(block)}:{page:#x}" if block else "about no page"
    return f"{place}  {counted(len(group), 'finding')}"


def _page_of(finding: Finding) -> tuple[bytes, int]:
    return finding.block or b"", -1 if finding.page is None else finding.page
