"""The findings as a tree: cause -> lasting or healed -> run of pages -> page -> record.

What another finding about the same record explains is folded into that one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

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

    ``pages`` counts their pages. ``spans`` (k, 2) int64 are the records from which on a page is wrong, and those that
    healed it, -1 for none.
    """

    key: Key
    text: str
    findings: Sequence[Finding]
    below: "Sequence[Branch]"
    is_open: bool
    pages: int
    spans: NDArray[np.int64]
    lasts: bool = False

    @property
    def first(self) -> Finding:
        """Its first finding, where it lasts the first that does."""
        errors = [f for f in self.findings if f.severity is Severity.ERROR] if self.lasts else []
        return min(errors or self.findings, key=lambda f: f.offset if f.offset is not None else -1)


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree. ``finding`` is its own, or the first of its branch. ``is_open`` is None for a leaf."""

    depth: int
    text: str
    finding: Finding
    key: Key
    is_open: bool | None = None
    branch: Branch | None = None


def tree(found: Verdict, listed: Iterable[tuple[Finding, int]], wanted: Wanted, turned: set[Key]) -> list[Node]:
    """The lines of the tree. ``listed`` has each finding with the index of its cause, -1 for none.

    Only findings that are ``wanted`` are in it. ``turned`` are the branches that the user folded or unfolded.
    """
    return lines(branches(found, listed, wanted), turned)


def branches(
    found: Verdict, listed: Iterable[tuple[Finding, int]], wanted: Wanted, only_lasting: bool = False
) -> list[Branch]:
    """The causes, with all that is below them. ``only_lasting`` leaves out pages that are right at the end."""
    groups: dict[int, list[Finding]] = {}
    for finding, cause in listed:
        if wanted(finding):
            groups.setdefault(cause if cause >= 0 else len(found.causes), []).append(finding)
    out = [_cause(found, index, groups[index], only_lasting) for index in sorted(groups)]
    return [branch for branch in out if branch is not None]


def lines(found: Iterable[Branch], turned: set[Key], depth: int = 0) -> list[Node]:
    """The lines of branches, those of unfolded ones with what is below them."""
    nodes: list[Node] = []
    for branch in found:
        is_open = branch.is_open is not (branch.key in turned)
        nodes.append(Node(depth, branch.text, branch.first, branch.key, is_open, branch))
        if is_open and branch.below:
            nodes += lines(branch.below, turned, depth + 1)
        elif is_open:
            nodes += [Node(depth + 1, "", f, (*branch.key, i)) for i, f in enumerate(branch.findings)]
    return nodes


def _cause(found: Verdict, index: int, findings: list[Finding], only_lasting: bool) -> Branch | None:
    """A cause and what is below it."""
    explained = {f.record for f in findings if f.rule != CHECKSUM_MISMATCH.id and f.record is not None}
    shown_ones = [f for f in findings if f.rule != CHECKSUM_MISMATCH.id or f.record not in explained]
    folded = len(findings) - len(shown_ones)
    known = index < len(found.causes)
    name = f"{found.causes[index].name.value} ({found.causes[index].sure.value})" if known else "without a cause"
    text = f"{name}  {counted(len(findings), 'finding')}"
    if folded:
        text += f", {folded} of them sums that fail at the same record"
    if not known:
        return None if only_lasting else _branch((index,), text, shown_ones, (), True)
    by_page: dict[tuple[bytes, int], list[Finding]] = {}
    for finding in sorted(shown_ones, key=_page_of):
        by_page.setdefault(_page_of(finding), []).append(finding)
    lasting = {page for page, group in by_page.items() if any(f.severity is Severity.ERROR for f in group)}
    below = []
    for lasts, words in ((True, "not healed"), (False, "healed later, or only odd")):
        part = {page: group for page, group in by_page.items() if (page in lasting) is lasts}
        if part and (lasts or not only_lasting):
            below.append(_pages(part, (index, lasts), words, lasts))
    return _branch((index,), text, shown_ones, below, True, bool(lasting)) if below else None


def _pages(by_page: dict[tuple[bytes, int], list[Finding]], key: Key, words: str, lasts: bool) -> Branch:
    """Pages that are wrong at the end, or that were healed. Many are gathered into runs of neighbours."""
    below = [
        _branch((*key, block, page), _place(block, page, group), group, (), len(by_page) <= OPEN_MAX, lasts)
        for (block, page), group in by_page.items()
    ]
    findings = [f for group in by_page.values() for f in group]
    count = counted(sum(1 for block, _ in by_page if block), "page")
    text = f"{words}  {count}, {counted(len(findings), 'finding')}"
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
        text = f"{shown(block)}:{first:#x} to {last:#x}  {len(run)} pages, {counted(len(findings), 'finding')}"
        out.append(_branch((*key, block, first, last), text, findings, run, False, lasts))
    return out


def _branch(
    key: Key, text: str, findings: Sequence[Finding], below: Sequence[Branch], is_open: bool, lasts: bool = False
) -> Branch:
    healed = [f.evidence.get("healed_by_record") for f in findings]
    spans = [(f.record, -1 if h is None else h) for f, h in zip(findings, healed, strict=True) if f.record is not None]
    pages = len({_page_of(f) for f in findings if f.block})
    return Branch(key, text, findings, below, is_open, pages, np.array(spans, np.int64).reshape(-1, 2), lasts)


def _place(block: bytes, page: int, group: Sequence[Finding]) -> str:
    place = f"{shown(block)}:{page:#x}" if block else "no page"
    return f"{place}  {counted(len(group), 'finding')}"


def _page_of(finding: Finding) -> tuple[bytes, int]:
    return finding.block or b"", -1 if finding.page is None else finding.page
