"""`xbrle info`: what is this, on one screen."""

import json
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..analysis import arrivals, facts, guest, places
from ..capture import Capture
from ..container import devices, returnpath
from ..errors import XbrleError
from ..formats.qevm import Command
from ..physical import infer
from ..ram import elsewhere
from ..source import beside
from ..source.wrappers import LibvirtSave
from ..text import shown
from ..verify.status import of_scan
from . import EXIT_FINDINGS, warn
from .options import before, examples, salvaging
from .output import report, show
from .parts import show_part
from .times import times_of
from .writer import say, say_json

if TYPE_CHECKING:
    from rich.table import Table

    from ..container.returnpath import Message

NAMES_MAX = 12  # device sections that are named in a line
COMMANDS_MAX = 40  # COMMANDs that are named, equal ones in a row once
BLOCKS_MAX = 24  # RAM blocks that are listed for a person

DISCARD = Command.POSTCOPY_RAM_DISCARD

#: How the end of a device's data was found, for a person; `table.sections.CERTAINTY` says how certain each way is.
_FOUND = {
    "parsed": "reading it",
    "footer": "its footer (near certain)",
    "header": "the next header (likely)",
    "eof": "the last byte (likely)",
    "cut": "nothing",
}


def _usage(xml: bool, commands: bool) -> None:
    if xml and commands:
        raise click.UsageError("--xml and --commands exclude each other")


@click.command(epilog=examples("info samples/posted-8m.bin", "info samples/posted-8m.bin --json"))
@before(_usage)
@salvaging
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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
        say(json.dumps({"xml": _xml(opened)}) if as_json else _xml(opened))
        return 0
    if commands:
        return _list_commands(opened, as_json)
    at_hand = opened.has_channels or Path(opened.name).is_file()
    try:
        overview = _overview(opened, at_hand)
    except XbrleError:
        status = show_part(opened, as_json)
        if status is None:
            raise
        return status
    about = facts.as_json(overview, opened.source, opened.channels, _reverse(opened))
    shown_status, why = of_scan(overview.facts)
    about["verdict"] = {"status": shown_status, "summary": why}
    when, times_status = times_of(opened) if at_hand else (None, 0)
    about["arrival"] = None if when is None else arrivals.as_json(when)
    about["physical"], about["guest"] = _memory(opened) if at_hand else (None, None)
    if as_json:
        say_json(about)
    else:
        _show(about, facts.dialect_words(overview.facts.reading))
    status = max(times_status, report(overview.facts.problems))
    damage = _description_damage(opened) if at_hand else None
    if damage is None:
        return status
    warn(f"{damage}; to see what it still says of which device, use: xbrle dump S --devices --fields")
    return EXIT_FINDINGS


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


def _reverse(opened: Capture) -> "list[Message]":
    """What came back over S's connection, where a file beside it has that."""
    path = beside.reverse(Path(opened.name))
    if path is None:
        return []
    try:
        return returnpath.read(path.read_bytes()) or []
    except OSError:
        return []


def _xml(opened: Capture) -> str:
    """The domain's XML, without characters that a terminal would take for a command."""
    wrapping = opened.source.wrapping
    if not isinstance(wrapping, LibvirtSave):
        raise XbrleError(f"{opened.name}: not a libvirt save file; --xml needs one")
    lines = wrapping.xml.decode("utf-8", "replace").rstrip("\n").split("\n")
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line) for line in lines)


def _memory(opened: Capture) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Where the guest's memory lies, and what guest it is, or None where no map can be worked out."""
    try:
        where = infer.map_of(opened.stream)
        who = guest.guest_of(opened.stream, where)
    except XbrleError:
        return None, None
    return {"origin": where.origin, "notes": list(where.notes), **places.as_json(where)}, guest.as_json(who)


# -- for people -------------------------------------------------------------------------------------------------------


