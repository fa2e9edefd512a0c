"""The verdict on the report's page: its sentence, a line a cause with what shows it folded, and who loads it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from ...errors import XbrleError
from ...formats.ram import Kind
from ...model import Stream
from ...text import shown
from ...verify import sentences
from ...verify.by_rule import NOBODY
from ...verify.cause import Cause
from ...verify.explain import ChainLink, chain, meant
from ...verify.receivers import RECEIVERS, Outcome
from ...verify.receivers.values import DEVICE_VALUES
from ...verify.rules import RULES, Finding
from ...verify.status import Status
from ...verify.verdict import Verdict
from .gather import Report
from .markup import Markup, clipped, code, first, folded, joined, lines, more, note, pairs, section, table, tag

CAUSES = 12  # causes that are shown
PER_CAUSE = 10  # findings of a cause that are shown
REFUTED = 20  # hypotheses that fell
CHAIN = 12  # records behind a finding
ALL = "xbrle verify S --limit 0"

_CSS = {Status.NO_FAULT: "good", Status.HEALED: "healed", Status.INCOMPLETE: "unknown"}


def verdict_box(report: Report) -> Markup:
    """The conclusion, as `xbrle verify` begins with it."""
    found = report.verdict
    if found is None:
        failed = clipped(f"The stream could not be verified: {report.failures['verdict']}.")
        return tag("p", tag("strong", "NOT VERIFIED"), " ", failed, class_="verdict wrong")
    damage = report.stream.facts.damage
    where = []
    if damage is not None:
        told = f"Damaged at offset {damage.offset:#x}: {damage.message}. This is what can be read."
        where = [tag("p", clipped(told), class_="note")]
    badge = tag("strong", f"{found.status.mark} {found.status.words}")
    css = f"verdict {_CSS.get(found.status, 'wrong')}"
    return joined([tag("p", badge, " ", clipped(found.summary), class_=css), *where])


def wrong_words(found: Verdict) -> str:
    """How many pages are wrong at the end. That nothing shows one does not say that there is none."""
    return "not known" if found.pages_wrong is None else f"{found.pages_wrong:,}" if found.pages_wrong else "none shown"


def causes_section(report: Report) -> Markup:
    """A line for each cause, with all that speaks for and against it folded below."""
    found = report.verdict
    if found is None or found.shared is None:
        return section("causes", "Causes", note("Not available: ", clipped(report.failures["verdict"])))
    parts = [
        folded(
            joined([_named(named_cause(cause)), " ", clipped(cause.sentence)]),
            *_cause(cause),
            *_findings(report.stream, list(islice(found.shared.of(i), PER_CAUSE)), cause.explains),
            class_="fold lasting" if cause.lasting else "fold",
        )
        for i, cause in enumerate(found.causes[:CAUSES])
    ]
    if not parts:
        parts.append(tag("p", "Nothing that was found needs a cause."))
    parts += more(len(found.causes), CAUSES, "causes", ALL)
    if found.others:
        count = sum(found.others.values())
        listed = list(islice(found.shared.of(NOBODY), PER_CAUSE))
        named = ", ".join(f"{n:,} {rule}" for rule, n in found.others.items())
        summary = joined([_named("without a cause"), f" {sentences.counted(count, 'finding')}: "])
        parts.append(folded(joined([summary, clipped(named)]), *_findings(report.stream, listed, found.others)))
    if found.next:
        parts += [
            tag("h3", "What to do next"),
            tag("ul", *(tag("li", _command(c)) for c in found.next), class_="next"),
            note(f"S is the capture.{_outputs(found.next)}"),
        ]
    return section("causes", "Causes", *parts)


def named_cause(cause: Cause) -> str:
    """A cause's name, and how sure it is where the name does not say it."""
    name, sure = cause.name.value, cause.sure.value
    return name if name == sure else f"{name} ({sure})"


def _outputs(commands: Sequence[str]) -> str:
    """What stands for files that some commands write."""
    named = [name for name in ("OUT", "T", "FILE") if any(name in line.split() for line in commands)]
    meaning = {"OUT": "a folder to write", "T": "a file to write", "FILE": "the file of a channel"}
    return "".join(f" {name} is {meaning[name]}." for name in named)


def _command(line: str) -> Markup:
    """A command, and what it is for where that is said behind it."""
    command, bracket, purpose = line.partition(" (")
    return joined([code(command), f"{bracket}{purpose}"])


def _named(name: str) -> Markup:
    return tag("span", name, class_="name")


def receivers_section(report: Report) -> Markup:
    """Which receivers load the capture, with how many wrong pages, and what the others say."""
    if report.verdict is None:
        return section("receivers", "Who loads it", note("Not available: ", clipped(report.failures["verdict"])))
    rows = [
        (
            joined([code(name), tag("div", RECEIVERS[name].title, class_="soft")]),
            tag("span", told_word(told), class_=css_of(told)),
            _said(told),
        )
        for name, told in report.verdict.receivers.items()
    ]
    heads = ("receiver", "what becomes of it", "what it says")
    listed = table("What each receiver makes of this stream", heads, rows)
    return section("receivers", "Who loads it", listed, *left_open(report.verdict.receivers.values()))


