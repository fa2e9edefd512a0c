"""Where a guest's memory lies, in words and as JSON: one form for `info`, the report and the sidecar of an export."""

from typing import Any

from ..physical.layout import PhysicalMap, Unplaced
from ..text import shown


def as_json(where: PhysicalMap) -> dict[str, Any]:
    """A map as JSON has it: what is placed and why, and what is not. ``whole``: all memory of the guest is placed."""
    return {
        "placed": [
            {
                "block": shown(r.block),
                "offset": r.offset,
                "address": r.start,
                "length": r.length,
                "evidence": r.evidence,
            }
            for r in where.ranges
        ],
        "unplaced": [_not_placed(u) for u in where.unplaced],
        "hidden": [_not_placed(u) for u in where.hidden],
        "whole": where.is_whole,
    }


def _not_placed(part: Unplaced) -> dict[str, Any]:
    hint = {} if part.hint is None else {"guess": part.hint}
    about = {"block": shown(part.block), "offset": part.offset, "length": part.length, "reason": part.reason}
    return {**about, **hint}
