"""`xbrle info`: what is this, on one screen."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import numpy as np

from ..analysis.stats import Tally, tally
from ..capture import Capture
from ..errors import XbrleError
from ..formats.qevm import SectionType
from ..formats.ram import Kind
from ..model import Facts, Problem, Reading, Stream
from ..source.wrappers import LibvirtSave, Wrapping
from ..table.columns import NO_BLOCK, Sweeps
from ..table.sections import CERTAINTY, Owner, Section
from ..text import shown
from .options import salvaging
from .output import report, show

if TYPE_CHECKING:
    from rich.table import Table

CONTAINER = "qevm"
NAMES_MAX = 12  # device sections that are named in a line
COMMANDS_MAX = 40  # COMMANDs that are named
BLOCKS_MAX = 24  # RAM blocks that are listed for a person

#: How the end of a device's data was found, for a person; `stream.sections.CERTAINTY` says how sure each is.
_FOUND = {
    "parsed": "reading it",
    "footer": "its footer (near certain)",
    "header": "the next header (likely)",
    "eof": "the last byte (likely)",
    "cut": "nothing",
}


@click.command()
@salvaging
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--xml", is_flag=True, help="Only the domain's XML, of a libvirt save file.")
def command(opened: Capture, as_json: bool, xml: bool) -> int:
    """Say what S is: container, machine, dialect with its evidence, RAM blocks, records, passes, sections."""
    if xml:
        click.echo(_xml(opened))
        return 0
    told, problems = _gather(opened)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        _show(told)
    return report(problems)


# -- what is known ----------------------------------------------------------------------------------------------------


def _gather(opened: Capture) -> tuple[dict[str, Any], Sequence[Problem]]:
    """Everything, ready for JSON, and what the scan met; reads a pipe in constant memory."""
    total, sweeps = Tally(), Sweeps({})
    records: Counter[int] = Counter()
    scan = opened.stream if opened.has_channels else opened.scan()
    for columns in [scan.records.columns] if isinstance(scan, Stream) else scan:
        total.add(tally(columns))
        sweeps.number(columns)
        blocks, times = np.unique(columns.block[columns.block != NO_BLOCK], return_counts=True)
        records.update(dict(zip(blocks.tolist(), times.tolist(), strict=True)))
    facts = scan.facts
    settings, evidence = facts.reading, facts.reading.evidence
    dialect = settings.dialect
    told: dict[str, Any] = {
        "name": opened.name,
        "container": CONTAINER,
        "file_version": facts.file_version,
        "wrapper": opened.source.wrapper,
        "wrapping": _wrapping(opened.source.wrapping),
        "size": opened.source.size,
        "machine": None if facts.machine is None else shown(facts.machine),
        "capabilities": [shown(c) for c in facts.capabilities],
        "configuration": _configuration(facts),
        "commands": _commands(facts),
        "discards": _discards(facts),
        "channels": _channels(opened),
        "ram_version": facts.ram_version,
        "dialect": dialect.name if dialect else None,
        "candidates": list(evidence.candidates),
        "endian": evidence.endian if dialect is None or dialect.host_endian else None,
        "page_size": settings.page_size,
        "evidence": {
            "offset": evidence.offset,
            "forced": evidence.forced,
            "reasons": list(evidence.reasons),
        },
        "blocks": [
            {
                "name": shown(b.name),
                "length": b.length,
                "declared": b.declared,
                "address": b.address,
                "page_size": b.page_size or settings.page_size,
                "passes": sweeps.counts.get(i, 0),
                "records": records[i],
            }
            for i, b in enumerate(facts.blocks)
        ],
        "records": {k.name.lower(): int(total.records[k]) for k in Kind if total.records[k] or k is not Kind.NOOP},
        "payload": {k.name.lower(): int(total.payload[k]) for k in Kind if total.payload[k]},
        "passes": max(sweeps.counts.values(), default=0),
        "saved": _saved(total, settings),
        "sections": _sections(facts),
        "device_tail": _device_tail(facts),
        "vmdesc": None if facts.vmdesc is None else {"offset": facts.vmdesc[0], "length": facts.vmdesc[1]},
        "disks": [{"name": shown(name), "reach": reach} for name, reach in facts.disks.items()],
        "footers": facts.footers,
        "complete": facts.complete,
        "truncated": any(p.rule == "truncated" for p in facts.problems),
        "problems": [
            {"rule": p.rule, "offset": p.offset, "message": p.message, "fatal": p.fatal} for p in facts.problems
        ],
    }
    return told, facts.problems


def _xml(opened: Capture) -> str:
    """The domain's XML, with nothing in it that a terminal would take for a command."""
    about = opened.source.wrapping
    if not isinstance(about, LibvirtSave):
        raise XbrleError(f"{opened.name}: is no libvirt save file, so it has no XML")
    lines = about.xml.decode("utf-8", "replace").rstrip("\n").split("\n")
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line) for line in lines)


