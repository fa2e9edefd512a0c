"""What the programs that a stream was made for make of it, where no rule finds an error.

A receiver knows more than the rules do: a header byte that no version takes, or fields that end where no footer
stands. The verdict must not call a stream sound that all of them refuse.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..formats.dialects import Loader
from ..model import Stream
from . import rules
from .cause import CauseName
from .found import Found
from .receivers import QEMUS, Destination, Outcome, Receiver, outcomes
from .receivers.posted import DEBUG, DEFAULT
from .rules import Rule

_VERSIONED = re.compile(rb"-(\d{1,3})\.(\d{1,3})$")  # how the name of a machine ends that belongs to a version

#: Notes and warnings that say why every receiver refuses a record, with the cause that they name.
SIGNS: Mapping[Rule, CauseName] = {
    rules.FLAGS_UNKNOWN: CauseName.RECORD_FLAGS,
    rules.FLAGS_COMBINED: CauseName.RECORD_FLAGS,
    rules.NO_KIND: CauseName.RECORD_FLAGS,
    rules.DELTA_FLAGS: CauseName.RECORD_FLAGS,
}


def made_for(stream: Stream) -> tuple[Receiver, ...]:
    """The programs that a stream was made for, from the oldest to the newest. None where it does not tell them.

    A machine's name tells the oldest QEMU that has it. Of the builds of 2011 it is the one that looks at no sum.
    """
    facts, dialect = stream.facts, stream.dialect
    if facts.footers or facts.configuration is not None or (dialect is not None and dialect.loader is Loader.QEMU):
        named = _VERSIONED.search(facts.machine or b"")
        since = tuple(map(int, named.groups())) if named else ()
        return tuple(r for r in QEMUS if r.version >= since) or QEMUS[-1:]
    return (DEFAULT,) if dialect is not None and dialect.loader is Loader.POSTED else ()


def family(stream: Stream) -> tuple[Receiver, ...]:
    """Those that `made_for` names, with the build of them that checks sums."""
    own = made_for(stream)
    return (*own, DEBUG) if own == (DEFAULT,) else own


def refuses(stream: Stream, outcome: Outcome) -> bool:
    """Whether a receiver refuses the stream itself.

    What it only complains about, and what its settings decide, does not count: capabilities, and what the head states.
    """
    return _stops(outcome) and not outcome.needs and outcome.offset != stream.facts.start


def _stops(outcome: Outcome) -> bool:
    return outcome.loads is False and not outcome.goes_on


def with_refusal(found: Found, told: Mapping[str, Outcome]) -> Found:
    """What was found, with an error where every program that the stream was made for refuses it.

    ``told`` are the outcomes by the receivers' names. An error that is there already says why they do.
    """
    if found.stream.salvaged or found.has_errors:
        return found
    own = made_for(found.stream)
    told = _as_set_up(found, own, told)
    own = tuple(r for r in own if not _stops(told[r.name]) or told[r.name].offset != found.stream.facts.start)
    if not own or not all(refuses(found.stream, told[r.name]) for r in own):
        return found
    newest = told[own[-1].name]
    message = f"{titles(own)} {'refuses' if len(own) == 1 else 'refuse'} the stream here: {newest.reason}"
    finding = rules.REFUSED_BY_ALL.finding(
        message,
        newest.offset,
        record=newest.record,
        evidence={"receivers": [r.name for r in own], "said": list(newest.said)},
    )
    return found.with_loose([replace(finding, **_page(found.stream, newest.record))])


def _as_set_up(found: Found, own: Sequence[Receiver], told: Mapping[str, Outcome]) -> Mapping[str, Outcome]:
    """The outcomes of these receivers where all capabilities that they ask for are switched on."""
    needs = frozenset(name for r in own for name in told[r.name].needs)
    if not needs:
        return told
    return outcomes(found.stream, found.first_of_each(), own, Destination(capabilities=needs))


def _page(stream: Stream, record: int | None) -> dict[str, Any]:
    """The block and the page of a record, as a finding has them."""
    if record is None:
        return {}
    columns, row = stream.records.columns, stream.records.row(record)
    block, names = int(columns.block[row]), stream.records.names
    return {"block": names[block] if block < len(names) else None, "page": int(columns.address[row])}


def titles(receivers: Sequence[Receiver]) -> str:
    """Receivers for a person: "QEMU 7.2", "QEMU 7.2 and 8.2", "QEMU 7.2 to 9.2" where they follow each other."""
    names = [r.title.removeprefix("QEMU ") for r in receivers]
    if len(receivers) < 3:
        return " and ".join([receivers[0].title, *names[1:]])
    follow = receivers[0] in QEMUS and QEMUS[QEMUS.index(receivers[0]) :][: len(receivers)] == tuple(receivers)
    return f"QEMU {names[0]} to {names[-1]}" if follow else f"QEMU {', '.join(names[:-1])} and {names[-1]}"


def in_part(stream: Stream, told: Mapping[str, Outcome]) -> str:
    """What a conclusion must add where the programs that a stream was made for do not all load it. Else empty."""
    own = made_for(stream)
    needs = sorted({name for r in own for name in told[r.name].needs})
    in_head = [r for r in own if _stops(told[r.name]) and not told[r.name].needs and not refuses(stream, told[r.name])]
    said = [f"a destination needs the capability {' and '.join(needs)}"] if needs else []
    refusing = [r for r in own if refuses(stream, told[r.name])]
    if refusing and len(refusing) < len(own):
        said.append(f"{titles(refusing)} {'refuses' if len(refusing) == 1 else 'refuse'} it")
    if in_head:
        said.append(f"{titles(in_head)} must be set up as the source was, without CONFIGURATION")
    return "".join(f"; {text}" for text in said)
