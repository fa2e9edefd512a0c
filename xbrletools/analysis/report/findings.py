"""What is wrong with the capture, on the report's page: its findings by rule, and the records behind them."""

from ...errors import XbrleError
from ...formats.ram import Kind
from ...model import Stream
from ...text import shown
from ...verify.explain import ChainLink, chain, conclusion
from ...verify.receivers import RECEIVERS, outcomes
from ...verify.rules import RULES, Finding, Severity
from .gather import Report
from .markup import Markup, clipped, code, more, note, section, table, tag

PER_RULE = 10  # findings of a rule and severity that are shown
CHAIN = 12  # records behind a finding


def findings_section(report: Report) -> Markup:
    """What `xbrle verify` answers."""
    if report.findings is None:
        return section("Findings", note("Not available: ", clipped(report.failures["findings"])))
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault((finding.severity, finding.rule), []).append(finding)
    order = list(Severity)
    ranked = sorted(groups.items(), key=lambda group: order.index(group[0][0]))
    rules = [_rule(report.stream, severity, rule, members) for (severity, rule), members in ranked]
    return section(
        "Findings",
        *(rules or [note("None.")]),
        tag("h3", "What receivers make of it"),
        _receivers(report.stream, report.findings),
    )


def _receivers(stream: Stream, findings: list[Finding]) -> Markup:
    """Which receivers load the capture, and where the others stop."""
    rows = []
    for name, result in outcomes(stream, findings).items():
        place = "the end" if result.offset is None else f"{result.offset:#x}"
        place += "" if result.record is None else f", record {result.record}"
        loads = "yes" if result.loads else "it complains and goes on" if result.goes_on else f"no, stops at {place}"
        words = "; ".join(result.said) or result.reason or ""
        rows.append((RECEIVERS[name].title, loads, clipped(words)))
    return table(("receiver", "loads it", "what it says"), rows)


def _rule(stream: Stream, severity: Severity, rule: str, members: list[Finding]) -> Markup:
    """One rule's findings, the first of them with the records behind it."""
    count = tag("span", f"{len(members):,}", class_="count")
    title = tag("h3", tag("span", severity.value, class_=f"badge {severity.value}"), f" {rule} ", count)
    rows = [
        (
            "-" if f.offset is None else code(f"{f.offset:#x}"),
            "-" if f.record is None else f"{f.record:,}",
            _place(f),
            clipped(f.message),
            _evidence(f),
        )
        for f in members[:PER_RULE]
    ]
    listed = table(("offset", "record", "page", "message", "evidence"), rows, class_="findings")
    meaning = note(RULES[rule].sentence[0].upper() + RULES[rule].sentence[1:] + ".")
    return tag("div", title, meaning, listed, *more(len(members), PER_RULE, "findings"), *_behind(stream, members[0]))


def _place(finding: Finding) -> object:
    """The block and page that a finding is about."""
    if finding.block is None:
        return "-"
    return code(shown(finding.block) + ("" if finding.page is None else f":{finding.page:#x}"))


def _evidence(finding: Finding) -> str:
    return clipped(", ".join(f"{k.replace('_', ' ')} {v}" for k, v in finding.evidence.items() if v is not None))


def _behind(stream: Stream, finding: Finding) -> list[Markup]:
    """What a finding amounts to, and the records behind it with their first bytes."""
    try:
        sentence, links = conclusion(stream, finding), chain(stream, finding)
    except XbrleError:
        return []
    out = [note(sentence)] if sentence else []
    if not links:
        return out
    rows = [_link_row(link) for link in [*links[: CHAIN // 2], *links[CHAIN // 2 :][-CHAIN // 2 :]]]
    heads = ("record", "pass", "kind", "begins with", "sum stated", "receiver's", "sender's", "its part")
    left_out = f"; {len(links) - CHAIN:,} in their middle are left out" if len(links) > CHAIN else ""
    return [*out, note(f"The records behind the first{left_out}:"), table(heads, rows, class_="chain")]


def _link_row(link: ChainLink) -> tuple[object, ...]:
    return (
        f"{link.version.record:,}",
        link.version.pass_,
        Kind(link.version.kind).name.lower(),
        code(link.wire.hex(" ")),
        *("-" if number is None else code(f"{number:#x}") for number in (link.stated, link.receiver, link.sender)),
        link.part,
    )
