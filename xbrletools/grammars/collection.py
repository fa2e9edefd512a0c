"""Which grammars are written down for other tools, and under which names. What is left out has a reason."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import construct
from construct import Computed, Construct, Struct, Switch, this

from .. import formats
from ..formats import Grammar, core, elf, mapped_ram, ram
from ..formats.dialects import DIALECTS, Dialect
from ..formats.elf import Machine
from ..formats.ram import Kind
from .shapes import Type
from .walk import Walk, snake

ORDERS = ("little", "big")
_BARE = "qevm"  # the module whose names stand without its own before them
_FIRST = ("qevm", "ram", "xbrle", "xbzrle", "multifd", "mapped_ram", "iterable", "block")


class Reading(NamedTuple):
    """One way in which deltas read: a dialect, and the sending host's byte order where it counts."""

    dialect: Dialect
    endian: str

    @property
    def name(self) -> str:
        """The dialect's name as an identifier, with the byte order where both exist."""
        name = self.dialect.name.replace("-", "_")
        return f"{name}_{self.endian}" if self.dialect.host_endian else name


#: The values of the parameter ``dialect``: each reading's place.
READINGS = tuple(Reading(d, endian) for d in DIALECTS.values() for endian in (ORDERS if d.host_endian else ORDERS[:1]))

#: The type of a RAM record, by the version of its section.
RECORDS = {v: f"ram_record_{v}" for v in (ram.VERSION_FLAT, ram.VERSION_NAMED)}

#: What a type can ask for. A parameter's name, and what it is in words.
PARAMS = {
    "addresses": "whether entries of the block list have a guest address: x-ignore-shared",
    "dialect": "how deltas read, a value of the enumeration `dialect`",
    "page_size": "bytes of a page of the target",
    "page_sizes": "whether entries of the block list can have a page size: postcopy, with blocks of large pages",
}

#: Grammars and functions that are not written down, and why.
LEFT_OUT = {
    "ram.block_list": "`ram_record_4_blocks` is it",
    "ram.delta": "`ram_record_3` and `ram_record_4` have it, for every dialect",
    "ram.page": "`ram_record_3` and `ram_record_4` have it, for every dialect",
    "ram.record_of": "makes what `ram.record` gives",
    "qevm.section_starts": "is SectionStart, made faster",
    "vmdesc.NUMBERS": "numbers alone, by the names that JSON gives",
    "vmdesc.ROWS": "numbers alone, by the names that JSON gives",
}


def _param(name: str) -> Any:
    return getattr(this._params, name)


def modules() -> list[str]:
    """The modules of `formats`, those that a stream needs first."""
    found = sorted(m.name for m in pkgutil.iter_modules(formats.__path__))
    return [*_FIRST, *(m for m in found if m not in _FIRST)]


def record(version: int) -> Grammar:
    """A RAM record in every dialect of this version, with its kind, flags and address as fields that follow from it."""
    readings = [(i, r) for i, r in enumerate(READINGS) if r.dialect.ram_version == version]
    page_size = _param("page_size")
    sums = {i: ram.page(r.dialect, page_size) for i, r in readings if r.dialect.page_sum}
    page = Switch(_param("dialect"), {i: sums.get(i, _plain_page()) for i, r in readings}) if sums else _plain_page()
    bodies: dict[Kind, Grammar] = {
        Kind.DUP: Struct("fill" / ram.Fill),
        Kind.PAGE: page,
        Kind.COMPRESSED: ram.CompressedPage,
        Kind.XBRLE: Switch(_param("dialect"), {i: _delta(r) for i, r in readings}),
    }
    if version == ram.VERSION_FLAT:
        del bodies[Kind.COMPRESSED]
    flags = this.word & (page_size - 1)
    order = ram.kind_order(version)
    made: Any = ram.record_of(version, order, bodies, page_size, _entry())
    word = ("word" / ram.Word, "flags" / Computed(flags), "address" / Computed(this.word - this.flags))
    return Struct(*word, *made.subcons[1:])


@cache
def _plain_page() -> Grammar:
    return ram.page(None, _param("page_size"))


@cache
def _delta(reading: Reading) -> Grammar:
    return ram.delta(reading.dialect, reading.endian)


@cache
def _entry() -> Grammar:
    return ram.block_entry(_param("addresses"), _param("page_sizes"))