def _show(about: dict[str, Any], dialect: str) -> None:
    """Print a screen about the capture. ``dialect`` is the line about its dialect."""
    tables = [_pairs(_summary(about, dialect))]
    if about["blocks"]:
        tables.append(_blocks(about["blocks"]))
    if about["physical"] is not None:
        tables += _places(about["physical"])
    if about["guest"] is not None and (lines := guest.words(about["guest"])):
        tables.append(_pairs(lines))
    if any(about["records"].values()):
        tables.append(_records(about))
    show(*tables)


def _summary(about: dict[str, Any], dialect: str) -> list[tuple[str, str]]:
    """Label and value of each line."""
    size = about["size"]
    is_channel = about["container"] == facts.CHANNEL
    container = "a multifd channel by itself" if is_channel else f"QEVM, file version {about['file_version']}"
    if about["wrapper"]:
        container += f", inside {about['wrapper']}"
    lines = [("capture", _printable(about["name"]) + (f", {size:,} bytes" if size is not None else ""))]
    if about["wrapping"] is not None:
        lines.append(("inside", _wrapping_words(about["wrapping"])))
    lines += [("channel", _channel_words(c)) for c in about["channels"]]
    if about["multifd"] and not about["channels"]:
        lines.append(("channel", "multifd, and no channel is here: no page is known (--channel)"))
    lines += [("left out", p["message"]) for p in about["problems"] if p["rule"] == elsewhere.LEFT_OUT]
    if about["reverse"]:
        lines.append(("return path", _reverse_words(about["reverse"])))
    if about["arrival"] is not None:
        lines.append(("arrived", arrivals.words(about["arrival"])))
    lines.append(("container", container))
    if about["stream_offset"]:
        lines.append(("begins", f"at {about['stream_offset']:#x}; offsets count from the beginning of the file"))
    if about["machine"] is not None:
        lines.append(("machine", about["machine"]))
    lines += [("configuration", _configuration_words(sub)) for sub in about["configuration"]]
    if about["ram_version"] is not None:
        lines.append(("RAM section", f"version {about['ram_version']}, pages of {about['page_size']} bytes"))
        lines.append(("dialect", dialect))
        lines += [("", reason) for reason in about["evidence"]["reasons"]]
    if about["mapped_ram"] is not None:
        lines.append(("mapped-ram", _mapped_words(about["mapped_ram"])))
    lines.append(("sections", _section_words(about["sections"])))
    if about["commands"]:
        lines.append(("commands", _command_words(about["commands"], about["commands_left_out"])))
    lines += [
        ("discarded", f"{d['bytes']:,} bytes of {d['block']} in {d['ranges']} ranges: unknown until sent again")
        for d in about["discards"]
    ]
    lines += [
        ("disk", f"{d['name']}, chunks up to {d['reach']:,} (extract --disk)") for d in about["disks"][:NAMES_MAX]
    ]
    tail = about["device_tail"]
    if tail is not None:
        ways = ", ".join(f"{n} by {_FOUND[b]}" for b, n in tail["found_by"].items())
        lines += [
            ("devices", f"{tail['sections']} sections, {tail['offset']:#x} to {tail['end']:#x}; ends found: {ways}"),
            ("", _device_words(about["sections"], about["sections_left_out"])),
        ]
    if about["vmdesc"] is not None:
        lines.append(("VM description", f"{about['vmdesc']['length']:,} bytes at {about['vmdesc']['offset']:#x}"))
    lines.append(("complete", _ending(about)))
    status = about["verdict"]["status"]
    lines.append(("verdict", f"{status.upper() + ': ' if status else ''}{about['verdict']['summary']}"))
    return lines


def _mapped_words(mapped: dict[str, Any]) -> str:
    zeros = f"{mapped['zero_pages']:,} are zero" if mapped["finished"] else f"{mapped['unknown_pages']:,} are unknown"
    out = "".join(f"; {name} left out, so unknown" for name in mapped["left_out"])
    return f"{mapped['marked_pages']:,} pages are marked, {zeros}{out}"