def _wrapping(about: Wrapping | None) -> dict[str, Any] | None:
    """The file around the stream."""
    if isinstance(about, LibvirtSave):
        return {
            "kind": "libvirt",
            "packed": about.packed,
            "domain": shown(about.domain),
            "running": about.running,
            "unfinished": about.unfinished,
            "stream_offset": about.start,
            "xml": about.xml.decode("utf-8", "replace"),
        }
    if about is None:
        return None
    return {
        "kind": "qcow2",
        "snapshot": shown(about.name),
        "id": shown(about.id),
        "vm_state_size": about.vm_state_size,
        "disk_size": about.disk_size,
        "snapshots": [shown(n) for n in about.names],
    }


def _configuration(facts: Facts) -> list[dict[str, Any]]:
    """CONFIGURATION's subsections; a value of null is of an unknown name, whose end was searched for."""
    found = facts.configuration.subsections if facts.configuration is not None else ()
    out = []
    for sub in found:
        value: Any = sub.value
        if isinstance(value, tuple):
            value = [shown(v) for v in value]
        elif isinstance(value, bytes):
            value = str(UUID(bytes=value))
        out.append({"name": shown(sub.name), "version": sub.version, "bytes": sub.end - sub.data, "value": value})
    return out


def _commands(facts: Facts) -> list[dict[str, Any]]:
    """The COMMANDs; ``package`` is the index of the command in whose package one stands."""
    packages = [(i, c.package) for i, c in enumerate(facts.commands) if c.package is not None]
    return [
        {
            "offset": c.offset,
            "number": c.number,
            "name": c.name,
            "words": str(c),
            "package": next((i for i, (start, end) in packages if start <= c.offset < end), None),
        }
        for c in facts.commands
    ]


def _discards(facts: Facts) -> list[dict[str, Any]]:
    """What a postcopy destination was told to forget, by block."""
    names = dict.fromkeys(d.block for d in facts.discards)
    mine = {name: [d for d in facts.discards if d.block == name] for name in names}
    return [
        {"block": shown(name), "ranges": len(these), "bytes": sum(d.length for d in these)}
        for name, these in mine.items()
    ]


def _channels(opened: Capture) -> list[dict[str, Any]]:
    """The multifd channels, as they were given."""
    return [
        {
            "file": shown(os.fsencode(c.name)),
            "id": c.id,
            "size": c.size,
            "packets": len(c.packets),
            "pages": c.pages,
            "zero_pages": c.zeros,
            "packed": c.method,
            "packed_bytes": c.packed,
            "synchronisations": c.epochs,
            "damage": None if c.damage is None else {"offset": c.damage[0], "message": c.damage[1]},
        }
        for c in (opened.channels.channels if opened.channels is not None else ())
    ]


def _saved(total: Tally, settings: Reading) -> dict[str, int]:
    """How many bytes shorter the capture is than with every page sent in full, by what saved them."""
    header = int(settings.dialect.header(settings.endian).sizeof()) if settings.dialect else 0
    less = total.records * settings.page_size - total.payload
    return {
        "dup": int(less[Kind.DUP]),
        "delta": total.deltas * (settings.page_size - header) - total.delta_payload,
        "compressed": int(less[Kind.COMPRESSED]),
    }


