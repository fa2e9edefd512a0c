"""formats/exports/layouts.lua: its reader against the grammars, and what it says of sizes and places."""

import io
import json
import random
import shutil
import subprocess
from typing import Any

import construct
import pytest
from construct import Container, ListContainer

from tests.conftest import ROOT, SAMPLES
from tests.formats.made_up import PARAMETERS, made_up, plain
from xbrletools.grammars import collection
from xbrletools.grammars.walk import snake

LAYOUTS = ROOT / "formats" / "exports" / "layouts.lua"
SCRIPT = ROOT / "tests" / "formats" / "lua" / "types.lua"
TYPES = {t.name: t for t in collection.types()}
GRAMMARS = {n: g for n, _, g in reversed(list(collection.named())) if n in TYPES}
LUAS = [lua for lua in ("lua5.2", "lua5.3", "lua5.4") if shutil.which(lua)] or ["no Lua"]


@pytest.fixture(params=LUAS)
def lua(request) -> str:
    if shutil.which(request.param) is None:
        pytest.skip("Lua is not installed; .ci/install-tools gets it")
    return request.param


def _ask(lua: str, lines: list[str]) -> list[Any]:
    command = [lua, SCRIPT, LAYOUTS, str(PARAMETERS["dialect"])]
    ran = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def _like(value: Any, like: Any) -> Any:
    """What Lua read, in the form of what construct did."""
    if isinstance(like, dict):
        if "value" in value and "value" not in like:
            value = value["value"]
        return {k: _like(value.get(snake(k)), v) for k, v in like.items()}
    if isinstance(like, list):
        items = value.get("items", value.get("value")) if isinstance(value, dict) else value
        return [_like(a, b) for a, b in zip(items or [], like, strict=False)] + [None] * (len(items or []) - len(like))
    if isinstance(value, dict) and "hex" in value:
        raw = bytes.fromhex(value["hex"])
        return (
            raw
            if isinstance(like, bytes)
            else next((n for o in ("big", "little") if (n := int.from_bytes(raw, o)) == like), raw)
        )
    if isinstance(like, int) and isinstance(value, int):
        return value % 2**64 if like >= 0 else value
    return value


def test_the_reader_agrees_with_every_grammar(lua):
    rng = random.Random(21)
    inputs = [(name, data) for name, grammar in GRAMMARS.items() for data in made_up(rng, grammar, 12)]
    answers = _ask(lua, [f"{name} {data.hex()}" for name, data in inputs])
    equal = 0
    for (name, data), answer in zip(inputs, answers, strict=True):
        stream = io.BytesIO(data)
        try:
            wanted = plain(GRAMMARS[name].parse_stream(stream, **PARAMETERS))
        except construct.ConstructError:
            assert answer is None or name == "configuration_subsection", (name, data)
            continue
        if name == "configuration" and answer is None:
            continue  # a subsection that is cut: construct leaves it over
        if lua == "lua5.2" and any(n > 2**53 for n in _numbers(wanted)):
            continue
        assert answer is not None, (name, data)
        read = answer["json"]
        if not isinstance(wanted, dict) and isinstance(read, dict) and "value" in read:
            read = read["value"]
        assert _like(read, wanted) == wanted, (name, data)
        assert answer["at"] == stream.tell(), (name, data)
        equal += 1
    assert equal > 900


def _numbers(value: Any) -> list[int]:
    if isinstance(value, dict | Container):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, list | ListContainer):
        return [n for v in value for n in _numbers(v)]
    return [value] if isinstance(value, int) else []


def test_a_record_of_a_real_stream_is_read(lua):
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    (answer,) = _ask(lua, [f"ram_record_4 {data[52:400].hex()}"])
    record = answer["json"]
    assert (record["kind"], record["address"], answer["at"]) == (1, 0x840000, 54)
    assert bytes.fromhex(record["blocks"]["entries"][0]["idstr"]["hex"]) == b"pc.ram"


def test_places_and_sizes_are_the_grammars_own(lua):
    code = f'local L = dofile("{LAYOUTS}"); for n, t in pairs(L.types) do if t.size then print(n, t.size) end end'
    out = subprocess.run([lua, "-e", code], capture_output=True, text=True, check=True).stdout
    sizes = dict(line.split("\t") for line in out.splitlines())
    fixed = {name: grammar for name, grammar in GRAMMARS.items() if name in sizes}
    assert len(fixed) > 60
    assert {name: int(sizes[name]) for name in fixed} == {name: grammar.sizeof() for name, grammar in fixed.items()}
    code = f'print(dofile("{LAYOUTS}").types.multifd_packet_header.at.ramblock)'
    assert subprocess.run([lua, "-e", code], capture_output=True, text=True, check=True).stdout == "64\n"
