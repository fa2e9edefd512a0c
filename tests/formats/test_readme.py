"""The specification has what the code refers to, and a place for every grammar."""

import importlib
import pkgutil
import re

import pytest
from construct import Construct

import xbrletools.formats
from tests.conftest import ROOT
from xbrletools.formats.dialects import DIALECTS

TEXT = (ROOT / "formats" / "README.md").read_text()
HEADINGS = set(re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE))
MODULES = [m.name for m in pkgutil.iter_modules(xbrletools.formats.__path__)]


def test_every_section_that_a_module_cites_exists():
    cited = {}
    for path in sorted([*ROOT.glob("formats/*.py"), *ROOT.glob("xbrletools/**/*.py")]):
        for sentence in re.findall(r'README\.md, ("[^"]+"(?:(?:,| and) "[^"]+")*)', path.read_text()):
            for heading in re.findall(r'"([^"]+)"', sentence):
                cited.setdefault(heading, path.name)
    assert len(cited) > 8
    assert {h: where for h, where in cited.items() if h not in HEADINGS} == {}


@pytest.mark.parametrize("module", MODULES)
def test_every_grammar_is_named_beside_its_paragraph(module):
    loaded = importlib.import_module(f"xbrletools.formats.{module}")
    own = {n for n, v in vars(loaded).items() if isinstance(v, Construct) and not n.startswith("_")}
    imported = {"IdStr"} if module != "qevm" else {"Word"}  # ram.Word is the one of records
    borrowed = {n for n in own if getattr(importlib.import_module("construct"), n, None) is not None}
    for name in sorted(own - imported - borrowed):
        assert f"`{module}.{name}`" in TEXT


def test_every_dialect_has_a_line_with_its_header_and_size():
    for d in DIALECTS.values():
        module = d.header.__module__.rpartition(".")[2]
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| {d.name} | ") and "`" in line)
        assert f"`{module}.{d.header.__name__}` | {d.header('little').sizeof()} |" in row
        assert f"| {d.ram_version} |" in row
