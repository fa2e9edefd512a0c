"""The grammars written down for other tools: all of them, as the committed files have them."""

import keyword
import subprocess
import sys

import pytest
from construct import Adapter, Byte, Bytes, If, Int16ub, RepeatUntil, Select, Struct, Switch, this

from tests.conftest import ROOT
from xbrletools.formats.dialects import DIALECTS
from xbrletools.grammars import collection, files
from xbrletools.grammars.shapes import Type, Unwritable
from xbrletools.grammars.walk import Walk

EXPORTS = ROOT / "formats" / "exports"
TYPES = {t.name: t for t in collection.types()}
DECLARED = [f"{m}.{name}" for m in collection.modules() for name, _ in collection.declarations(m)]


@pytest.mark.parametrize("target", files.TARGETS)
def test_the_committed_file_is_what_the_grammars_give_today(target):
    name, data = files.generated(target)
    assert (EXPORTS / name).read_bytes() == data, f"run: xbrle grammars {target} -o formats/exports --force"


@pytest.mark.parametrize("source", DECLARED)
def test_a_grammar_is_written_down_or_left_out_for_a_reason(source):
    assert len(DECLARED) > 70
    named = {s for _, s, _ in collection.named()}
    assert (source in named) != (source in collection.LEFT_OUT)
    assert source in named or len(collection.LEFT_OUT[source]) > 10


def test_what_is_left_out_is_there_to_be_left_out():
    assert [s for s in collection.LEFT_OUT if s not in DECLARED] == []


@pytest.mark.parametrize(
    "grammar",
    [
        Struct("n" / Byte, "data" / Bytes(lambda c: c.n)),
        Struct("n" / Byte, "data" / If(lambda c: c.n, Byte)),
        RepeatUntil(lambda item, items, context: item == 0, Byte),
        Select(Byte, Int16ub),
        Struct("n" / Byte, "x" / Switch(this.n, {1: Byte}, default=Int16ub)),
        type("Double", (Adapter,), {})(Byte),
    ],
)
def test_a_grammar_that_says_something_in_code_cannot_be_written_down(grammar):
    walk = Walk()
    with pytest.raises(Unwritable):
        walk.add("made_up", grammar, "test")
    assert not walk.types


def test_every_dialect_in_each_byte_order_is_a_choice():
    names = {r.name for r in collection.READINGS}
    assert len(names) == sum(2 if d.host_endian else 1 for d in DIALECTS.values())
    for version in (3, 4):
        cases = _cases(TYPES[f"ram_record_{version}_body_xbrle"])
        assert cases == {i for i, r in enumerate(collection.READINGS) if r.dialect.ram_version == version}


def _cases(made: Type) -> set[int]:
    return {key for field in made.fields for key, _ in field.shape.cases}


def test_no_field_is_called_what_a_language_keeps_for_itself():
    fields = [f.name for t in TYPES.values() for f in t.fields]
    assert [n for n in fields if keyword.iskeyword(n) or n in ("end", "then", "nil")] == []


def test_places_and_sizes_are_those_of_the_grammars():
    header = TYPES["multifd_packet_header"]
    assert (header.size, [f.name for f in header.fields][-1]) == (320, "ramblock")
    assert TYPES["id_str"].size is None


def test_generated_files_name_their_source_and_their_licence():
    for path in EXPORTS.iterdir():
        head = path.read_text()[:600]
        assert "SPDX-License-Identifier: Apache-2.0" in head
        assert "GENERATED" in head or "Written by hand" in head


def test_the_walk_gives_the_same_whatever_runs_before():
    code = "from xbrletools.grammars.files import generated; import sys; sys.stdout.buffer.write(generated('ksy')[1])"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT).stdout
    assert fresh == (EXPORTS / "xbrle_layouts.ksy").read_bytes()
