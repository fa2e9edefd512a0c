"""--json: every command that answers has it, and every object that comes is as docs/json.md says."""

import json
import lzma
import shlex
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.building import patterned, zero
from tests.cli.run import run
from tests.cli.schemas import objects, part_of, parts_in
from tests.cli.test_help import commands
from tests.cli.test_today import postcopy
from tests.conftest import CORPUS, ROOT, SAMPLES
from tests.scan.test_channels import FLUSH, Packets, main_channel
from tests.scan.test_wrappers import save_file
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli.jsondoc import ALWAYS, document, names, schema_of

#: Commands without --json, each with the reason.
WITHOUT = {
    "describe": "what it writes is JSON",
    "report": "it writes a page for people; info, verify and stats say the same as JSON",
    "tui": "it is a browser for people",
    "serve": "it is a browser for people",
    "query": "its rows have the columns that the user asks for: --jsonl",
}
POSTED, XBZRLE = str(SAMPLES / "posted-8m.bin"), str(SAMPLES / "xbzrle-16m.bin")
RULES = str(SAMPLES / "rules.yar")
WORKLOAD = str(ROOT / "samples" / "sap-central-instance.json")


def test_every_command_that_answers_has_json_or_a_reason_not_to() -> None:
    with_json = {name for name, c in commands().items() if any(p.name == "as_json" for p in c.params)}
    assert with_json | set(WITHOUT) == set(commands())
    assert not with_json & set(WITHOUT)


def test_every_command_with_json_has_a_schema_and_no_other() -> None:
    with_json = {name for name, c in commands().items() if any(p.name == "as_json" for p in c.params)}
    assert set(names()) == with_json | set(ALWAYS)


def test_the_document_is_as_the_schemas_make_it() -> None:
    assert (ROOT / "docs" / "json.md").read_text("utf-8") == document()


def closed(value: Any) -> bool:
    """Whether no object in a schema can have a key that the schema does not describe."""
    if isinstance(value, list):
        return all(map(closed, value))
    if not isinstance(value, dict):
        return True
    if isinstance(keys := value.get("properties"), dict):
        described = all("description" in v for v in keys.values())
        return value["additionalProperties"] is False and described and all(map(closed, keys.values()))
    return all(map(closed, value.values()))


@pytest.mark.parametrize("name", names())
def test_every_schema_is_one_and_lists_every_key(name: str) -> None:
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)
    assert closed(schema)
    for ref in schema["anyOf"]:
        part = schema["$defs"][ref["$ref"].rpartition("/")[2]]
        assert part["properties"]["format"]["const"] == 1 and "format" in part["required"]


# -- what comes -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Made-up captures of what the samples do not have: channels, a save file, damage, a stale base, other devices."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "S").write_bytes(main_channel(zero(2 * PAGE, b"pc.ram"), sync=FLUSH))
    one = Packets(0).sync(0).packet(1, [(0, patterned(1))], zeros=[PAGE]).sync(2).sync(3)
    (folder / "S.1").write_bytes(one.bytes())
    (folder / "save").write_bytes(save_file())
    (folder / "commands").write_bytes(postcopy())
    (folder / "cut").write_bytes(Path(POSTED).read_bytes()[:400_000])
    pages = [noise(i) for i in range(2)]
    changed = pages[1].copy()
    changed[100:120] += 1
    builder = StreamBuilder({b"pc.ram": 2 * PAGE}, flags=3).page(0, pages[0]).page(PAGE, pages[1])
    (folder / "stale").write_bytes(builder.part().dup(PAGE, 0).part().delta(PAGE, pages[1], changed).end().bytes())
    (folder / "log").write_text("[seq 1 addr 0x0 cksum 0x1] FULL page\n")
    (folder / "raw").write_bytes(b"".join(p.tobytes() for p in pages))
    return {p.name: str(p) for p in folder.iterdir()} | {
        "posted": POSTED,
        "rules": RULES,
        "xbzrle": XBZRLE,
        "workload": WORKLOAD,
    }


