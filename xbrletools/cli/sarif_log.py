"""The findings as a SARIF 2.1.0 log (OASIS). The place of each is a byte offset. The run has the verdict."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import __version__
from ..urls import is_url, without_secrets
from . import explaining, verdicts
from .writer import write

if TYPE_CHECKING:
    from ..verify.rules import Finding
    from ..verify.verdict import Verdict


def print_log(capture: str, verdict: "Verdict") -> None:
    """Print the log. A capture that cannot be read has no results, and a notification that says why."""
    from ..verify.rules import RULES

    rules = [{"id": r.id, "shortDescription": {"text": r.sentence}} for r in RULES.values()]
    driver = {"name": "xbrle", "version": __version__, "rules": rules}
    was_read = verdict.shared is not None
    why = {"level": "error", "message": {"text": verdict.summary}}
    done = {"executionSuccessful": was_read, "toolExecutionNotifications": [] if was_read else [why]}
    run = {
        "tool": {"driver": driver},
        "invocations": [done],
        "properties": {"verdict": verdicts.as_object(verdict)},
        "results": [],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    head, _, tail = json.dumps(log, indent=1).rpartition("[]")
    separator, place = head + "[", _uri(capture)
    for finding, cause in verdict.shared or ():
        write(separator + "\n    " + json.dumps(_result(place, finding, cause)))
        separator = ","
    write((separator if separator != "," else "") + "]" + tail + "\n")


def _uri(path: str) -> str:
    """A path as a URI reference (RFC 3986). A URL is one, without what may be secret in it."""
    if is_url(path):
        return without_secrets(path)
    return quote(os.fsencode(Path(path).as_posix()))


def _result(uri: str, finding: "Finding", cause: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if finding.offset is not None:
        place["region"] = {"byteOffset": finding.offset}
    return {
        "ruleId": finding.rule,
        "level": finding.severity.value,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
        "properties": explaining.as_object(finding) | {"cause": None if cause < 0 else cause},
    }