#: What functions make whose arguments are not a byte order alone: (name, grammar) by the function's name.
def _variants() -> dict[str, list[tuple[str, Grammar]]]:
    machines = [(m, e) for m in core.REGISTERS for e in ORDERS if (e == "big") <= (m in (Machine.PPC64, Machine.S390))]
    heads = (elf.header, elf.program_header, elf.section_header)
    classes = ((elf.CLASS_32, 32), (elf.CLASS_64, 64))
    return {
        "ram.record": [(name, record(v)) for v, name in RECORDS.items()],
        "ram.block_entry": [("ram_listed_block", _entry())],
        "mapped_ram.entry": [("mapped_ram_entry", mapped_ram.entry(_param("addresses"), _param("page_sizes")))],
        "core.prstatus": [
            (f"core_prstatus_{snake(m.name)}_{e}", core.prstatus(m, e))
            for m, e in machines
            if not (m is Machine.S390 and e == "little")
        ],
        **{
            f"elf.{head.__name__}": [
                (f"elf_{head.__name__}_{bits}_{e}", head(e, class_)) for class_, bits in classes for e in ORDERS
            ]
            for head in heads
        },
    }


def named() -> Iterator[tuple[str, str, Grammar]]:
    """Every grammar that is written down: the name of its type, where it is declared, and the grammar itself."""
    variants = _variants()
    for module in modules():
        prefix = "" if module == _BARE else f"{module}_"
        for name, value in declarations(module):
            source = f"{module}.{name}"
            if source in LEFT_OUT:
                continue
            if isinstance(value, Construct):
                yield prefix + snake(name), source, value
            elif isinstance(value, dict):
                for key, grammar in value.items():
                    label = key.decode() if isinstance(key, bytes) else getattr(key, "name", str(key))
                    yield f"{prefix}{snake(name)}_{snake(label)}", source, grammar
            elif source in variants:
                yield from ((called, source, grammar) for called, grammar in variants[source])
            else:
                both = ORDERS if "endian" in inspect.signature(value).parameters else ORDERS[:1]
                for endian in both:
                    called = f"{prefix}{snake(name)}" + (f"_{endian}" if len(both) > 1 else "")
                    yield called, source, value(endian)


def declarations(module: str) -> list[tuple[str, Any]]:
    """What a module of `formats` declares: grammars, tables of grammars, and functions that give grammars."""
    loaded = importlib.import_module(f"{formats.__name__}.{module}")

    def declares(name: str, value: Any) -> bool:
        if isinstance(value, Construct):
            return not _is_borrowed(name, value, module)
        if isinstance(value, dict):
            return any(isinstance(v, Construct) for v in value.values())
        is_function = isinstance(value, FunctionType | type(cache(len)))
        return is_function and value.__module__ == loaded.__name__ and _gives_grammar(value)

    return [(n, v) for n, v in vars(loaded).items() if not n.startswith("_") and declares(n, v)]


def _gives_grammar(function: Any) -> bool:
    return "Construct" in str(inspect.signature(function).return_annotation)


def _is_borrowed(name: str, value: Any, module: str) -> bool:
    """Whether a grammar is construct's own, or one that the module imports."""
    return getattr(construct, name, None) is value or (name == "IdStr" and module != _BARE)


def walked() -> Walk:
    """All types.

    Raises:
        Unwritable: a grammar has a part that no writer knows.
    """
    walk = Walk()
    seen: dict[int, Grammar] = {}
    for name, source, grammar in named():
        if id(grammar) not in seen:  # the same under another name
            seen[id(grammar)] = grammar
            walk.add(name, grammar, source)
    return walk


def enums() -> dict[str, type[IntEnum] | type[IntFlag]]:
    """Every enumeration of `formats`, by its name in other tools, and the dialects'."""
    found: dict[str, Any] = {"dialect": IntEnum("Dialect", {r.name: i for i, r in enumerate(READINGS)})}
    for module in modules():
        loaded = importlib.import_module(f"{formats.__name__}.{module}")
        for name, value in vars(loaded).items():
            if inspect.isclass(value) and issubclass(value, (IntEnum, IntFlag)) and value.__module__ == loaded.__name__:
                found[snake(name) if module == _BARE else f"{module}_{snake(name)}"] = value
    return found


def numbers() -> dict[str, int]:
    """The numbers that the modules of a stream name, each with its module's name before its own."""
    found: dict[str, int] = {}
    for module in _FIRST:
        loaded = importlib.import_module(f"{formats.__name__}.{module}")
        constants = {n: v for n, v in vars(loaded).items() if n.isupper() and not n.startswith("_") and type(v) is int}
        found |= {f"{module}_{n.lower()}": v for n, v in constants.items()}
    return found


def types() -> list[Type]:
    """All types, each after those that it refers to."""
    return list(walked().types.values())
