"""The report's page: its head with the verdict, the contents, and the other parts in the order of their weight."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from ...text import shown
from ...verify.rules import Severity
from .devices import devices_section
from .gather import Report
from .glossary import glossary_section
from .guest import guest_section
from .hottest import converge_section, hottest_section
from .maps import maps_section
from .markup import Markup, joined, share, size_words, tag
from .passes import passes_section
from .sender import sender_section
from .stream import sections_section, size_line, stream_section
from .style import STYLE
from .verdict import causes_section, receivers_section, verdict_box, wrong_words

CONTENTS = (
    ("causes", "Causes"),
    ("receivers", "Who loads it"),
    ("passes", "Passes"),
    ("pages", "Pages"),
    ("hottest", "Hottest pages"),
    ("converge", "Would it converge?"),
    ("guest", "Guest"),
    ("devices", "Devices"),
    ("stream", "The stream"),
    ("sender", "Sender"),
    ("sections", "Sections"),
    ("glossary", "Glossary"),
)


def page(report: Report, digests: Mapping[str, str], tool: str) -> str:
    """The HTML page. ``digests`` are those of the input, by what was digested. ``tool`` is the program that made it."""
    name = base(str(report.stream.name))
    parts = (
        causes_section(report),
        receivers_section(report),
        passes_section(report),
        maps_section(report),
        hottest_section(report),
        converge_section(report),
        guest_section(report),
        devices_section(report),
        stream_section(report, digests),
        sender_section(report),
        sections_section(report.overview),
        glossary_section(),
    )
    head = [tag("p", "Migration stream report", class_="over"), tag("h1", name), verdict_box(report), _tiles(report)]
    foot = f"Made by {tool}. S is the capture. Offsets are bytes in it, after decompression."
    return document(f"{name} - migration stream report", head, CONTENTS, parts, tool, foot)


def document(
    title: str,
    head: Sequence[Markup],
    contents: Sequence[tuple[str, str]],
    parts: Sequence[Markup],
    tool: str,
    foot: str,
) -> str:
    """A page that stands alone: its policy forbids it to load anything, and to run anything."""
    links = tag("ul", *(tag("li", tag("a", words, href=f"#{key}")) for key, words in contents))
    nav = tag("nav", links, aria_label="Contents")
    meta = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=tool),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    body = tag("body", tag("header", *head, nav), tag("main", *parts), tag("footer", foot))
    return "<!doctype html>\n" + tag("html", meta, body, lang="en") + "\n"


def base(name: str) -> str:
    """A file's name without its folder, as it is shown."""
    return os.path.basename(shown(os.fsencode(name)))  # noqa: PTH119 - what is shown may not be a path


def _tiles(report: Report) -> Markup:
    """A few numbers."""
    stream, sums = report.stream, report.sums
    counts: Counter[Severity] = Counter()
    for (_, severity), count in report.found.counts().items() if report.found is not None else ():
        counts[severity] += count
    words = [f"{counts[s]:,} {s.value}{'s' if counts[s] != 1 else ''}" for s in Severity if counts[s]]
    saved = sums.saved(sums.total)
    tiles = (
        ("pages wrong at the end", "not known" if report.verdict is None else wrong_words(report.verdict)),
        ("size", size_line(report)),
        ("records with a page", f"{sums.total.pages:,}"),
        ("dialect", stream.dialect.name if stream.dialect else "no delta shows it"),
        (
            "deltas save",
            f"{size_words(saved)}, {share(saved, sums.plain(sums.total))}" if sums.total.deltas else "no delta",
        ),
        ("findings", ", ".join(words) or ("not known" if report.found is None else "none")),
    )
    return tag("dl", joined(tag("div", tag("dt", t), tag("dd", value)) for t, value in tiles), class_="tiles")
