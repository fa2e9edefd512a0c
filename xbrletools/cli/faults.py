"""What commands that give memory say of a capture that reads to its end, and is damaged all the same."""

from typing import TYPE_CHECKING

from ..memory.replay import View
from ..verify.cause import Cause, CauseName
from . import EXIT_FINDINGS, warn
from .output import is_loss

if TYPE_CHECKING:
    from ..capture import Capture


def say_verdict(opened: "Capture", at: int | None = None, view: View = View.RECEIVER) -> int:
    """Say what `verify` concludes of a capture, beside what the scan's problems said. Returns the exit status.

    ``at`` is the number of the last record that counts, and what began later does not. A stale base is the sender's
    fault. The receiver's view is then what the receiver had: it is said, and the status stays 0.
    """
    told = opened.verdict()
    if at is None and not told.is_bad:
        return 0
    said = {p.rule for p in opened.problems if is_loss(p)}
    causes = [c for c in told.causes if _counts(opened, c, at) and not c.explains.keys() & said]
    if view is View.SENDER:
        causes = [c for c in causes if c.name is not CauseName.STALE_BASE]
    if not causes:
        return 0
    warn(f"{told.headline} To see more, use: xbrle verify S")
    return EXIT_FINDINGS if any(c.name is not CauseName.STALE_BASE for c in causes) else 0


def _counts(opened: "Capture", cause: Cause, at: int | None) -> bool:
    """Whether a cause began at record ``at`` or before it, or nothing says where it began."""
    first = cause.first_offset if cause.began.offset is None else cause.began.offset
    if at is None or first is None:
        return True
    columns = opened.records.columns
    return first < int(columns.end()[opened.records.row(at)])
