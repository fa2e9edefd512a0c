"""The field tree that a person reads: every field of a section or a record, with its offset, size, bytes and value.

The grammars themselves parse it. construct does not say where a field stood. So the grammar is copied, and in the copy
each name and each item of an array notes its place. Bytes that no field covers show as fields too.
"""

import copy
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntFlag
from functools import cache
from typing import Any

import numpy as np
from construct import (
    Array,
    ConstructError,
    FocusedSeq,
    GreedyRange,
    IfThenElse,
    RepeatUntil,
    Select,
    Struct,
    Subconstruct,
    Switch,
)
from construct import Renamed as ConstructRenamed
from numpy.typing import NDArray

from ..codec.fault import fault
from ..formats import Grammar, core, iterable, qevm, ram, xbrle, xbzrle
from ..formats.declared import IfNext, UntilSum, WhileNext
from ..formats.dialects import Dialect, Encoding
from ..formats.qevm import SectionType
from ..model import Configuration, Found
from ..table.commands import Command
from ..table.sections import Section

WRONG = "wrong"  # what is wrong where it stands, in words
UNREAD = "unread"  # bytes that the grammar leaves over, or could not read
DATA = "data"  # bytes that another grammar reads, or none
TEXT_MAX = 1 << 22  # bytes of a section without an owner that its fields hold; a longer description shows as its size
DATA_MAX = 1 << 24  # bytes of a section's data that its field holds; larger data shows as records alone


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``raw`` are its bytes, ``value`` is what they mean, or None where the field has children."""

    name: str
    offset: int
    size: int
    value: Any
    raw: bytes
    children: tuple["Field", ...] = ()


@dataclass(slots=True)
class _Node:
    """A field that is being read."""

    name: str
    start: int
    end: int
    value: Any
    children: list["_Node"]


class _Named(Subconstruct):  # type: ignore[type-arg]  # generic in its stubs alone
    """Notes where a field stands. A field without a name gets the item's number for one.

    The parse is given ``nodes``: the fields that are open, from the outermost on.
    """

    def __init__(self, subcon: Grammar, name: str) -> None:
        super().__init__(subcon)
        self.name = name or None

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        nodes: list[_Node] = context._params.nodes
        parent = nodes[-1]
        start = stream.tell()
        node = _Node(self.name or f"[{len(parent.children)}]", start, start, None, [])
        parent.children.append(node)
        nodes.append(node)
        try:
            node.value = self.subcon._parsereport(stream, context, path)
        finally:
            node.end = stream.tell()
            nodes.pop()
        return node.value


class _Attempt(Subconstruct):  # type: ignore[type-arg]
    """Takes back what it noted where it fails, since the part around it then tries another one."""

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        children = context._params.nodes[-1].children
        before = len(children)
        try:
            return self.subcon._parsereport(stream, context, path)
        except Exception:
            del children[before:]
            raise


@cache
def _noting(part: Any) -> Any:
    """A copy of a grammar that notes its fields."""
    if isinstance(part, ConstructRenamed):
        return _Named(_noting(part.subcon), str(part.name))
    if isinstance(part, Struct | FocusedSeq):
        out = copy.copy(part)
        out.subcons = [_noting(p) for p in part.subcons]
        return out
    if isinstance(part, IfThenElse):
        return IfThenElse(part.condfunc, _noting(part.thensubcon), _noting(part.elsesubcon))
    if isinstance(part, Switch):
        cases = {key: _noting(case) for key, case in part.cases.items()}
        return Switch(part.keyfunc, cases, _noting(part.default))
    if isinstance(part, Select):
        return Select(*(_Attempt(_noting(p)) for p in part.subcons))
    if isinstance(part, IfNext):
        return IfNext(part.fits, _Attempt(_noting(part.subcon)))
    if isinstance(part, WhileNext):
        return WhileNext(part.head, part.fits, _Attempt(_Named(_noting(part.subcon), "")))
    if isinstance(part, UntilSum):
        return UntilSum(part.field, part.total, _Named(_noting(part.subcon), ""))
    if isinstance(part, GreedyRange):
        return GreedyRange(_Attempt(_Named(_noting(part.subcon), "")))
    if isinstance(part, RepeatUntil):
        return RepeatUntil(part.predicate, _Named(_noting(part.subcon), ""))
    if isinstance(part, Array):
        return Array(part.count, _Named(_noting(part.subcon), ""))
    return part


def tree(grammar: Grammar, data: bytes, offset: int, name: str = "", **context: Any) -> Field:
    """The fields of ``data``, which stands at ``offset`` of the capture, as ``grammar`` reads them.

    ``context`` is what the grammar asks for. Where the data ends too soon, the fields before that come first and the
    rest as one field called `UNREAD`.
    """
    root = _Node(name, 0, len(data), None, [])
    stream = io.BytesIO(data)
    with suppress(ConstructError):
        root.value = _noting(grammar).parse_stream(stream, nodes=[root], **context)
    return _field(root, data, offset)


def _field(node: _Node, data: bytes, offset: int) -> Field:
    """The finished field of a node. Bytes that none of its children covers become children called `UNREAD`."""
    children: list[Field] = []
    at = node.start
    for child in node.children:
        if child.end == child.start:  # computed, or not present
            continue
        if child.start > at:
            children.append(_plain(UNREAD, data, at, child.start, offset))
        children.append(_field(child, data, offset))
        at = child.end
    if at < node.end and (children or not node.name or node.value is None):
        children.append(_plain(UNREAD, data, at, node.end, offset))
    value = None if children else node.value
    return Field(
        node.name, offset + node.start, node.end - node.start, value, data[node.start : node.end], tuple(children)
    )


def _plain(name: str, data: bytes, start: int, end: int, offset: int) -> Field:
    return Field(name, offset + start, end - start, data[start:end], data[start:end])


def record_tree(
    data: bytes,
    offset: int,
    version: int,
    dialect: Dialect | None,
    endian: str,
    page_size: int,
) -> Field:
    """The fields of the record whose bytes are ``data``."""
    named = ram.VERSION_FLAT if version == ram.VERSION_FLAT else ram.VERSION_NAMED
    return tree(_record(named, dialect, endian, page_size), data, offset, "record")


_record = cache(ram.record)


#: The grammar of a payload, by its encoding. The doubled codings do not have one.
_PAYLOADS: dict[Encoding, Grammar] = {Encoding.RLE: xbrle.Pairs, Encoding.ZRUN: xbzrle.Runs}


def expanded(field: Field, dialect: Dialect) -> Field:
    """The same tree, with a delta's payload split into its pairs or runs where its coding has a grammar."""
    if field.name == "payload" and not field.children and dialect.encoding in _PAYLOADS:
        runs = tree(_PAYLOADS[dialect.encoding], field.raw, field.offset, field.name)
        return runs if runs.children else field
    return replace(field, children=tuple(expanded(c, dialect) for c in field.children))


