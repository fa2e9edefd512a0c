"""What is said of each rule without a finding: by the command and in docs/rules.md."""

import pytest

from tests.cli.run import run
from tests.conftest import ROOT
from tests.streams import StreamBuilder, noise
from xbrletools.verify.reference import ADVICE, document, meaning
from xbrletools.verify.rules import RULES, Rule


def test_every_rule_has_advice() -> None:
    assert {rule.id for rule in ADVICE} == RULES.keys()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_all_that_is_said_of_a_rule_is_whole_sentences(rule: Rule) -> None:
    parts = dict(meaning(rule))
    assert {"What it means", "Severity", "Evidence", "What to do"} <= parts.keys()
    assert all(text.endswith((".", '"')) for text in parts.values())
    assert all("{dialect}" not in text for text in parts.values())
    assert ("QEMU says" in parts) == bool(rule.messages)


def test_the_document_is_as_the_rules_make_it() -> None:
    assert (ROOT / "docs" / "rules.md").read_text("utf-8") == document()


def test_the_command_lists_the_rules_without_a_capture(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "verify", "--rules")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == list(RULES)
    assert all(len(line) < 80 for line in out.splitlines())


def test_the_command_explains_a_rule_without_a_capture(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "verify", "--explain", "unknown-block")
    assert status == 0
    assert "Can't find block {}" in out
    status, _, err = run(capsys, "verify", "--explain", "no-such-rule")
    assert (status, "no rule" in err) == (2, True)
    status, _, err = run(capsys, "verify")
    assert status == 2


def test_a_capture_without_such_a_finding_gets_the_meaning(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clean.bin"
    path.write_bytes(StreamBuilder().page(0, noise(1)).part().end().bytes())
    status, out, err = run(capsys, "verify", str(path), "--explain", "stale-base")
    assert status == 0
    assert "does not have a finding" in err
    assert "What to do" in out