def _wrapping_words(about: dict[str, Any]) -> str:
    if about["kind"] == "libvirt":
        state = "unfinished" if about["unfinished"] else "running when saved" if about["running"] else "paused"
        xml = f"{len(about['xml']):,} characters of XML (--xml)"
        return f"libvirt save file, {about['packed']}: domain {about['domain'] or '(no name)'}, {state}; {xml}"
    others = [n for n in about["snapshots"] if n != about["snapshot"]]
    more = f"; others: {', '.join(others[:NAMES_MAX])} (--snapshot)" if others else ""
    backed = "; its backing file does not matter for VM state" if about["backed"] else ""
    return f"qcow2 image: VM state of snapshot {about['snapshot']}, id {about['id']}{more}{backed}"


def _channel_words(channel: dict[str, Any]) -> str:
    zeros = f" and {channel['zero_pages']:,} of zeros" if channel["zero_pages"] else ""
    packets = (
        "preempt" if channel["kind"] == "preempt" else f"{channel['packets']} packet{'s' * (channel['packets'] != 1)}"
    )
    text = f"{channel['id']}: {channel['file']}, {packets}, {channel['pages']:,} pages{zeros}"
    if channel["pages"] and channel["packed"] != "none":
        text += f", {channel['packed']} to {channel['packed_bytes']:,} bytes"
    text += f", {channel['device_states']} of device state" if channel["device_states"] else ""
    return text + (", damaged" if channel["damage"] else "")


def _reverse_words(messages: list[dict[str, Any]]) -> str:
    counts = Counter(m["type"] for m in messages)
    first = ", ".join(m["words"] for m in messages[:NAMES_MAX])
    more = f" and {len(messages) - NAMES_MAX} more" if len(messages) > NAMES_MAX else ""
    kinds = ", ".join(f"{n} {t}" for t, n in counts.items())
    return f"{len(messages)} messages ({kinds}): {first}{more}"


def _configuration_words(sub: dict[str, Any]) -> str:
    name, value = sub["name"].removeprefix("configuration/"), sub["value"]
    if value is None:
        return f"{name}: {sub['bytes']} bytes of unknown form (its end is likely)"
    return f"{name}: {', '.join(value) if isinstance(value, list) else value}"


def _command_words(commands: list[dict[str, Any]], left_out: int) -> str:
    """The COMMANDs in one line, with braces around those of a package. Equal ones in a row are counted."""
    runs = [(package, word, len(list(run))) for (package, word), run in groupby(commands, _package_and_word)]
    words: list[str] = []
    before = None
    for package, word, count in runs[:COMMANDS_MAX]:
        opens, closes = package is not None and package != before, package is None and before is not None
        text = word if count == 1 else f"{word} x {count}"
        words.append(("} " if closes else "") + ("{ " if opens else "") + text)
        before = package
    text = ", ".join(words).replace(", { ", " { ").replace(", } ", " }, ")
    if before is not None:
        text += " }"
    more = left_out + sum(count for _, _, count in runs[COMMANDS_MAX:])
    return text + (f" and {more} more (--commands)" if more else "")


def _package_and_word(command: dict[str, Any]) -> tuple[int | None, str]:
    """The command's package, and what it says in short. What each RAM_DISCARD says is for ``--commands``."""
    is_discard = command["number"] == DISCARD
    return command["package"], (command["name"] if is_discard else command["words"]).removeprefix("postcopy_")


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
            say(json.dumps(about | {"package": package, "ranges": ranges}))
            continue
        say(f"{command.offset:#010x} {'' if package is None else '  '}{command}")
        for r in ranges:
            say(f"{'':10}   {r['block']}:{r['start']:#x}-{r['start'] + r['length']:#x}")
    return report(found.problems)