def _sections(facts: Facts) -> list[dict[str, Any]]:
    """Who wrote sections, how many of which type, and how their ends were found; in the order of their first."""
    groups: dict[Owner | str, list[Section]] = {}
    for section in facts.sections:
        groups.setdefault(section.owner or section.type.name, []).append(section)
    out = []
    for owner, members in groups.items():
        worst = max(s.found_by for s in members)
        described: dict[str, Any] = {"idstr": None, "section_id": None, "instance_id": None, "version_id": None}
        if not isinstance(owner, str):
            described = {
                "idstr": shown(owner.idstr),
                "section_id": owner.section_id,
                "instance_id": owner.instance_id,
                "version_id": owner.version_id,
            }
        out.append(
            {
                **described,
                "offset": members[0].offset,
                "types": dict(Counter(s.type.name.lower() for s in members)),
                "bytes": sum(s.end - s.offset for s in members),
                "found_by": worst.name.lower(),
                "certainty": CERTAINTY[worst],
            }
        )
    return out


def _device_tail(facts: Facts) -> dict[str, Any] | None:
    """The opaque data of devices: where, how many sections, and how their boundaries were found."""
    opaque = [s for s in facts.sections if s.type is SectionType.FULL]
    if not opaque:
        return None
    found = Counter(s.found_by for s in opaque)
    worst = max(found)
    return {
        "offset": opaque[0].offset,
        "end": opaque[-1].end,
        "sections": len(opaque),
        "found_by": {b.name.lower(): n for b, n in sorted(found.items())},
        "certainty": CERTAINTY[worst],
    }


# -- for people -------------------------------------------------------------------------------------------------------


def _show(facts: dict[str, Any]) -> None:
    """A screen of it."""
    tables = [_pairs(_summary(facts))]
    if facts["blocks"]:
        tables.append(_blocks(facts["blocks"]))
    if any(facts["records"].values()):
        tables.append(_records(facts))
    show(*tables)


