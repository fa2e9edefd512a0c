"""How `xbrle dump` shows sections and records: lines for people, JSON for scripts, with their fields and bytes."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..capture import Capture
from ..container import fields
from ..container.fields import Field
from ..errors import XbrleError
from ..formats import ram
from ..formats.qevm import SectionType
from ..formats.ram import Flag, Kind
from ..model import Found
from ..table.commands import Command
from ..table.kinds import IS_DELTA
from ..table.packets import Packets, method_name
from ..table.sections import Boundary, Section, Stage
from ..table.windows import Window
from ..text import counted, label, shown
from . import warn
from .writer import FORMAT, as_line, is_coloured, is_terminal

HEX_ROW = 16  # bytes in a line of a hex dump
FIELDS_MAX = (
    1 << 18
)  # bytes of a record whose fields are shown: more than any has, but for a list of thousands of blocks


class Lister(ABC):
    """How sections and records are shown."""

    def __init__(self, opened: Capture, scan: Found, fields: bool, runs: bool, hexadecimal: bool) -> None:
        self.opened, self.scan = opened, scan
        self.fields, self.runs, self.hexadecimal = fields, runs, hexadecimal
        self.damaged = False  # whether the VM description was found damaged

    def head(self) -> str:
        """What comes before everything else."""
        return ""

    @abstractmethod
    def section(self, section: Section) -> str:
        """A section's line."""

    @abstractmethod
    def records(self, window: Window, keep: NDArray[np.int64], known: NDArray[np.int8]) -> list[str]:
        """A line for each of the window's rows in ``keep``."""

    @abstractmethod
    def packet(self, packets: Packets, place: int) -> str:
        """A line for a packet of a multifd channel."""

    def _end(self, section: Section) -> int | None:
        """Where a section's data ends, or None for RAM sections, whose EOS record the scan may not have reached yet."""
        is_ram = section.owner is not None and section.owner.idstr == ram.IDSTR and section.type != SectionType.FULL
        return None if is_ram or section.found_by is Boundary.CUT else section.end

    def _command(self, section: Section) -> Command | None:
        """What a COMMAND says, or None for another section."""
        if section.type is not SectionType.COMMAND:
            return None
        return self.scan.commands.at(section.offset)

    def _nested(self, section: Section) -> bool:
        """Whether the section came in a package."""
        return self.scan.commands.package_of(section.offset) is not None

    def _machine(self, section: Section) -> bytes | None:
        """The machine's name in a CONFIGURATION section, or None for another section."""
        return self.scan.machine if section.type is SectionType.CONFIGURATION else None

    def _section_tree(self, section: Section) -> Field:
        """The fields of a section, those of its data too if something describes them."""
        return fields.whole_tree(section, self.opened.data, self.scan, self._device_tree(section))

    def _device_tree(self, section: Section) -> Field | None:
        if section.owner is None or section.found_by is Boundary.CUT:
            return None
        try:
            description = self.opened.description if section.type is SectionType.FULL else None
            if description is not None and description.damage is not None:
                self._say(f"{description.damage}; the entries that are intact are used")
            return self.opened.fields(section)
        except XbrleError as error:
            self._say(str(error))
            return None

    def _say(self, damage: str) -> None:
        """Say once what is wrong with the description."""
        if not self.damaged:
            warn(damage)
        self.damaged = True

    def _from(self, window: Window, keep: NDArray[np.int64]) -> tuple[list[int], list[int | None]]:
        """The offset of each record in its own file, and that file's channel id, which is None for the main one."""
        spooled = self.opened.channels if self.opened.has_channels else None
        offsets = window.columns.offset[keep]
        if spooled is None:
            return offsets.tolist(), [None] * len(offsets)
        channel, at = spooled.places(offsets)
        return at.tolist(), [None if i < 0 else i for i in channel.tolist()]

    def _tree(self, window: Window, row: int) -> Field:
        c, settings = window.columns, self.scan.reading
        start = int(c.offset[row])
        if not c.head[row]:  # a page without a record around it: from a channel, or mapped-ram
            start, page = self._payload(window, row)
            return Field("record", start, len(page), None, page, (Field("page", start, len(page), page, page),))
        size = int(c.head[row]) + int(c.length[row])
        data = self.opened.data[start : start + min(size, FIELDS_MAX)].tobytes()
        tree = fields.record_tree(data, start, settings.version, settings.dialect, settings.endian, settings.page_size)
        if size > FIELDS_MAX:
            rest = Field(fields.UNREAD, start + FIELDS_MAX, size - FIELDS_MAX, b"", b"")
            tree = replace(tree, size=size, children=(*tree.children, rest))
        if not self.runs or settings.dialect is None or not IS_DELTA[c.kind[row]]:
            return tree
        return fields.marked(fields.expanded(tree, settings.dialect), settings.dialect, settings.page_size)

    def _payload(self, window: Window, row: int) -> tuple[int, bytes]:
        c = window.columns
        start = int(c.offset[row]) + int(c.head[row])
        return start, self.opened.data[start : start + int(c.length[row])].tobytes()

    def _section_bytes(self, section: Section) -> tuple[int, bytes]:
        end = self._end(section)
        return section.data, b"" if end is None else self.opened.data[section.data : end].tobytes()


