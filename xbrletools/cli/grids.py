"""Tables for people. A terminal gets them from rich; a pipe gets them without its import, which takes long."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WORD = re.compile(r"\s*\S+\s*")  # as rich takes a text apart
_GAP = 2  # columns between two cells
_WIDTH = 80  # where neither COLUMNS nor a terminal says it


@dataclass
class Grid:
    """Rows of cells under ``heads``, the first column to the left and the others to the right. Without heads it is
    labels, and texts that fold.
    """

    heads: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Append a row. Cells that it lacks are empty."""
        self.rows.append(cells)

    def rich(self) -> "Table":
        """The same for rich, which knows how wide each character is, and folds what does not fit."""
        from rich.table import Table
        from rich.text import Text

        if not self.heads:
            table = Table.grid(padding=(0, _GAP))
            table.add_column(style="bold", no_wrap=True)
            table.add_column(overflow="fold")
        else:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for i, head in enumerate(self.heads):
                table.add_column(head, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def plain(self, width: int) -> list[str] | None:
        """Its lines in at most ``width`` columns, as rich makes them. None where only rich can."""
        if any(not (cell.isascii() and cell.replace("\n", "").isprintable()) for row in self.rows for cell in row):
            return None
        if not self.heads:
            return _labelled(self.rows, width)
        rows = [row + ("",) * (len(self.heads) - len(row)) for row in [self.heads, *self.rows]]
        if any("\n" in cell for row in rows for cell in row):
            return None
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widths) + _GAP * (len(widths) - 1) > width:
            return None
        return [
            (" " * _GAP).join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]


def _labelled(rows: list[tuple[str, ...]], width: int) -> list[str] | None:
    indent = max((len(label) for label, _ in rows), default=0) + _GAP
    lines = []
    for label, text in rows:
        if "\n" in label:
            return None
        for line in text.split("\n"):
            folded = list(_folded(line, width - indent))
            if any(len(part.rstrip()) > width - indent for part in folded):
                return None
            for part in folded or [""]:
                lines.append(label.ljust(indent) + part)
                label = ""
    return lines


def _folded(line: str, width: int) -> Iterator[str]:
    """A line in parts of at most ``width`` columns, as far as its words allow."""
    start = end = 0
    for word in _WORD.findall(line):
        if end > start and len(word.rstrip()) > width - (end - start):
            yield line[start:end]
            start = end
        end += len(word)
    if line[start:]:
        yield line[start:]


def width() -> int:
    """How many columns a table may have, as rich takes it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        return int(columns)
    for descriptor in range(3):
        with suppress(OSError):
            return os.get_terminal_size(descriptor).columns or _WIDTH
    return _WIDTH
