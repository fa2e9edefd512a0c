"""What commands that give memory say of a capture that reads to its end, and is damaged all the same."""

from typing import TYPE_CHECKING

from ..memory.replay import View
from ..verify.cause import Cause, CauseName
from . import EXIT_FINDINGS, warn
from .output import is_loss, report

if TYPE_CHECKING:
    from ..capture import Capture


def say_verdict(opened: "Capture", at: int | None = None, view: View = View.RECEIVER, name: str = "S") -> int:
    """Say what `verify` concludes of a capture. Returns the exit status.

    ``at`` is the number of the last record that counts, and what began later does not. A stale base is the sender's
    fault, and the receiver's memory is what the receiver had all the same: that is said and does not count. The
    sender's ``view`` does not have a stale base. ``name`` is what the command calls the capture.

    Where the scan lost a part of the capture, the status is 1 by that, and causes of anything else take long to tell
    from its consequences. So that is left to `verify`, and said.
    """
    if any(map(is_loss, opened.problems)):
        warn(f"whether what was read is right was not looked at; to look, use: xbrle verify {name}")
        return EXIT_FINDINGS
    if opened.stream.salvaged:  # what salvage skipped nothing of may lack records all the same: a strict scan shows it
        strict = opened.reread(salvage=False)
        return max(report([p for p in strict.problems if is_loss(p)]), say_verdict(strict, at, view, name))
    told = opened.verdict()
    causes = [c for c in told.causes if _counts(opened, c, at)] if told.is_bad or at is not None else []
    bad = [c for c in causes if c.name is not CauseName.STALE_BASE]
    if bad or (causes and view is View.RECEIVER):
        warn(f"{told.headline} To see more, use: xbrle verify {name}")
    return EXIT_FINDINGS if bad else 0


def _counts(opened: "Capture", cause: Cause, at: int | None) -> bool:
    """Whether a cause began at record ``at`` or before it, or nothing says where it began."""
    if at is None:
        return True
    record = cause.first_record if cause.began.record is None else cause.began.record
    if record is not None:
        return record <= at
    offset = cause.first_offset if cause.began.offset is None else cause.began.offset
    return offset is None or offset < int(opened.records.columns.end()[opened.records.row(at)])
