"""The tables of a capture say what the library says: blocks, sections, records, findings, devices, versions."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbrletools
from tests.conftest import CORPUS, SAMPLES
from xbrletools.arrow.tables import ArrowTable
from xbrletools.arrow.values import Type
from xbrletools.capture import Capture
from xbrletools.memory.image import State
from xbrletools.tables import captures, content, schema, versions
from xbrletools.tables.captures import Work
from xbrletools.tables.content import MAKERS

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

REAL = (
    "qemu-2011-posted/dbg-stale-reject.bin",
    "qemu-2011-posted/dbg-cancelled.bin",
    "qemu-2010/lm2dbg-x.bin",
    "qemu-7.2/pc16-block-kvm.bin",
    "qemu-7.2/ppc-g3beige32-plain-tcg.bin",
    "cases/receivers/page-flag400.bin",  # only its verdict has an error: everyone refuses it
    "cases/devices/desc-short.bin",
)


def rows(table: ArrowTable) -> list[dict[str, Any]]:
    """The rows of a table, which is a sound one of Arrow's."""
    made = table.to_arrow()
    made.validate(full=True)
    found: list[dict[str, Any]] = made.to_pylist()
    return found


def check(capture: Capture) -> None:
    """All tables against the library's own answers."""
    stream = capture.stream
    made = {name: rows(make(stream)) for name, make in MAKERS.items()}
    assert Counter(r["kind"] for r in made["records"]) == capture.records.counts()
    names = [xbrletools.text.shown(b.name) for b in capture.blocks]
    assert [(b["block"], b["length"]) for b in made["blocks"]] == [
        (n, b.length) for n, b in zip(names, capture.blocks, strict=True)
    ]
    carried = [r for r in made["records"] if r["record"] is not None]
    assert {b["block"]: b["records"] for b in made["blocks"] if b["records"]} == Counter(r["block"] for r in carried)
    passes = dict[str, int]()
    for r in carried:
        passes[r["block"]] = max(passes.get(r["block"], 0), r["pass"])
    assert {b["block"]: b["passes"] for b in made["blocks"] if b["passes"]} == passes
    verdict = capture.verdict()
    listed = [f for f, _ in verdict.shared or ()]  # as xbrle verify lists them
    assert [(f["rule"], f["offset"], f["record"], f["message"]) for f in made["findings"]] == [
        (f.rule, f.offset, f.record, f.message) for f in listed
    ]
    assert listed == list(capture.verify())
    assert [s["offset"] for s in made["sections"]] == [s.offset for s in capture.sections]
    check_versions(capture)
    row = captures.capture_row(stream, capture.source, Work("S", 1))
    about = dict(zip((f.name for f in schema.CAPTURES.fields), row, strict=True))
    assert (about["status"], about["summary"], about["pages_wrong"]) == (
        verdict.status.value,
        verdict.summary,
        verdict.pages_wrong,
    )
    severities = Counter(f["severity"] for f in made["findings"])
    assert (about["errors"], about["warnings"]) == (severities["error"], severities["warning"])
    assert about["records"] == len(carried) and about["findings"] == len(made["findings"])
    assert [c["cause"] for c in json.loads(about["causes"])] == [c.name.value for c in verdict.causes]


def check_versions(capture: Capture, pages: int = 50) -> None:
    """Table page_versions against the histories of some pages."""
    by_page: dict[tuple[str, int], list[tuple[Any, ...]]] = defaultdict(list)
    for r in rows(versions.page_versions(capture.stream)):
        by_page[r["block"], r["page"]].append((r["record"], r["sum"], r["changed"]))
    space = capture.space
    inside = space.pages_of(capture.records.columns.take(capture.records.by_number)) >= 0
    assert sum(map(len, by_page.values())) == np.count_nonzero(inside)
    for block, page in random.Random(19).sample(sorted(by_page), min(pages, len(by_page))):
        history = [(v.record, v.computed, v.changed) for v in capture.page(block, page).versions()]
        assert sorted(by_page[block, page]) == history, (block, page)


@pytest.mark.parametrize("name", sorted(p.name for p in SAMPLES.glob("*.bin")))
def test_the_tables_of_a_sample_equal_the_library(name: str) -> None:
    with xbrletools.open(SAMPLES / name, beside=lambda _: None) as capture:
        check(capture)


