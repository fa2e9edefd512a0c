"""Where in memory findings lie: which pages of which block they are about."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct, reserve
from ..memory.image import PageSpace
from ..memory.moments import space_of
from ..verify.rules import Severity
from .session import Session

NONE, SOME, WRONG = range(3)  # what a page has: no finding, one, and one that is wrong at the end


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The pages that errors and warnings are about, and those of them that are ``wrong`` at the end.

    ``found`` and ``wrong`` (k,) int64 are their numbers in the ``space``, rising.
    """

    space: PageSpace
    found: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @property
    def names(self) -> list[bytes]:
        """The names of the blocks."""
        return [block.name for block in self.space.blocks]

    @property
    def page_size(self) -> int:
        """The size of a page in bytes."""
        return self.space.page_size

    @property
    def main(self) -> int:
        """The block with most such pages, where there are none the capture's main one."""
        if not len(self.found):
            return self.space.main
        return int(np.bincount(np.searchsorted(self.space.first, self.found, "right") - 1).argmax())

    def values(self, block: int) -> NDArray[np.uint8]:
        """What each page of a block has, (pages,) uint8."""
        first, count = int(self.space.first[block]), int(self.space.pages[block])
        out = reserve((count,), np.uint8)
        for numbers, value in ((self.found, SOME), (self.wrong, WRONG)):
            inside = numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, first + count)]
            out[inside - first] = value
        return out


def found_places(session: Session) -> Places:
    """Gather the pages that errors and warnings are about. This is a thread's work.

    Raises:
        XbrleError: the capture cannot be read.
    """
    space = space_of(session.stream())
    index = {block.name: i for i, block in reversed(list(enumerate(space.blocks)))}
    numbers = {
        int(space.first[index[f.block]]) + f.page // space.page_size
        for f in session.findings.listed
        if f.page is not None and f.severity is not Severity.NOTE
        if f.block in index and f.page < space.blocks[index[f.block]].length
    }
    wrong = session.verdict.wrong if session.verdict is not None else np.zeros(0, np.int64)
    found = distinct(np.concatenate([np.array(list(numbers), np.int64), wrong]))
    return Places(space, found, np.sort(wrong))
