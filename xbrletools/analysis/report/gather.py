"""What a report is made of, asked of the library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...errors import XbrleError
from ...memory.image import Image
from ...memory.moments import memory_of
from ...model import Stream
from ...physical.infer import map_of
from ...physical.layout import PhysicalMap
from ...sender.fingerprint import Fingerprint, fingerprint
from ...verify.checker import found_in, verify
from ...verify.rules import Finding, Severity
from ...verify.verdict import Verdict, verdict
from .. import facts, stats
from ..arrivals import Arrivals, beside
from ..facts import Overview
from ..guest import Guest, guest_of
from ..stats import Stats

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows. A part that could not be made is None, and ``failures`` says why, by the part's name."""

    stream: Stream
    overview: Overview
    sums: Stats
    findings: list[Finding] | None
    verdict: Verdict | None
    sender: Fingerprint | None
    image: Image | None
    arrivals: Arrivals | None
    where: PhysicalMap | None
    guest: Guest | None
    failures: dict[str, str]

    @property
    def is_bad(self) -> bool:
        """Whether the capture is damaged or could not be verified, or a finding is an error."""
        if self.stream.facts.damage is not None or self.findings is None or self.verdict is None:
            return True
        return self.verdict.is_bad or any(f.severity is Severity.ERROR for f in self.findings)


def gather(stream: Stream) -> Report:
    """Ask the library for all that a report shows. Of a damaged capture it shows what can be read.

    Raises:
        XbrleError: this is not a migration stream.
    """
    failures: dict[str, str] = {}

    def part(name: str, make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except XbrleError as error:
            failures[name] = str(error)
            return None

    where = part("where", lambda: map_of(stream))
    sums = stats.collect_table(stream)
    return Report(
        stream,
        facts.overview_of(stream.facts, sums),
        sums,
        part("findings", lambda: list(verify(stream))),
        part("verdict", lambda: verdict(found_in(stream))),
        part("sender", lambda: fingerprint(stream)),
        part("image", lambda: memory_of(stream)),
        part("arrivals", lambda: beside(stream.source)),
        where,
        part("guest", lambda: guest_of(stream, where)) if where is not None else None,
        failures,
    )