@pytest.mark.parametrize("name", REAL)
def test_the_tables_of_a_real_capture_equal_the_library(corpus: Callable[[str], bytes], name: str) -> None:
    with xbrletools.open(corpus(name)) as capture:
        check(capture)


def test_versions_after_damage_and_without_a_channel_equal_the_histories(corpus: Callable[[str], bytes]) -> None:
    data = bytearray(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    data[0x150000:0x150400] = bytes(0x400)  # a stretch of zeros: salvage skips it, and pages lapse
    with xbrletools.open(bytes(data), salvage=True) as capture:
        assert len(capture.lapses())
        check_versions(capture, 200)
    with xbrletools.open(SAMPLES / "multifd.bin") as capture:
        check_versions(capture, 200)


def test_a_version_that_is_not_whole_has_neither_sum_nor_hash() -> None:
    with xbrletools.open(SAMPLES / "xbzrle-wrong-base.bin") as capture:
        found = rows(versions.page_versions(capture.stream))
    assert found and all((r["sum"] is None) == (r["hash"] is None) == (not r["recovered"]) for r in found)
    assert {len(r["hash"]) for r in found if r["hash"]} == {versions.HASH_SIZE}
    assert State.RECOVERED == 1


def test_a_resent_page_that_is_the_same_has_the_same_hash_and_changed_nothing() -> None:
    with xbrletools.open(SAMPLES / "posted-8m.bin") as capture:
        found = rows(versions.page_versions(capture.stream))
    last: dict[tuple[str, int], bytes] = {}
    same = 0
    for r in sorted(found, key=lambda r: r["record"]):
        before = last.get((r["block"], r["page"]))
        assert r["first"] == (before is None)
        if before is not None:
            assert (before == r["hash"]) == (r["changed"] == 0)
            same += before == r["hash"]
        last[r["block"], r["page"]] = r["hash"]
    assert same


def test_every_field_of_a_device_is_there_with_its_offset_and_bytes(corpus: Callable[[str], bytes]) -> None:
    data = corpus("qemu-7.2/pc16-block-kvm.bin")
    with xbrletools.open(data) as capture:
        found = rows(content.device_fields(capture.stream))
        whole = sum(s.end - s.data for s in capture.sections if s.owner and s.owner.idstr not in (b"ram", b"block"))
    assert all(data[r["offset"] :][: min(r["size"], content.RAW_MAX)] == r["raw"] for r in found)
    assert sum(r["size"] for r in found) == whole
    serial = {r["field"]: r["number"] for r in found if r["device"] == "mc146818rtc"}
    assert any(value is not None for value in serial.values())


def test_a_damaged_description_leaves_whole_sections_and_is_said() -> None:
    path = CORPUS / "cases" / "devices" / "desc-short.bin"
    if not path.exists():
        pytest.skip("the corpus of real captures is absent")
    with xbrletools.open(path) as capture:
        assert rows(content.device_fields(capture.stream))


def test_every_table_has_its_version_and_units_and_no_column_twice() -> None:
    for table in schema.TABLES.values():
        names = [f.name for f in table.fields]
        assert len(set(names)) == len(names) and schema.CAPTURE.name not in names
        assert all(isinstance(f.type, Type) and f.about for f in table.fields)
    with xbrletools.open(SAMPLES / "posted-8m.bin") as capture:
        made = content.records(capture.stream).to_arrow()
    said = {k.decode(): v.decode() for k, v in made.schema.metadata.items()}
    assert said["xbrletools.schema"] == schema.VERSION and said["xbrletools.table"] == "records"
    assert json.loads(said["xbrletools.units"])["page"] == "bytes"
    assert made.schema.field("page").metadata[b"unit"] == b"bytes"


def test_a_name_that_is_hostile_is_escaped_in_every_table(tmp_path: Path) -> None:
    path = CORPUS / "cases" / "damage" / "hostile.bin"
    if not path.exists():
        pytest.skip("the corpus of real captures is absent")
    with xbrletools.open(path) as capture:
        for name, make in MAKERS.items():
            for row in rows(make(capture.stream)):
                for key in {"block", "device", "idstr", "field"} & row.keys():
                    assert row[key] is None or row[key].isprintable(), (name, key)