def marked(field: Field, dialect: Dialect, page_size: int) -> Field:
    """The same tree of a record. A field "wrong" says of a payload that does not come to one page which run is wrong.

    It stands after that run, or where the run cannot be read.
    """
    if field.name != "payload":
        return replace(field, children=tuple(marked(c, dialect, page_size) for c in field.children))
    found = fault(dialect.encoding, np.frombuffer(field.raw, np.uint8), page_size)
    if found is None:
        return field
    text = f"run {found.run}: {found.found}, expected {found.expected}"
    wrong = Field(WRONG, field.offset + found.at, 0, text, b"")
    parts = field.children or (replace(field, name=DATA),)
    before = [c for c in parts if c.offset <= wrong.offset and c.name != UNREAD]
    return replace(field, value=None, children=(*before, wrong, *parts[len(before) :]))


#: What follows the type byte.
_SECTIONS: dict[SectionType, Grammar] = {
    SectionType.START: qevm.SectionStart,
    SectionType.FULL: qevm.SectionStart,
    SectionType.PART: qevm.SectionPart,
    SectionType.END: qevm.SectionPart,
    SectionType.CONFIGURATION: qevm.Configuration,
    SectionType.COMMAND: qevm.CommandHeader,
    SectionType.VMDESCRIPTION: qevm.VmDescription,
}
_FRAMED = (SectionType.START, SectionType.FULL, SectionType.PART, SectionType.END)