def _summary(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each line."""
    size = facts["size"]
    container = f"QEVM, file version {facts['file_version']}"
    if facts["wrapper"]:
        container += f", inside {facts['wrapper']}"
    lines = [("capture", _printable(facts["name"]) + (f", {size:,} bytes" if size is not None else ""))]
    if facts["wrapping"] is not None:
        lines.append(("inside", _wrapping_words(facts["wrapping"])))
    lines += [("channel", _channel_words(c)) for c in facts["channels"]]
    lines.append(("container", container))
    if facts["machine"] is not None:
        lines.append(("machine", facts["machine"]))
    lines += [("configuration", _configuration_words(sub)) for sub in facts["configuration"]]
    if facts["ram_version"] is not None:
        lines.append(("RAM section", f"version {facts['ram_version']}, pages of {facts['page_size']} bytes"))
        lines.append(("dialect", _dialect(facts)))
        lines += [("", reason) for reason in facts["evidence"]["reasons"]]
    lines.append(("sections", _section_words(facts["sections"])))
    if facts["commands"]:
        lines.append(("commands", _command_words(facts["commands"])))
    lines += [
        ("discarded", f"{d['bytes']:,} bytes of {d['block']} in {d['ranges']} ranges: unknown until sent again")
        for d in facts["discards"]
    ]
    lines += [
        ("disk", f"{d['name']}, chunks up to {d['reach']:,} (extract --disk)") for d in facts["disks"][:NAMES_MAX]
    ]
    tail = facts["device_tail"]
    if tail is not None:
        found = ", ".join(f"{n} by {_FOUND[b]}" for b, n in tail["found_by"].items())
        lines += [
            ("devices", f"{tail['sections']} sections, {tail['offset']:#x} to {tail['end']:#x}; ends found: {found}"),
            ("", _device_words(facts["sections"])),
        ]
    if facts["vmdesc"] is not None:
        lines.append(("VM description", f"{facts['vmdesc']['length']:,} bytes at {facts['vmdesc']['offset']:#x}"))
    lines.append(("complete", _ending(facts)))
    return lines


def _wrapping_words(about: dict[str, Any]) -> str:
    if about["kind"] == "libvirt":
        state = "unfinished" if about["unfinished"] else "running when saved" if about["running"] else "paused"
        xml = f"{len(about['xml']):,} characters of XML (--xml)"
        return f"libvirt save file, {about['packed']}: domain {about['domain'] or '(no name)'}, {state}; {xml}"
    others = [n for n in about["snapshots"] if n != about["snapshot"]]
    more = f"; others: {', '.join(others[:NAMES_MAX])} (--snapshot)" if others else ""
    return f"qcow2 image: VM state of snapshot {about['snapshot']}, id {about['id']}{more}"


def _channel_words(channel: dict[str, Any]) -> str:
    zeros = f" and {channel['zero_pages']:,} of zeros" if channel["zero_pages"] else ""
    text = f"{channel['id']}: {channel['file']}, {channel['packets']} packets, {channel['pages']:,} pages{zeros}"
    if channel["pages"] and channel["packed"] != "none":
        text += f", {channel['packed']} to {channel['packed_bytes']:,} bytes"
    return text + (", damaged" if channel["damage"] else "")


def _configuration_words(sub: dict[str, Any]) -> str:
    name, value = sub["name"].removeprefix("configuration/"), sub["value"]
    if value is None:
        return f"{name}: {sub['bytes']} bytes of unknown form (its end is likely)"
    return f"{name}: {', '.join(value) if isinstance(value, list) else value}"


def _command_words(commands: list[dict[str, Any]]) -> str:
    """All in a line, those of a package in braces after it."""
    words: list[str] = []
    for i, command in enumerate(commands[:COMMANDS_MAX]):
        nested = command["package"] is not None
        opens = nested and commands[i - 1]["package"] != command["package"]
        closes = not nested and i and commands[i - 1]["package"] is not None
        words.append(("} " if closes else "") + ("{ " if opens else "") + command["words"].removeprefix("postcopy_"))
    text = ", ".join(words).replace(", { ", " { ").replace(", } ", " }, ")
    if commands[:COMMANDS_MAX][-1]["package"] is not None:
        text += " }"
    return text + (f" and {len(commands) - COMMANDS_MAX} more" if len(commands) > COMMANDS_MAX else "")


def _ending(facts: dict[str, Any]) -> str:
    if facts["complete"] and not facts["problems"]:
        return "yes, to the last byte"
    if facts["complete"]:
        return f"yes, with {len(facts['problems'])} problems on the way"
    fatal = next((p for p in facts["problems"] if p["fatal"]), None)
    word = "truncated" if facts["truncated"] else "damaged"
    return f"no, {word}" + (f" at {fatal['offset']:#x}" if fatal else "")


def _dialect(facts: dict[str, Any]) -> str:
    if facts["dialect"] is None:
        text = "not shown, for want of a delta; could be " + ", ".join(facts["candidates"])
    else:
        text = str(facts["dialect"])
        others = [c for c in facts["candidates"] if c != text]
        if others:
            text += f" (or {', '.join(others)}, which read the same here)"
    if facts["endian"]:
        text += f", {facts['endian']}-endian"
    if facts["evidence"]["forced"]:
        text += ", as forced"
    elif facts["evidence"]["offset"] is not None:
        text += f", seen at {facts['evidence']['offset']:#x}"
    return text


def _section_words(sections: list[dict[str, Any]]) -> str:
    """Who wrote sections, devices aside, and how many of each type."""
    words = []
    for s in sections:
        if s["idstr"] is None:
            words.append(" ".join(t.upper() for t in s["types"]))
        elif list(s["types"]) != ["full"]:
            words.append(f"{s['idstr']} ({', '.join(f'{n} {t.upper()}' for t, n in s['types'].items())})")
    return "; ".join(words) or "none"


def _device_words(sections: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(s["idstr"] for s in sections if list(s["types"]) == ["full"]))
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


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


def _records(facts: dict[str, Any]) -> "Table":
    table = _columns("records", "number", "payload", "bytes saved")
    delta = facts["saved"]["delta"]
    saved = {"xbrle": delta, "xbzrle": delta, **facts["saved"]}
    for kind, number in facts["records"].items():
        if number:
            less = f"{saved[kind]:,}" if kind in saved else ""
            table.add_row(kind, f"{number:,}", f"{facts['payload'].get(kind, 0):,}", less)
    return table


def _printable(name: str) -> str:
    return shown(name.encode("utf-8", "surrogateescape"))
