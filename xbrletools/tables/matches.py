"""The table `matches`: every time that a pattern of YARA rules was at a place, over all versions of all pages."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..analysis.arrivals import Arrivals
from ..analysis.lives import search_all
from ..analysis.yara import Engine, columns, pattern_of
from ..arrow.tables import ArrowTable
from ..arrow.values import Batch, batch
from ..formats.times import NANOSECONDS
from ..model import Stream
from .content import RAW_MAX
from .schema import AT_ONCE, MATCHES, schema_of


def matches(stream: Stream, engine: Engine, when: Arrivals | None = None) -> ArrowTable:
    """The lives that `analysis.lives.search_all` finds for the patterns of an engine, a row each.

    They come in the order of addresses. ``when`` tells when records came. `Engine.cut` counts the matches that end
    early, once the rows were made.

    Raises:
        XbrleError: while rows are made: the rules take too long, or a pattern has too many places.
    """

    def batches() -> Iterator[Batch]:
        lives = search_all(stream, pattern_of(engine))
        while part := list(islice(lives, AT_ONCE)):
            told = columns(stream, part, engine.patterns, when)
            yield batch(MATCHES.fields, [_row({name: told[name][i] for name in told}) for i in range(len(part))])

    return ArrowTable(schema_of(MATCHES), batches)


def _row(life: dict[str, Any]) -> tuple[Any, ...]:
    return (
        life["file"],
        life["rule"],
        life["pattern"],
        life["block"],
        int(life["offset"]),
        int(life["length"]),
        life["content"][:RAW_MAX],
        int(life["appeared"]),
        int(life["pass"]) or None,
        _seconds(life["elapsed"]),
        int(life["vanished"]) or None,
        int(life["vanished_pass"]) or None,
        _seconds(life["vanished_elapsed"]),
    )


def _seconds(elapsed: int) -> float | None:
    return int(elapsed) / NANOSECONDS if elapsed >= 0 else None
