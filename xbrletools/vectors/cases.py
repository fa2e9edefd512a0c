"""A case: an operation, what is asked, and what is to be answered. It is written as JSON, and as protocol lines.

README.md, beside this file, says how values are written in either.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import XbrleError, unopened

FORMAT = "xbrletools-vectors"
VERSION = 1
INDEX = "index.json"

BYTES_MAX = 1 << 24  # of one value; larger ones are refused

#: Keys whose values are bytes: pieces in JSON, hex on the line.
BYTES = frozenset(("old", "new", "payload", "page", "bytes", "stream", "contents"))
#: Keys whose values are lines of text: a list in JSON; on the line the hex of all lines, each ended by a newline.
LINES = frozenset(("log",))
#: Keys that an answer may leave out.
OPTIONAL = frozenset(("reason", "sha256"))

Value = int | str | bytes | list[str] | list[int]

_REPEATS = re.compile(rb"(.{1,4}?)\1{7,}", re.DOTALL)
_PIECE = re.compile(r"((?:[0-9a-f]{2})+)(?:\*([1-9][0-9]{0,7}))?")


@dataclass(frozen=True, slots=True)
class Case:
    """One question. ``ask`` and ``expect`` hold numbers, words, bytes and lists, by the keys that README.md lists."""

    id: str
    op: str
    note: str
    ask: Mapping[str, Value]
    expect: Mapping[str, Value]


def pieces(data: bytes) -> str:
    """Bytes as text: hex in pieces with commas between them, ``*N`` after a piece that stands N times."""
    out, at = [], 0
    for match in _REPEATS.finditer(data):
        if match.start() > at:
            out.append(data[at : match.start()].hex())
        out.append(f"{match[1].hex()}*{len(match[0]) // len(match[1])}")
        at = match.end()
    if at < len(data):
        out.append(data[at:].hex())
    return ",".join(out)


def expanded(text: str) -> bytes:
    """The bytes that `pieces` wrote.

    Raises:
        XbrleError: the text is not written so, or it comes to more than `BYTES_MAX` bytes.
    """
    out: list[bytes] = []
    total = 0
    for piece in text.split(",") if text else []:
        match = _PIECE.fullmatch(piece)
        if not match:
            raise XbrleError(f"{piece[:40]!r} is not a piece of bytes")
        count = int(match[2] or 1)
        total += count * (len(match[1]) // 2)
        if total > BYTES_MAX:
            raise XbrleError(f"a value has more than {BYTES_MAX} bytes")
        out.append(bytes.fromhex(match[1]) * count)
    return b"".join(out)


# -- JSON ------------------------------------------------------------------------------------------------------------


def _to_json(values: Mapping[str, Value]) -> dict[str, Any]:
    return {key: pieces(value) if isinstance(value, bytes) else value for key, value in values.items()}


def _from_json(values: Any) -> dict[str, Value]:
    if not isinstance(values, dict):
        raise XbrleError("ask and expect must be objects")
    out: dict[str, Value] = {}
    for key, value in values.items():
        if key in BYTES:
            if not isinstance(value, str):
                raise XbrleError(f"{key!r} must be text")
            out[key] = expanded(value)
        elif (
            (
                isinstance(value, list)
                and (
                    all(isinstance(v, str) for v in value) or (key not in LINES and all(type(v) is int for v in value))
                )
            )
            or type(value) is int
            or (isinstance(value, str) and key not in LINES)
        ):
            out[key] = value
        else:
            raise XbrleError(f"{key!r} must be a number, a word, or a list of either")
    return out


def document(subject: str, seed: int, coverage: Mapping[str, Any], cases: Sequence[Case]) -> str:
    """A file of cases as JSON: one case a line, so that a change shows as one."""
    head = {"format": FORMAT, "version": VERSION, "subject": subject, "seed": seed, "coverage": coverage}
    text = json.dumps(head, indent=1)[:-2]
    rows = [
        json.dumps({"id": c.id, "op": c.op, "note": c.note, "ask": _to_json(c.ask), "expect": _to_json(c.expect)})
        for c in cases
    ]
    return f'{text},\n "cases": [\n' + ",\n".join(rows) + "\n ]\n}\n"


def read(folder: Path) -> Iterator[Case]:
    """Every case of a set, in the order of its index.

    Raises:
        XbrleError: it cannot be read, is not a set of this version, or a file is not the one that the index means.
    """
    index = _load(folder / INDEX)
    files = index.get("files")
    if not isinstance(files, list) or not all(isinstance(f, dict) and isinstance(f.get("file"), str) for f in files):
        raise XbrleError(f"{folder / INDEX}: does not list files")
    for entry in files:
        path = folder / Path(entry["file"]).name
        loaded = _load(path, entry.get("sha256"))
        cases = loaded.get("cases")
        if not isinstance(cases, list):
            raise XbrleError(f"{path}: does not list cases")
        for number, case in enumerate(cases, 1):
            try:
                yield _case(case)
            except XbrleError as error:
                raise XbrleError(f"{path}: case {number}: {error}") from None


def _case(loaded: Any) -> Case:
    if not isinstance(loaded, dict) or not all(
        isinstance(loaded.get(key), str) and re.fullmatch(r"[\w.-]+", loaded[key], re.ASCII) for key in ("id", "op")
    ):
        raise XbrleError("id and op must be words")
    ask, expect = _from_json(loaded.get("ask")), _from_json(loaded.get("expect"))
    return Case(loaded["id"], loaded["op"], str(loaded.get("note", "")), ask, expect)


def _load(path: Path, digest: Any = None) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        if digest is not None and hashlib.sha256(raw).hexdigest() != digest:
            raise XbrleError(f"{path}: its SHA-256 is not the one in {INDEX}")
        loaded = json.loads(raw)
    except OSError as error:
        raise unopened(path, error) from error
    except (ValueError, RecursionError) as error:
        raise XbrleError(f"{path}: not JSON") from error
    if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
        raise XbrleError(f"{path}: not a file of {FORMAT}")
    if loaded.get("version") != VERSION:
        raise XbrleError(
            f"{path}: version {str(loaded.get('version'))[:20]!r}, but this program reads version {VERSION}"
        )
    return loaded


# -- lines -----------------------------------------------------------------------------------------------------------


def on_line(key: str, value: Value) -> str:
    """A value as one word of the protocol."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        if key in LINES:
            return "".join(f"{line}\n" for line in value).encode().hex()
        return ",".join(map(str, value))
    return str(value)


def request(case: Case) -> str:
    """The line that asks a case, without its newline."""
    return " ".join([case.op, *(f"{key}={on_line(key, value)}" for key, value in case.ask.items())])


def differences(case: Case, answer: Mapping[str, str]) -> list[str]:
    """What of an answer, its words by key, is not as expected: a line each."""
    out = []
    for key, value in case.expect.items():
        wanted = on_line(key, value)
        if key not in answer:
            if key not in OPTIONAL:
                out.append(f"{key}: expected {_short(wanted)}, got no answer")
        elif answer[key].lower() != wanted.lower():
            out.append(f"{key}: expected {_short(wanted)}, got {_short(answer[key])}{_place(wanted, answer[key])}")
    return out


def _short(text: str) -> str:
    text = ascii(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."


def _place(wanted: str, got: str) -> str:
    """Where two long words first differ, in characters."""
    if max(len(wanted), len(got)) <= 60:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), min(len(wanted), len(got)))
    return f" (from character {at} on, of {len(wanted)} and {len(got)})"
