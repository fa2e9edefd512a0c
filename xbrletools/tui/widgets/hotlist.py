"""The pages that were sent most, one on a line, with when each was sent."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from ...analysis.film import CLASSES
from ...analysis.top import Order, Top
from ...text import shown
from ..charts import merged
from ..palette import Palette, style
from ..session import PagePlace, Session
from .lines import Line, Lines, page_name

PARTS = 96  # of the stream, in which a page's records are counted apart
LISTED = 1000  # pages that are listed
_SPARK = "▁▂▃▄▅▆"  # no full block: those of neighbouring lines would grow together
_ADDRESS = 14  # cells of an address and what parts it from the name
_NAME_LEAST, _NAME_MOST = 18, 34
_WHEN = 46  # cells beside the name from which on there is room to say over what the last column goes
_PASSES = 9  # cells of the passes, where there is room


@dataclass(frozen=True, slots=True, eq=False)
class HotPages:
    """The pages that come first in an order, and what is said of all of them.

    ``sent`` (n, PARTS, 3) and ``wrong`` (n, PARTS) are what `lives` gives, None until it is known. Of ``pages`` pages
    in all, ``again`` were sent again, in ``resends`` resends of ``resent`` of ``whole`` bytes.
    """

    order: Order
    top: Top
    pages: int
    again: int
    resends: int
    resent: int
    whole: int
    sent: NDArray[np.int64] | None = None
    wrong: NDArray[np.int64] | None = None


class HotList(Lines):
    """The list."""

    def __init__(self, session: Callable[[], Session], palette: Palette) -> None:
        super().__init__(id="hot")
        self._session = session
        self.palette = palette
        self.plain = False
        self.hot: HotPages | None = None

    def count(self) -> int:
        """How many pages are listed."""
        return 0 if self.hot is None else len(self.hot.top)

    def place(self, line: int) -> PagePlace:
        """The page on a line."""
        assert self.hot is not None
        return int(self.hot.top.block[line]), int(self.hot.top.address[line])

    def _name_room(self, width: int) -> int:
        """Cells for the names of pages: as many as the longest needs."""
        facts = self._session().facts
        longest = max((cell_len(shown(name)) for name in facts.names), default=0) if facts is not None else 0
        return max(_NAME_LEAST, min(_NAME_MOST, longest + _ADDRESS, width - 62))

    def heads(self) -> Line:
        """The names of the columns."""
        width = self.scrollable_content_region.width
        name, wide = self._name_room(width), width >= 100
        passes = f" {'passes':>{_PASSES}}" if wide else ""
        when = "over the stream" if width - name >= _WHEN else "when"
        return [(f" {'page':<{name}}{'resends':>8}{'bytes':>12}{'delta':>7}{passes}  {when}", "title")]

    def line(self, row: int, width: int) -> Line:
        """A page, how often it was sent again, the bytes of all its records, and when it was sent."""
        if self.hot is None:
            return []
        top, (block, address) = self.hot.top, self.place(row)
        facts = self._session().facts
        names = facts.names if facts is not None else ()
        name = names[block] if block < len(names) else b""
        share = f"{top.delta_share[row]:.1%}" if top.deltas[row] else "-"
        room = self._name_room(width)
        text: list[tuple[str, object]] = [
            (f" {page_name(name, address, room)}", ""),
            (f"{int(top.resends[row]):>8,}", "strong"),
        ]
        text.append((f"{int(top.bytes[row]):>12,}{share:>7}", ""))
        if width >= 100:
            text.append((f" {_passes(top, row):>{_PASSES}}", "dim"))
        used = sum(cell_len(piece) for piece, _ in text)
        return [*text, ("  ", ""), *self._life(row, max(8, min(PARTS, width - used - 3)))]  # type: ignore[list-item]

    def _life(self, row: int, cells: int) -> Line:
        """When a page was sent: as high as it was often, in the colour of the kind that came most, or of trouble."""
        hot = self.hot
        if hot is None or hot.sent is None or hot.wrong is None:
            return [("working out when", "dim")]
        starts = np.arange(cells) * PARTS // cells
        sent, wrong = np.add.reduceat(hot.sent[row], starts), np.add.reduceat(hot.wrong[row], starts)
        total = sent.sum(1)
        most = max(1, int(total.max()))
        colours = [getattr(self.palette, name) for name in CLASSES]
        out: list[tuple[str, object]] = []
        for count, kind, bad in zip(total.tolist(), sent.argmax(1).tolist(), wrong.tolist(), strict=True):
            if not count:
                out.append(("·", "dim"))
                continue
            colour = self.palette.wrong if bad else colours[kind]
            mark = "!" if self.plain and bad else _SPARK[min(len(_SPARK) - 1, count * len(_SPARK) // (most + 1))]
            out.append((mark, "" if self.plain else style(colour)))
        return merged(out)


def _passes(top: Top, row: int) -> str:
    """The passes in which a page came: all of them where they follow each other, else how many of which."""
    passes = top.passes_of(row)
    if len(passes) == 1:
        return str(passes[0])
    first, last = passes[0], passes[-1]
    return f"{first}-{last}" if last - first == len(passes) - 1 else f"{len(passes)} to {last}"
