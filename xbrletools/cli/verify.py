"""`xbrle verify`: findings, and whether a receiver loads the stream."""

import functools
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from ..errors import TransportError, XbrleError
from . import EXIT_FINDINGS, explaining, sarif_log, verdicts, warn
from .filtering import FILTERING, filtering, say_strangers, wanted_of
from .guide import Page
from .options import before, examples, given, giving_blocks, json_lines, reading
from .writer import say, say_object

if TYPE_CHECKING:
    from ..capture import Capture
    from ..filters import Filter
    from ..verify.verdict import Verdict

PER_CAUSE = 20  # findings of a cause that are shown
RECEIVER_NAMES = (  # as `verify.receivers.NAMES`, which the help does not import
    *("vanilla", "default", "debug"),
    *("qemu-7.2", "qemu-8.2", "qemu-9.2", "qemu-10.0", "qemu-11.1", "today"),
)


def _usage(as_json: bool, sarif: bool, explain: str | None, words: tuple[str, ...]) -> None:
    if (sarif or explain is not None) and (words or given(*FILTERING)):
        raise click.UsageError("a filter is for the list of findings: it excludes --sarif and --explain")
    if as_json and sarif:
        raise click.UsageError("--json and --sarif exclude each other")
    if explain is not None and sarif:
        raise click.UsageError("--explain and --sarif exclude each other")


_READ = "xbrletools.read"  # what the context remembers once the capture was read


def _says_unreadable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command print the verdict on what cannot be read, with --json, before the error goes its way."""

    @functools.wraps(function)
    def saying(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except TransportError:  # it says nothing of the capture, so there is no verdict
            raise
        except XbrleError as error:
            if (options["as_json"] or options["sarif"]) and _READ not in click.get_current_context().meta:
                from ..verify.verdict import unreadable

                told = unreadable(error)
                if options["sarif"]:
                    sarif_log.print_log(options["capture"], told)
                else:
                    say_object(verdicts.as_object(told))
            raise

    return saying


class _Command(Page):
    """A command that needs no capture to list the rules, or to explain one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = None
        try:
            rest = super().parse_args(ctx, args)
        except click.MissingParameter:
            if not ctx.params.get("rules") and ctx.params.get("explain") is None:
                raise
        given = ctx.params
        wants_rules = given.pop("rules", False)
        if rest is not None and not wants_rules:
            return rest
        if given.get("sarif"):
            raise click.UsageError("--sarif lists findings, so it needs S and excludes --rules")
        if wants_rules:
            explaining.print_rules(given.get("as_json", False))
        else:
            explaining.print_meaning(given["explain"], given.get("as_json", False))
        raise click.exceptions.Exit


