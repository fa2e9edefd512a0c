"""SQL sees the tables, equal to the library's, and nothing else whatever it says."""

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.cli.query import NAMES
from xbrletools.errors import XbrleError
from xbrletools.query.engine import Engine, Limits, Refused, of_folder, of_stream
from xbrletools.query.named import NAMED
from xbrletools.tables.schema import CAPTURE, TABLES

pytest.importorskip("duckdb", reason="DuckDB is not installed")

CAPTURES = ("stale-base.bin", "posted-8m.bin", "truncated.bin")


@pytest.fixture
def capture() -> Iterator[Engine]:
    with xbrletools.open(SAMPLES / "stale-base.bin") as opened, of_stream(opened.stream, opened.source, {}) as engine:
        yield engine


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tables."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from xbrletools.fleet.jobs import Job
    from xbrletools.fleet.work import process

    out = tmp_path_factory.mktemp("lake")
    for name in CAPTURES:
        assert process(Job(str(SAMPLES / name), str(out), versions=True)).capture
    process(Job(str(SAMPLES / "README.md"), str(out)))
    return out


@pytest.fixture
def folder(lake: Path) -> Iterator[Engine]:
    with of_folder(str(lake), {}) as engine:
        yield engine


@pytest.fixture(params=["capture", "folder"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


def rows(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    return list(engine.run(sql).rows())[1:]


def test_counts_equal_the_librarys(capture: Engine) -> None:
    with xbrletools.open(SAMPLES / "stale-base.bin") as opened:
        assert dict(rows(capture, "SELECT kind, count(*) FROM records GROUP BY kind")) == opened.records.counts()
        found = Counter(f.rule for f in opened.verify())
        assert dict(rows(capture, "SELECT rule, count(*) FROM findings GROUP BY rule")) == found
        verdict = opened.verdict()
    told = rows(capture, "SELECT status, pages_wrong, first_bad_record FROM captures")
    assert told == [(verdict.status.value, verdict.pages_wrong, verdict.first_bad_record)]


def test_a_folder_has_all_captures_and_the_errors(folder: Engine) -> None:
    want = Counter[str]()
    for name in CAPTURES:
        with xbrletools.open(SAMPLES / name) as opened:
            want.update(opened.records.counts())
    assert dict(rows(folder, "SELECT kind, count(*) FROM records GROUP BY kind")) == want
    assert rows(folder, "SELECT count(*), count(DISTINCT capture) FROM captures") == [(3, 3)]
    assert rows(folder, "SELECT error FROM errors") == [("unreadable",)]


@pytest.mark.parametrize("name", NAMES)
def test_a_named_query_runs_on_a_capture_and_on_a_folder(engine: Engine, name: str) -> None:
    assert next(engine.run(NAMED[name].sql).rows())
    rows(engine, NAMED[name].sql)


def test_the_help_lists_the_named_queries() -> None:
    assert tuple(NAMED) == NAMES


def test_every_table_has_its_columns_and_what_they_are(engine: Engine) -> None:
    for table in TABLES.values():
        names = [row[0] for row in rows(engine, f"DESCRIBE {table.name}")]
        assert {f.name for f in table.fields} <= set(names), table.name
    said = rows(
        engine,
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'records' AND column_name IN ('pass', 'capture')",
    )
    assert "each block has its own count" in str(said) and CAPTURE.about in str(said)


def test_records_of_a_capture_that_is_not_there_as_a_whole_do_not_count(lake: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    marker = next((copy / "captures").glob("capture=*/captures.parquet"))
    gone = marker.parent.name.partition("=")[2]
    marker.unlink()
    with of_folder(str(copy), {}) as engine:
        assert rows(engine, f"SELECT count(*) FROM records WHERE capture = '{gone}'") == [(0,)]
        assert rows(engine, "SELECT count(DISTINCT capture) FROM records") == [(2,)]


def test_tables_of_an_older_version_lack_columns_which_are_null(lake: Path, tmp_path: Path) -> None:
    import shutil

    from pyarrow import parquet

    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    for path in (copy / "captures").rglob("*.parquet"):
        parquet.write_table(parquet.ParquetFile(path).read().drop_columns(["rules", "holding"]), path)
    with of_folder(str(copy), {}) as engine:
        assert rows(engine, "SELECT count(*), count(rules), count(holding) FROM captures") == [(3, 0, 0)]
        assert rows(engine, NAMED["kinds"].sql)


def test_a_statement_that_takes_too_long_or_too_much_is_refused_with_the_limit() -> None:
    with xbrletools.open(SAMPLES / "stale-base.bin") as opened:
        with of_stream(opened.stream, opened.source, {}, limits=Limits(seconds=0.2)) as engine:
            with pytest.raises(Refused, match=r"more than 0\.2 s \(--timeout\)"):
                rows(engine, "SELECT count(*) FROM range(100000000) a, range(100000000) b")
            assert rows(engine, "SELECT 1") == [(1,)]
        with of_stream(opened.stream, opened.source, {}, limits=Limits(memory=64 << 20)) as engine:
            with pytest.raises(Refused, match="Out of Memory"):
                rows(engine, "SELECT list(range) FROM range(1000000000)")
            with pytest.raises(Refused):
                rows(engine, "SET memory_limit = '1TB'")


def test_matches_of_rules_are_a_table_of_a_capture() -> None:
    pytest.importorskip("yara_x", reason="yara-x is not installed (extra yara)")
    from xbrletools.analysis.lives import search_all
    from xbrletools.analysis.yara import Engine as Patterns
    from xbrletools.analysis.yara import pattern_of, read_rules

    rules = read_rules([str(SAMPLES / "rules.yar")])
    with xbrletools.open(SAMPLES / "posted-8m.bin") as opened:
        lives = list(search_all(opened.stream, pattern_of(Patterns(rules))))
        want = [(h.offset, h.content, h.appeared, h.vanished) for h in lives]
        with of_stream(opened.stream, opened.source, {}, rules) as engine:
            assert rows(engine, 'SELECT "offset", content, appeared, vanished FROM matches') == want
            (held,) = rows(engine, "SELECT holding FROM captures")
            assert [r["rule"] for r in json.loads(held[0])] == ["migrating"]
        with of_stream(opened.stream, opened.source, {}) as engine:
            assert rows(engine, "SELECT count(*) FROM matches") == [(0,)]


SECRET = "a secret that no query may see"

HOSTILE = (
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT * FROM '{secret}'",
    "FROM '{secret}'",
    "SELECT * FROM query_table('{secret}')",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_text('{folder}/../{name}/secret.txt')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('/dev/stdin')",
    "SELECT getenv('HOME')",
    "SELECT * FROM read_csv('http://127.0.0.1:{port}/x')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM 'http://127.0.0.1:{port}/x.csv'",
    "COPY records TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet'",
    "EXPLAIN ANALYZE COPY records TO '{folder}/out.csv'",
    "WITH t AS (COPY records TO '{folder}/out.csv') SELECT 1",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/other.db'",
    "ATTACH ':memory:' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/evil.duckdb_extension'",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "PRAGMA profiling_output='{folder}/out.txt'",
    "CALL pragma_version()",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "SET allowed_directories = ['/']",
    "SET temp_directory = '{folder}'",
    "SET home_directory = '{folder}'",
    "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{folder}/log')",
    "CALL enable_logging()",
    "SELECT * FROM enable_profiling(save_location = '{folder}/profile.json')",
    "SELECT * FROM add_grammar_extension('x')",
    "SELECT * FROM create_external_resource('x')",
    "SELECT * FROM read_duckdb('{secret}')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{secret}'')'))",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/out.csv''')",
    "SELECT * FROM arrow_scan(NULL, NULL, NULL)",
    "SELECT * FROM pandas_scan(94000000000000)",
    "SELECT * FROM parquet_kv_metadata('{secret}')",
    "SELECT * FROM parquet_full_metadata('{secret}')",
    "SELECT * FROM read_csv('file://{secret}')",
    "SELECT * FROM 'gzip://{secret}'",
    "DESCRIBE SELECT * FROM read_text('{secret}')",
    "SUMMARIZE '{secret}'",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    ".read {secret}",
    "CREATE TABLE t AS SELECT 1",
    "CREATE SECRET (TYPE s3)",
    "CREATE FUNCTION f() AS TABLE SELECT * FROM read_text('{secret}')",
    "DROP VIEW records",
    "DELETE FROM records",
    "INSERT INTO records SELECT * FROM records",
    "WITH t AS (DELETE FROM records RETURNING row) SELECT * FROM t",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "USE memory",
    "CHECKPOINT",
    "VACUUM",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY records TO '{folder}/out.csv'",
    "",
    "-- nothing",
    "SELEC 1",
    "SELECT * FROM opened",
    "SELECT * FROM engine",
)


@pytest.mark.parametrize("sql", HOSTILE)
def test_hostile_sql_is_refused_and_reads_and_writes_nothing(engine: Engine, sql: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = {"secret": secret, "folder": tmp_path, "name": tmp_path.name, "port": server.server_address[1]}
    try:
        with pytest.raises(Refused) as refused:
            rows(engine, sql.format(**names))
    finally:
        server.shutdown()
        server.server_close()
    assert SECRET not in str(refused.value) and str(refused.value).isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["secret.txt"] and not asked


def test_a_statement_cannot_write_over_the_tables_that_it_may_read(lake: Path) -> None:
    path = next((lake / "records").rglob("*.parquet"))
    before = path.read_bytes()
    with of_folder(str(lake), {}) as engine:
        for sql in (f"COPY (SELECT 1 AS a) TO '{path}'", f"EXPLAIN ANALYZE COPY (SELECT 1 AS a) TO '{path}'"):
            with pytest.raises(Refused):
                rows(engine, sql)
    assert path.read_bytes() == before


def test_a_link_in_a_folder_leads_nowhere(lake: Path, tmp_path: Path) -> None:
    import shutil

    copy, secret = tmp_path / "lake", tmp_path / "secret.parquet"
    shutil.copytree(lake, copy)
    shutil.copy(next((lake / "blocks").rglob("*.parquet")), secret)
    (copy / "records" / "link.parquet").symlink_to(secret)
    with of_folder(str(copy), {}) as engine:
        with pytest.raises(Refused):
            rows(engine, f"SELECT * FROM read_parquet('{copy}/records/link.parquet')")
        assert rows(engine, "SELECT count(DISTINCT capture) FROM records") == [(3,)]


def test_a_further_file_is_a_table_and_no_other_is(lake: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.parquet"
    with of_folder(str(lake), {}) as engine:
        engine.run("SELECT DISTINCT hash FROM page_versions WHERE recovered").save(str(known))
    with of_folder(str(lake), {"known": str(known)}) as engine:
        unseen = "SELECT count(*) FROM page_versions ANTI JOIN known USING (hash) WHERE recovered"
        assert rows(engine, unseen) == [(0,)]
        with pytest.raises(Refused):
            rows(engine, f"SELECT * FROM read_parquet('{tmp_path}/other.parquet')")
    for name in ("records", "a b", "x; DROP VIEW records"):
        with pytest.raises(XbrleError), of_folder(str(lake), {name: str(known)}):
            pass


def test_a_folder_of_another_kind_or_schema_is_refused(tmp_path: Path, lake: Path) -> None:
    with pytest.raises(XbrleError, match="no tables"), of_folder(str(tmp_path), {}):
        pass
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    (tmp_path / "captures").mkdir()
    made = pyarrow.table({"capture": ["x"]}).replace_schema_metadata({"xbrletools.schema": "2.0"})
    parquet.write_table(made, tmp_path / "captures" / "captures.parquet")
    with pytest.raises(XbrleError, match=r"schema 2\.0"), of_folder(str(tmp_path), {}):
        pass


def test_what_cannot_be_read_of_a_capture_is_an_error_and_not_fewer_rows() -> None:
    with xbrletools.open(SAMPLES / "posted-8m.bin") as opened, of_stream(opened.stream, opened.source, {}) as engine:

        def gone() -> None:
            raise XbrleError("the file has shrunk")

        object.__setattr__(opened.stream.source, "check", gone)
        with pytest.raises(Refused, match="has shrunk"):
            rows(engine, "SELECT count(*) FROM page_versions")
