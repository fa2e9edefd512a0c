"""What led to a finding, as a chain of records: base, dup page, delta, and what healed it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..verify.rules import Finding, Severity
from .palette import Palette, style
from .widgets.lines import Line, fit

_NEVER = -1
_GLYPHS = {"base": "■", "dup": "□", "delta": "✗", "healed": "●", "never healed": "✗"}


class Link(NamedTuple):
    """A record of the chain: what it is, and its number, None where it is the end of the stream."""

    role: str
    number: int | None


def chain(finding: Finding) -> list[Link]:
    """The chain of a finding about a lost base, or nothing for one of another kind."""
    evidence = finding.evidence
    if finding.record is None or not isinstance(evidence.get("base_record"), int):
        return []
    links = [Link("base", evidence["base_record"])]
    if isinstance(evidence.get("dup_record"), int):
        links.append(Link("dup", evidence["dup_record"]))
    links.append(Link("delta", finding.record))
    healed = evidence.get("healed_by_record")
    if isinstance(healed, int):
        return [*links, Link("healed", healed)]
    return [*links, Link("never healed", None)] if finding.severity is Severity.ERROR else links


def in_line(links: Sequence[Link], width: int, colours: Palette) -> Line:
    """The chain in one line: ``base 798 → dup 4213 → delta 4433 → healed 4645``. The last links, where not all fit."""
    made = (in_lines(links[i:], width, colours) for i in range(len(links)))
    return next((lines[0] for lines in made if len(lines) == 1), [])


def in_lines(links: Sequence[Link], width: int, colours: Palette) -> list[Line]:
    """The chain in as many lines of ``width`` cells as it needs. None is broken within a link."""
    lines: list[list[tuple[str, object]]] = [[]]
    used = 0
    for i, (role, number) in enumerate(links):
        text = f"{_GLYPHS[role]} {role}" + ("" if number is None else f" {number}")
        if i and used + len(text) + 3 > width:
            lines.append([("→ ", "dim")])
            used = 2
        elif i:
            lines[-1].append((" → ", "dim"))
            used += 3
        lines[-1].append((text, style(colours.text(_colour(role, colours)))))
        used += len(text)
    return lines  # type: ignore[return-value]


def lanes(links: Sequence[Link], width: int, colours: Palette) -> list[Line]:
    """The chain as a timeline in four lines: its records, and below them what the sender and the receiver had."""
    if len(links) < 3:
        return []
    label = 10
    cell = max(10, min(18, (width - label) // len(links)))
    heads: list[tuple[str, object]] = [(" " * label, "")]
    numbers: list[tuple[str, object]] = [(" " * label, "")]
    for i, (role, number) in enumerate(links):
        room = cell if i < len(links) - 1 else max(cell, width - label - i * cell)  # the last has what is left
        shade = style(colours.text(_colour(role, colours)), None, True)
        heads.append((fit(role, room), shade))
        ends = "end of stream" if room > 12 else "at the end"
        numbers.append((fit(ends if number is None else str(number), room), "dim"))
    good, bad, lost = colours.good, colours.wrong, colours.dup
    sender: list[tuple[str, object]] = [(fit(" sender", label), "dim")]
    receiver: list[tuple[str, object]] = [(fit(" receiver", label), "dim")]
    state = good
    for i, (role, _) in enumerate(links):
        state = {"dup": lost, "delta": bad, "healed": good}.get(role, state)
        last = i == len(links) - 1
        thread = " " * (cell - 1) if last else "━" * (cell - 1)
        kept = colours.page if role in ("base", "dup") else good
        sender.append(("●" + thread, style(kept)))
        receiver.append((_GLYPHS[role] + thread, style(state if role != "base" else colours.page)))
    return [heads, numbers, sender, receiver]  # type: ignore[list-item]


def over_stream(spans: NDArray[np.int64], last: int, width: int, colours: Palette) -> Line:
    """When pages are wrong, in ``width`` cells for the records up to ``last``: amber where all were healed in the cell.

    ``spans`` (k, 2) int64 are as in `findingtree.Branch`.
    """
    if not len(spans) or last < 1:
        return []
    starts = np.sort(spans[:, 0])
    heals = np.sort(spans[spans[:, 1] != _NEVER, 1])
    bounds = np.arange(width + 1) * last // width + 1  # the first record of each cell, and the one after the last
    before = np.searchsorted(starts, bounds) - np.searchsorted(heals, bounds)  # pages that are wrong before each
    began = np.diff(np.searchsorted(starts, bounds))
    shades = np.where(before[1:] > 0, 2, np.where((began > 0) | (before[:-1] > 0), 1, 0))
    looks = (("·", colours.line), ("─" if colours.plain else "━", colours.healed), ("━", colours.wrong))
    edges = np.flatnonzero(np.diff(shades, prepend=-1)).tolist()
    return [
        (looks[int(shades[a])][0] * (b - a), style(looks[int(shades[a])][1]))
        for a, b in zip(edges, [*edges[1:], width], strict=True)
    ]


def _colour(role: str, colours: Palette) -> str:
    return {
        "base": colours.page,
        "dup": colours.dup,
        "healed": colours.healed,
    }.get(role, colours.wrong)
