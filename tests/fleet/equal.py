"""Holds the tables of captures against what the library says of each, column by column."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import xbrletools
from xbrletools.formats.ram import Kind
from xbrletools.table.claims import stated
from xbrletools.table.sections import Boundary

PAGES = 50  # pages of a capture whose histories are compared

Ints = NDArray[np.int64]


def files(out: Path, name: str, capture: str = "*") -> list[Path]:
    """The files of a table, of all captures or of one."""
    kind = "source_id" if name in ("sources", "errors") else "capture"
    return sorted(out.glob(f"{name}/{kind}={capture}/*.parquet"))


def rows(out: Path, name: str, capture: str = "*") -> list[dict[str, Any]]:
    """The rows of a table, of all captures or of one."""
    from pyarrow import parquet

    return [row for path in files(out, name, capture) for row in parquet.ParquetFile(path).read().to_pylist()]


# -- columns -----------------------------------------------------------------------------------------------------------


def pieces(out: Path, name: str, capture: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Some columns of one capture's table, a piece at a time."""
    from pyarrow import parquet

    for path in files(out, name, capture):
        for batch in parquet.ParquetFile(path).iter_batches(columns=list(columns)):
            yield tuple(batch.column(c) for c in columns)


def numbers(column: Any) -> Ints:
    """A column of numbers, -1 for null."""
    import pyarrow

    found: Ints = column.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return found


def places(column: Any, words: Sequence[str]) -> Ints:
    """A column of words, as the place of each among ``words``: -1 for null, -2 for a word that is not among them."""
    coded = column if hasattr(column, "indices") else column.dictionary_encode()
    place = {word: i for i, word in reversed(list(enumerate(words)))}
    of_word = np.array([*(place.get(w, -2) for w in coded.dictionary.to_pylist()), -1], np.int64)
    found: Ints = of_word[numbers(coded.indices)]
    return found


def firsts(words: Sequence[str]) -> Ints:
    """The place of each word's first occurrence among them, and -1 at the end."""
    return np.array([*(words.index(w) for w in words), -1], np.int64)


# -- one capture -------------------------------------------------------------------------------------------------------


def differences(out: Path, about: dict[str, Any], source: str) -> list[str]:
    """What of a capture's tables differs from the library. ``about`` is its row in table captures."""
    with xbrletools.open(source, cache=False, beside=lambda _: None) as capture:
        makers = (_containers, _records, _findings, _versions)
        return [told for maker in makers for told in maker(out, about, capture)]


def _containers(out: Path, about: dict[str, Any], capture: Any) -> Iterator[str]:
    """Tables blocks and sections."""
    shown = xbrletools.text.shown
    blocks = [
        (r["block"], r["length"], r["declared"], r["region_offset"]) for r in rows(out, "blocks", about["capture"])
    ]
    if blocks != [(shown(b.name), b.length, b.declared, b.address) for b in capture.blocks]:
        yield f"blocks: {blocks[:3]}"
    got = [(r["type"], r["offset"], r["data"], r["end"]) for r in rows(out, "sections", about["capture"])]
    want = [
        (s.type.name.lower(), s.offset, s.data, None if s.found_by is Boundary.CUT else s.end) for s in capture.sections
    ]
    if got != want:
        yield f"sections: {len(got)}, and not {len(want)}"


def _records(out: Path, about: dict[str, Any], capture: Any) -> Iterator[str]:
    """Table records, row by row: so the counts by kind, block and pass are equal, and the sums that are stated."""
    table, columns = capture.records, capture.records.columns
    kinds, names = [k.name.lower() for k in Kind], [xbrletools.text.shown(b.name) for b in capture.blocks]
    kind_of = {int(k): i for i, k in enumerate(Kind)}
    states, sums = stated(columns, capture.dialect)
    want: dict[str, Ints] = {
        "kind": np.array([kind_of.get(k, -2) for k in range(256)], np.int64)[columns.kind],
        "block": firsts(names)[np.minimum(columns.block, len(names))],
        "pass": np.where(table.is_page, table.pass_.astype(np.int64), -1),
        "checksum": np.where(states, sums.astype(np.int64), -1),
    }
    at = 0
    for kind, block, passed, checksum in pieces(out, "records", about["capture"], list(want)):
        got = (places(kind, kinds), places(block, names), numbers(passed), numbers(checksum))
        for (name, all_wanted), found in zip(want.items(), got, strict=True):
            wanted = all_wanted[at : at + len(found)]
            if not np.array_equal(found, wanted):
                yield f"records: {name} from row {at} on, {np.count_nonzero(found[: len(wanted)] != wanted)} rows"
                return
        at += len(kind)
    if at != len(table):
        yield f"records: {at} rows, and not {len(table)}"


def _findings(out: Path, about: dict[str, Any], capture: Any) -> Iterator[str]:
    """Table findings, and the verdict in table captures."""
    verdict = capture.verdict()
    want = [
        (f.rule, f.severity.value, f.offset, f.record, f.page, f.message, json.dumps(f.evidence))
        for f, _ in verdict.shared or ()  # as xbrle verify lists them
    ]
    keys = ("rule", "severity", "offset", "record", "page", "message", "evidence")
    got = [tuple(r[k] for k in keys) for r in rows(out, "findings", about["capture"])]
    if got != want:
        yield f"findings: {len(got)}, and not {len(want)}"
    severities = Counter(f[1] for f in got)
    if (about["errors"], about["warnings"]) != (severities["error"], severities["warning"]):
        yield f"captures: {about['errors']} errors and {about['warnings']} warnings"
    told = about["status"], about["summary"], about["pages_wrong"], about["first_bad_record"]
    if told != (verdict.status.value, verdict.summary, verdict.pages_wrong, verdict.first_bad_record):
        yield f"verdict: {told}"


def _versions(out: Path, about: dict[str, Any], capture: Any) -> Iterator[str]:
    """Table page_versions: its number of rows, and the histories of some pages."""
    if not about["versions"]:
        yield f"page_versions: {about['missing']}"
        return
    names = [xbrletools.text.shown(b.name) for b in capture.blocks]
    parts = [
        (places(block, names), *map(numbers, rest))
        for block, *rest in pieces(
            out, "page_versions", about["capture"], ("block", "page", "record", "sum", "changed")
        )
    ]
    none = (np.empty(0, np.int64),) * 5
    block, page, record, total, changed = (np.concatenate(c) for c in zip(none, *parts, strict=True))
    inside = capture.space.pages_of(capture.records.columns.take(capture.records.by_number)) >= 0
    if len(record) != np.count_nonzero(inside):
        yield f"page_versions: {len(record)} rows, and not {np.count_nonzero(inside)}"
    size = capture.page_size
    key = capture.space.first[block] + page // size
    pages, where = np.unique(key, return_index=True)
    for i in sorted(random.Random(19).sample(range(len(pages)), min(PAGES, len(pages)))):
        name, address = names[int(block[where[i]])], int(page[where[i]])
        own = np.flatnonzero(key == pages[i])
        own = own[np.argsort(record[own])]
        got = list(zip(record[own].tolist(), total[own].tolist(), changed[own].tolist(), strict=True))
        history = capture.page(name, address).versions()
        if got != [(v.record, -1 if v.computed is None else v.computed, v.changed) for v in history]:
            yield f"page_versions: {name}:{address:#x}"