class TextLister(Lister):
    """Lines for people, 80 columns wide where the names allow it."""

    def head(self) -> str:
        """The names of the columns, on a terminal."""
        if not is_terminal():
            return ""
        line = f"{'OFFSET':10} {'RECORD':>8} {'KIND':10} {'LENGTH':>6} {'PASS':>4} {'STAGE':5} PAGE"
        return (f"\x1b[1m{line}\x1b[0m" if is_coloured() else line) + "\n"

    def section(self, section: Section) -> str:
        """A section's line, and its fields and bytes if wanted."""
        words = [f"{section.offset:#010x} section {section.index}: {section.type.name}"]
        if section.owner is not None:
            owner = section.owner
            words[0] += f" of {shown(owner.idstr)}"
            words.append(f"id {owner.section_id}")
            if self._announces(section):
                words.append(f"instance {owner.instance_id}, version {owner.version_id}")
        if (command := self._command(section)) is not None:
            words[0] += f" {command}"
        if (machine := self._machine(section)) is not None:
            words[0] += f" {shown(machine)}"
        end = self._end(section)
        if end is not None:
            words += self._extent(section, end)
        line = ", ".join(words)
        if self._nested(section):
            line = line.replace(" ", "   ", 1)
        out = [f"\x1b[2m{line}\x1b[0m" if is_coloured() else line]
        if self.fields:
            out += _tree_lines(self._section_tree(section), fields.flags_of(section))
        if self.hexadecimal:
            out += _hex_lines(*self._section_bytes(section))
        return "\n".join(out) + "\n"

    @staticmethod
    def _announces(section: Section) -> bool:
        return section.type in (SectionType.START, SectionType.FULL)

    @staticmethod
    def _extent(section: Section, end: int) -> list[str]:
        if section.type is SectionType.EOF:
            return []
        likely = section.found_by in (Boundary.HEADER, Boundary.EOF)
        return [f"{'likely ' if likely else ''}{counted(end - section.offset, 'byte')}"]

    def records(self, window: Window, keep: NDArray[np.int64], known: NDArray[np.int8]) -> list[str]:
        """A line for each of the rows ``keep``, and its fields and bytes if wanted."""
        c = window.columns.take(keep)
        blocks = _block_words(window)
        offsets, channels = self._from(window, keep)
        columns = (
            offsets,
            _or(window.number[keep], ""),
            _words(_kinds(is_coloured()), c.kind),
            c.length.tolist(),
            _or(window.pass_[keep], ""),
            _words(_stages(), window.stage[keep]),
            _words(blocks, np.minimum(c.block, len(blocks) - 1)),
            c.address.tolist(),
            _words(["", ", base unknown"], known[keep] == 0),
            ["" if c is None else f", channel {c}" for c in channels],
        )
        with_page = "%#010x %8s %s %6d %4s %-5s %s%#x%s%s\n"
        without = "%#010x %8s %s %6d %4s %-5s %s\n"
        if bool(window.is_page[keep].all()):
            lines = list(map(with_page.__mod__, zip(*columns, strict=True)))
        else:
            carries = window.is_page[keep].tolist()
            lines = [
                with_page % row if is_page else (without % (*row[:6], "")).rstrip() + "\n"
                for is_page, row in zip(carries, zip(*columns, strict=True), strict=True)
            ]
        if self.fields or self.hexadecimal:
            lines = [line + self._more(window, row) for line, row in zip(lines, keep.tolist(), strict=True)]
        return lines

    def packet(self, packets: Packets, place: int) -> str:
        """A packet's line."""
        word, name = packets.word(place), shown(packets.name_of(place))
        size = int(packets.stop[place] - packets.data[place])
        method = method_name(int(packets.method[place]))
        says = {
            "device-state": f"state of {name}, instance {packets.instance[place]}, {size} bytes",
            "pages": f"{counted(int(packets.normal[place]), 'page')} and {packets.zero[place]} of zeros of {name}",
            "sync": "SYNC",
            "empty": "empty",
        }[word]
        if word == "pages":
            says += f", {size} bytes" + (f" of {method}" if packets.normal[place] and method != "none" else "")
            says += ", SYNC" if packets.is_sync[place] else ""
        number = "" if packets.number[place] < 0 else f" {packets.number[place]}"
        line = f"{packets.offset[place]:#010x} packet{number} on channel {packets.channel[place]}: {says}"
        return (f"\x1b[2m{line}\x1b[0m" if is_coloured() else line) + "\n"

    def _more(self, window: Window, row: int) -> str:
        out: list[str] = []
        if self.fields:
            out += _tree_lines(self._tree(window, row), {"word": (Flag, self.opened.page_size - 1)})
        if self.hexadecimal:
            out += _hex_lines(*self._payload(window, row))
        return "".join(line + "\n" for line in out)


