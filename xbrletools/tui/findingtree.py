"""The findings as a tree: cause -> lasting or healed -> page -> record. What a finding explains is folded into it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from ..text import shown
from ..verify.rules import CHECKSUM_MISMATCH, Finding, Severity
from ..verify.verdict import Verdict
from .words import counted

#: What tells a branch from others: the cause's index, whether it lasts, the block and the page, as far as it goes.
Key = tuple[object, ...]
OPEN_MAX = 8  # pages of a branch that are unfolded from the start


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree. ``finding`` is its own, or the first of its branch. ``is_open`` is None for a leaf."""

    depth: int
    text: str
    finding: Finding
    key: Key
    is_open: bool | None = None


def tree(
    found: Verdict, listed: Iterable[tuple[Finding, int]], wanted: Callable[[Finding], bool], turned: set[Key]
) -> list[Node]:
    """The lines of the tree. ``listed`` has each finding with the index of its cause, -1 for none.

    Only findings that are ``wanted`` are in it. ``turned`` are the branches that the user folded or unfolded.
    """
    groups: dict[int, list[Finding]] = {}
    for finding, cause in listed:
        if wanted(finding):
            groups.setdefault(cause if cause >= 0 else len(found.causes), []).append(finding)
    nodes: list[Node] = []
    for index in sorted(groups):
        nodes += _cause(found, index, groups[index], turned)
    return nodes


def _cause(found: Verdict, index: int, findings: list[Finding], turned: set[Key]) -> list[Node]:
    """A cause and what is below it."""
    explained = {f.record for f in findings if f.rule != CHECKSUM_MISMATCH.id and f.record is not None}
    shown_ones = [f for f in findings if f.rule != CHECKSUM_MISMATCH.id or f.record not in explained]
    folded = len(findings) - len(shown_ones)
    if index < len(found.causes):
        cause = found.causes[index]
        text = f"{cause.name.value} ({cause.sure.value})  {counted(len(findings), 'finding')}"
    else:
        text = f"without a cause  {counted(len(findings), 'finding')}"
    if folded:
        text += f", {folded} of them sums that fail at the same record"
    key: Key = (index,)
    is_open = key not in turned
    nodes = [Node(0, text, shown_ones[0], key, is_open)]
    if not is_open:
        return nodes
    if index == len(found.causes):
        return [*nodes, *(Node(1, "", f, (*key, i)) for i, f in enumerate(shown_ones))]
    for lasts, words in ((True, "not healed"), (False, "healed by a later record, or only odd")):
        part = [f for f in shown_ones if (f.severity is Severity.ERROR) is lasts]
        if part:
            nodes += _pages(part, (*key, lasts), words, turned)
    return nodes


def _pages(findings: list[Finding], key: Key, words: str, turned: set[Key]) -> list[Node]:
    """Findings that last, or that were healed, by their pages."""
    ordered = sorted(findings, key=_page_of)
    pages = [(place, list(group)) for place, group in groupby(ordered, _page_of)]
    is_open = key not in turned
    count = counted(sum(1 for (block, _), _ in pages if block), "page")
    nodes = [Node(1, f"{words}  {count}, {counted(len(findings), 'finding')}", findings[0], key, is_open)]
    if not is_open:
        return nodes
    for (block, page), group in pages:
        below: Key = (*key, block, page)
        place = f"{shown(block)}:{page:#x}" if block else "no page"
        unfolded = (len(pages) <= OPEN_MAX) is not (below in turned)
        nodes.append(Node(2, f"{place}  {counted(len(group), 'finding')}", group[0], below, unfolded))
        if unfolded:
            nodes += [Node(3, "", f, (*below, i)) for i, f in enumerate(group)]
    return nodes


def _page_of(finding: Finding) -> tuple[bytes, int]:
    return finding.block or b"", -1 if finding.page is None else finding.page
