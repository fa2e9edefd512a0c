"""What a report is made of, asked of the library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import XbrleError
from ...memory.image import Image
from ...memory.moments import memory_of
from ...model import Stream
from ...physical.infer import map_of
from ...physical.layout import PhysicalMap
from ...sender.fingerprint import Fingerprint, fingerprint
from ...source.sources import Source
from ...verify.checker import found_in
from ...verify.found import Found
from ...verify.verdict import Verdict, verdict
from .. import about, arrivals, facts, stats
from ..arrivals import Arrivals
from ..facts import Overview
from ..guest import Guest, guest_of
from ..prospects import Prospect, prospects
from ..stats import Stats
from ..top import Order, Top, top

if TYPE_CHECKING:
    from ...ram.channels import Spool

HOTTEST = 12  # pages that were sent most
CONVERGE_MAX = 256 << 20  # bytes of a capture for which other senders are tried, which reads every page

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows. A part that could not be made is None, and ``failures`` says why, by the part's name.

    ``about`` are the lines of `xbrle info`, label and value of each, an empty label where a line goes on. ``hottest``
    are the pages that came most often, ``resent`` counts all that came again.
    """

    stream: Stream
    overview: Overview
    about: list[tuple[str, str]] | None
    sums: Stats
    verdict: Verdict | None
    sender: Fingerprint | None
    image: Image | None
    arrivals: Arrivals | None
    where: PhysicalMap | None
    guest: Guest | None
    hottest: Top | None
    resent: int
    prospects: list[Prospect] | None
    failures: dict[str, str]

    @property
    def found(self) -> Found | None:
        """The findings, with those that only the verdict adds. None where the stream could not be verified."""
        return None if self.verdict is None or self.verdict.shared is None else self.verdict.shared.found

    @property
    def is_bad(self) -> bool:
        """Whether the capture is damaged or could not be verified, or a finding is an error."""
        if self.stream.facts.damage is not None or self.found is None or self.verdict is None:
            return True
        return self.verdict.is_bad or self.found.has_errors


def gather(stream: Stream, source: Source, channels: "Spool | None" = None) -> Report:
    """Ask the library for all that a report shows. Of a damaged capture it shows what can be read.

    ``source`` is what was opened, ``channels`` are those beside it.

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
    overview = facts.overview_of(stream.facts, sums)
    arrived = part("arrivals", lambda: arrivals.beside(stream.source))
    when = None if arrived is None else arrivals.as_json(arrived)
    hot = part("hottest", lambda: top(stream))
    return Report(
        stream,
        overview,
        part("about", lambda: _about(stream, about.described(overview, source, channels, when))),
        sums,
        part("verdict", lambda: verdict(found_in(stream))),
        part("sender", lambda: fingerprint(stream)),
        part("image", lambda: memory_of(stream)),
        arrived,
        where,
        part("guest", lambda: guest_of(stream, where)) if where is not None else None,
        None if hot is None else hot.sorted(Order.RESENDS, HOTTEST),
        0 if hot is None else int((hot.resends > 0).sum()),
        part("prospects", lambda: _prospects(stream, arrived, failures.get("arrivals", ""))),
        failures,
    )


def _about(stream: Stream, told: dict[str, Any]) -> list[tuple[str, str]]:
    return about.summary(told, facts.dialect_words(stream.reading))


def _prospects(stream: Stream, arrived: Arrivals | None, refused: str) -> list[Prospect]:
    """Whether it would converge over usual links. ``refused`` is why the times beside it do not count.

    Raises:
        XbrleError: it is too large to be tried here, or cannot be.
    """
    if arrived is not None and len(stream.data) > CONVERGE_MAX:
        raise XbrleError(f"the capture is larger than {CONVERGE_MAX >> 20} MiB, and to try other senders takes long")
    return prospects(stream, arrived, refused)
