"""`xbrle top`: which pages the guest keeps writing: resends, bytes and passes of each page or range."""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .. import filters
from ..capture import Capture
from ..errors import XbrleError
from ..text import shown, size
from . import warn
from .filtering import filtering, wanted_of
from .options import before, examples, json_lines, salvaging
from .output import report
from .writer import say

if TYPE_CHECKING:
    from ..analysis.top import Top

ORDERS = ("resends", "bytes", "passes", "delta", "address")
ROWS = 20  # that a person is shown where nothing else is asked for
WIDTH = 80
PASSES_SHOWN = 14  # characters


def _usage(by: str, limit: int | None) -> None:
    del limit
    _range(by)


@click.command(
    epilog=examples(
        "top samples/posted-8m.bin",
        "top samples/posted-8m.bin --by 64K --sort bytes pass:2-",
        "top samples/xbzrle-16m.bin --block pc.ram --limit 5 --json",
    )
)
@before(_usage)
@salvaging
@filtering
@click.option(
    "--by",
    default="page",
    show_default=True,
    metavar="page|SIZE|block",
    help="Add up pages by ranges of this size, for example 64K or 2M, or by block.",
)
@click.option(
    "--sort",
    "order",
    type=click.Choice(ORDERS),
    default="resends",
    show_default=True,
    help="What comes first. delta: the deltas that save least. All but addresses fall.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help=f"Print N rows (default: {ROWS}; with --json all).")
@json_lines
def command(
    opened: Capture,
    words: tuple[str, ...],
    by: str,
    order: str,
    limit: int | None,
    as_json: bool,
    **options: str | None,
) -> int:
    """Show which pages of S were sent most often: those that the guest kept writing while it was migrated.

    A resend is a record of a page that S has sent before. The bytes are those of whole records. The column "delta" says
    how large the page's deltas are on average, against the pages that they stand for. A pass is one sweep of the sender
    over memory.

    A FILTER selects the records that are counted, as in `xbrle dump`, for example pass:2- or kind:delta. A record that
    it selects is a resend if any earlier record carried its page.

    Exit status: 0 all of S was read, 1 S is damaged, or records lie outside every block.
    """
    from ..analysis.top import Order, top

    wanted = wanted_of(words, options)
    findings = tuple(opened.verify()) if wanted is not None and "finding" in wanted.fields else ()
    length = _range(by)
    if length is not None and length % opened.page_size:
        raise XbrleError(f"--by {by}: pages of this capture have {opened.page_size} bytes; use a multiple of that")
    found = top(opened.stream, length, wanted, findings)
    names = [shown(b.name) for b in opened.blocks]
    if wanted is not None:
        for name in filters.strangers(wanted, [b.name for b in opened.blocks]):
            warn(f"there is no RAM block {shown(os.fsencode(name))}; this capture has {', '.join(names) or 'none'}")
    rows = found.sorted(Order(order), limit if limit is not None or as_json else ROWS)
    if as_json:
        for i in range(len(rows)):
            say(json.dumps(_object(rows, i, names)))
    else:
        say(_text(found, rows, names, by))
    if found.outside:
        warn(f"{found.outside} records are left out: their pages lie outside every block")
    status = report(opened.problems)
    return 1 if found.outside else status


def _range(by: str) -> int | None:
    """The size of a range in bytes, None for a page.

    Raises:
        XbrleError: it is not a size.
    """
    from ..analysis.top import BY_BLOCK

    if by in ("page", "block"):
        return None if by == "page" else BY_BLOCK
    length = size(by)
    if not 0 < length < 1 << 60 or length & (length - 1):
        raise XbrleError(f"--by {by}: use page, block, or a power of two such as 64K or 2M")
    return length


# -- JSON --------------------------------------------------------------------------------------------------------------


def _object(rows: "Top", i: int, names: Sequence[str]) -> dict[str, Any]:
    deltas = int(rows.deltas[i])
    return {
        "format": 1,
        "block": names[int(rows.block[i])],
        "page": int(rows.address[i]),
        "resends": int(rows.resends[i]),
        "bytes": int(rows.bytes[i]),
        "passes": rows.passes_of(i),
        "length": int(rows.length[i]),
        "pages": int(rows.pages[i]),
        "records": int(rows.records[i]),
        "resent_bytes": int(rows.resent_bytes[i]),
        "payload_bytes": int(rows.payload[i]),
        "deltas": deltas,
        "delta_bytes": int(rows.delta_bytes[i]),
        "delta_share": float(rows.delta_share[i]) if deltas else None,
    }


# -- text --------------------------------------------------------------------------------------------------------------


def _text(found: "Top", rows: "Top", names: Sequence[str], by: str) -> str:
    if not len(found):
        return "no page was sent" if not found.outside else "no page inside a block was sent"
    head = ["block:address", "resends", "bytes", "delta", "passes"]
    if by != "page":
        head.insert(1, "pages")
    table = [head]
    share = rows.delta_share.tolist()
    for i in range(len(rows)):
        place = f"{names[int(rows.block[i])]}:{int(rows.address[i]):#x}" if by != "block" else names[int(rows.block[i])]
        line = [place, str(rows.resends[i]), str(rows.bytes[i]), f"{share[i]:.1%}" if rows.deltas[i] else "-"]
        line.append(_passes(rows.passes_of(i)))
        if by != "page":
            line.insert(1, str(rows.pages[i]))
        table.append(line)
    lines = [_summary(found, by), ""]
    lines += _aligned(table)
    if len(rows) < len(found):
        lines.append(f"... {len(found) - len(rows)} more (--limit {len(found)})")
    return "\n".join(lines)


def _summary(found: "Top", by: str) -> str:
    resent, whole = int(found.resent_bytes.sum()), int(found.bytes.sum())
    again, resends = int((found.resends > 0).sum()), int(found.resends.sum())
    what = {"page": "pages", "block": "blocks"}.get(by, "ranges")
    came = f"{len(found)} {what} came" if len(found) != 1 else f"1 {what[:-1]} came"
    return (
        f"{came}, {again} of them again, in {_count(resends, 'resend')}\n"
        f"resends take {resent} of {whole} bytes ({resent / max(1, whole):.1%})"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def _passes(passes: Sequence[int]) -> str:
    """Passes as ranges, for example 1-3,7. Where that is long, how many there are, and the first and the last."""
    parts: list[list[int]] = []
    for number in passes:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
    return text if len(text) <= PASSES_SHOWN else f"{len(passes)} of {passes[0]}-{passes[-1]}"


def _aligned(table: list[list[str]]) -> list[str]:
    """Columns of equal width: the first to the left, the others to the right, the last as it is.

    A name that would make lines longer than `WIDTH` is cut in its middle.
    """
    last = len(table[0]) - 1
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    room = max(len("block:address"), WIDTH - sum(widths[1:]) - 2 * last)
    widths[0] = min(widths[0], room)
    return [
        "  ".join(
            _cut(cell, room).ljust(widths[0]) if i == 0 else cell if i == last else cell.rjust(widths[i])
            for i, cell in enumerate(row)
        ).rstrip()
        for row in table
    ]


def _cut(text: str, room: int) -> str:
    """``text`` in at most ``room`` characters. What is left out stands in its middle, so that addresses stay whole."""
    if len(text) <= room:
        return text
    end = min(len(text), room - 4)
    tail = text[-min(end, 24) :] if end > 24 else text[-end:]
    return text[: room - len(tail) - 3] + "..." + tail