def _ending(about: dict[str, Any]) -> str:
    if about["complete"] and not about["problems"]:
        return "yes, to the last byte"
    if about["complete"]:
        count = len(about["problems"])
        return f"yes, with {count} problem{'s' * (count != 1)} on the way"
    fatal = next((p for p in about["problems"] if p["fatal"]), None)
    if fatal is None and any(p["lost"] and p["rule"] == "truncated" for p in about["problems"]):
        return "no: RAM is missing"
    if fatal is None and any(p["lost"] for p in about["problems"]):
        return "no: channels are missing, damaged or of another migration"
    word = "truncated" if about["truncated"] else "damaged"
    return f"no, {word}" + (f" at {fatal['offset']:#x}" if fatal else "")


def _section_words(sections: list[dict[str, Any]]) -> str:
    """Who wrote sections, and how many of each type, without those of devices."""
    words = []
    for s in sections:
        if s["idstr"] is None:
            words.append(" ".join(t.upper() for t in s["types"]))
        elif list(s["types"]) != ["full"]:
            words.append(f"{s['idstr']} ({', '.join(f'{n} {t.upper()}' for t, n in s['types'].items())})")
    return "; ".join(words) or "none"


def _device_words(sections: list[dict[str, Any]], left_out: int) -> str:
    """The names of devices. ``left_out`` sections are not among ``sections``."""
    names = list(dict.fromkeys(s["idstr"] for s in sections if list(s["types"]) == ["full"]))
    more = len(names[NAMES_MAX:]) + left_out
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more else "")


def _pairs(lines: list[tuple[str, str]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in lines:
        table.add_row(label, Text(value))
    return table


def _columns(*heads: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", overflow="fold")
    return table


def _blocks(blocks: list[dict[str, Any]]) -> "Table":
    from rich.text import Text

    addressed = any(b["address"] is not None for b in blocks)
    table = _columns("RAM block", "bytes", "records", "passes", *(["address"] if addressed else []))
    for b in blocks[:BLOCKS_MAX]:
        length = f"{b['length']:,}" if b["declared"] else "not listed"
        address = f"{b['address']:#x}" if b["address"] is not None else ""
        cells = [length, f"{b['records']:,}", str(b["passes"]), *([address] if addressed else [])]
        table.add_row(Text(b["name"]), *cells)
    if len(blocks) > BLOCKS_MAX:
        table.add_row(f"and {len(blocks) - BLOCKS_MAX} more")
    return table


def _places(physical: dict[str, Any]) -> "list[Table]":
    """Where memory lies, and what has no place."""
    from rich.text import Text

    told = [("physical map", physical["origin"]), *(("", note) for note in physical["notes"])]
    told += [
        ("not placed", f"{u['block']}: {u['length']:,} bytes: {u['reason']}") for u in physical["unplaced"][:BLOCKS_MAX]
    ]
    if not physical["placed"]:
        return [_pairs(told)]
    table = _columns("guest-physical", "bytes", "block", "offset")
    for r in physical["placed"][:BLOCKS_MAX]:
        table.add_row(f"{r['address']:#x}", f"{r['length']:,}", Text(r["block"]), f"{r['offset']:#x}")
    if len(physical["placed"]) > BLOCKS_MAX:
        table.add_row(f"and {len(physical['placed']) - BLOCKS_MAX} more")
    return [_pairs(told), table]


def _records(about: dict[str, Any]) -> "Table":
    table = _columns("records", "number", "payload", "bytes saved")
    delta = about["saved"]["delta"]
    saved = {"xbrle": delta, "xbzrle": delta, **about["saved"]}
    for kind, number in about["records"].items():
        if number:
            less = f"{saved[kind]:,}" if kind in saved else ""
            table.add_row(kind, f"{number:,}", f"{about['payload'].get(kind, 0):,}", less)
    return table


def _printable(name: str) -> str:
    return shown(name.encode("utf-8", "surrogateescape"))
