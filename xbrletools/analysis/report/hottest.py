"""The pages that the guest kept writing, on the report's page, and whether the migration would converge."""

import numpy as np

from ...arrays import distinct
from ...text import shown
from ...verify.sentences import some
from ..prospects import Prospect
from ..top import Top
from .gather import Report
from .markup import Markup, clipped, code, folded, note, section, share, table, tag

TICKS = 48  # parts of a line that says in which passes a page came
_WHY = " A sender sends a page again where the guest has written it meanwhile."
_MORE = "xbrle top S --limit N"


def hottest_section(report: Report) -> Markup:
    """What `xbrle top` answers: the pages that were sent most, and when they came."""
    hot = report.hottest
    if hot is None:
        return section("hottest", "Hottest pages", note("Not available: ", clipped(report.failures["hottest"])))
    again = [i for i in range(len(hot)) if hot.resends[i]]
    if not again:
        return section("hottest", "Hottest pages", tag("p", "No page was sent again."))
    names = [shown(b.name) for b in report.stream.blocks]
    last = max(number for _, number in report.sums.passes)
    rows = [
        (
            code(f"{names[int(hot.block[i])]}:{int(hot.address[i]):#x}"),
            f"{int(hot.records[i]):,}",
            _ticks(hot, i, last),
            f"{int(hot.bytes[i]):,}",
            share(int(hot.delta_bytes[i]), int(hot.deltas[i]) * hot.page_size) if hot.deltas[i] else "-",
        )
        for i in again
    ]
    heads = ("page", "sent", f"in which of {last:,} passes", "bytes", "delta")
    return section(
        "hottest",
        "Hottest pages",
        tag("p", f"{some(report.resent, 'page was', 'pages were')} sent more than once.", _WHY),
        table("The pages that were sent most often", heads, rows, 2, class_="hot"),
        note(
            "Delta: how long the page's deltas are on average, against the page. ", code(_MORE), " lists more of them."
        ),
    )


def _ticks(hot: Top, i: int, last: int) -> Markup:
    """A line over all passes, with a tick where the page came."""
    came = hot.passes_of(i)
    room = min(TICKS, last)
    css = "delta" if 2 * int(hot.deltas[i]) > int(hot.records[i]) else "page"
    places = distinct((np.array(came, np.int64) - 1) * room // last).tolist()
    ticks = [tag("rect", x=p * 10, y=0, width=8, height=10, class_=css) for p in places]
    ground = tag("rect", x=0, y=9, width=room * 10, height=1, class_="dup")
    words = f"it came in {len(came):,} of {last:,} passes, from {came[0]:,} to {came[-1]:,}"
    return tag(
        "svg", ground, *ticks, viewBox=f"0 0 {room * 10} 10", preserveAspectRatio="none", role="img", aria_label=words
    )


def converge_section(report: Report) -> Markup:
    """What `xbrle converge` answers for usual links: a sentence for each, with the numbers folded."""
    title, found = "Would it converge?", report.prospects
    other = note("Other links and limits: ", code("xbrle converge S --link RATE --downtime SECONDS"))
    if found is None:
        why = clipped(report.failures["prospects"])
        return section("converge", title, note("Not worked out: ", why, "."), other)
    return section("converge", title, *(part for one in found for part in _prospect(one)), other)


def _prospect(one: Prospect) -> list[Markup]:
    """The sentences about one link, and the senders that were tried."""
    first, *others = one.sentences
    said = [tag("p", first), *map(note, others)]
    if one.rows:
        caption = "The senders that were tried, plain pages first"
        said.append(folded("The numbers", table(caption, one.head, one.rows, len(one.head) - 1)))
    return said
