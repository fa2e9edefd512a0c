"""Writes the set: the same bytes for the same seed and version."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from .. import __version__
from ..formats.dialects import DIALECTS, Encoding
from ..formats.ram import VERSION_FLAT, VERSION_NAMED
from ..outputs import filling
from ..progress import overall
from . import pages, streams, tables
from .answers import answer
from .cases import FORMAT, INDEX, VERSION, Case, document

#: What goes into every set beside the cases.
COMPANIONS = ("README.md", "schema.json")

Coverage = dict[str, Any]


def _answered(questions: Iterable[pages.Question]) -> Iterator[Case]:
    for q in questions:
        ask = cast(dict[str, Any], q.ask)
        yield Case(q.id, q.op, q.note, ask, answer(q.op, ask))


def _coding(cases: Sequence[Case]) -> Coverage:
    """What the cases cover of a coding, counted from the cases themselves."""
    payloads = [c.expect["payload"] for c in cases if c.op == "encode" and "payload" in c.expect]
    lengths = sorted({len(cast(bytes, p)) for p in payloads})
    reasons = sorted({str(c.expect["reason"]) for c in cases if "reason" in c.expect})
    return {
        "run_lengths": list(pages.RUNS),
        "encoded_lengths": lengths,
        "refusals": reasons,
        "page_sizes": sorted({len(cast(bytes, c.ask["old"])) for c in cases}),
    }


def _tabled(cases: Sequence[Case]) -> Coverage:
    out: Coverage = {}
    for key in ("dialect", "endian", "policy", "dups", "checksums", "cache", "ways", "receiver", "view", "end"):
        values = {cast(Any, c.ask[key]) for c in cases if key in c.ask}
        if values:
            out[key] = sorted(values)
    return out


def _streamed(cases: Sequence[Case]) -> Coverage:
    found = {f.split(":")[0] for c in cases if c.op == "findings" for f in cast(list[str], c.expect["findings"])}
    versions = {DIALECTS[str(c.ask["dialect"])].ram_version for c in cases if "dialect" in c.ask}
    return {**_tabled(cases), "ram_versions": sorted(versions), "rules": sorted(found)}


#: The files that are not about a coding: their subject, what asks, and what the cases cover.
OTHERS: "tuple[tuple[str, Callable[[int], Iterable[pages.Question]], Callable[[Sequence[Case]], Coverage]], ...]" = (
    ("sums", pages.sums, lambda cases: {"page_sizes": sorted({len(cast(bytes, c.ask["page"])) for c in cases})}),
    ("headers", tables.headers, _tabled),
    ("caches", tables.caches, _tabled),
    ("senders", tables.senders, _tabled),
    ("streams", streams.questions, _streamed),
    ("logs", streams.logs, _tabled),
)


def files(seed: int) -> Iterator[tuple[str, Sequence[Case], Coverage]]:
    """Each file's subject, its cases and what they cover."""
    for coding in Encoding:
        answered = list(_answered(pages.questions(coding, seed)))
        back = [
            Case(f"{c.id}-back", "decode", c.note, _asked_back(c), {"verdict": "ok", "page": c.ask["new"]})
            for c in answered
            if c.op == "encode" and "payload" in c.expect
        ]
        cases = [*answered, *back]
        yield f"codec-{pages.word(coding)}", cases, _coding(cases)
    for subject, questions, covers in OTHERS:
        cases = list(_answered(questions(seed)))
        yield subject, cases, covers(cases)


def _asked_back(case: Case) -> dict[str, Any]:
    """The question that decodes what a case encoded. It expects the page that was encoded, not what a decoder gives."""
    return {"coding": case.ask["coding"], "old": case.ask["old"], "payload": case.expect["payload"]}


def write(folder: Path, seed: int, force: bool = False) -> dict[str, int]:
    """Write a set into ``folder``, which is made if it is not there. Gives the number of cases by file.

    Raises:
        XbrleError: the folder is not empty and ``force``, which replaces files in it, is not given, or the folder or a
            file cannot be written.
    """
    entries: list[dict[str, Any]] = []
    with filling(folder, force, INDEX) as lying:
        for subject, cases, coverage in overall("writing cases", files(seed), len(Encoding) + len(OTHERS), "files"):
            raw = document(subject, seed, coverage, cases).encode()
            name = f"{subject}.json"
            (lying / name).write_bytes(raw)
            digest = hashlib.sha256(raw).hexdigest()
            entries.append({"file": name, "subject": subject, "cases": len(cases), "sha256": digest})
        for name in COMPANIONS:
            (lying / name).write_bytes((Path(__file__).parent / name).read_bytes())
        index = {
            "format": FORMAT,
            "version": VERSION,
            "seed": seed,
            "written_by": f"xbrletools {__version__}",
            "ram_versions": [VERSION_FLAT, VERSION_NAMED],
            "dialects": list(DIALECTS),
            "files": entries,
        }
        (lying / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return {entry["file"]: entry["cases"] for entry in entries}
