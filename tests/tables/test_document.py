"""docs/tables.md lists the tables as the schema has them, and what it says to type is there."""

import importlib.util
import re

from tests.conftest import ROOT
from xbrletools.cli.query import NAMES
from xbrletools.tables.schema import TABLES

TEXT = (ROOT / "docs" / "tables.md").read_text("utf-8")


def test_the_document_is_as_the_schema_makes_it() -> None:
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.document(TEXT) == TEXT, "run: python docs/make_tables.py"


def test_every_table_and_every_named_query_that_it_names_is_there() -> None:
    assert set(re.findall(r"^### (\w+)$", TEXT, re.MULTILINE)) == set(TABLES)
    assert set(re.findall(r"--named ([\w-]+)", TEXT)) <= set(NAMES)