class JsonLister(Lister):
    """One object a line."""

    def section(self, section: Section) -> str:
        """A section's line, and its fields and bytes if wanted."""
        owner, end = section.owner, self._end(section)
        out: dict[str, Any] = {
            "type": "section",
            "offset": section.offset,
            "section": section.index,
            "kind": section.type.name.lower(),
            "section_id": owner.section_id if owner else None,
            "idstr": shown(owner.idstr) if owner else None,
            "instance_id": owner.instance_id if owner else None,
            "version_id": owner.version_id if owner else None,
            "data": section.data,
            "end": end,
            "found_by": None if end is None else section.found_by.name.lower(),
            "nested": self._nested(section),
        }
        if (command := self._command(section)) is not None:
            out |= {"command": command.name, "says": str(command)}
        if (machine := self._machine(section)) is not None:
            out["machine"] = shown(machine)
        if self.fields:
            out["fields"] = _tree_json(self._section_tree(section))
        if self.hexadecimal:
            out["hex"] = self._section_bytes(section)[1].hex()
        return as_line(out) + "\n"

    def records(self, window: Window, keep: NDArray[np.int64], known: NDArray[np.int8]) -> list[str]:
        """A line for each of the rows ``keep``, and its fields and bytes if wanted."""
        c = window.columns.take(keep)
        names = [json.dumps(w) for w in _names(window)] + ["null"]
        address: list[Any] = c.address.tolist()
        is_page = window.is_page[keep]
        if not is_page.all():
            for i in np.flatnonzero(~is_page).tolist():
                address[i] = "null"
        line = (
            f'{{"type": "record", "format": {FORMAT}, '
            '"offset": %d, "record": %s, "kind": "%s", "block": %s, "page": %s, "pass": %s, '
            '"stage": "%s", "length": %d, "base_known": %s, "section": %d, "flags": %d, "payload": %s, "channel": %s, '
            '"packet": %s}\n'
        )
        offsets, channels = self._from(window, keep)
        payload, origins = c.payload().tolist(), window.origins
        columns = (
            offsets,
            _or(window.number[keep], "null"),
            _words(_kinds(False, 0), c.kind),
            _words(names, np.minimum(c.block, len(names) - 1)),
            address,
            _or(window.pass_[keep], "null"),
            _words(_stages(), window.stage[keep]),
            c.length.tolist(),
            _words(["null", "false", "true"], known[keep] + 1),
            window.section[keep].tolist(),
            c.flags.tolist(),
            [p if i is None else "null" for p, i in zip(payload, channels, strict=True)],
            ["null" if i is None else i for i in channels],
            ["null"] * len(c) if origins is None else _signed(origins.packet[keep]),
        )
        lines = list(map(line.__mod__, zip(*columns, strict=True)))
        if self.fields or self.hexadecimal:
            lines = [self._more(window, row, line) for line, row in zip(lines, keep.tolist(), strict=True)]
        return lines

    def packet(self, packets: Packets, place: int) -> str:
        """A packet's line."""
        number, word = int(packets.number[place]), packets.word(place)
        out: dict[str, Any] = {
            "type": "packet",
            "offset": int(packets.offset[place]),
            "channel": int(packets.channel[place]),
            "packet": None if number < 0 else number,
            "kind": word,
            "sync": bool(packets.is_sync[place]),
            "flags": int(packets.flags[place]),
            "pages": int(packets.normal[place]),
            "zero_pages": int(packets.zero[place]),
            "packed": method_name(int(packets.method[place])),
            "bytes": int(packets.stop[place] - packets.data[place]),
            "block": shown(packets.name_of(place)) if word == "pages" else None,
            "device": shown(packets.name_of(place)) if word == "device-state" else None,
            "instance_id": int(packets.instance[place]) if word == "device-state" else None,
        }
        return as_line(out) + "\n"

    def _more(self, window: Window, row: int, line: str) -> str:
        out = json.loads(line)
        if self.fields:
            out["fields"] = _tree_json(self._tree(window, row))
        if self.hexadecimal:
            out["hex"] = self._payload(window, row)[1].hex()
        return as_line(out) + "\n"


_COLOURS = {"page": 32, "dup": 2, "xbrle": 36, "xbzrle": 36, "compressed": 33, "eos": 2}


