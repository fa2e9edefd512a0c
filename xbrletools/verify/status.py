"""The word for a capture, and what a scan alone shows of it. Rules and causes are imported where it met a problem."""

from enum import StrEnum

from ..model import Facts


class Status(StrEnum):
    """What is to be said of a capture in a word, from the best to the worst."""

    NO_FAULT = "no-fault"  # nothing shows a fault
    HEALED = "healed"  # pages were wrong, and later records gave them anew
    INCOMPLETE = "incomplete"  # channels, the tail or pages are missing
    DAMAGED = "damaged"  # bytes were changed or lost on the way
    CORRUPT = "corrupt"  # pages are wrong at the end
    UNREADABLE = "unreadable"  # nothing of it reads as a stream

    @property
    def words(self) -> str:
        """The word as a person reads it."""
        return self.value.replace("-", " ").upper()

    @property
    def mark(self) -> str:
        """A mark for it. It always stands with the word."""
        return {Status.NO_FAULT: "✓", Status.HEALED: "●", Status.INCOMPLETE: "?"}.get(self, "✗")


def of_scan(facts: Facts) -> tuple[Status | None, str]:
    """What a scan alone shows: the status, and why. None where it met nothing wrong, which says nothing of memory."""
    if facts.problems:
        from .scanned import first_error

        found = first_error(facts)
        if found is not None:
            problem, lacks_parts = found
            status = Status.INCOMPLETE if lacks_parts else Status.DAMAGED
            return status, f"{problem.message} ({problem.rule} at {problem.offset:#x})"
    return None, "the scan met nothing wrong; to check memory, use: xbrle verify S"
