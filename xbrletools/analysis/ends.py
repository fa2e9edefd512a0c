"""What the two ends of a migration logged of its pages, held against each other: where they first differ."""

import os
from typing import TYPE_CHECKING

import numpy as np

from ..verify.rules import RULES, Finding
from . import miglog
from .miglog import End

if TYPE_CHECKING:
    from ..capture import Capture

_Path = str | os.PathLike[str]


def disagreement(capture: "Capture", sender: _Path | None, receiver: _Path | None) -> Finding | None:
    """The first page that the sender's mig.log and the receiver's tell differently, or None where they agree.

    A log that is not given is taken from the capture, as that end would have written it. Addresses are not compared:
    the sender's are global, the receiver's are offsets in the block. A receiver's log that ends early ends at the
    record which it refused, and that is the page.

    Raises:
        XbrleError: a log cannot be read or is none.
    """
    ours = miglog.parse(sender) if sender is not None else miglog.written(capture, End.SENDER).log
    theirs = miglog.parse(receiver) if receiver is not None else miglog.written(capture, End.RECEIVER).log
    both = min(len(ours), len(theirs))
    differs = np.zeros(both, bool)
    for name in ("kind", "length", "cksum"):
        differs |= getattr(ours, name)[:both] != getattr(theirs, name)[:both]
    place = int(np.argmax(differs)) if differs.any() else both
    rows = capture.records.by_number
    if place == both and (len(theirs) >= len(ours) or place >= len(rows)):
        return None
    rule = RULES["ends-disagree"]
    evidence: dict[str, object] = {"sender_sum": int(ours.cksum[place]), "sender_lines": len(ours)}
    message = f"the sender logged this page with the sum {int(ours.cksum[place]):#x}; the receiver's log ends before it"
    if place < both:
        evidence["receiver_sum"] = int(theirs.cksum[place])
        message = (
            f"the sender logged this page with the sum {int(ours.cksum[place]):#x}, "
            f"the receiver with {int(theirs.cksum[place]):#x}"
        )
    evidence["receiver_lines"] = len(theirs)
    if place >= len(rows):
        return Finding(rule.id, rule.severity, message, None, place + 1, evidence=evidence)
    row = int(rows[place])
    columns = capture.records.columns
    block = int(columns.block[row])
    return Finding(
        rule.id,
        rule.severity,
        message,
        int(columns.offset[row]),
        place + 1,
        int(capture.records.section[row]),
        capture.records.names[block] if block < len(capture.records.names) else None,
        int(columns.address[row]),
        evidence,
    )
