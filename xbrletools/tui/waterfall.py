"""What each pass sent of a block, by address, half a line a pass: what the guest keeps writing stands out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from ..memory.blockstate import BlockRecords, State
from .palette import STEPS, Palette, style
from .widgets.lines import Line

_ACROSS = 256  # parts of a block, and groups of passes, that are counted apart at most
_GUTTER = 11  # cells of a pass and a blank, as those of an address on the map
_COUNT = 18  # cells of a pass's pages, and the bar beside them
_BAR = 8
_LABEL = 14  # cells from one address to the next at least
_SHADES = "·:░▒▓"  # where there is no colour
_WRONG = STEPS + 1


@dataclass(frozen=True, slots=True, eq=False)
class Waterfall:
    """The pages that passes sent of a block of ``pages`` pages.

    ``sent`` (passes, parts) int64 counts the records of each pass in each of equal parts of the block, ``wrong``
    (passes, parts) bool says where one of them left its page wrong. Where there are many passes, some that follow each
    other are counted together: ``first`` (passes,) int64 is the first of them. ``last`` is the last of all.
    """

    pages: int
    last: int
    first: NDArray[np.int64]
    sent: NDArray[np.int64]
    wrong: NDArray[np.bool_]


def waterfall(records: BlockRecords, passes: NDArray[np.uint32], states: NDArray[np.uint8]) -> Waterfall:
    """Count the records of a block. ``passes`` (n,) are theirs, ``states`` (n + 1,) those of the map."""
    parts = max(1, min(_ACROSS, records.pages))
    last = int(passes.max(initial=1))
    groups = min(_ACROSS, last)
    cell = (passes.astype(np.int64) - 1) * groups // last * parts
    cell += records.page.astype(np.int64) * parts // max(1, records.pages)
    sent = np.bincount(cell, minlength=groups * parts).reshape(groups, parts)
    wrong = np.zeros(groups * parts, bool)
    wrong[cell[states[:-1] == State.WRONG]] = True
    first = -(-np.arange(groups) * last // groups) + 1
    return Waterfall(records.pages, last, first, sent, wrong.reshape(groups, parts))


def drawn(
    fall: Waterfall, page_size: int, size: tuple[int, int], colours: Palette, plain: bool, now: int
) -> list[Line]:
    """The lines for a width and a height. ``now`` is the pass of the moment."""
    width, height = size
    room, lines = max(8, width - _GUTTER - _COUNT), max(1, height - 1)
    levels, counts, first = _cells(fall, room, lines * (1 if plain else 2))
    per = 1 if plain else 2
    most = max(1.0, float(np.log1p(counts.max(initial=0))))
    out: list[Line] = [_axis(fall, page_size, room)]
    for top in range(0, len(levels), per):
        upto = int(first[top + per]) if top + per < len(first) else fall.last + 1
        here = int(first[top]) <= now < upto
        pages = int(counts[top : top + per].sum())
        numbers = str(int(first[top])) if upto == int(first[top]) + 1 else f"{int(first[top])}-{upto - 1}"
        cells: list[tuple[str, str | Style]] = [(f"{numbers:>{_GUTTER - 1}} ", "strong" if here else "dim")]
        cells += _strip(levels[top : top + per], colours, plain)
        bar = "━" * max(1 if pages else 0, round(float(np.log1p(counts[top : top + per].max())) / most * _BAR))
        out.append([*cells, (f"{pages:>{_COUNT - _BAR - 1},} ", ""), (bar, style() if plain else style(colours.page))])
    return out


def _cells(fall: Waterfall, room: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The level of each cell, (rows, room), the records of each row, (rows,), and its first pass, (rows,)."""
    groups, parts = fall.sent.shape
    rows = min(rows, groups)
    starts = np.arange(rows) * groups // rows
    sent, wrong = np.add.reduceat(fall.sent, starts, axis=0), np.logical_or.reduceat(fall.wrong, starts, axis=0)
    counts = sent.sum(1)
    together = np.diff(starts, append=groups)[:, None]
    edges = np.arange(parts + 1) * fall.pages // parts
    held = np.maximum(1, np.diff(edges))  # pages of each part
    if room >= parts:
        column = np.arange(room) * parts // room
        share, bad = sent[:, column] / held[column], wrong[:, column]
    else:
        begins = np.arange(room) * parts // room
        share = np.add.reduceat(sent, begins, axis=1) / np.add.reduceat(held, begins)
        bad = np.logical_or.reduceat(wrong, begins, axis=1)
    level = np.where(share > 0, 1 + np.minimum(STEPS - 1, (share / together * STEPS).astype(np.int64)), 0)
    level[bad] = _WRONG
    return level, counts, fall.first[starts]


def _strip(levels: NDArray[np.int64], colours: Palette, plain: bool) -> list[tuple[str, str | Style]]:
    """Two rows as half blocks, or one in letters."""
    if plain:
        shades = " " + "".join(_SHADES[i * len(_SHADES) // STEPS] for i in range(STEPS)) + "!"
        return [("".join(shades[level] for level in levels[0].tolist()), "")]
    shade = (colours.never, *colours.ramp, colours.calm(colours.wrong))
    lower = levels[1] if len(levels) > 1 else np.full(levels.shape[1], -1)
    both = levels[0] * (_WRONG + 2) + lower + 1
    starts = np.flatnonzero(np.diff(both, prepend=-1))
    lengths = np.diff(starts, append=len(both))
    return [
        ("▀" * length, style(shade[upper], shade[below] if below >= 0 else colours.ground))
        for length, upper, below in zip(
            lengths.tolist(), levels[0][starts].tolist(), lower[starts].tolist(), strict=True
        )
    ]


def _axis(fall: Waterfall, page_size: int, room: int) -> Line:
    """Round addresses over the cells."""
    length = max(1, fall.pages * page_size)
    step = page_size
    while step * room < length * _LABEL:
        step *= 2
    cells = [" "] * room
    for address in range(0, length, step):
        place, text = address * room // length, f"╷{address:#x}"
        if place + len(text) <= room:
            cells[place : place + len(text)] = text
    return [(f"{'passes':>{_GUTTER - 1}} " + "".join(cells) + f"{'records':>{_COUNT - _BAR - 1}}", "dim")]