def left_open(told: Iterable[Outcome]) -> list[Markup]:
    """A note on what these outcomes leave open, where they do."""
    if not any(DEVICE_VALUES in outcome.not_judged for outcome in told):
        return []
    return [note("Values in the devices' data are not judged: a device's own code can refuse one.")]


def told_word(told: Outcome) -> str:
    """What becomes of the stream at a receiver. Where it refuses, that is said first."""
    words = sentences.loads(told)
    return words if told.loads or told.loads is None or told.goes_on else f"refuses it, {words}"


def css_of(told: Outcome) -> str:
    """The class of a receiver's outcome."""
    if told.loads is None:
        return "mark unknown"
    if not (told.loads or told.goes_on):
        return "mark refuses"
    if told.wrong_pages is None:
        return "mark unknown"
    return "mark wrong" if told.wrong_pages else "mark good" if told.loads else "mark refuses"


def _said(told: Outcome) -> object:
    """The lines that a receiver prints, else why it stops."""
    said = [tag("code", clipped(line)) for line in told.said]
    if not said and told.reason:
        said = [tag("span", clipped(told.reason))]
    if told.needs:
        word = "capability" if len(told.needs) == 1 else "capabilities"
        said.append(note(f"Needs the {word} ", ", ".join(told.needs), "."))
    return lines(said)


def _cause(cause: Cause) -> list[Markup]:
    """What a cause did, how sure it is, what shows it, and what fell."""
    rows: list[tuple[object, object]] = [("how sure", sentences.how_sure(cause) or cause.sure.value)]
    if cause.records:
        rows.append(("records made wrong", f"{cause.records:,}"))
    if cause.records or cause.lasting:
        rows.append(("pages not right at the end", f"{cause.lasting:,}"))
    began = [] if cause.began.record is None else [f"record {cause.began.record:,}"]
    if cause.began.offset is not None:
        bit = "" if cause.began.bit is None else f", bit {cause.began.bit}"
        began.append(f"offset {cause.began.offset:#x}{bit}")
    if began:
        rows.append(("began at", ", ".join(began)))
    if cause.evidence:
        rows.append(("shown by", lines(first(REFUTED, [clipped(text) for text in cause.evidence]))))
    if cause.refuted:
        fell = [clipped(f"{name.value}: {why}") for name, why in cause.refuted[:REFUTED]]
        rows.append(("what fell", lines(fell)))
    if cause.repair is not None:
        rows.append(("repair, inferred", clipped(f"{sentences.repaired(cause.repair)}: {cause.repair.why}")))
    return [pairs(rows), *more(len(cause.refuted), REFUTED, "hypotheses", "xbrle verify S --json")]


def _findings(stream: Stream, listed: list[Finding], counts: Mapping[str, int]) -> list[Markup]:
    """The findings of a cause: counted by rule, the first of them, and the records behind the very first."""
    count = sum(counts.values())
    rules = [(code(rule), RULES[rule].sentence, f"{n:,}") for rule, n in counts.items()]
    out = [table("Its findings by rule", ("rule", "what it says", "findings"), rules, 1)]
    rows = [(tag("span", f.severity.value, class_=f"badge {f.severity.value}"), *_finding(f)) for f in listed]
    heads = ("", "rule", "offset", "record", "page", "what was found")
    title = "Its findings" if count <= PER_CAUSE else f"The first {len(rows)} findings, those that last before others"
    out += [table(title, ("severity", *heads[1:]), rows, class_="findings"), *more(count, PER_CAUSE, "findings", ALL)]
    return out + (_behind(stream, listed[0]) if listed else [])


def _finding(finding: Finding) -> tuple[object, ...]:
    return (
        code(finding.rule),
        "-" if finding.offset is None else code(f"{finding.offset:#x}"),
        "-" if finding.record is None else f"{finding.record:,}",
        _place(finding),
        clipped(finding.message),
    )


def _place(finding: Finding) -> object:
    """The block and page that a finding is about."""
    if finding.block is None:
        return "-"
    return code(shown(finding.block) + ("" if finding.page is None else f":{finding.page:#x}"))


def _behind(stream: Stream, finding: Finding) -> list[Markup]:
    """What a finding amounts to, and the records behind it with their first bytes."""
    try:
        sentence, links = meant(stream, finding), chain(stream, finding)
    except XbrleError:
        return []
    out = [note(sentence)] if sentence else []
    if not links:
        return out
    rows = [_link_row(link) for link in [*links[: CHAIN // 2], *links[CHAIN // 2 :][-CHAIN // 2 :]]]
    heads = ("record", "pass", "kind", "begins with", "sum stated", "receiver's", "sender's", "its part")
    count = len(links) + sum(link.left_out for link in links)
    left_out = f"; {count - CHAIN:,} in their middle are left out" if count > CHAIN else ""
    return [*out, table(f"The records behind the first of these{left_out}", heads, rows, class_="chain")]


def _link_row(link: ChainLink) -> tuple[object, ...]:
    return (
        f"{link.version.record:,}",
        link.version.pass_,
        Kind(link.version.kind).name.lower(),
        code(link.wire.hex(" ")),
        *("-" if number is None else code(f"{number:#x}") for number in (link.stated, link.receiver, link.sender)),
        link.part,
    )
