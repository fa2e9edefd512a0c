"""The patterns for ImHex, run by a pattern-language command line where one is installed: against `xbrle dump --json`.

`plcli` comes with ImHex's PatternLanguage. Neither Debian nor PyPI nor npm has it, so that it has to be built. The
variable XBRLE_PLCLI names it, XBRLE_IMHEX_INCLUDES the folder `includes` of ImHex-Patterns. Without it only what can be
seen in the text is tested.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import CORPUS, ROOT, SAMPLES
from tests.formats.made_up import READING
from xbrletools.formats.ram import Kind
from xbrletools.grammars import collection
from xbrletools.grammars.hexpat import camel

EXPORTS = ROOT / "formats" / "exports"
LAYOUTS = (EXPORTS / "xbrle_layouts.hexpat").read_text()
PLCLI = os.environ.get("XBRLE_PLCLI") or shutil.which("plcli")
INCLUDES = os.environ.get("XBRLE_IMHEX_INCLUDES", "/usr/share/imhex/includes")
TYPES = collection.types()


def test_every_type_is_a_struct_that_only_uses_what_stands_before_it():
    known = set(re.findall(r"^enum (\w+) ", LAYOUTS, re.MULTILINE))
    structs = LAYOUTS[LAYOUTS.rindex("\nenum ") :].partition("};\n")[2]
    for block in re.split(r"\n(?=(?:// |struct |fn |bool |u64 ))", structs):
        used = {name for name in re.findall(r"\b[A-Z]\w+", re.sub(r'//.*|"[^"]*"|::\w+', "", block)) if name != "SPDX"}
        own = set(re.findall(r"^struct (\w+)", block, re.MULTILINE))
        assert used - known - own == set(), block
        known |= own
    assert known >= {camel(t.name) for t in TYPES}


@pytest.mark.parametrize("path", sorted(EXPORTS.glob("*.hexpat")), ids=lambda p: p.name)
def test_brackets_close(path):
    text = re.sub(r'//.*|"[^"]*"', "", path.read_text())
    for opens, closes in ("{}", "()", "[]"):
        assert text.count(opens) == text.count(closes)


def _plcli(pattern: str, data: Path, folder: Path) -> list[str]:
    """The lines that a pattern prints of a file."""
    if PLCLI is None:
        pytest.skip("no pattern-language command line is here: the patterns are generated and not run")
    file = folder / "pattern.hexpat"
    file.write_text(pattern)
    command = [PLCLI, "run", "-i", data, "-p", file, "-I", INCLUDES, "-I", EXPORTS, "-v", "-D", "LIST"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return [line.partition("]")[2].strip() for line in ran.stdout.splitlines()]


def _migration(path: Path) -> str:
    """The pattern, set for what xbrle found of a capture. The command line cannot set its variables."""
    capture = xbrletools.open(path)
    text = (EXPORTS / "qemu_migration.hexpat").read_text()
    name = capture.dialect.name.replace("-", "_") if capture.dialect else "xbzrle"
    if capture.facts.ram_version == 3 and capture.dialect is None:
        name = "m115"
    if name not in READING:
        name += f"_{capture.evidence.endian or 'little'}"
    for variable, value in (("pages", capture.page_size), ("deltas", READING[name])):
        text, found = re.subn(rf"^(u32 {variable}) = \d+;", rf"\1 = {value};", text, flags=re.MULTILINE)
        assert found == 1
    return text.replace("deltas = u32(Dialect::Xbzrle);", "")


def _records(lines: list[str]) -> list[list[Any]]:
    rows = [[int(n) for n in line.split()[1:]] for line in lines if line.startswith("record ")]
    return [[at, Kind(kind).name.lower(), flags, address] for at, kind, flags, address in rows]


def _dumped(path: Path, capsys) -> list[list[Any]]:
    out = run(capsys, "dump", path, "--json", "--no-cache", "--no-beside")[1]
    rows = (json.loads(line) for line in out.splitlines())
    found = [o for o in rows if o["type"] == "record" and o.get("channel") is None]
    return [[o["offset"], "xbrle" if o["kind"] == "xbzrle" else o["kind"], o["flags"], o["page"]] for o in found]


def _same(pattern: list[list[Any]], dumped: list[list[Any]]) -> None:
    read = [[*p[:3], p[3] if d[3] is not None else None] for p, d in zip(pattern, dumped, strict=False)]
    assert len(read) > 20
    assert read == dumped[: len(read)]


@pytest.mark.parametrize("name", sorted(p.name for p in SAMPLES.glob("*.bin") if p.name != "truncated.bin"))
def test_the_pattern_reads_the_records_of_a_sample(name, tmp_path, capsys):
    path = SAMPLES / name
    _same(_records(_plcli(_migration(path), path, tmp_path)), _dumped(path, capsys))


@pytest.mark.parametrize("name", ["qemu-2011-posted/dbg-block-ix", "qemu-7.2/pc16-dirtybitmap-kvm"])
def test_the_pattern_reads_the_records_of_a_real_capture(name, corpus, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(corpus(f"{name}.bin"))
    _same(_records(_plcli(_migration(path), path, tmp_path)), _dumped(path, capsys))


def test_the_pattern_reads_a_channel_s_packets(tmp_path):
    text = (EXPORTS / "qemu_multifd.hexpat").read_text()
    lines = _plcli(text, SAMPLES / "multifd.bin.1", tmp_path)
    packets = [line for line in lines if line.startswith("packet ")]
    assert len(packets) > 3
    assert any(f"read to {(SAMPLES / 'multifd.bin.1').stat().st_size:#x}" in line for line in lines)
    path = CORPUS / "cases" / "multifd" / "mfd-devstate.ch0"
    if path.exists():
        assert any(f"read to {path.stat().st_size:#x}" in line for line in _plcli(text, path, tmp_path))


def test_every_type_can_be_placed(tmp_path):
    """Over bytes of zeros: what a type tests may fail, and the bytes may end; nothing else may be wrong with it."""
    if PLCLI is None:
        pytest.skip("no pattern-language command line is here: the patterns are generated and not run")
    (tmp_path / "zeros").write_bytes(bytes(4096))
    command = [PLCLI, "run", "-i", tmp_path / "zeros", "-p", tmp_path / "p.hexpat", "-I", INCLUDES, "-I", EXPORTS, "-v"]
    for name in (t.name for t in TYPES if not t.params):
        (tmp_path / "p.hexpat").write_text(f'#include "xbrle_layouts.hexpat"\n{camel(name)} value @ 0;\n')
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        said = ran.stdout + ran.stderr
        fine = re.search(r"assertion failed|past end of the data|out of range|parent", said)
        assert ran.returncode == 0 or fine, (name, said[-1500:])