#: What is printed, by command: the part of its schema that must come, and how the command is called.
RUNS = [
    ("info", "overview", "{posted}"),
    ("info", "overview", "{S}"),
    ("info", "overview", "{save}"),
    ("info", "overview", "{cut} --salvage"),
    ("info", "xml", "{save} --xml"),
    ("info", "command", "{commands} --commands"),
    ("info", "cpr", "{cases}/wrappers/cprstate-11.1.bin"),
    ("dump", "record", "{stale} --fields"),
    ("dump", "section", "{xbzrle} --devices --fields --hex"),
    ("dump", "packet", "{S}"),
    ("tables", "source", "{posted} {stale} {cut} -o {out}"),
    ("tables", "summary", "{raw} -o {out}"),
    ("verify", "verdict", "{posted}"),
    ("verify", "finding", "{stale}"),
    ("verify", "finding", "{cut}"),
    ("verify", "verdict", "{S} --salvage"),
    ("verify", "verdict", "{raw}"),
    ("verify", "explanation", "{stale} --explain stale-base"),
    ("verify", "explanation", "{cut} --explain truncated"),
    ("verify", "rule", "{posted} --explain stale-base"),
    ("verify", "rule", "--rules"),
    ("verify", "rule", "--explain truncated"),
    ("stats", "sums", "{posted}"),
    ("stats", "sums", "{S}"),
    ("stats", "posted", "{posted} --posted --cache 64M"),
    ("top", "row", "{posted}"),
    ("top", "row", "{xbzrle} --by block"),
    ("page", "version", "{stale} 0x1000"),
    ("page", "content", "{stale} 0x1000 --at 3"),
    ("page", "difference", "{stale} 0x1000 --diff 2 4"),
    ("page", "delta", "{stale} 0x1000 --at 4 --delta"),
    ("page", "values", "{stale} 0x1000 --inspect 8"),
    ("blame", "span", "{stale} 0x0+8K"),
    ("grep", "match", "{posted} -i mig -C 16"),
    ("grep", "match", "{posted} mig --all --limit 5"),
    ("grep", "count", "{posted} mig --count"),
    ("yara", "rule", "{rules} {posted}"),
    ("yara", "match", "{rules} {posted}"),
    ("yara", "space", "{rules} {posted} --space block"),
    ("yara", "life", "{rules} {posted} --all --limit 5"),
    ("diff", "page", "{posted} --pass 2-3"),
    ("diff", "block", "{posted} {xbzrle} --limit 3"),
    ("diff", "device", "{cases}/devices/dev-a.bin {cases}/devices/dev-b.bin"),
    ("diff", "page", "{stale} {raw} --as raw"),
    ("diff", "uncompared", "{posted} {raw} --as raw --limit 3"),
    ("extract", "extract", "{posted} -o {out}"),
    ("extract", "extract", "{posted} -o {out} --block pc.ram --unknown mask-file"),
    ("extract", "extract", "{posted} -o {out} --format elf"),
    ("salvage", "salvage", "{cut}"),
    ("salvage", "salvage", "{cut} -o {out} --repair"),
    ("describe", "description", "{xbzrle}"),
    ("check", "check", "{xbzrle} --on {xbzrle}"),
    ("check", "check", "{xbzrle} --on {S}"),
    ("why", "message", "'Illegal RAM offset 203000' {xbzrle}"),
    ("log", "line", "{stale} --end sender"),
    ("log", "check", "{stale} --end receiver --check {log}"),
    ("sender", "sender", "{posted}"),
    ("sender", "sender", "{xbzrle} --cache 64M"),
    ("encode", "encode", "{raw} --block pc.ram=8K -o {out}"),
    ("transcode", "transcode", "{posted} --to xbzrle -o {out}"),
    ("transcode", "transcode", "{xbzrle} --to mapped-ram -o {out}"),
    ("transcode", "transcode", "{posted} --redact block=pc.bios -o {out}"),
    ("whatif", "whatif", "{stale} --cache 64K"),
    ("converge", "converge", "{posted} --link 1M --channels 2"),
    ("simulate", "simulate", "--capture {posted}"),
    ("simulate", "simulate", "{workload}"),
    ("grammars", "grammar", ""),
    ("grammars", "grammar", "ksy -o {out}"),
    ("samples", "sample", ""),
    ("samples", "sample", "-o {out}"),
]


