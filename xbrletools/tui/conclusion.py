"""The verdict on a line: a badge, and clauses in the order of their weight, of which as many are shown as fit."""

from ..verify.status import Status
from ..verify.verdict import Verdict
from .palette import Palette


def badge(verdict: Verdict) -> str:
    """The status, as the top bar shows it."""
    return f"{verdict.status.mark} {verdict.status.words}"


def colour_of(status: Status, colours: Palette) -> str:
    """The colour of a status."""
    if status is Status.NO_FAULT:
        return colours.good
    if status is Status.HEALED:
        return colours.healed
    return colours.unknown if status is Status.INCOMPLETE else colours.wrong


def clauses(verdict: Verdict) -> list[str]:
    """The conclusion in short, what weighs most first."""
    out = [_head(verdict)]
    if verdict.first_bad_record is not None:
        out.append(f"first bad record {verdict.first_bad_record}")
    if verdict.first_lasting_record not in (None, verdict.first_bad_record):
        out.append(f"lasting from {verdict.first_lasting_record}")
    if verdict.causes:
        cause = verdict.causes[0]
        more = f" and {len(verdict.causes) - 1} more" if len(verdict.causes) > 1 else ""
        out.append(f"cause: {cause.name.value} ({cause.sure.value}){more}")
    if not verdict.receivers:
        return out
    loading = [name for name, told in verdict.receivers.items() if told.loads]
    every = len(loading) == len(verdict.receivers)
    out.append("every receiver loads it" if every else f"loads: {', '.join(loading) if loading else 'none'}")
    return out


def _head(verdict: Verdict) -> str:
    """What is the matter, in a few words."""
    if verdict.status is Status.CORRUPT:
        count = verdict.pages_wrong
        return "pages are wrong at the end" if count is None else f"{count} {_pages(count)} wrong at the end"
    if verdict.status is Status.HEALED:
        records = sum(cause.records for cause in verdict.causes)
        return f"{records} wrong {_pages(records)} on the way, all healed"
    text = verdict.summary.partition("; ")[2] if verdict.status is Status.NO_FAULT else verdict.summary
    return text.partition(". ")[0].removesuffix(".")


def _pages(count: int) -> str:
    return "page" if count == 1 else "pages"
