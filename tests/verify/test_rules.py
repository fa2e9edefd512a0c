"""Rules are objects, and all that is said about one stands in one place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import xbrletools
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.verify import rules
from xbrletools.verify.explain import conclusion
from xbrletools.verify.rules import RULES, Rule

SOURCE = Path(xbrletools.__file__).parent
BELOW_VERIFY = ("capture.py", "scan", "ram", "container", "source")
KEBAB = re.compile(r"[a-z]+(-[a-z]+)+")
MAKERS = re.compile(r"problem|damage|stop", re.IGNORECASE)
OTHER_WORDS = {"mapped-ram", "not-a-stream"}  # a capability on the wire, and what no finding comes of: nothing is read


def _files(*names: str) -> Iterator[Path]:
    for name in names:
        path = SOURCE / name
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))


def _ids_in(path: Path) -> set[str]:
    """The rule ids that a file seems to write. What makes a problem takes one first. Others are words with dashes."""
    ids = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0] if node.args else None
            if MAKERS.search(called) and isinstance(first, ast.Constant) and isinstance(first.value, str):
                ids.add(first.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEBAB.fullmatch(node.value):
            ids.add(node.value)
    return ids - OTHER_WORDS


def test_every_rule_that_a_scan_names_is_a_rule() -> None:
    named = set[str]().union(*(_ids_in(path) for path in _files(*BELOW_VERIFY)))
    assert {"truncated", "bad-record", "multifd-channel"} <= named  # the search finds what is there
    assert named - RULES.keys() == set()


def test_no_code_from_verify_on_writes_an_id_as_text() -> None:
    for path in _files("verify", "analysis/ends.py"):
        if path.name in ("rules.py", "cause.py"):  # a cause may have the word of a rule
            continue
        written = {
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not written & RULES.keys(), path


def test_each_rule_has_its_object_under_its_own_name() -> None:
    objects = {name: value for name, value in vars(rules).items() if isinstance(value, Rule)}
    assert {name.lower().replace("_", "-"): value for name, value in objects.items()} == RULES
    assert all(rule.id == name for name, rule in RULES.items())
    assert [rule.rank for rule in RULES.values()] == list(range(len(RULES)))


def test_findings_about_one_record_come_in_the_order_of_their_rules() -> None:
    a, b = noise(1), noise(1)
    b[9] ^= 0x55
    builder = StreamBuilder(flags=0xF2).page(0, a).end().part().word(8 * PAGE | 0x60)
    stream = builder.delta(0, a, b).end().bytes()
    found = [f.rule for f in xbrletools.open(stream, dialect="posted").verify() if f.record is not None]
    assert len(found) > 1
    assert found == sorted(found, key=lambda rule: RULES[rule].rank)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_every_conclusion_is_whole_sentences(rule: Rule) -> None:
    capture = xbrletools.open(StreamBuilder(flags=3).page(0, noise(1)).bytes())
    for case in (*rule.conclusions, None):
        text = conclusion(capture.stream, rule.finding("", evidence={"certainty": case}))
        assert text.endswith(".")
        assert "{" not in text
    assert all(text.endswith(".") for text in rule.conclusions.values())