def _kinds(coloured: bool, width: int = 10) -> list[str]:
    words = [k.name.lower() for k in Kind]
    return [
        f"\x1b[{_COLOURS[w]}m{w:{width}}\x1b[0m" if coloured and w in _COLOURS else f"{w:{width}}" if width else w
        for w in words
    ]


def _stages() -> list[str]:
    return ["", *(s.name.lower() for s in Stage)]


def _names(window: Window) -> list[str]:
    return [shown(n) for n in window.names]


def _block_words(window: Window) -> list[str]:
    return [*(f"{n}:" for n in _names(window)), ""]


def _words(words: list[str], index: NDArray[Any]) -> list[str]:
    """The word for each index, (n,)."""
    return np.array(words, object)[index.astype(np.intp)].tolist()  # type: ignore[no-any-return]


def _signed(numbers: NDArray[np.int64]) -> list[Any]:
    """The numbers as they are, null for those below 0."""
    return ["null" if n < 0 else n for n in numbers.tolist()]


def _or(numbers: NDArray[np.uint32], absent: str) -> list[Any]:
    """The numbers as they are, 0 as ``absent``."""
    out: list[Any] = numbers.tolist()
    if not numbers.all():
        out = [n or absent for n in out]
    return out


# -- fields and bytes -------------------------------------------------------------------------------------------------

VALUE_BYTES = 16  # bytes of a value that a line shows
VALUE_NUMBERS = 4  # numbers of an array that a line shows
PAYLOAD = "payload"
_NAMES = frozenset(("name", "idstr", "machine", "node", "bitmap"))
_TYPED = frozenset(("section", "footer", "header"))  # what begins with the type of a section, beside subsections


def _tree_lines(field: Field, named: fields.Named, depth: int = 1) -> Iterator[str]:
    """A line for each field: offset, size, name indented by depth, value. A run of a payload is one line.

    ``named`` has the flags in fields of some names, and the bits that hold them.
    """
    for i, child in enumerate(field.children):
        line = f"{child.offset:#010x} {child.size:>8} {'  ' * depth}{label(child.name)}"
        if field.name == PAYLOAD and child.children:
            yield f"{line} {', '.join(f'{f.name} = {_value(f, named)}' for f in child.children)}"
        elif child.children:
            yield line
            yield from _tree_lines(child, named, depth + 1)
        elif child.name == "type" and child.value in list(SectionType) and _is_header(field, i):
            yield f"{line} = {child.value:#04x} {SectionType(child.value).name}"
        else:
            yield f"{line} = {_value(child, named)}"


def _is_header(field: Field, place: int) -> bool:
    """Whether the part of ``field`` at ``place`` opens the header of a section, a footer or a subsection."""
    following = field.children[place + 1 : place + 2]
    return place == 0 and (field.name in _TYPED or any(f.name == "idstr" for f in following))


def _value(field: Field, named: fields.Named) -> str:
    value = field.value
    if isinstance(value, bytes) and (field.name in _NAMES or field.name.startswith("[")):
        return f'"{shown(value)}"'
    if isinstance(value, bytes):
        raw = field.raw or value
        text = raw[:VALUE_BYTES].hex(" ")
        return text + (" ..." if field.size > VALUE_BYTES else "")
    if isinstance(value, tuple):
        more = " ..." if len(value) > VALUE_NUMBERS else ""
        return f"{len(value)} x {' '.join(f'{v:#x}' for v in value[:VALUE_NUMBERS])}{more}"
    if (names := fields.flag_words(field, named)) is not None:
        mask = named[field.name][1]
        is_whole = not ~mask & (1 << 8 * field.size) - 1
        return f"{value:#x} {names}".rstrip() if is_whole else f"{value:#x}: {value & ~mask:#x} {names}"
    return f"{value:#x} ({value})" if isinstance(value, int) and value > 9 else str(value)


def _tree_json(field: Field) -> list[dict[str, Any]]:
    out = []
    for child in field.children:
        value: Any = child.value
        if isinstance(value, bytes):
            value = shown(value) if child.name in _NAMES or child.name.startswith("[") else value.hex()
        out.append(
            {
                "name": label(child.name),
                "offset": child.offset,
                "size": child.size,
                "value": value if isinstance(value, int | str | tuple) else None,
                "fields": _tree_json(child),
            }
        )
    return out


def _hex_lines(offset: int, data: bytes) -> Iterator[str]:
    """A classic hex dump with file offsets."""
    for at in range(0, len(data), HEX_ROW):
        row = data[at : at + HEX_ROW]
        text = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in row)
        yield f"{offset + at:#010x}   {row[:8].hex(' '):23}  {row[8:].hex(' '):23} {text}"
