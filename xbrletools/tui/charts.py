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
    values: NDArray[np.int64], colours: Sequence[str], height: int, top: int, wide: int = 1, gap: int = 0
) -> list[Line]:
    """Bars side by side, ``height`` lines high. ``values`` (n, k) are stacked in ``colours`` (k) from below.

    A bar of ``top`` or more fills all lines. One above 0 is at least an eighth of a line high.
    """
    edges = np.minimum(np.cumsum(values, axis=1), top) / max(1, top) * height * 8
    lines: list[Line] = []
    for y in range(height):
        floor = (height - 1 - y) * 8
        cells: list[tuple[str, object]] = []
        for bar in edges:
            filled = round(max(0.0, min(8.0, float(bar[-1]) - floor)))
            if bar[-1] > 0 and not floor:
                filled = max(1, filled)

            def colour(at: float, bar: NDArray[np.float64] = bar) -> str:
                return colours[min(len(colours) - 1, int(np.searchsorted(bar, at, "right")))]

            if not filled:
                cells.append((" " * wide, ""))
            elif filled == 8 and colour(floor + 2) != colour(floor + 6):
                cells.append(("▄" * wide, style(colour(floor + 2), colour(floor + 6))))
            else:
                cells.append((EIGHTHS[filled - 1] * wide, style(colour(floor + max(0.0, filled / 2 - 0.01)))))
            if gap:
                cells.append((" " * gap, ""))
        lines.append(merged(cells))
    return lines


def thin(parts: Sequence[tuple[int, str]], width: int) -> Line:
    """A thin bar that parts share by their size. Each part above 0 has a cell at least."""
    total = max(1, sum(size for size, _ in parts))
    cells = [max(1, round(size / total * width)) if size else 0 for size, _ in parts]
    while sum(cells) > width and max(cells) > 1:
        cells[cells.index(max(cells))] -= 1
    return [("━" * n, style(colour)) for n, (_, colour) in zip(cells, parts, strict=True) if n]


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
