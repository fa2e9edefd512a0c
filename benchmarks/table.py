"""Shows what was measured: as a table on the terminal, as a table in a document, and as JSON."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from xbrletools.codec import native

_BEGIN, _END = "<!-- measured -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One path. ``ns`` is nanoseconds for one ``unit`` in one thread. ``to_baseline`` and ``to_memcpy`` are times
    theirs, or None. ``numpy_to_baseline`` is the same without this project's own loops in C. ``two_ns``,
    ``two_to_baseline`` and ``goal_two`` are those of two threads, ``two_used`` how many had a part. ``right`` is None
    where nothing could be checked.
    """

    path: str
    unit: str
    count: int
    ns: float
    to_baseline: float | None
    numpy_to_baseline: float | None
    two_ns: float | None
    two_to_baseline: float | None
    two_used: int | None
    to_memcpy: float | None
    goal: float | None
    goal_two: float | None
    absolute: bool
    baseline: str
    right: bool | None

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached, or None without a goal or a baseline."""
        value = self.ns if self.absolute else self.to_baseline
        return None if self.goal is None or value is None else value <= self.goal

    @property
    def met_two(self) -> bool | None:
        """Whether the goal of two threads was reached, or None without one."""
        value = self.two_to_baseline
        return None if self.goal_two is None or value is None else value <= self.goal_two


def conditions(quick: bool, clock: str, compiler: str | None) -> dict[str, str]:
    """Where and how it was measured. Nothing here names the machine."""
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "compiler": compiler or "none: no baseline",
        "own loops": "in C" if native.loops else "NumPy alone",
        "clock": clock,
        "streams": "8 MiB" if quick else "1 GiB",
    }


def to_json(rows: Sequence[Row], about: dict[str, str]) -> str:
    """All of it as one object."""
    return json.dumps(
        {"conditions": about, "paths": [asdict(row) | {"met": row.met, "met_two": row.met_two} for row in rows]},
        indent=1,
    )


def saved(path: Path) -> dict[str, dict[str, float | None]]:
    """The paths of an earlier run's JSON, by name."""
    return {entry["path"]: entry for entry in json.loads(path.read_text())["paths"]}


def cells(row: Row, before: dict[str, dict[str, float | None]] | None = None) -> list[str]:
    """A row's cells. With ``before`` there is one more: times what an earlier run took."""
    goal = "" if row.goal is None else f"{row.goal:g} ns" if row.absolute else f"{row.goal:g}"
    out = [
        row.path,
        f"{_time(row.ns)}/{row.unit}",
        _number(row.to_baseline) + ("" if row.baseline == "C" else f" ({row.baseline})"),
        _number(row.numpy_to_baseline),
        _number(row.to_memcpy),
        goal,
        _word(row.met),
        _number(row.two_to_baseline),
        "" if row.two_used is None else str(row.two_used),
        "" if row.goal_two is None else f"{row.goal_two:g}",
        _word(row.met_two),
        "unchecked" if row.right is None else "right" if row.right else "WRONG",
    ]
    if before is not None:
        out.append(_change(row, before.get(row.path)))
    return out


HEADS = ["path", "time", "/ C", "NumPy / C", "/ memcpy", "goal", "met"]
HEADS += ["two / C", "used", "goal", "met", "result"]
CHANGE = "/ saved"


def plain(rows: Sequence[Row], before: dict[str, dict[str, float | None]] | None = None) -> str:
    """A table for the terminal."""
    lines = [HEADS + ([CHANGE] if before is not None else []), *(cells(row, before) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(_line(line, widths) for line in lines)


def _line(line: list[str], widths: list[int]) -> str:
    padded = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
    return "  ".join(padded).rstrip()


def markdown(rows: Sequence[Row], about: dict[str, str]) -> str:
    """A table for a document, and its conditions."""
    lines = [HEADS[:-1], ["---", *["--:"] * (len(HEADS) - 2)], *(cells(row)[:-1] for row in rows)]
    stated = ", ".join(f"{name} {value}" for name, value in about.items())
    checked = sum(row.right is True for row in rows)
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"Conditions: {stated}. Results checked against the baseline: {checked} of {len(rows)}.\n\n{body}\n"


def write_into(document: Path, rows: Sequence[Row], about: dict[str, str]) -> None:
    """Replace the table between the marks of a document."""
    text = document.read_text()
    new = f"{_BEGIN}\n{markdown(rows, about)}{_END}"
    text, found = re.subn(f"{_BEGIN}.*?{_END}", lambda _: new, text, flags=re.DOTALL)
    if not found:
        raise ValueError(f"{document} has no {_BEGIN} ... {_END}")
    document.write_text(text)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(ns: float) -> str:
    return f"{ns:,.0f} ns" if ns < 1e5 else f"{ns / 1e6:,.3g} ms"


def _word(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "no"


def _change(row: Row, before: dict[str, float | None] | None) -> str:
    """How this run's time compares with the saved run's: by the ratios to the baseline where both have one."""
    if before is None:
        return "new"
    then = before["to_baseline"]
    if row.to_baseline is not None and then:
        return f"{row.to_baseline / then:.2f}"
    return f"{row.ns / before['ns']:.2f} (time)" if before["ns"] else ""
