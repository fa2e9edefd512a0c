"""Many captures into tables: nothing lost, nothing twice, whatever ends a worker or the run."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.fleet.conftest import GOOD
from tests.fleet.looking import content, left_behind, table
from xbrletools.fleet.jobs import CannotWrite, Failure, Job, What, from_manifest, partition_value
from xbrletools.fleet.work import process
from xbrletools.tables.schema import CAPTURE, CONTENT, TABLES, VERSION

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

# -- what is written ---------------------------------------------------------------------------------------------------


def test_the_tables_equal_the_library(serial: Path) -> None:
    rows = {name: table(serial, name) for name in TABLES}
    by_name = {Path(r["name"]).name: r for r in rows["captures"]}
    assert set(by_name) == set(GOOD) and len(rows["captures"]) == len(GOOD)
    for name, about in by_name.items():
        with xbrletools.open(SAMPLES / name) as capture:
            own = [r for r in rows["records"] if r["capture"] == about["capture"]]
            assert Counter(r["kind"] for r in own) == capture.records.counts()
            numbers = capture.records.number.tolist()
            assert [r["record"] or 0 for r in sorted(own, key=lambda r: r["row"])] == numbers
            found = [r for r in rows["findings"] if r["capture"] == about["capture"]]
            assert Counter(f["rule"] for f in found) == Counter(f.rule for f in capture.verify())
            assert about["status"] == capture.verdict().status.value
    assert {r["error"] for r in rows["errors"]} == {"unreadable"} and len(rows["errors"]) == 10
    assert len(rows["sources"]) == len(GOOD) and not left_behind(serial)


def test_every_file_states_the_schema_and_has_its_columns(serial: Path) -> None:
    for name in (*CONTENT, "captures", "sources", "errors"):
        for path in (serial / name).rglob("*.parquet"):
            schema = parquet.read_schema(path)
            assert schema.metadata[b"xbrletools.schema"].decode() == VERSION
            assert schema.metadata[b"xbrletools.table"].decode() == name
            own = [f.name for f in TABLES[name].fields]
            assert schema.names[-len(own) :] == own
            assert name == "errors" or CAPTURE.name in schema.names


def test_polars_and_pyarrow_read_the_folder(serial: Path) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    count = len(table(serial, "records"))
    assert parquet.read_table(serial / "records").num_rows == count
    assert polars.read_parquet(serial / "records" / "**" / "*.parquet").height == count


def test_versions_are_written_where_they_are_asked_for_and_made_later_where_they_lack(tmp_path: Path) -> None:
    source = str(SAMPLES / "stale-base.bin")
    first = process(Job(source, str(tmp_path)))
    assert first.what is What.MADE and not table(tmp_path, "page_versions")
    assert process(Job(source, str(tmp_path), versions=True)).what is What.MADE
    assert len(table(tmp_path, "page_versions")) == first.records
    assert process(Job(source, str(tmp_path))).what is What.SKIPPED


def test_what_is_there_is_skipped_by_its_time_and_by_its_content(tmp_path: Path) -> None:
    source, out = tmp_path / "S.bin", tmp_path / "out"
    source.write_bytes((SAMPLES / "stale-base.bin").read_bytes())
    made = process(Job(str(source), str(out)))
    assert process(Job(str(source), str(out))).what is What.SKIPPED
    os.utime(source, (1, 1))
    again = process(Job(str(source), str(out)))
    assert (again.what, again.capture) == (What.SKIPPED, made.capture)
    copy = tmp_path / "copy.bin"
    copy.write_bytes(source.read_bytes())
    assert process(Job(str(copy), str(out))).capture == made.capture
    assert sorted(Path(r["source"]).name for r in table(out, "sources")) == ["S.bin", "copy.bin"]
    source.write_bytes((SAMPLES / "posted-8m.bin").read_bytes())
    assert process(Job(str(source), str(out))).capture != made.capture
    assert len(table(out, "captures")) == 2


def test_a_source_that_is_mended_is_no_error_any_more(tmp_path: Path) -> None:
    source, out = tmp_path / "S.bin", tmp_path / "out"
    source.write_bytes(b"nothing of the kind")
    assert process(Job(str(source), str(out))).failure is Failure.UNREADABLE
    assert [r["source"] for r in table(out, "errors")] == [str(source)]
    source.write_bytes((SAMPLES / "stale-base.bin").read_bytes())
    assert process(Job(str(source), str(out))).what is What.MADE
    assert not table(out, "errors") and len(table(out, "captures")) == 1


def test_tables_that_cannot_be_written_end_the_run_and_are_no_fault_of_the_capture(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_bytes(b"a file where a folder should be")
    with pytest.raises(CannotWrite):
        process(Job(str(SAMPLES / "stale-base.bin"), str(tmp_path)))
    assert not (tmp_path / "captures").exists() and left_behind(tmp_path) == [tmp_path / "blocks"]


def test_small_files_are_joined_and_what_is_there_is_still_skipped(capsys: Any, tmp_path: Path) -> None:
    names = [str(SAMPLES / n) for n in GOOD]
    assert run(capsys, "tables", *names, "-o", tmp_path, "--versions")[0] == 1  # one is truncated
    before = content(tmp_path)
    assert run(capsys, "tables", "-o", tmp_path, "--compact")[0] == 0
    assert content(tmp_path) == before
    assert len(list((tmp_path / "records").rglob("*.parquet"))) == 1
    status, out, _ = run(capsys, "tables", *names, "-o", tmp_path, "--json")
    assert Counter(json.loads(line).get("what") for line in out.splitlines()) == {"skipped": 5, None: 1}
    assert status == 1  # it still is
    status, _, err = run(capsys, "tables", names[0], "-o", tmp_path, "--force")
    assert status == 2 and "compacted" in err
    more = str(SAMPLES / "lm2-small.bin") if (SAMPLES / "lm2-small.bin").exists() else str(SAMPLES / "multifd.bin")
    run(capsys, "tables", more, "-o", tmp_path, "--versions", "--compact")
    assert len(table(tmp_path, "captures")) == 6 and len(list((tmp_path / "captures").rglob("*.parquet"))) == 1


def test_what_was_joined_and_not_taken_away_yet_is_taken_away_at_the_next_run(capsys: Any, tmp_path: Path) -> None:
    import shutil

    names = [str(SAMPLES / n) for n in GOOD[:2]]
    out, copy = tmp_path / "out", tmp_path / "copy"
    run(capsys, "tables", *names, "-o", out)
    before = content(out)
    shutil.copytree(out, copy)
    run(capsys, "tables", "-o", out, "--compact")
    shutil.copytree(copy, out, dirs_exist_ok=True)
    assert content(out) != before
    run(capsys, "tables", *names, "-o", out)
    assert content(out) == before


def test_who_reads_while_files_are_joined_has_every_row_once_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the moments in between: a new file is there, and the old ones are not taken away yet."""
    from xbrletools.fleet import compact
    from xbrletools.query.engine import of_folder
    from xbrletools.tables.folder import removing

    for name in GOOD[:3]:
        process(Job(str(SAMPLES / name), str(tmp_path), versions=True))
    sql = "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM page_versions), (SELECT count(*) FROM captures)"

    def ask() -> Any:
        with of_folder(str(tmp_path), {}) as engine:
            return list(engine.run(sql).rows())[1:]

    want, seen = ask(), list[Any]()

    @contextmanager
    def asked_first(folder: str) -> Iterator[bool]:
        seen.append(ask())
        with removing(folder) as free:
            yield free

    monkeypatch.setattr(compact, "removing", asked_first)
    compact.compact(str(tmp_path))
    assert len(seen) >= 6 and all(rows == want for rows in (*seen, ask()))
    with of_folder(str(tmp_path), {}), removing(tmp_path, wait=False) as free:
        assert not free


