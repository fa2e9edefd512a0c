"""Where the user wants to go: a record, a file offset or a page, as typed."""

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..table.columns import Columns
from ..table.growing import GrowingTable
from ..table.kinds import IS_PAGE
from ..text import address, called
from .session import PagePlace, Session

HINT = "123 · 0x315000 or BLOCK:0x315000 (page) · @0x1f00 (file offset)"


def goto(session: Session, text: str) -> tuple[int, PagePlace | None]:
    """The row that ``text`` names, and the page where it names one: ``123``, ``@0x1f00`` or ``pc.ram:0x315000``.

    For a page, the row is its last record at or before the chosen one, or else its first.

    Raises:
        XbrleError: there is no such record or page, or ``text`` does not name one.
    """
    text, table = text.strip(), session.table
    if table is None or not len(table):
        raise session.no_record()
    if text.startswith("@"):
        _, offset = address(text[1:])
        row = table.at(offset)
        if row is None:
            raise XbrleError(f"no record begins at or before {offset:#x}")
        return row, None
    if text.isdecimal():
        row = table.row_of(int(text))
        if row is None:
            raise XbrleError(f"there is no record {text}; there are 1 to {table.records}")
        return row, None
    name, offset = address(text)
    page_size = table.found.page_size
    place = (_block(session, table, name), offset // page_size * page_size)
    row = _row_of_page(table, place, session.row)
    if row is None:
        raise XbrleError(f"no record gives the page at {place[1]:#x}")
    return row, place


def _row_of_page(table: GrowingTable, place: PagePlace, chosen: int) -> int | None:
    """The last row up to the chosen one that carries a page, or else the first."""
    block, page = place

    def carries(c: Columns) -> NDArray[np.bool_]:
        carrying: NDArray[np.bool_] = (c.address == np.uint64(page)) & (c.block == block) & IS_PAGE[c.kind]
        return carrying

    row = table.find(chosen + 1, -1, carries)
    return table.find(-1, 1, carries) if row is None else row


def _block(session: Session, table: GrowingTable, name: str | None) -> int:
    """The index of the block called ``name``, as written or as shown. Without a name, the chosen record's."""
    if name is None:
        record = session.record()
        return record.block if record is not None and record.block is not None else 0
    if matching := called(table.names, name):
        return matching[0]
    raise XbrleError(f"there is no RAM block {name!r}")
