"""Findings and the rules that make them: each rule has a stable id, a severity, and a line that says what it means."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Severity(Enum):
    """How much a finding matters: an error loses or falsifies memory, or keeps a receiver from loading."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a capture that should not be there, or that a reader should know.

    ``offset`` is the byte in the capture where it shows; ``record`` the record's number from 1; ``section`` that of its
    section; ``block`` the RAM block's name as bytes; ``page`` the page's address in its block. Each is None where it does
    not apply. ``evidence`` holds numbers and texts that show it, by name, ready for JSON.
    """

    rule: str
    severity: Severity
    message: str
    offset: int | None = None
    record: int | None = None
    section: int | None = None
    block: bytes | None = None
    page: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
