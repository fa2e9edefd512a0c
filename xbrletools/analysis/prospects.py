"""What `converge` found, in words and rows: for the terminal and for the report.

The answer comes first, in one sentence. What it rests on follows: where nothing shows when a capture came, the answer
begins with "If".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..model import Stream
from .arrivals import Arrivals, rate
from .converge import Answer, Convergence, Outcome, converge
from .link import Link
from .writes import writes_of

DOWNTIME = 0.3  # seconds: QEMU's default downtime-limit
LINKS = (125e6, 1.25e9)  # bytes a second: 1 and 10 Gbit/s
HEAD = ("sender", "per page", "converges", "after s", "downtime s", "left MB", "fits MB")
SHORT = 1e10  # bytes from which on hundredths of a megabyte are not shown


@dataclass(frozen=True, slots=True)
class Timing:
    """How it is known when the records of a capture came.

    ``speed`` are the bytes a second at which it is taken to have come, or None where arrival times tell. ``given``: the
    user said so. ``refused`` is why the times that lie beside it do not count, or empty.
    """

    speed: float | None = None
    given: bool = False
    refused: str = ""

    @property
    def known(self) -> bool:
        """Whether times or the user tell it."""
        return self.speed is None or self.given

    def words(self) -> str:
        """What the answer rests on where arrival times do not tell. Empty where they do."""
        if self.speed is None:
            return ""
        if self.refused:
            why = f"The arrival times beside S are refused ({self.refused})"
        else:
            why = "No arrival times lie beside S (xbrle capture writes them)"
        if self.given:
            return f"{why}: that S came at {rate(self.speed)} is what --recorded says."
        return f"{why}, and --recorded is not given: how fast S came, and so how fast the guest writes, is not known."


def answer(found: Convergence, link: Link, limit: float, timing: Timing) -> str:
    """The answer about the plain sender, then about the others where it does not converge."""
    plain = found.outcomes[0]
    over = f"over {rate(link.bandwidth)}"
    if plain.sender.link.speed < link.bandwidth:
        over += f", of which one connection carries {rate(plain.sender.link.speed)}"
    if not len(found.writes.pages):
        return (
            f"Whether this migration would converge {over}, cannot be told: no page came twice, so that S does not "
            "show how fast the guest writes."
        )
    condition = f"If S came at {rate(timing.speed)}, this" if timing.speed is not None else "This"
    if plain.answer is Answer.YES:
        return f"{condition} migration would converge {over}: {_stop(plain, limit, found.devices)}."
    left, fits = megabytes(plain.left), megabytes(plain.fits)
    stay = (
        f"{left} MB remain to be sent, and in the {limit:g} s that the guest may stand still the link carries {fits} MB"
    )
    others = [called(o) for o in found.outcomes[1:] if o.answer is Answer.YES]
    instead = f"It would with {', '.join(others)}" if others else "None of the other senders surely would"
    if plain.answer is Answer.NO:
        return f"{condition} migration would not converge {over}: {stay}. {instead}."
    condition = f"If S came at {rate(timing.speed)}, whether" if timing.speed is not None else "Whether"
    return f"{condition} this migration would converge {over}, cannot be told: at worst {stay}. {instead}."


def _stop(one: Outcome, limit: float, devices: int) -> str:
    """When the guest would stop and for how long, against how long it may."""
    down = one.downtime or 0.0
    text = f"after {one.seconds:.1f} s the guest would stand still for about {down:.3f} s, and it may for {limit:g} s"
    if down > limit:
        text += f"; it is more since QEMU counts memory alone, and the devices take {megabytes(devices)} MB"
    return text


def called(one: Outcome) -> str:
    """The sender of an outcome, with what tells it from others of its kind."""
    sender = one.sender
    if sender.cache_bytes is not None:
        cache = sender.cache_bytes
        return f"{sender.name} {cache >> 20}M" if not cache % (1 << 20) else f"{sender.name} {cache}"
    if sender.link.channels > 1:
        return f"multifd x {sender.link.channels}"
    return f"{sender.name} {one.throttle:.0%}" if one.throttle else sender.name


def rows(found: Convergence) -> list[list[str]]:
    """A row for each sender, under `HEAD`."""
    return [
        [
            called(one),
            f"{one.sender.again:.0f}",
            one.answer.value,
            "-" if one.seconds is None else f"{one.seconds:.1f}",
            "-" if one.downtime is None else f"{one.downtime:.3f}",
            megabytes(one.left),
            megabytes(one.fits),
        ]
        for one in found.outcomes
    ]


def megabytes(count: float) -> str:
    """Bytes in millions, with hundredths where they are few."""
    return f"{count / 1e6:.2f}" if count < SHORT else f"{count / 1e6:.0f}"


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a page about a capture says of one link: sentences, the answer first, and the rows under ``head``.

    ``bandwidth`` is in bytes a second. There are no rows where nothing shows how fast the guest writes.
    """

    bandwidth: float
    sentences: tuple[str, ...]
    head: tuple[str, ...] = HEAD
    rows: tuple[tuple[str, ...], ...] = ()


def prospects(
    stream: Stream,
    arrivals: Arrivals | None,
    refused: str = "",
    links: Sequence[float] = LINKS,
    limit: float = DOWNTIME,
) -> list[Prospect]:
    """Whether the migration of a capture would converge over some links, each in bytes a second.

    ``refused`` is why the arrival times beside the capture do not count. Without times there is one prospect, which
    says that it cannot be told.

    Raises:
        XbrleError: the blocks claim more than any guest has.
    """
    if arrivals is None or not arrivals.whole:
        refused = refused if arrivals is None else f"{arrivals.path}: ends early"
        timing = Timing(0.0, False, refused)
        return [Prospect(0.0, ("Whether this migration would converge cannot be told.", timing.words()))]
    writes, costs, out = writes_of(stream, arrivals, 0.0), None, []
    for bandwidth in links:
        found = converge(stream, writes, Link(bandwidth), limit, costs=costs)
        costs = found.costs
        said = (answer(found, Link(bandwidth), limit, Timing()),)
        out.append(Prospect(bandwidth, said, rows=tuple(map(tuple, rows(found))) if len(writes.pages) else ()))
    return out