@click.command(
    cls=_Command,
    epilog=examples(
        "verify samples/posted-8m.bin",
        "verify samples/stale-base.bin finding:stale-base pass:4-",
        "verify samples/posted-8m.bin --explain device-tail-unchecked",
        "verify --explain stale-base",
        "verify samples/xbzrle-16m.bin --receiver today --json",
    ),
)
@before(_usage)
@_says_unreadable
@reading
@partial(filtering, without="block")
@json_lines
@click.option("--sarif", is_flag=True, help="Print one SARIF 2.1.0 document.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=PER_CAUSE,
    show_default=True,
    metavar="N",
    help="Findings to show of each cause; 0 for all. --json shows all where no limit is given.",
)
@click.option(
    "--receiver",
    "receivers",
    multiple=True,
    type=click.Choice(RECEIVER_NAMES),
    metavar="NAME",
    help="Exit with this receiver's verdict. Can be given several times. vanilla: QEMU before the XBRLE patch of 2011; "
    "default: QEMU with that patch; debug: its debug build; qemu-7.2, qemu-8.2, qemu-9.2, qemu-10.0, qemu-11.1; today: "
    "the newest of these.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="A migration capability that the receiver has switched on, such as multifd. Can be given several times.",
)
@click.option("--machine", metavar="NAME", help="The receiver's machine (default: the one that S names).")
@click.option(
    "--on",
    "destination",
    metavar="DESCRIPTION",
    help="What the receiver has, as xbrle describe wrote it. --machine, --blocks and --capability count before it.",
)
@click.option(
    "--explain",
    metavar="RULE[@RECORD]",
    help="Show one finding with all the records behind it, and their first bytes. Without S, say what the rule means.",
)
@click.option(
    "--rules",
    is_flag=True,
    help="List all rules and what they mean, and exit.",
)
@click.option("--sender-log", metavar="FILE", help="Compare with this mig.log, written by the sender's debug build.")
@click.option(
    "--receiver-log", metavar="FILE", help="Compare with this mig.log, written by the receiver's debug build."
)
@click.option(
    "--salvage", is_flag=True, help="Skip damaged ranges; pages they may have affected are treated as unknown."
)
@giving_blocks("RAM blocks that the destination has. With --salvage also those of S, if its own list is lost.")
def command(
    opened: "Capture",
    capture: str,
    words: tuple[str, ...],
    as_json: bool,
    sarif: bool,
    limit: int,
    receivers: tuple[str, ...],
    capabilities: tuple[str, ...],
    machine: str | None,
    destination: str | None,
    explain: str | None,
    sender_log: str | None,
    receiver_log: str | None,
    blocks: tuple[tuple[bytes, int], ...] | None,
    **options: str | None,
) -> int:
    """Report what is wrong with S. Each finding has a rule, a severity, an offset, a record and its evidence.

    A record is one page as it was sent. Records are numbered from 1. An error means that memory is lost or wrong, or
    that a receiver stops. A warning is suspicious. A note is for information.

    A FILTER selects the findings that are listed, as in `xbrle dump`: by their rule (finding:stale-base), by their
    record or, where they do not have one, by their section or block. The verdict and the exit status are about all of
    S.

    With --sender-log or --receiver-log, the first page on which the two logs disagree is a finding. A log that is not
    given is computed from S. With --salvage, log lines whose record was not read are only notes.

    Exit status: 0 no errors, 1 errors were found, 2 S cannot be read. With --receiver: 0 that receiver loads the
    stream, 1 it does not.
    """
    from ..verify.checker import found_in
    from ..verify.receivers import named, outcomes
    from ..verify.verdict import verdict

    selected = wanted_of(words, options)
    stream = opened.stream
    click.get_current_context().meta[_READ] = True
    found = found_in(stream, blocks or None)
    if sender_log or receiver_log:
        from ..analysis.ends import disagreements

        found = found.with_loose(disagreements(stream, sender_log, receiver_log))
    concluded = verdict(found)
    if blocks or machine or capabilities or destination:
        where = _destination(stream, destination, machine, blocks, capabilities)
        told = outcomes(stream, found, None, where, concluded.pages_wrong)
        concluded = replace(concluded, receivers=told)
    if explain:
        explaining.explain(opened, concluded, explain, as_json)
    elif sarif:
        sarif_log.print_log(capture, concluded)
    elif as_json:
        _print_json(concluded, limit if given("limit") else 0, _test(stream, selected))
    else:
        _print(concluded, limit, _test(stream, selected))
    if not receivers:
        return EXIT_FINDINGS if found.has_errors or concluded.is_bad else 0
    return max(_say_whether_it_loads(name, concluded.receivers[named(name).name]) for name in receivers)


def _destination(
    stream: Any,
    path: str | None,
    machine: str | None,
    blocks: tuple[tuple[bytes, int], ...] | None,
    capabilities: tuple[str, ...],
) -> Any:
    """What ``--on`` says of the destination, and what the other options say instead of it."""
    from ..analysis.destination import destination
    from ..verify.receivers import Destination
    from .describe import description_in

    where = Destination() if path is None else destination(description_in(path), stream)
    if machine is not None:
        where = replace(where, machine=machine.encode("utf-8", "surrogateescape"))
    given_blocks = dict(blocks) if blocks else where.blocks
    return replace(where, blocks=given_blocks, capabilities=where.capabilities | set(capabilities))


