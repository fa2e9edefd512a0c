"""`xbrle info`: what is this, on one screen."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..analysis import facts, guest
from ..analysis.about import described, memory_and_guest, placing, summary
from ..capture import Capture
from ..container import devices
from ..errors import XbrleError
from ..ram import elsewhere
from ..source.wrappers import LibvirtSave
from ..text import shown
from . import EXIT_FINDINGS, warn
from .grids import Grid
from .guide import Page
from .options import before, examples, json_object, salvaging
from .output import report, show
from .parts import can_be_read_again, show_part
from .times import times_of
from .writer import say, say_object

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals

BLOCKS_MAX = 24  # RAM blocks that are listed for a person


def _usage(xml: bool, commands: bool) -> None:
    if xml and commands:
        raise click.UsageError("--xml and --commands exclude each other")


@click.command(
    cls=Page,
    epilog=examples("info samples/posted-8m.bin", "info samples/posted-8m.bin --json", "info samples/migration.pcapng"),
)
@before(_usage)
@salvaging
@json_object
@click.option("--xml", is_flag=True, help="Print only the domain's XML of a libvirt save file.")
@click.option(
    "--commands", is_flag=True, help="List only the commands, one a line, and the pages that postcopy discarded."
)
def command(opened: Capture, as_json: bool, xml: bool, commands: bool) -> int:
    """Show what S is: its container, machine, RAM blocks, records, passes and sections.

    It also shows the dialect, which is the form in which deltas are written, and what in S shows that dialect.

    Exit status: 0 all of S was read, 1 S is damaged.
    """
    if xml:
        if as_json:
            say_object({"xml": _xml(opened)})
        else:
            say(_xml(opened))
        return 0
    if commands:
        return _list_commands(opened, as_json)
    at_hand = opened.has_channels or can_be_read_again(opened)
    try:
        overview = _overview(opened, at_hand)
    except XbrleError:
        status = show_part(opened, as_json)
        if status is None:
            raise
        return status
    when, times_status = times_of(opened) if at_hand else (None, 0)
    about = described(overview, opened.source, opened.channels, None if when is None else _arrival(when))
    about["physical"], about["guest"] = memory_and_guest(opened.stream) if at_hand else (None, None)
    if as_json:
        say_object(about)
    else:
        _show(about, facts.dialect_words(overview.facts.reading))
    status = max(times_status, report(overview.facts.problems))
    damage = _description_damage(opened) if at_hand else None
    if damage is None:
        return status
    warn(f"{damage}; to see what it still says of which device, use: xbrle dump S --devices --fields")
    return EXIT_FINDINGS


def _arrival(when: "Arrivals") -> dict[str, Any]:
    from ..analysis.arrivals import as_json

    return as_json(when)


def _description_damage(opened: Capture) -> str | None:
    """What is wrong with the VM description, or None where nothing is."""
    try:
        found = devices.description(opened.stream)
    except XbrleError as error:
        return str(error)
    return None if found is None else found.damage


def _overview(opened: Capture, at_hand: bool) -> facts.Overview:
    """What a scan finds. ``at_hand``: it may be read twice. A pipe may not: the numbers of its records are weighed."""
    if at_hand:
        return facts.gather(opened.stream)
    overview = facts.gather(opened.scan())
    found = overview.facts
    missing = elsewhere.problems(found, overview.total.records.tolist(), overview.records)
    return replace(overview, facts=replace(found, problems=(*found.problems, *missing)))


def _xml(opened: Capture) -> str:
    """The domain's XML, without characters that a terminal would take for a command."""
    wrapping = opened.source.wrapping
    if not isinstance(wrapping, LibvirtSave):
        raise XbrleError(f"{opened.name}: not a libvirt save file; --xml needs one")
    lines = wrapping.xml.decode("utf-8", "replace").rstrip("\n").split("\n")
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line) for line in lines)


# -- for people -------------------------------------------------------------------------------------------------------


def _show(about: dict[str, Any], dialect: str) -> None:
    """Print a screen about the capture. ``dialect`` is the line about its dialect."""
    tables = [_pairs(summary(about, dialect))]
    if about["blocks"]:
        tables.append(_blocks(about["blocks"]))
    if about["physical"] is not None:
        tables += _places(about["physical"])
    if about["guest"] is not None and (lines := guest.words(about["guest"])):
        tables.append(_pairs(lines))
    if any(about["records"].values()):
        tables.append(_records(about))
    show(*tables)


def _list_commands(opened: Capture, as_json: bool) -> int:
    """Print every COMMAND, one a line, and each range that a RAM_DISCARD names."""
    found = facts.gather(opened.scan()).facts
    for command in found.commands:
        package = found.commands.package_of(command.offset)
        ranges: list[dict[str, Any]] = [
            {"block": shown(d.block), "start": d.start, "length": d.length} for d in command.discards
        ]
        if as_json:
            about = {"offset": command.offset, "number": command.number, "name": command.name, "words": str(command)}
            say_object(about | {"package": package, "ranges": ranges})
            continue
        say(f"{command.offset:#010x} {'' if package is None else '  '}{command}")
        for r in ranges:
            say(f"{'':10}   {r['block']}:{r['start']:#x}-{r['start'] + r['length']:#x}")
    return report(found.problems)


def _pairs(lines: list[tuple[str, str]]) -> Grid:
    return Grid(rows=list(lines))


def _blocks(blocks: list[dict[str, Any]]) -> Grid:
    addressed = any(b["address"] is not None for b in blocks)
    table = Grid(("RAM block", "bytes", "records", "passes", *(["address"] if addressed else [])))
    for b in blocks[:BLOCKS_MAX]:
        length = f"{b['length']:,}" if b["declared"] else "not listed"
        address = f"{b['address']:#x}" if b["address"] is not None else ""
        cells = [length, f"{b['records']:,}", str(b["passes"]), *([address] if addressed else [])]
        table.add(b["name"], *cells)
    if len(blocks) > BLOCKS_MAX:
        table.add(f"and {len(blocks) - BLOCKS_MAX} more")
    return table


def _places(physical: dict[str, Any]) -> list[Grid]:
    """Where memory lies, and what has no place."""
    told = placing(physical)
    if not physical["placed"]:
        return [_pairs(told)]
    table = Grid(("guest-physical", "bytes", "block", "offset"))
    for r in physical["placed"][:BLOCKS_MAX]:
        table.add(f"{r['address']:#x}", f"{r['length']:,}", r["block"], f"{r['offset']:#x}")
    if len(physical["placed"]) > BLOCKS_MAX:
        table.add(f"and {len(physical['placed']) - BLOCKS_MAX} more")
    return [_pairs(told), table]


def _records(about: dict[str, Any]) -> Grid:
    table = Grid(("records", "number", "payload", "bytes saved"))
    delta = about["saved"]["delta"]
    saved = {"xbrle": delta, "xbzrle": delta, **about["saved"]}
    for kind, number in about["records"].items():
        if number:
            less = f"{saved[kind]:,}" if kind in saved else ""
            table.add(kind, f"{number:,}", f"{about['payload'].get(kind, 0):,}", less)
    return table
