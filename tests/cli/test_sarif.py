"""`xbrle verify --sarif` writes logs as SARIF 2.1.0 (OASIS, 27 March 2020) asks for.

`SCHEMA` says what the standard requires of the objects that are written here: sections 3.13 (sarifLog), 3.14 (run),
3.18 and 3.19 (tool, toolComponent), 3.20 (invocation), 3.27 (result), 3.28 and 3.29 (locations), 3.30 (region),
3.49 (reportingDescriptor), 3.58 (notification), 3.11 (message), 3.8 (property bags). All of them are closed but for the
property bags.
"""

import json
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.verify.test_ledger import corrupt, stale_stream, undecoded

LEVELS = {"enum": ["none", "note", "warning", "error"]}
OFFSET = {"type": "integer", "minimum": 0}
BAG = {"type": "object"}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    """An object of these properties and no others."""
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def listed(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


TEXT = {"type": "string"}
URI = {"type": "string", "pattern": r"^(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*$"}  # RFC 3986, a reference
MESSAGE = closed(["text"], text=TEXT)
RULE = closed(["id"], id=TEXT, shortDescription=MESSAGE)
TOOL = closed(["driver"], driver=closed(["name"], name=TEXT, version=TEXT, rules=listed(RULE, uniqueItems=True)))
NOTIFICATION = closed(["message"], level=LEVELS, message=MESSAGE)
INVOCATION = closed(
    ["executionSuccessful"],
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=listed(NOTIFICATION),
)
PLACE = closed(
    ["artifactLocation"],
    artifactLocation=closed(["uri"], uri=URI),
    region=closed(["byteOffset"], byteOffset=OFFSET),
)
RESULT = closed(
    ["message", "ruleId", "level"],
    ruleId=TEXT,
    level=LEVELS,
    message=MESSAGE,
    locations=listed(closed([], physicalLocation=PLACE)),
    properties=BAG,
)
RUN = closed(["tool"], tool=TOOL, invocations=listed(INVOCATION), results=listed(RESULT), properties=BAG)
SCHEMA = closed(
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}, "version": {"const": "2.1.0"}, "runs": listed(RUN, minItems=0)},
)
SAMPLE = (SAMPLES / "posted-8m.bin").read_bytes()


def log_of(path, capsys) -> dict[str, Any]:
    """The log of a file, held to the schema. Every result is of a rule that the run lists."""
    log: dict[str, Any] = json.loads(run(capsys, "verify", path, "--sarif")[1])
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(log)
    (only,) = log["runs"]
    rules = {rule["id"] for rule in only["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in only["results"]} <= rules
    return log


@pytest.mark.parametrize(
    "data",
    [SAMPLE, SAMPLE[:-30000], corrupt(SAMPLE), undecoded(SAMPLE), stale_stream(5), b"", b"\x7fELF" + bytes(64)],
    ids=["sound", "cut", "corrupt", "undecoded", "stale", "empty", "foreign"],
)
def test_a_log_is_as_the_standard_asks(data, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(data)
    log_of(path, capsys)


@pytest.mark.parametrize("name", ["a b#c?.bin", "q:d.bin", "ü%41.bin", "back\\slash.bin", "-[x].bin"])
def test_a_files_name_is_a_uri(name, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(SAMPLE)
    results = log_of(path, capsys)["runs"][0]["results"]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results}
    assert {unquote(uri) for uri in uris} == {str(path)}


def test_what_cannot_be_read_has_a_log_that_says_why(tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(b"nothing")
    (only,) = log_of(path, capsys)["runs"]
    assert (only["results"], only["properties"]["verdict"]["status"]) == ([], "unreadable")
    (done,) = only["invocations"]
    assert done["executionSuccessful"] is False
    assert done["toolExecutionNotifications"][0]["message"]["text"] == only["properties"]["verdict"]["summary"]
