"""Damages against what is said of them."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import xbrletools
from xbrletools.errors import XbrleError
from xbrletools.verify.cause import Cause, CauseName, Sure
from xbrletools.verify.causes.diagnose import diagnose

from .damage import Bytes, ImpossibleError, Truth, Whole, damage

COLUMNS = ("right", "among", "unknown", "wrong", "wrong, certain", "no evidence")


@dataclass(frozen=True)
class Outcome:
    """One damage and the first cause that was named."""

    capture: str
    truth: Truth
    cause: Cause | None
    column: str
    repair: str | None
    seconds: float
    causes: int = 0

    @property
    def is_first(self) -> bool:
        """Whether the first cause word is right."""
        return self.cause is not None and self.cause.name in self.truth.right


def judged(truth: Truth, causes: tuple[Cause, ...]) -> str:
    """The column of the table that an answer belongs in."""
    if not causes:
        return "no evidence"
    cause = causes[0]
    if cause.sure is Sure.UNKNOWN or cause.name is CauseName.UNKNOWN:
        return "unknown"
    if cause.name in truth.right and cause.sure in (Sure.CERTAIN, Sure.LIKELY):
        return "right"
    if cause.sure is Sure.ONE_OF and set(truth.right) & set(cause.candidates):
        return "among"
    return "wrong, certain" if cause.sure is Sure.CERTAIN else "wrong"


def repaired(whole: Whole, data: Bytes, causes: tuple[Cause, ...]) -> str | None:
    """Whether the repair that is called unique gives the undamaged bytes. None where none is offered."""
    repair = causes[0].repair if causes else None
    if repair is None:
        return None
    fixed = data[: repair.offset].tobytes() + repair.data + data[repair.offset + repair.replaced :].tobytes()
    return "right" if fixed == whole.data.tobytes() else "wrong"


def diagnosed(data: Bytes) -> tuple[Cause, ...]:
    """What is said of these bytes."""
    raw = data.tobytes()
    try:
        stream = xbrletools.open(raw).stream
    except XbrleError:
        stream = xbrletools.open(raw, salvage=True).stream
    return diagnose(stream)


def outcomes(name: str, whole: Whole, other: Whole | None, kinds: list[str], seeds: range) -> Iterator[Outcome]:
    """Damage a capture in each way, and ask for each what is wrong."""
    for kind in kinds:
        for seed in seeds:
            try:
                data, truth = damage(whole, kind, (seed,), other)
            except ImpossibleError:
                break
            begun = time.perf_counter()
            causes = diagnosed(data)
            seconds = time.perf_counter() - begun
            first = causes[0] if causes else None
            yield Outcome(
                name, truth, first, judged(truth, causes), repaired(whole, data, causes), seconds, len(causes)
            )


def table(found: list[Outcome]) -> str:
    """The outcomes by kind of damage, as a table in Markdown."""
    by_kind: dict[str, Counter[str]] = {}
    for outcome in found:
        by_kind.setdefault(outcome.truth.kind, Counter())[outcome.column] += 1
    lines = ["| damage | " + " | ".join(COLUMNS) + " | all |", "|---" * (len(COLUMNS) + 2) + "|"]
    total: Counter[str] = Counter()
    for kind, counts in by_kind.items():
        lines.append(f"| {kind} | " + " | ".join(str(counts[c]) for c in COLUMNS) + f" | {sum(counts.values())} |")
        total.update(counts)
    lines.append("| all | " + " | ".join(str(total[c]) for c in COLUMNS) + f" | {sum(total.values())} |")
    return "\n".join(lines)


def shares(found: list[Outcome]) -> tuple[float, float]:
    """Of the damages that leave evidence, the share whose cause is right, and with those where it is among several."""
    speaks = [o for o in found if o.column != "no evidence"]
    right = sum(o.column == "right" for o in speaks)
    among = sum(o.column == "among" for o in speaks)
    return right / max(1, len(speaks)), (right + among) / max(1, len(speaks))