def test_files_that_are_read_are_not_taken_away_until_that_is_done(tmp_path: Path) -> None:
    import threading

    from xbrletools.fleet import compact
    from xbrletools.query.engine import of_folder

    for name in GOOD[:2]:
        process(Job(str(SAMPLES / name), str(tmp_path)))
    single = sorted(tmp_path.glob("records/*/*.parquet"))
    joining = threading.Thread(target=compact.compact, args=(str(tmp_path),))
    with of_folder(str(tmp_path), {}) as engine:
        rows = engine.run("FROM records").rows(1)
        next(rows)
        joining.start()
        joining.join(1)
        assert joining.is_alive() and len(single) == 2 and all(p.exists() for p in single)
        count = sum(1 for _ in rows)
    joining.join(60)
    assert not any(p.exists() for p in single)
    assert count == len(table(tmp_path, "records"))


def test_matches_of_yara_rules_are_made_kept_and_made_anew_for_other_rules(capsys: Any, tmp_path: Path) -> None:
    pytest.importorskip("yara_x", reason="yara-x is not installed (extra yara)")
    source, other = SAMPLES / "posted-8m.bin", tmp_path / "other.yar"
    other.write_text('rule other { strings: $a = "mig" condition: #a == 2 }')
    out = tmp_path / "out"

    def made(*words: Any) -> tuple[str, set[str], Any]:
        status, said, _ = run(capsys, "tables", source, *words, "-o", out, "--json")
        assert status == 0
        (row,) = table(out, "captures")
        held = {r["rule"] for r in json.loads(row["holding"])}
        return json.loads(said.splitlines()[0])["what"], held, row["versions"]

    rules = ("--yara", SAMPLES / "rules.yar")
    assert made(*rules) == ("made", {"migrating"}, False)
    told = run(capsys, "yara", SAMPLES / "rules.yar", source, "--all", "--json")[1]
    lives = [json.loads(line) for line in told.splitlines()]
    keys = ("rule", "pattern", "block", "offset", "length", "appeared", "pass", "vanished", "vanished_pass", "time")
    found = table(out, "matches")
    assert [[r[k] for k in keys] for r in found] == [[life[k] for k in keys] for life in lives]
    assert [r["content"].hex() for r in found] == [life["bytes"] for life in lives]
    assert {p.stat().st_mode & 0o077 for p in (out / "matches").rglob("*.parquet")} == {0}  # bytes of a guest
    assert made(*rules)[0] == "skipped" and made()[0] == "skipped"
    assert made("--versions") == ("made", {"migrating"}, True) and len(table(out, "matches")) == len(found)
    assert made("--yara", other) == ("made", set(), True)
    assert {r["rule"] for r in table(out, "matches")} == {"other"} and len(table(out, "page_versions")) == 2557
    status, _, err = run(capsys, "tables", source, "--yara", SAMPLES / "README.md", "-o", out)
    assert status == 2 and "README.md:1:" in err


