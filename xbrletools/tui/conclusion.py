"""The verdict on a line: a badge, and clauses in the order of their weight, of which as many are shown as fit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..verify.cause import CauseName
from ..verify.status import Status
from .palette import Palette

if TYPE_CHECKING:
    from ..verify.receivers import Receiver
    from ..verify.verdict import Verdict

_ENDS = (". ", "; ", ": ", " - ", ", ")  # of a part of a sentence


def badge(verdict: "Verdict") -> str:
    """The status, as the top bar shows it."""
    return f"{verdict.status.mark} {verdict.status.words}"


def colour_of(status: Status, colours: Palette) -> str:
    """The colour of a status."""
    if status is Status.NO_FAULT:
        return colours.good
    if status is Status.HEALED:
        return colours.healed
    return colours.unknown if status is Status.INCOMPLETE else colours.wrong


def clauses(verdict: "Verdict", room: int) -> list[str]:
    """The conclusion in short, what weighs most first. The first clause fits into ``room`` cells where it can."""
    from ..verify.receivers import RECEIVERS  # takes long to import, and before there is a verdict nobody needs it

    out = [shortened(_head(verdict), room)]
    if verdict.first_bad_record is not None:
        out.append(f"first bad record {verdict.first_bad_record}")
    if verdict.first_lasting_record not in (None, verdict.first_bad_record):
        out.append(f"lasting from {verdict.first_lasting_record}")
    if verdict.causes:
        cause = verdict.causes[0]
        more = f" and {len(verdict.causes) - 1} more" if len(verdict.causes) > 1 else ""
        sure = "" if cause.name is CauseName.UNKNOWN else f" ({cause.sure.value})"
        out.append(f"cause: {cause.name.value}{sure}{more}")
    if not verdict.receivers:
        return out
    loading = [RECEIVERS[name] for name, told in verdict.receivers.items() if told.loads]
    if len(loading) == len(verdict.receivers):
        out.append("every receiver loads it")
    else:
        out.append(f"loads: {_titles(loading)}" if loading else _unless(verdict))
    return out


def _unless(verdict: "Verdict") -> str:
    """Where no receiver is known to load it: the capabilities with which some would, or which of them perhaps do."""
    from ..verify.receivers import RECEIVERS

    wanted = sorted({name for told in verdict.receivers.values() for name in told.needs})
    if wanted:
        return f"needs {' and '.join(wanted)} on the destination"
    perhaps = [RECEIVERS[name] for name, told in verdict.receivers.items() if told.loads is None]
    return f"loads perhaps: {_titles(perhaps)}" if perhaps else "no receiver loads it"


def shortened(text: str, room: int) -> str:
    """A sentence without what is least needed, so that it fits into ``room`` cells: it is cut where a part of it ends.

    Where even its first part does not fit, that part is given.
    """
    while len(text) > room and (ends := [at for mark in _ENDS if (at := text.rfind(mark)) > 0]):
        text = text[: max(ends)]
    return text


def _titles(loading: "Sequence[Receiver]") -> str:
    """The receivers that load it. Those of QEMU that follow each other are put together."""
    from ..verify.receivers import QEMUS
    from ..verify.refused import titles

    own = [r.name for r in loading if r not in QEMUS]
    of_qemu = [r for r in loading if r in QEMUS]
    return ", ".join([*own, *([titles(of_qemu)] if of_qemu else [])])


def _head(verdict: "Verdict") -> str:
    """What is the matter, in a few words."""
    count = verdict.pages_wrong
    if verdict.status is Status.CORRUPT and count is not None:
        return f"{count:,} {_pages(count)} wrong at the end"
    if verdict.status is Status.HEALED:
        records = sum(cause.records for cause in verdict.causes)
        return f"{records:,} wrong {_pages(records)} on the way, all healed"
    text = verdict.summary.partition(". ")[0].removesuffix(".")
    if verdict.status is Status.NO_FAULT:
        return text.partition("; ")[2]
    for cause in verdict.causes:  # it has a clause of its own, as the first bad record has
        text = text.replace(f" ({cause.name.value})", "")
    return text.partition("; first bad record ")[0]


def _pages(count: int) -> str:
    return "page" if count == 1 else "pages"
