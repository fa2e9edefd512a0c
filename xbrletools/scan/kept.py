"""What of a scan's `Facts` an index keeps, as JSON and back. What comes back is checked by its type and its range.

Raises ValueError, TypeError or LookupError for what no scan can have found.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..formats import ram
from ..formats.dialects import DIALECTS, Dialect
from ..model import Facts
from ..ram.detect import ORDERS
from ..table.commands import Commands
from ..table.sections import Sections

#: The fields of `Facts` that are kept; the sections are kept as columns.
KEPT = (
    "reading",
    "blocks",
    "problems",
    "file_version",
    "ram_version",
    "machine",
    "capabilities",
    "configuration",
    "commands",
    "mapped",
    "ram_ended",
    "disks",
    "vmdesc",
    "device_tail",
    "footers",
    "complete",
    "start",
    "end",
)
#: The fields that only salvage sets. It is never kept.
SALVAGE = ("gaps", "has_start", "lost_names")

_WRONG = (ValueError, TypeError, LookupError)


def facts_to_keep(facts: Facts) -> dict[str, Any]:
    """What is kept of ``facts``, as JSON can hold it."""
    return {name: to_keep(getattr(facts, name)) for name in KEPT}


def facts_of(values: Any, sections: Sections, size: int) -> Facts:
    """The facts that ``values`` kept, of a capture of ``size`` bytes."""
    hints = _hints(Facts)
    if not isinstance(values, dict) or set(values) != set(KEPT):
        raise ValueError("other facts than are kept")
    facts = Facts(sections=sections, **{name: restored(value, hints[name]) for name, value in values.items()})
    reading, evidence = facts.reading, facts.reading.evidence
    named = (*evidence.candidates, *(() if evidence.name is None else (evidence.name,)))
    sizes = (reading.page_size, *(b.page_size for b in facts.blocks if b.page_size is not None))
    if (
        reading.version not in (ram.VERSION_FLAT, ram.VERSION_NAMED)
        or reading.endian not in ORDERS
        or (reading.dialect is not None and reading.dialect.ram_version != reading.version)
        or not all(map(ram.is_page_size, sizes))
        or not set(named) <= set(DIALECTS)
        or any(m.block >= len(facts.blocks) for m in facts.mapped)
        or any(offset > size for offset in _offsets(facts))
    ):
        raise ValueError("facts of no capture")
    return facts


def _offsets(facts: Facts) -> Iterator[int]:
    """Every offset in the capture that the facts name."""
    yield facts.start
    yield facts.end
    yield from (p.offset for p in facts.problems)
    yield facts.commands.end
    yield from facts.device_tail or ()
    yield from (m.bitmap or 0 for m in facts.mapped)
    yield sum(facts.vmdesc or ())
    if facts.configuration is not None:
        yield facts.configuration.end
        yield from (s.end for s in facts.configuration.subsections)


def to_keep(value: Any) -> Any:
    """A value as JSON can hold it. Raises TypeError for what is not kept."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Commands):
        return value.kept()
    if isinstance(value, Mapping):
        return [[to_keep(k), to_keep(v)] for k, v in value.items()]
    if isinstance(value, Sequence):
        return [to_keep(v) for v in value]
    if isinstance(value, Dialect):
        return value.name
    if is_dataclass(value):
        return {name: to_keep(getattr(value, name)) for name in _stored(type(value))}
    raise TypeError(f"{type(value)} is not kept")


def restored(value: Any, hint: Any) -> Any:
    """The value of type ``hint`` that `to_keep` made ``value`` of."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for part in parts:
            with suppress(*_WRONG):
                return restored(value, part)
    elif type(value) is hint and (hint in (NoneType, bool, str) or (hint is int and 0 <= value < 1 << 64)):
        return value
    elif hint is bytes and isinstance(value, str):
        return bytes.fromhex(value)
    elif hint is Dialect:
        return DIALECTS[value]
    elif hint is Commands and isinstance(value, list):
        return Commands.of(value)
    elif isinstance(value, list) and origin is not None:
        return _restored_list(value, origin, parts)
    elif isinstance(value, dict) and is_dataclass(hint) and isinstance(hint, type):
        return _restored_dataclass(value, hint)
    raise ValueError(f"{value!r} is not of type {hint}")


def _restored_list(value: list[Any], origin: Any, parts: tuple[Any, ...]) -> Any:
    if origin is list:
        return [restored(v, parts[0]) for v in value]
    if origin is Mapping:
        return {restored(k, parts[0]): restored(v, parts[1]) for k, v in value}
    if origin is tuple and parts[-1] is Ellipsis:
        return tuple(restored(v, parts[0]) for v in value)
    return tuple(restored(v, part) for v, part in zip(value, parts, strict=True))


def _restored_dataclass(value: dict[str, Any], hint: type) -> Any:
    names, hints = _stored(hint), _hints(hint)
    if set(value) != set(names):
        raise ValueError(f"other fields than a {hint.__name__} has")
    parts = {name: restored(value[name], hints[name]) for name in names}
    return hint(**parts)


@cache
def _hints(of: type) -> dict[str, Any]:
    return get_type_hints(of)


def _stored(of: type) -> tuple[str, ...]:
    """The fields of a dataclass that are kept."""
    return tuple(f.name for f in fields(of))