def test_a_table_that_cannot_be_made_is_said_and_leaves_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from xbrletools.tables import versions

    real = versions.page_versions

    def failing(stream: Any) -> Any:
        whole = real(stream)

        def batches() -> Iterator[Any]:
            yield next(iter(whole.batches()))
            raise xbrletools.XbrleError("the file has shrunk")

        return replace(whole, batches=batches)

    monkeypatch.setattr(versions, "page_versions", failing)
    outcome = process(Job(str(SAMPLES / "stale-base.bin"), str(tmp_path), versions=True))
    assert outcome.what is What.MADE and outcome.missing == "page_versions: the file has shrunk"
    assert not table(tmp_path, "page_versions") and not left_behind(tmp_path)
    assert [r["versions"] for r in table(tmp_path, "captures")] == [False]


def test_a_capture_that_is_written_to_meanwhile_gets_no_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from xbrletools.fleet.work import content as made

    path, out = tmp_path / "S", tmp_path / "out"
    path.write_bytes((SAMPLES / "stale-base.bin").read_bytes())
    real = made.device_damage

    def written_to(stream: Any) -> Any:
        with path.open("r+b") as file:
            file.write(b"Q")
        os.utime(path, (5, 5))
        return real(stream)

    with monkeypatch.context() as patched:
        patched.setattr(made, "device_damage", written_to)
        outcome = process(Job(str(path), str(out)))
    assert (outcome.what, outcome.failure) == (What.FAILED, Failure.UNREADABLE)
    assert outcome.message == f"{path}: written to while it was read"
    assert not table(out, "captures") and not left_behind(out)
    assert process(Job(str(path), str(out))).what is What.MADE, "the next run reads it again"


def test_a_partition_is_a_folder_and_a_column(capsys: Any, tmp_path: Path) -> None:
    for night in ("2026-11-24", "2026-11-25"):
        run(capsys, "tables", SAMPLES / "stale-base.bin", "-o", tmp_path, "--partition", f"night={night}")
    assert sorted(str(r["night"]) for r in table(tmp_path, "captures")) == ["2026-11-24", "2026-11-25"]
    assert (tmp_path / "records" / "night=2026-11-24").is_dir()
    for wrong in ("night", "night=", "night=../x", "capture=x", "status=x", "a/b=c"):
        status, _, err = run(capsys, "tables", SAMPLES / "stale-base.bin", "-o", tmp_path, "--partition", wrong)
        assert status == 2 and "--partition" in err, wrong


# -- what is read ------------------------------------------------------------------------------------------------------


