"""The guest on the report's page: what it is, where its CPUs are, and where its memory lies."""

from ...text import shown
from .. import guest
from .gather import Report
from .markup import ROWS, Markup, clipped, code, joined, lines, more, note, pairs, section, table, tag


def guest_section(report: Report) -> Markup:
    """What `xbrle info` answers about the guest and its memory."""
    if report.guest is None:
        why = report.failures.get("where", report.failures.get("guest", ""))
        return section("guest", "Guest", note("Not available: ", clipped(why)))
    told = guest.words(guest.as_json(report.guest))
    rows: list[tuple[object, object]] = [(label, clipped(value)) for label, value in told]
    if not rows:
        rows = [("guest", "not known: nothing in memory names it, and the stream does not show its CPUs")]
    return section("guest", "Guest", pairs(rows), tag("h3", "Guest-physical memory"), _memory(report))


def _memory(report: Report) -> Markup:
    """Where memory lies, on which evidence, and what has no place."""
    where = report.where
    assert where is not None
    told: list[tuple[object, object]] = [("evidence", lines([clipped(where.origin), *map(clipped, where.notes)]))]
    if where.unplaced:
        told.append(("not placed", lines(clipped(str(u)) for u in where.unplaced[:ROWS])))
    ranges = [
        (code(f"{r.start:#x}"), code(shown(r.block)), code(f"{r.offset:#x}"), f"{r.length:,}")
        for r in where.ranges[:ROWS]
    ]
    parts = [pairs(told), *more(len(where.unplaced), ROWS, "parts without a place")]
    if ranges:
        parts.append(
            table("Where blocks lie in guest-physical memory", ("address", "block", "offset", "bytes"), ranges, 1)
        )
    return joined([*parts, *more(len(where.ranges), ROWS, "ranges")])
