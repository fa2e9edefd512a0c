"""The verdict: findings -> causes -> one conclusion about a capture.

docs/verdict.md explains the words. `by_rule` says which cause explains which finding, `harm` what a cause did to
memory, `sentences` puts it in words.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np

from ..arrays import distinct
from ..errors import XbrleError
from ..model import Stream
from . import rules, sentences
from .by_rule import NOBODY, Shared, shared
from .cause import Began, Cause, CauseName, Sure
from .causes.diagnose import walks_otherwise
from .found import Found
from .harm import NO_HARM, Harm, harm
from .marks import Ints, findings
from .receivers import Outcome, outcomes
from .refused import in_part, with_refusal
from .replayed import cut_row
from .rules import Finding, Proof
from .scanned import MISSING
from .status import Status
from .tested import OPEN, tested, too_large


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion about a capture, as ``verify --json`` gives it.

    ``first_bad_record`` is the first after which the receiver's memory differs from the sender's, healed or not, and
    ``first_lasting_record`` the first that no later record healed. ``pages_wrong`` counts the pages that are wrong at
    the end at the receiver. It is None where that cannot be told. ``causes`` are in the order of their weight.
    ``receivers`` are by name. ``others`` counts the findings that need no cause, by rule. ``next`` are commands that
    show or mend more, ``S`` being the capture. ``shared`` says which finding each of the causes explains, by its place
    among them. It is None where nothing was read. ``wrong`` and ``maybe`` (n,) int64 are the numbers of pages that are
    wrong at the end, and that may be.
    """

    status: Status
    summary: str
    first_bad_record: int | None = None
    first_lasting_record: int | None = None
    pages_wrong: int | None = None
    causes: tuple[Cause, ...] = ()
    receivers: Mapping[str, Outcome] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    next: tuple[str, ...] = ()
    shared: Shared | None = field(default=None, compare=False, repr=False)
    wrong: Ints = field(default_factory=lambda: _NO_PAGES, compare=False, repr=False)
    maybe: Ints = field(default_factory=lambda: _NO_PAGES, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Without `shared`, which leads to the whole stream: so another process can have what was concluded."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "shared"}
        return partial(Verdict, **kept), ()

    @property
    def headline(self) -> str:
        """The status as a person reads it, and the summary."""
        return f"{self.status.words}: {self.summary}"

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong at the end, missing, or lost on the way."""
        return self.status not in (Status.NO_FAULT, Status.HEALED)


#: Causes that lie with the sender: nothing was changed on the way.
_SENDERS = (CauseName.STALE_BASE, CauseName.BASE_WRONG)
#: Causes after whose first record the receiver's memory differs from the sender's.
_CHANGES_PAGES = (
    CauseName.PAYLOAD_VALUE,
    CauseName.PAGE_CONTENT,
    CauseName.ADDRESS,
    CauseName.RECORDS_MISSING,
    CauseName.RECORDS_REPEATED,
    CauseName.RECORDS_REORDERED,
    CauseName.BYTES_OVERWRITTEN,
    CauseName.SPLICED,
)
#: Causes that hypotheses name, and whose harm the sums of later records tell.
_TOLD_BY_SUMS = (CauseName.CHECKSUM_FIELD, CauseName.PAYLOAD_VALUE, CauseName.PAGE_CONTENT)
_NO_PAGES: Ints = np.empty(0, np.int64)
#: How sure the causes are that rules name, where that is not `Sure.LIKELY`.
_SURE = {CauseName.CHANNEL_MISSING: Sure.CERTAIN, CauseName.UNKNOWN: Sure.UNKNOWN}


def verdict(found: Found) -> Verdict:
    """Conclude from all that was found in a capture."""
    told = outcomes(found.stream, found.first_of_each())
    return concluded(tested(shared(with_refusal(found, told))), told)


def concluded(split: Shared, told: Mapping[str, Outcome]) -> Verdict:
    """The verdict on findings that causes have shared out among themselves. ``told`` is what each receiver does."""
    stream = split.found.stream
    harms = [_harm(split, i) for i in range(len(split.names))]
    made = _less_sure(split, [_cause(split, i, h) for i, h in enumerate(harms)])
    causes = _breaks_first(sorted(made, key=_weight))
    begun = [_row(stream, c) for c in causes if c.name in _CHANGES_PAGES]
    first = min((row for row in (*begun, *(h.first for h in harms)) if row is not None), default=None)
    lasting = min((h.first_lasting for h in harms if h.first_lasting is not None), default=None)
    wrong = distinct(np.concatenate([_NO_PAGES, *(h.wrong for h in harms)]))
    ended = _came_to_its_end(stream)
    maybe = distinct(np.concatenate([_NO_PAGES, *(h.maybe for h in harms)]))
    is_open = any(_is_open(split, i) or len(h.maybe) or len(h.lost) for i, h in enumerate(harms))
    status = _status(stream, causes, ended and bool(len(wrong) or len(maybe)))
    pages_wrong = len(wrong) if ended and not is_open else None
    where = None
    if lasting is not None and status is Status.CORRUPT:
        where = (*sentences.place_of(stream, lasting), _number(stream, lasting) or 0)
    more = in_part(stream, told) if status in (Status.NO_FAULT, Status.HEALED) else ""
    return Verdict(
        status,
        _summary(stream, status, causes, (first, lasting), (wrong, maybe), more),
        _number(stream, first),
        _number(stream, lasting),
        pages_wrong,
        tuple(causes),
        {name: replace(o, wrong_pages=pages_wrong) if o.loads or o.goes_on else o for name, o in told.items()},
        dict(split.explains(NOBODY)),
        sentences.onward(causes, where),
        split.in_order([next(i for i, m in enumerate(made) if m is cause) for cause in causes]),
        wrong,
        maybe,
    )


def unreadable(error: XbrleError) -> Verdict:
    """The verdict on what cannot be read at all."""
    return Verdict(Status.UNREADABLE, str(error))


# -- causes ------------------------------------------------------------------------------------------------------------


def _harm(split: Shared, index: int) -> Harm:
    """What a cause did to memory. Where pages are only its consequences, nothing is told of them."""
    if split.names[index] in (CauseName.FORCED_READING, CauseName.CHANNEL_MISSING, CauseName.FOREIGN_CHANNEL):
        return NO_HARM
    done = harm(split, index)
    return replace(NO_HARM, records=done.records) if split.names[index] is CauseName.CHECKSUM_FIELD else done


def _is_open(split: Shared, index: int) -> bool:
    """Whether a cause leaves pages of which nothing that was found tells whether they are wrong."""
    if split.names[index] is CauseName.FORCED_READING:
        return True
    return split.causes[index] is not None and split.names[index] not in _TOLD_BY_SUMS


def _row(stream: Stream, cause: Cause) -> int | None:
    """The row of the record that a cause began at, None where it is not known."""
    number = cause.began.record
    return None if number is None or not 0 < number <= stream.records.numbers.last else stream.records.row(number)


def _cause(split: Shared, index: int, done: Harm) -> Cause:
    """A cause as its rules tell it, or as hypotheses do."""
    stream, name, given = split.found.stream, split.names[index], split.causes[index]
    lasting = done.pages
    if given is not None:
        explains = dict(split.explains(index))
        records = max(given.records, done.records)
        return replace(given, sentence=sentences.tested(given), records=records, lasting=lasting, explains=explains)
    first = _first(split, index)
    sentence, sure, evidence = _told(split, index, done, first)
    return Cause(
        name,
        sure,
        sentence,
        Began(first.offset, first.record),
        evidence=evidence,
        records=done.records,
        lasting=lasting,
        first_record=_number(stream, done.first) or first.record,
        first_offset=first.offset,
        explains=dict(split.explains(index)),
    )


def _less_sure(split: Shared, causes: list[Cause]) -> list[Cause]:
    """The causes, none of those that hypotheses name certain where there are several, or damage that nothing explains.

    Each hypothesis was tested against others as if it were alone. One damage in two places can look like two.
    """
    tried = [given is not None for given in split.causes]
    if sum(tried) < 2 and not (any(tried) and CauseName.UNKNOWN in split.names):
        return causes
    return [
        replace(c, sure=Sure.LIKELY) if is_tried and c.sure is Sure.CERTAIN else c
        for c, is_tried in zip(causes, tried, strict=True)
    ]


def _first(split: Shared, index: int) -> Finding:
    """The first finding of a cause."""
    firsts = [split.found.loose[i] for i in np.flatnonzero(split.loose == index)[:1].tolist()]
    for i in split.numbers(index):
        firsts += findings(split.found.marks[i], next(split.parts(i, index))[:1], split.found.stream.records)
    end = split.found.stream.facts.end
    first: Finding = min(firsts, key=lambda f: end if f.offset is None else f.offset)
    return first


def _told(split: Shared, index: int, done: Harm, first: Finding) -> tuple[str, Sure, tuple[str, ...]]:
    """A cause's sentence, how sure it is, and what shows it."""
    stream, name = split.found.stream, split.names[index]
    if name is CauseName.STALE_BASE:
        proofs = _proofs(split, index)
        sure = Sure.CERTAIN if proofs.keys() & {Proof.CHECKSUM, Proof.UNIFORM} else Sure.LIKELY
        evidence = tuple(f"{rules.STALE_BASE.conclusions[p]} ({n:,})" for p, n in proofs.items())
        dialect = stream.dialect.name if stream.dialect else "this"
        return (
            sentences.stale(stream, done.records, done.left),
            sure,
            tuple(e.replace("{dialect}", dialect) for e in evidence),
        )
    text = first.message[:1].upper() + first.message[1:].rstrip(".")
    row = cut_row(stream)
    if row >= 0 and first.offset == int(stream.records.columns.offset[row]) and (number := _number(stream, row)):
        text = text.replace("this record", f"record {number}")
    sure = _SURE.get(name, Sure.LIKELY)
    word = "" if name is CauseName.UNKNOWN else f" ({name.value})"
    untold = too_large(stream) if name in OPEN else None
    evidence = (f"{first.rule}: {first.message}", *([untold] if untold else []))
    return f"{text}{word}." + (f" {untold}." if untold else ""), sure, evidence


def _proofs(split: Shared, index: int) -> Counter[str]:
    """What shows stale bases, with the number of records that it shows it of."""
    counts = Counter[str]()
    for i in split.numbers(index, rules.STALE_BASE):
        shown = split.found.marks[i].evidence["certainty"]
        for places in split.parts(i, index):
            words, numbers = np.unique(shown[places], return_counts=True)
            counts.update(dict(zip(words.tolist(), numbers.tolist(), strict=True)))
    return counts


def _weight(cause: Cause) -> tuple[bool, int, int]:
    """Where a cause stands among others: those that last first, then by the records that they explain."""
    return not cause.lasting, -cause.records, -sum(cause.explains.values())


def _breaks_first(causes: Sequence[Cause]) -> list[Cause]:
    """The causes with the first break in framing before what may be its consequences: what shows after it."""
    breaks = [c for c in causes if c.explains.keys() - {rule.id for rule in rules.PAGE_RULES} and c.name not in MISSING]
    first = min(breaks, key=lambda c: c.first_offset or 0, default=None)
    if first is None:
        return list(causes)
    after = [c for c in causes if c is not first and (c.first_offset or 0) > (first.first_offset or 0)]
    place = min((causes.index(c) for c in after), default=len(causes))
    ordered = [c for c in causes if c is not first]
    ordered.insert(min(place, causes.index(first)), first)
    return ordered


# -- the conclusion ----------------------------------------------------------------------------------------------------


def _came_to_its_end(stream: Stream) -> bool:
    """Whether all of RAM was read, so that it can be told what is wrong with it at the end."""
    facts = stream.facts
    whole = stream.broken is None and not len(stream.lost) and not any(g.may_hold_records for g in facts.gaps)
    return whole and (facts.complete or facts.ram_ended)


def _status(stream: Stream, causes: Sequence[Cause], is_wrong: bool) -> Status:
    """The worst that is true."""
    names = {cause.name for cause in causes}
    missing = set(MISSING)
    if CauseName.FORCED_READING in names:
        return Status.INCOMPLETE
    if not stream.facts.complete:  # what cut the main channel cut the others, too
        missing.add(CauseName.CHANNEL_DAMAGED)
    if is_wrong and any(cause.lasting for cause in causes):
        return Status.CORRUPT
    if names - missing - set(_SENDERS):
        return Status.DAMAGED
    if names & missing:
        return Status.INCOMPLETE
    return Status.HEALED if names else Status.NO_FAULT


def _summary(
    stream: Stream,
    status: Status,
    causes: Sequence[Cause],
    rows: tuple[int | None, int | None],
    pages: tuple[Ints, Ints],
    receivers: str,
) -> str:
    """The conclusion in a sentence or two.

    ``rows`` are those of the first bad record and of the first that lasts, ``pages`` those that are wrong at the end
    and those that may be. ``receivers`` is what `in_part` says.
    """
    bad = "" if rows[0] is None else f"; {sentences.first_bad(stream, rows[0], rows[1])}"
    if status is Status.NO_FAULT:
        walk = sentences.OTHER_WALK if too_large(stream) is None and walks_otherwise(stream) else ""
        return f"The stream was read to its end; {sentences.sums(stream)}{walk}{receivers}."
    if status is Status.HEALED:
        records = sum(cause.records for cause in causes)
        gave = sentences.some(records, "record gave a wrong page", "records gave wrong pages")
        return f"{gave}, and later records healed all of them: nothing is wrong at the end{bad}{receivers}."
    if status is Status.CORRUPT:
        return f"{sentences.wrong(stream, *pages)} at the end{bad}."
    worst = next((c for c in causes if c.name not in _SENDERS), causes[0])
    return f"{worst.sentence.removesuffix('.')}{bad}."


def _number(stream: Stream, row: int | None) -> int | None:
    return None if row is None else int(stream.records.numbers.of(np.array([row]))[0]) or None
