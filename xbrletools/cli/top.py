"""`xbrle top`: which pages the guest keeps writing: resends, bytes and passes of each page or range."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ..capture import Capture
from ..errors import XbrleError
from ..text import amount, counted, shown, size, some
from . import warn
from .addresses import giving_map, map_from
from .filtering import filtering, say_strangers, wanted_of
from .guide import Page
from .options import before, examples, json_lines, limiting, salvaging
from .output import fitted, report
from .times import times_of
from .writer import say, say_object

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals
    from ..analysis.owners import Owners
    from ..analysis.top import Top

ORDERS = ("resends", "bytes", "resent", "passes", "delta", "address")
ROWS = 20  # that a person is shown where nothing else is asked for
NOTES = 10  # lines about what of the guest cannot be read
PASSES_SHOWN = 14  # characters


def _usage(by: str | None, symbols: str | None, map_file: str | None) -> None:
    _range(by or "page")
    if by == "owner" and symbols is None:
        raise click.UsageError("--by owner needs --symbols VMLINUX")
    if symbols is not None and by not in (None, "owner", "page"):
        raise click.UsageError("--symbols goes with --by owner or --by page")
    if map_file is not None and symbols is None:
        raise click.UsageError("--map goes with --symbols: owners are found by guest-physical addresses")
    if symbols is not None:
        from ..analysis.linux import check_installed

        check_installed()


@click.command(
    cls=Page,
    epilog=examples(
        "top samples/posted-8m.bin",
        "top samples/posted-8m.bin --by 64K --sort bytes pass:2-",
        "top samples/xbzrle-16m.bin --block pc.ram --limit 5 --json",
    ),
)
@before(_usage)
@salvaging
@filtering
@click.option(
    "--by",
    metavar="page|SIZE|block|owner",
    help="Add up pages by ranges of this size, for example 64K or 2M, by block, or by owner (default: page; with "
    "--symbols owner).",
)
@click.option(
    "--sort",
    "order",
    type=click.Choice(ORDERS),
    help="What comes first (default: resends; by owner resent). resent: bytes of resends. delta: the deltas that save "
    "least. All but addresses fall.",
)
@limiting("Print N rows.", f"{ROWS}; with --json all")
@click.option(
    "--symbols",
    metavar="VMLINUX",
    help="Name the owner of each page, for a Linux guest: process, file, slab cache or part of the kernel. VMLINUX is "
    "its kernel with debug information (needs xbrletools[symbols]).",
)
@giving_map
@json_lines
def command(
    opened: Capture,
    words: tuple[str, ...],
    by: str | None,
    order: str | None,
    limit: int | None,
    symbols: str | None,
    map_file: str | None,
    as_json: bool,
    **options: str | None,
) -> int:
    """Show which pages of S were sent most often: those that the guest kept writing while it was migrated.

    A resend is a record of a page that S has sent before. The bytes are those of whole records. The column "delta" says
    how large the page's deltas are on average, against the pages that they stand for. A pass is one sweep of the sender
    over memory.

    A FILTER selects the records that are counted, as in `xbrle dump`, for example pass:2- or kind:delta. A record that
    it selects is a resend if any earlier record carried its page.

    Owners are those at the end of S. By owner, only pages that were sent again are counted.

    Exit status: 0 all of S was read, 1 S is damaged, records lie outside every block, or owners cannot be read.
    """
    from ..analysis import top as counts

    by = by or ("page" if symbols is None else "owner")
    wanted = wanted_of(words, options)
    findings = tuple(opened.verify()) if wanted is not None and "finding" in wanted.fields else ()
    length = _range(by)
    if length is not None and length % opened.page_size:
        raise XbrleError(f"--by {by}: pages of this capture have {opened.page_size} bytes; use a multiple of that")
    found = counts.top(opened.stream, wanted, findings)
    names = [shown(b.name) for b in opened.blocks]
    say_strangers(wanted, [b.name for b in opened.blocks])
    owners: Owners | None = None
    if by == "owner" and symbols is not None:
        found, owners = _by_owner(opened, found, symbols, map_file)
    elif length is not None:
        found = counts.ranges(found, opened.blocks, length)
    kind = counts.Order(order or ("resent" if by == "owner" else "resends"))
    chosen = found.order(kind)[: (limit or None) if limit is not None or as_json else ROWS]
    rows = found.take(chosen)
    if by == "owner" and owners is not None:
        owners = replace(owners, index=chosen)
    elif symbols is not None:
        owners = _owners(opened, rows, symbols, map_file)
    when, times_status = times_of(opened)
    if as_json:
        for i in range(len(rows)):
            say_object(_object(rows, i, names, owners, when))
    else:
        say(_text(found, rows, names, by, owners, when))
    status = max(times_status, report(opened.problems))
    if found.outside:
        warn(f"{some(found.outside, 'record is', 'records are')} left out: pages outside every block")
    return 1 if _warned(owners) or found.outside else status


def _warned(owners: "Owners | None") -> bool:
    """Whether some of the guest cannot be read. Says what."""
    notes = owners.notes if owners is not None else ()
    for note in notes[:NOTES]:
        warn(note)
    if len(notes) > NOTES:
        warn(f"{len(notes) - NOTES} more parts of the guest cannot be read")
    return bool(notes)


def _range(by: str) -> int | None:
    """The size of a range in bytes, None for a page or an owner.

    Raises:
        XbrleError: it is not a size.
    """
    from ..analysis.top import BY_BLOCK

    if by in ("page", "owner", "block"):
        return BY_BLOCK if by == "block" else None
    length = size(by)
    if not 0 < length < 1 << 60 or length & (length - 1):
        raise XbrleError(f"--by {by}: use page, block, owner, or a power of two such as 64K or 2M")
    return length


def _owners(opened: Capture, rows: "Top", symbols: str, map_file: str | None) -> "Owners":
    from ..analysis.owners import owners_of

    return owners_of(opened.stream, map_from(opened, map_file), symbols, rows.block, rows.address)


def _by_owner(opened: Capture, found: "Top", symbols: str, map_file: str | None) -> "tuple[Top, Owners]":
    """The pages that were sent again, by owner: a row for each of the owners."""
    from ..analysis.top import grouped

    again = found.take(found.resends.nonzero()[0])
    owners = _owners(opened, again, symbols, map_file)
    used, group = np.unique(owners.index, return_inverse=True)
    owners = replace(owners, owners=tuple(owners.owners[i] for i in used.tolist()))
    return grouped(again, group, len(used)), owners


# -- JSON --------------------------------------------------------------------------------------------------------------


def _object(
    rows: "Top", i: int, names: Sequence[str], owners: "Owners | None", when: "Arrivals | None"
) -> dict[str, Any]:
    deltas, block = int(rows.deltas[i]), int(rows.block[i])
    out: dict[str, Any] = {
        "block": names[block] if block >= 0 else None,
        "page": int(rows.address[i]) if block >= 0 else None,
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
    if when is not None and when.whole and when.seconds:
        out["resends_per_second"] = int(rows.resends[i]) / when.seconds
        out["resent_bytes_per_second"] = int(rows.resent_bytes[i]) / when.seconds
    if owners is not None:
        owner = owners.of(i)
        out["owner"] = {"kind": owner.kind, "name": owner.name, "what": owner.what or None, "pid": owner.pid}
    return out


# -- text --------------------------------------------------------------------------------------------------------------


def _text(
    found: "Top", rows: "Top", names: Sequence[str], by: str, owners: "Owners | None", when: "Arrivals | None"
) -> str:
    if not len(found):
        return "no page was sent" + (" again" if by == "owner" else "")
    share, with_pages = rows.delta_share.tolist(), by != "page"
    last = "passes" if by != "page" or owners is None else "owner"
    sizes = rows.resent_bytes if by == "owner" else rows.bytes
    head = ["owner" if by == "owner" else "block:address", *(["pages"] if with_pages else []), "resends"]
    table = [[*head, "resent bytes" if by == "owner" else "bytes", "delta", last]]
    table += [
        [
            _place(rows, i, names, by, owners),
            *([str(rows.pages[i])] if with_pages else []),
            str(rows.resends[i]),
            str(sizes[i]),
            f"{share[i]:.1%}" if rows.deltas[i] else "-",
            _called(owners, i) if owners is not None and last == "owner" else _passes(rows.passes_of(i)),
        ]
        for i in range(len(rows))
    ]
    lines = [_summary(found, by)]
    if when is not None and when.whole and when.seconds:
        from ..analysis.arrivals import rate

        resent = float(found.resent_bytes.sum()) / when.seconds
        lines.append(f"in {when.seconds:.3f} s: {found.resends.sum() / when.seconds:.1f} resends/s, {rate(resent)}")
    lines += ["", fitted(table, PASSES_SHOWN)]
    if len(rows) < len(found):
        lines.append(f"... {len(found) - len(rows)} more (--limit {len(found)})")
    return "\n".join(lines)


def _place(rows: "Top", i: int, names: Sequence[str], by: str, owners: "Owners | None") -> str:
    """What a row is about: an owner, a block, or an address in it."""
    if by == "owner" and owners is not None:
        return _called(owners, i)
    name = names[int(rows.block[i])]
    return name if by == "block" else f"{name}:{int(rows.address[i]):#x}"


def _called(owners: "Owners", i: int) -> str:
    """The owner of a row: what it is, then which part of it."""
    owner = owners.of(i)
    words = [str(owner.pid)] if owner.pid is not None else []
    return " ".join([*words, owner.name]) + (f": {owner.what}" if owner.what else "")


def _summary(found: "Top", by: str) -> str:
    resent, whole = int(found.resent_bytes.sum()), int(found.bytes.sum())
    again, resends = int((found.resends > 0).sum()), int(found.resends.sum())
    if by == "owner":
        pages = some(int(found.pages.sum()), "page was", "pages were")
        return f"{pages} sent again, in {counted(resends, 'resend')} of {amount(resent)}"
    came = counted(len(found), by if by in ("page", "block") else "range")
    return (
        f"{came} came, {again} of them again, in {counted(resends, 'resend')}\n"
        f"resends take {resent / max(1, whole):.1%}: {resent:,} of {amount(whole)}"
    )


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
