"""The lines of `info`, for what holds the browser to them."""

from pathlib import Path

import xbrletools
from xbrletools.analysis import about, facts, guest
from xbrletools.verify.status import of_scan


def info_lines(path: Path) -> list[tuple[str, str]]:
    """Label and value of each line about the capture that `info` prints."""
    capture = xbrletools.open(path)
    told = facts.as_json(facts.gather(capture.stream), capture.source)
    status, why = of_scan(capture.facts)
    told |= {"verdict": {"status": status, "summary": why}, "arrival": None}
    physical, who = about.memory_and_guest(capture.stream)
    lines = about.summary(told, facts.dialect_words(capture.facts.reading))
    lines += about.placing(physical) if physical is not None else []
    return lines + (guest.words(who) if who is not None else [])