@pytest.mark.parametrize(("command", "part", "line"), RUNS, ids=[f"{c} {a}" for c, _, a in RUNS])
def test_what_comes_is_as_the_schema_says(command, part, line, files, tmp_path, capsys) -> None:
    if "{cases}" in line and not CORPUS.is_dir():
        pytest.skip("the corpus of real captures is not there")
    if command == "tables":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    if command == "yara":
        pytest.importorskip("yara_x", reason="yara-x is not installed (extra yara)")
    places = files | {"cases": str(CORPUS / "cases"), "out": str(tmp_path / "out")}
    words = shlex.split(line.format(**places))
    _, out, err = run(capsys, *command.split(), *words, *(() if command in ALWAYS else ("--json",)))
    assert "internal error" not in err
    found = {part_of(command, json.loads(out))} if command in ALWAYS else parts_in(command, out)
    assert part in found


def test_every_part_of_every_schema_is_seen() -> None:
    elsewhere = {("capture", "recording"), ("vectors write", "written"), ("info", "return_path")}
    elsewhere |= {("vectors check", part) for part in ("fail", "unlike", "result")}
    parts = {(name, ref["$ref"].rpartition("/")[2]) for name in names() for ref in schema_of(name)["anyOf"]}
    assert parts - {(command, part) for command, part, _ in RUNS} <= elsewhere


def test_the_vectors_answer_as_json(tmp_path, capsys) -> None:
    status, out, _ = run(capsys, "vectors", "write", tmp_path / "v", "--json")
    assert status == 0 and parts_in("vectors write", out) == {"written"}
    wrong = "sh -c 'while read -r x; do echo {{}}; done'"
    status, out, _ = run(capsys, "vectors", "check", tmp_path / "v", "--command", wrong, "--limit", "2", "--json")
    assert parts_in("vectors check", out) >= {"result"} and objects(out)[-1]["type"] == "result"


# -- all samples and cases --------------------------------------------------------------------------------------------

PLAIN = ("info", "dump", "verify", "stats", "top", "salvage", "sender", "log --end sender")
SMALL = 2 << 20  # bytes of a file of the corpus that every command reads


def small_files() -> list[Path]:
    """The samples, and the cases and captures of the corpus that are small."""
    found = sorted(SAMPLES.glob("*.bin"))
    folders = ("cases/physical", "cases/receivers", "cases/devices", "cases/xbzrle", "cases/wrappers", "cases/multifd")
    for folder in (*folders, "cases/damage", "cases/logs"):
        found += sorted(p for p in (CORPUS / folder).glob("*.bin*") if p.stat().st_size < 100_000)
    return found


@pytest.mark.parametrize("path", small_files(), ids=lambda p: p.name)
def test_every_command_keeps_to_its_schema_on_every_sample_and_case(path, tmp_path, capsys) -> None:
    if path.suffix == ".xz":
        data = lzma.decompress(path.read_bytes())
        if len(data) > SMALL:
            pytest.skip("it is large when it is unpacked")
        path = tmp_path / path.stem
        path.write_bytes(data)
    for line in PLAIN:
        command, *more = line.split()
        _, out, err = run(capsys, command, path, *more, "--json")
        assert "internal error" not in err
        parts_in(command, "".join(out.splitlines(keepends=True)[:300]))  # thousands of records have the same keys


CAPTURES = ("qemu-2011-posted/dbg-small-8m", "qemu-2011-posted/dbg-cancelled", "qemu-2010/m115-x", "qemu-2010/lm2dbg-x")


@pytest.mark.parametrize("name", CAPTURES)
def test_every_command_keeps_to_its_schema_on_real_captures(name, corpus, tmp_path, capsys) -> None:
    path = tmp_path / "S"
    path.write_bytes(corpus(f"{name}.bin"))
    for line in (*PLAIN, "verify --salvage", "diff --pass 2", "converge --link 1M"):
        command, *more = line.split()
        _, out, err = run(capsys, command, path, *more, "--json")
        assert "internal error" not in err
        parts_in(command, "".join(out.splitlines(keepends=True)[:300]))
