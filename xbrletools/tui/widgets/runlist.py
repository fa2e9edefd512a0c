"""The runs of a delta, one on a line."""

from ...codec.runs import Run
from .lines import Line, Lines

_VALUE_BYTES = 8  # bytes of a run's value that are shown


class RunList(Lines):
    """The runs of a delta, or a line that says why there are none."""

    def __init__(self) -> None:
        super().__init__(id="runs")
        self.runs: list[Run] = []
        self._why_none = ""

    def show_runs(self, runs: list[Run], why_none: str) -> None:
        """Show other runs, the cursor on the first. ``why_none`` is shown where there are none."""
        self.runs, self._why_none = runs, why_none
        self.cursor = 0
        self.renew()

    def count(self) -> int:
        """How many there are, or 1 line that says why there are none."""
        return len(self.runs) or 1

    def line(self, row: int, width: int) -> Line:
        """Where in the page a run is, how long, and of what."""
        if not self.runs:
            return [(f" {self._why_none}", "dim")]
        run = self.runs[row]
        value = f"{run.value[:_VALUE_BYTES].hex(' ')}{' ..' if len(run.value) > _VALUE_BYTES else ''}"
        offset = "" if run.offset is None else f"+{run.offset:<4x} "
        return [
            (f" {offset}", "dim"),
            (f"{run.start:03x} ", "strong" if run.value else "dim"),
            (f"{run.length:5,}x ", "" if run.value else "dim"),
            (value or "unchanged", "changed" if run.value else "dim"),
        ]

    @property
    def chosen(self) -> Run | None:
        """The run under the cursor, None where there are none."""
        return self.runs[min(self.cursor, len(self.runs) - 1)] if self.runs else None

    def holding(self, at: int) -> int | None:
        """The place of the run that a byte of the page lies in."""
        for i, run in enumerate(self.runs):
            if run.start <= at < run.start + run.length:
                return i
        return None
