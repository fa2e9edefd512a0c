"""What a capture is, in lines of a label and a value: the same for `info` and the browser's overview."""

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..errors import XbrleError
from ..formats.qevm import Command
from ..model import Stream
from ..physical import infer
from ..ram import elsewhere
from ..source import beside
from ..source.sources import MappedSource, Source
from ..text import bytes_of, counted, shown
from ..verify.status import of_scan
from . import facts, guest, places

if TYPE_CHECKING:
    from ..container.returnpath import Message
    from ..ram.channels import Spool

NAMES_MAX = 12  # device sections that are named in a line
COMMANDS_MAX = 40  # COMMANDs that are named, equal ones in a row once
PLACES_MAX = 24  # blocks without a place that are named

DISCARD = Command.POSTCOPY_RAM_DISCARD

#: How the end of a device's data was found, for a person; `table.sections.CERTAINTY` says how certain each way is.
_FOUND = {
    "parsed": "reading it",
    "footer": "its footer (near certain)",
    "header": "the next header (likely)",
    "eof": "the last byte (likely)",
    "cut": "nothing",
}


def came_back(source: Source) -> "list[Message]":
    """What came back over the connection of a capture, where a file beside it has that, or its packet dump.

    Raises:
        TransportError: what holds that does not answer.
    """
    if isinstance(source, MappedSource) and source.rebuilt is not None:
        back = source.rebuilt.back
        return [] if back is None else _messages(bytes(back.view))
    path = None if source.given is None else beside.reverse(source.given)
    if path is None:
        return []
    try:
        return _messages(beside.content(path))
    except OSError:
        return []


def _messages(data: bytes) -> "list[Message]":
    from ..container import returnpath

    return returnpath.read(data) or []


def described(
    overview: facts.Overview, source: Source, channels: "Spool | None" = None, arrival: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The object of ``info --json`` as far as a scan shows it, which `summary` puts in words.

    ``source`` is what was opened, ``channels`` are those beside it, ``arrival`` is when the bytes came.

    Raises:
        TransportError: what holds the capture's return path does not answer.
    """
    about = facts.as_json(overview, source, channels, came_back(source))
    status, why = of_scan(overview.facts)
    return about | {"verdict": {"status": status, "summary": why}, "arrival": arrival}


def memory_and_guest(stream: Stream) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Where the guest's memory lies, and what guest it is, or None where no map can be worked out."""
    try:
        where = infer.map_of(stream)
        who = guest.guest_of(stream, where)
    except XbrleError:
        return None, None
    return {"origin": where.origin, "notes": list(where.notes), **places.as_json(where)}, guest.as_json(who)


def summary(about: dict[str, Any], dialect: str) -> list[tuple[str, str]]:
    """Label and value of each line. ``about`` is the object of ``info --json``, ``dialect`` the line on its dialect."""
    size = about["size"]
    alone = {facts.CHANNEL: "a multifd channel by itself", facts.ROW: "the channel of postcopy-preempt by itself"}
    container = alone.get(about["container"], facts.container_words(about["file_version"]))
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
        from . import arrivals

        lines.append(("arrived", arrivals.words(about["arrival"])))
    lines.append(("container", container))
    if about["stream_offset"]:
        lines.append(("begins", f"at {about['stream_offset']:#x}; offsets count from the beginning of the file"))
    if about["machine"] is not None:
        lines.append(("machine", about["machine"]))
    lines += [("configuration", _configuration_words(sub)) for sub in about["configuration"]]
    if about["ram_version"] is not None:
        lines.append(("RAM section", f"version {about['ram_version']}, pages of {about['page_size']:,} bytes"))
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
            (
                "devices",
                f"{counted(tail['sections'], 'section')}, {tail['offset']:#x} to {tail['end']:#x}; ends found: {ways}",
            ),
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
    if about["kind"] == "packets":
        which = (
            f"migration {about['stream']} of {about['streams']} (--stream)" if about["streams"] > 1 else "one migration"
        )
        return f"packet dump of {about['packets']:,} packets: {which}, {about['connection']}"
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


def placing(physical: dict[str, Any]) -> list[tuple[str, str]]:
    """Where memory lies in guest-physical space: what shows it, and which blocks do not have a place."""
    told = [("physical map", physical["origin"]), *(("", note) for note in physical["notes"])]
    return told + [
        ("not placed", f"{u['block']}: {u['length']:,} bytes: {u['reason']}") for u in physical["unplaced"][:PLACES_MAX]
    ]


def placed(physical: dict[str, Any]) -> list[tuple[str, str]]:
    """The ranges of guest-physical memory, and what lies in each."""
    ranges = [
        (f"{r['address']:#x}", f"{r['length']:,} bytes: {r['block']} from {r['offset']:#x}")
        for r in physical["placed"][:PLACES_MAX]
    ]
    more = len(physical["placed"]) - PLACES_MAX
    return [*ranges, ("", f"and {more} more ranges")] if more > 0 else ranges


def _ending(about: dict[str, Any]) -> str:
    if about["complete"]:
        count = len(about["problems"])
        return f"yes, with {count} problem{'s' * (count != 1)} on the way" if count else "yes, to the last byte"
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


def _printable(name: str) -> str:
    return shown(bytes_of(name))