def section_tree(section: Section, data: NDArray[np.uint8]) -> Field:
    """The fields of a section: its type, its header, its data as one field, and its footer if it has one.

    ``data`` is the capture, (size,) uint8.
    """
    framed = section.type in _FRAMED
    header = section.data if framed else section.end
    start = section.offset
    children = [Field("type", start, 1, int(section.type), data[start : start + 1].tobytes())]
    if section.type in _SECTIONS:
        stop = min(header, start + 1 + TEXT_MAX)
        children += tree(_SECTIONS[section.type], data[start + 1 : stop].tobytes(), start + 1).children
        if stop < header:  # the last field is too long to be held
            cut = children[-1]
            children[-1] = Field(cut.name, cut.offset, header - cut.offset, b"", b"")
    end = section.end
    if framed:
        if end > header:
            raw = b"" if end - header > DATA_MAX else data[header:end].tobytes()
            children.append(Field(DATA, header, end - header, raw, raw))
        size = qevm.Footer.sizeof()
        if data[end : end + size].tobytes()[:1] == bytes([SectionType.FOOTER]):
            children.append(tree(qevm.Footer, data[end : end + size].tobytes(), end, "footer"))
            end += size
    return Field("section", start, end - start, None, b"", tuple(children))


def command_tree(command: Command) -> Field:
    """The fields of a COMMAND's data, which ends at the command's end."""
    start = command.end - len(command.data)
    grammar = command.grammar
    if grammar is None:
        return Field(DATA, start, len(command.data), command.data, command.data)
    return tree(grammar, command.data, start, DATA)


def with_subsections(section: Field, data: NDArray[np.uint8], found: Configuration) -> Field:
    """The fields of CONFIGURATION with all its subsections. The grammar alone stops at one of unknown name."""
    children = [c for c in section.children if c.name in ("type", "length", "machine")]
    subs: list[Field] = []
    for sub in found.subsections:
        header = tree(qevm.SubsectionHeader, data[sub.offset : sub.data].tobytes(), sub.offset)
        raw = data[sub.data : sub.end].tobytes()
        grammar = qevm.CONFIGURATION_SUBSECTIONS.get(sub.name)
        inner = Field(DATA, sub.data, len(raw), raw, raw) if grammar is None else tree(grammar, raw, sub.data, DATA)
        place = f"[{len(subs)}]"
        subs.append(Field(place, sub.offset, sub.end - sub.offset, None, b"", (*header.children, inner)))
    if subs:
        start = subs[0].offset
        children.append(Field("subsections", start, found.end - start, None, b"", tuple(subs)))
    return replace(section, children=tuple(children))


def whole_tree(section: Section, data: NDArray[np.uint8], found: Found, inner: Field | None = None) -> Field:
    """The fields of a section, with those of its data.

    ``inner`` are those of a device. CONFIGURATION and COMMAND are read here, by what was ``found``.
    """
    outer = section_tree(section, data)
    if section.type is SectionType.CONFIGURATION and found.configuration is not None:
        return with_subsections(outer, data, found.configuration)
    if section.type is SectionType.COMMAND and (command := found.commands.at(section.offset)) is not None:
        inner = command_tree(command)
    if inner is None:
        return outer
    return replace(outer, children=tuple(inner if c.name == DATA else c for c in outer.children))


#: The flags in fields of some names, and the bits that hold them.
Named = Mapping[str, tuple[type[IntFlag], int]]


def flags_of(section: Section) -> Named:
    """The flags in a section's fields."""
    if section.owner is None:
        return {}
    if section.type is SectionType.FULL:
        return core.X86_FLAGS if section.owner.idstr.rpartition(b"/")[2] == core.X86_CPU else {}
    return iterable.FLAGS.get(section.owner.idstr, {})


def flag_words(field: Field, named: Named) -> str | None:
    """The names of the flags that are set in a field, joined by ``|``, or None where it does not hold flags."""
    if field.name not in named or not isinstance(field.value, int):
        return None
    flags, mask = named[field.name]
    return "|".join(str(f.name) for f in flags if field.value & mask & f)


def header_tree(data: NDArray[np.uint8], start: int) -> Field:
    """The fields of the file header, of a stream that begins at offset ``start``."""
    return tree(qevm.FileHeader, data[start : start + qevm.FileHeader.sizeof()].tobytes(), start, "header")
