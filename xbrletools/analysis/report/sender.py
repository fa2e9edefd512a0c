"""Who sent the capture, on the report's page."""

from ...formats import ram
from ...sender.fingerprint import Fingerprint
from .. import printed
from .gather import Report
from .markup import Markup, clipped, folded, lines, note, pairs, section, size_words, tag


def sender_section(report: Report) -> Markup:
    """What `xbrle sender` answers, and the statistics table that a debug build of the sender prints."""
    if report.sender is None:
        return section("sender", "Sender", note("Not available: ", clipped(report.failures["sender"])))
    parts = [pairs(_rows(report.sender))]
    if report.sender.build == "debug":
        facts = report.stream.facts
        form, counts = printed.posted(report.sums, facts.reading.dialect, facts.ram_version or ram.VERSION_NAMED)
        title = "The statistics as this debug build prints them (iterations are inferred)"
        parts.append(folded(title, tag("pre", printed.table(form, counts), tabindex=0)))
    return section("sender", "Sender", *parts)


def _rows(sender: Fingerprint) -> list[tuple[object, object]]:
    """What is known of the sender: label and value."""
    rows: list[tuple[object, object]] = [
        ("dialect", sender.dialect or "not known; one of " + ", ".join(sender.candidates)),
        ("build", sender.build or "not known"),
        ("policy", f"{sender.policy.value}, dup pages {sender.dups.value}"),
        ("ram_addr", sender.layout),
    ]
    if sender.cache_bytes is not None:
        cache = [f"{size_words(sender.cache_min)} or more"]
        if sender.power_of_two is not None:
            least, most = sender.power_of_two
            cache.append(f"if a power of two, {size_words(least)} " + (f"to {size_words(most)}" if most else "or more"))
        if sender.masks[0] is not None:
            cache.append(f"{sender.masks[0]:,} of {sender.masks[1]:,} masks fit")
        rows.append(("cache", lines(cache)))
        choices = (
            f"{sender.predicted:,} of {sender.choices:,} predicted with a cache of {size_words(sender.cache_bytes)}"
        )
    else:
        choices = f"{sender.choices:,}, all full pages"
    rows.append(("choices", choices))
    if sender.first_miss is not None:
        rows.append(("first not predicted", f"record {sender.first_miss:,}"))
    return rows