def _say_whether_it_loads(receiver: str, verdict: Any) -> int:
    """Say what a receiver makes of the stream. Returns the exit status."""
    from ..verify.sentences import with_wrong

    if verdict.loads:
        warn(f"a {receiver} receiver loads this stream{with_wrong(verdict)}")
        for name in verdict.needs:
            warn(f"  without what needs the capability {name} (--capability {name})")
        return 0
    place = f"offset {verdict.offset:#x}" if verdict.offset is not None else "the end"
    if verdict.record is not None:
        place += f", record {verdict.record}"
    if verdict.goes_on:
        warn(f"a {receiver} receiver complains at {place}, and goes on all the same: {verdict.reason}")
        if wrong := with_wrong(verdict):
            warn(f"  it loads the stream{wrong}")
    elif verdict.loads is None:
        warn(f"whether a {receiver} receiver loads this stream cannot be told from {place} on: {verdict.reason}")
    else:
        warn(f"a {receiver} receiver does not load this stream; it stops at {place}: {verdict.reason}")
    for line in verdict.said:
        warn(f"  it prints: {line}")
    for name in verdict.needs:
        warn(f"  the stream needs the capability {name} (--capability {name})")
    return EXIT_FINDINGS


# -- what is printed ---------------------------------------------------------------------------------------------------


def _test(stream: Any, selected: "Filter | None") -> "Callable[[Any], bool] | None":
    """Which findings are listed, None for all."""
    if selected is None:
        return None
    from ..filters import about

    say_strangers(selected, [b.name for b in stream.blocks])
    return about(selected, stream.records)


def _print_json(verdict: "Verdict", limit: int, test: "Callable[[Any], bool] | None") -> None:
    """An object a line: the findings, at most ``limit`` of each cause where it is not 0, and last the verdict."""
    assert verdict.shared is not None
    shown: Counter[int] = Counter()
    for finding, cause in verdict.shared:
        if test is not None and not test(finding):
            continue
        shown[cause] += 1
        if 0 < limit < shown[cause]:
            continue
        about = {"type": "finding"} | explaining.as_object(finding)
        say_object(about | {"cause": None if cause < 0 else cause})
    say_object(verdicts.as_object(verdict))


def _print(verdict: "Verdict", limit: int, test: "Callable[[Any], bool] | None") -> None:
    """The verdict, then the findings of each cause, at most ``limit`` of each, and last those that need no cause."""
    from ..verify.by_rule import NOBODY

    assert verdict.shared is not None
    for number, line in enumerate(verdicts.lines(verdict)):
        say(verdicts.painted_head(verdict, line) if not number else line)
    for i, cause in enumerate(verdict.causes):
        _print_group(f"{cause.name.value} ({cause.sure.value})", cause.explains, verdict.shared.of(i), limit, test)
    if test is not None and not any(test(finding) for finding, _ in verdict.shared):
        say("\nno finding is selected by the filter")
    if verdict.others:
        _print_group("without a cause", verdict.others, verdict.shared.of(NOBODY), limit, test)


def _print_group(
    title: str, counts: Mapping[str, int], findings: Iterable[Any], limit: int, test: "Callable[[Any], bool] | None"
) -> None:
    """The findings of one cause under a title that counts them by rule. ``test`` says which are listed."""
    if test is not None:
        chosen = [f for f in findings if test(f)]
        counts, findings = Counter(f.rule for f in chosen), chosen
        if not chosen:
            return
        title += ", selected"
    count = sum(counts.values())
    text = f"{title}: {', '.join(f'{n} {rule}' for rule, n in counts.items())}"
    text += f"; {limit} shown (--limit 0 shows all)" if 0 < limit < count else ""
    say("\n" + textwrap.fill(text, verdicts.WIDTH - 1, subsequent_indent="  ", break_on_hyphens=False))
    for finding in islice(findings, limit or None):
        explaining.print_one(finding)
