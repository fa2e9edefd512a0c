"""Bars of block characters, as lines to draw."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .palette import style
from .widgets.lines import Line

EIGHTHS = "▁▂▃▄▅▆▇█"


def merged(cells: Sequence[tuple[str, object]]) -> Line:
    """Cells as pieces of a line: neighbours of one style become one piece."""
    out: list[tuple[str, object]] = []
    for text, shade in cells:
        if out and out[-1][1] == shade:
            out[-1] = (out[-1][0] + text, shade)
        else:
            out.append((text, shade))
    return out  # type: ignore[return-value]


def stacked(
    values: NDArray[np.int64],
    colours: Sequence[str],
    height: int,
    top: int,
    wide: int = 1,
    gap: int = 0,
    marks: str = "",
) -> list[Line]:
    """Bars side by side, ``height`` lines high. ``values`` (n, k) are stacked in ``colours`` (k) from below.

    A bar of ``top`` or more fills all lines. One above 0 is at least an eighth of a line high. ``marks`` (k) tell the
    values apart where colours do not: those that are no full block are drawn in whole cells.
    """
    shaded = bool(marks.strip("█"))
    edges = np.minimum(np.cumsum(values, axis=1), top) / max(1, top) * height * 8
    floors = np.arange(height - 1, -1, -1)[:, None] * 8  # of each line, in eighths
    filled = np.rint(np.clip(edges[:, -1] - floors, 0, 8)).astype(int)
    filled[-1] = np.maximum(filled[-1], edges[:, -1] > 0)

    def part(at: NDArray[np.number]) -> list[list[int]]:
        """Which part of each bar, (height, n), lies at a height of it, in eighths."""
        found: list[list[int]] = np.minimum(len(colours) - 1, (edges <= at[..., None]).sum(-1)).tolist()
        return found

    lower, upper = part(floors + 2), part(floors + 6)
    middle = part(floors + np.maximum(0.0, filled / 2 - 0.01))
    lines: list[Line] = []
    for y, eighths in enumerate(filled.tolist()):
        cells: list[tuple[str, object]] = []
        for x, count in enumerate(eighths):
            mark = marks[middle[y][x]] if shaded else "█"
            if not count or (mark != "█" and count < 4 and y < height - 1):
                cells.append((" " * wide, ""))
            elif mark != "█" or (shaded and count == 8):
                cells.append((mark * wide, style(colours[middle[y][x]])))
            elif count == 8 and lower[y][x] != upper[y][x]:
                cells.append(("▄" * wide, style(colours[lower[y][x]], colours[upper[y][x]])))
            else:
                cells.append((EIGHTHS[count - 1] * wide, style(colours[middle[y][x]])))
            if gap:
                cells.append((" " * gap, ""))
        lines.append(merged(cells))
    return lines


def thin(parts: Sequence[tuple[int, str]], width: int, marks: str = "") -> Line:
    """A thin bar that parts share by their size. Each part above 0 has a cell at least.

    ``marks``, one a part, tell them apart where colours do not.
    """
    marks = marks if marks.strip("█") else "━" * len(parts)
    total = max(1, sum(size for size, _ in parts))
    cells = [max(1, round(size / total * width)) if size else 0 for size, _ in parts]
    while sum(cells) > width and max(cells) > 1:
        cells[cells.index(max(cells))] -= 1
    return [(mark * n, style(colour)) for mark, n, (_, colour) in zip(marks, cells, parts, strict=True) if n]


def cropped(line: Line, start: int, end: int) -> Line:
    """The cells of a line from ``start`` to ``end``. Each character of it takes one cell."""
    out: list[tuple[str, object]] = []
    at = 0
    for text, shade in line:
        piece = text[max(0, start - at) : max(0, end - at)]
        if piece:
            out.append((piece, shade))
        at += len(text)
    return out  # type: ignore[return-value]
