"""Reads an ELF core independently of this project: its notes, and where it has memory."""

import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Core:
    """``notes`` as (name, type, contents), ``loads`` as (address, offset in the file, length)."""

    machine: int
    endian: str
    align: set[int]
    types: list[int]
    notes: list[tuple[bytes, int, bytes]]
    loads: list[tuple[int, int, int]]


def read(path: Path) -> Core:
    with path.open("rb") as file:
        head = file.read(64)
        order = "<" if head[5] == 1 else ">"
        assert (head[:4], head[4]) == (b"\x7fELF", 2)
        (machine,) = struct.unpack_from(f"{order}H", head, 18)
        (at,) = struct.unpack_from(f"{order}Q", head, 32)
        (count,) = struct.unpack_from(f"{order}H", head, 56)
        file.seek(at)
        segments = [struct.unpack(f"{order}IIQQQQQQ", file.read(56)) for _ in range(count)]
        notes, loads = [], []
        for kind, _, offset, _, address, length, _, _ in segments:
            if kind == 4:
                file.seek(offset)
                notes += split(file.read(length), order)
            else:
                loads.append((address, offset, length))
    return Core(machine, order, {s[7] for s in segments}, [s[0] for s in segments], notes, loads)


def split(raw: bytes, order: str) -> list[tuple[bytes, int, bytes]]:
    notes, at = [], 0
    while at < len(raw):
        name_length, length, kind = struct.unpack_from(f"{order}III", raw, at)
        at += 12
        name = raw[at : at + name_length]
        at += (name_length + 3) // 4 * 4
        notes.append((name, kind, raw[at : at + length]))
        at += (length + 3) // 4 * 4
    return notes
