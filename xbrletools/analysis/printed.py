"""The statistics table that debug builds of the sender printed (formats/README.md, "The statistics table")."""

from dataclasses import dataclass

from ..formats import statistics
from ..formats.dialects import Dialect, statistics_form
from ..formats.ram import Kind
from ..formats.statistics import CacheLines
from ..sender.fingerprint import CacheCounts
from ..table.sections import Stage
from .stats import Stats


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table. ``share`` is in percent, None for a line without one."""

    label: str
    value: int
    share: float | None = None

    def __str__(self) -> str:
        if self.share is None:
            return statistics.COUNT.format(label=self.label, value=self.value)
        return statistics.SHARE.format(label=self.label, value=self.value, share=self.share)


def _shared(label: str, value: int, total: int) -> Line:
    return Line(label, value, 100.0 * value / total if total else 0.0)


def iterations(stats: Stats) -> int:
    """How often the sender's rate-limited loop ran, inferred from the stream.

    It ran once for each record of START and PART. Where END is empty, it ran twice more and found nothing to send: at
    the end of the last PART and in END [C].
    """
    idle = 0 if stats.stages[Stage.END] else 2
    return int(stats.stages[Stage.START] + stats.stages[Stage.PART]) + idle


def posted(
    stats: Stats, dialect: Dialect | None, ram_version: int, cache: CacheCounts | None = None
) -> tuple[statistics.Form, list[Line]]:
    """The table that a debug build of this dialect printed: its form and lines, without rules and title.

    ``cache`` has what the stream alone does not show. Without it, the lines that need it are left out. Without deltas,
    the lines about deltas are left out.
    """
    form = statistics_form(dialect, ram_version)
    total = stats.total
    normal, dup, delta = (
        int(total.records[Kind.PAGE]),
        int(total.records[Kind.DUP]),
        total.deltas,
    )
    normal_bytes = normal * stats.page_size
    delta_bytes = total.delta_payload + (delta * stats.delta_header if form.header_counts else 0)
    pages, size = normal + dup + delta, normal_bytes + dup + delta_bytes
    lines = [
        Line(statistics.ITERATIONS, iterations(stats)),
        _shared(statistics.NORMAL_PAGES, normal, pages),
        _shared(statistics.NORMAL_BYTES, normal_bytes, size),
        _shared(statistics.DUP_PAGES, dup, pages),
        _shared(statistics.DUP_BYTES, dup, size),
    ]
    if delta:
        lines.append(_shared(statistics.XBRLE_PAGES, delta, pages))
        lines.append(_shared(statistics.XBRLE_BYTES, delta_bytes, size))
        if cache is not None:
            lines.append(_shared(statistics.ABORTED, cache.aborted, cache.aborted + delta))
    lines.append(_shared(statistics.TOTAL_PAGES, pages, pages))
    lines.append(_shared(statistics.TOTAL_BYTES, size, size))
    if delta and form.cache is CacheLines.AGE:
        lines.append(Line(statistics.CACHE_AGE, pages + 1))
    elif delta and form.cache is CacheLines.ITEMS:
        lines.append(Line(statistics.CACHE_INSERTS, normal + delta))
        if cache is not None:
            lines.append(Line(statistics.CACHE_MAX, cache.max_items))
            lines.append(_shared(statistics.CACHE_ITEMS, cache.items, cache.max_items))
    return form, lines


def table(form: statistics.Form, lines: list[Line]) -> str:
    """The table as it was printed, from rule to rule, with its last newline."""
    body = [form.title, *map(str, lines), statistics.RULE]
    return "\n".join([statistics.RULE, *(form.prefix + line for line in body)]) + "\n"