def test_a_manifest_says_how_to_read_each(capsys: Any, tmp_path: Path) -> None:
    padded = tmp_path / "padded.bin"
    padded.write_bytes(bytes(512) + (SAMPLES / "stale-base.bin").read_bytes())
    manifest = tmp_path / "night.jsonl"
    lines = [
        {"source": str(padded), "offset": 512, "partition": {"night": "1"}},
        {"source": str(SAMPLES / "posted-8m.bin"), "dialect": "posted", "salvage": True},
        {"source": str(SAMPLES / "multifd.bin"), "channels": [str(SAMPLES / f"multifd.bin.{i}") for i in (1, 2)]},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    out = tmp_path / "out"
    assert run(capsys, "tables", "--manifest", manifest, "-o", out, "--partition", "lab=a")[0] == 0
    rows = {Path(r["name"]).name: r for r in table(out, "captures")}
    assert rows["padded.bin"]["stream_offset"] == 512 and json.loads(rows["padded.bin"]["options"]) == {"offset": 512}
    assert rows["multifd.bin"]["channels"] == 2 and rows["multifd.bin"]["complete"]
    assert {str(r["lab"]) for r in rows.values()} == {"a"} and str(rows["padded.bin"]["night"]) == "1"
    assert sum(Path(r["source"]).name.startswith("multifd.bin") for r in table(out, "sources")) == 3


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        "[]",
        "{}",
        '{"source": 1}',
        '{"source": "S", "offset": "x"}',
        '{"source": "S", "offset": -1}',
        '{"source": "S", "offset": true}',
        '{"source": "S", "channels": "x"}',
        '{"source": "S", "colour": 1}',
        '{"source": "S", "partition": []}',
        '{"source": "S", "partition": {"a": "../b"}}',
        "[" * 100_000,
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(line: str) -> None:
    with pytest.raises(xbrletools.XbrleError, match="night, line 2"):
        list(from_manifest(["", line], "night", Job("", "out")))


def test_channels_beside_are_read_with_their_main_channel_and_not_once_more(capsys: Any, tmp_path: Path) -> None:
    names = [SAMPLES / "multifd.bin", SAMPLES / "multifd.bin.1", SAMPLES / "multifd.bin.2"]
    status, out, _ = run(capsys, "tables", *names, "-o", tmp_path / "a", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [t["type"] for t in told] == ["source", "summary"] and len(told[0]["channels"]) == 2
    for _ in range(2):  # what is there already has its channels too, joined or not
        _, out, _ = run(capsys, "tables", *names, "-o", tmp_path / "a", "--json")
        told = [json.loads(line) for line in out.splitlines()]
        assert [t.get("what") for t in told] == ["skipped", None] and len(told[0]["channels"]) == 2
        run(capsys, "tables", SAMPLES / "stale-base.bin", "-o", tmp_path / "a", "--compact")
    run(capsys, "tables", *names, "-o", tmp_path / "b", "--no-beside", "--json")
    assert len(table(tmp_path / "b", "captures")) == 3


def test_a_name_that_is_hostile_is_escaped(capsys: Any, tmp_path: Path) -> None:
    evil = tmp_path / "a\x1b[31m\n\udcff.bin"
    evil.write_bytes(b"nothing")
    status, out, err = run(capsys, "tables", evil, "-o", tmp_path / "out", "--json")
    assert status == 1 and "\x1b" not in out + err
    assert len(table(tmp_path / "out", "errors")) == 1


def test_a_partition_value_is_one_plain_word() -> None:
    assert partition_value("night", "2026-11-25") == "2026-11-25"


# -- behind URLs -------------------------------------------------------------------------------------------------------


def test_an_object_is_read_known_again_and_named_without_its_secrets(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    monkeypatch.setenv("XBRLE_REMOTE_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    store.pipe("/lab/S.bin", (SAMPLES / "stale-base.bin").read_bytes())
    out = tmp_path / "out"
    made = process(Job("memory://lab/S.bin", str(out)))
    assert made.what is What.MADE and made.capture == process(Job(str(SAMPLES / "stale-base.bin"), str(out))).capture
    assert process(Job("memory://lab/S.bin", str(out))).what is What.SKIPPED
    for name in ("multifd.bin", "multifd.bin.1", "multifd.bin.2"):
        store.pipe(f"/lab/{name}", (SAMPLES / name).read_bytes())
    urls = [f"memory://lab/multifd.bin{ending}" for ending in ("", ".1", ".2")]
    for what in ("made", "skipped"):
        _, said, _ = run(capsys, "tables", *urls, "-o", tmp_path / "channels", "--json")
        assert [json.loads(line).get("what") for line in said.splitlines()] == [what, None]
    gone = process(Job("memory://lab/none.bin", str(out)))
    assert gone.failure in (Failure.UNREADABLE, Failure.NETWORK) and not gone.capture
    lost = process(Job("http://user:password@127.0.0.1:1/S.bin?sig=secret", str(out)))
    assert lost.failure in (Failure.NETWORK, Failure.UNREADABLE)
    told = repr(table(out, "errors")) + repr(lost) + repr(table(out, "sources"))
    assert "password" not in told and "secret" not in told
