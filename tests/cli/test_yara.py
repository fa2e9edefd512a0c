"""What `xbrle yara` prints, and its exit status."""

import json
from pathlib import Path

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import StreamBuilder, noise

SAMPLE, RULES = SAMPLES / "posted-8m.bin", SAMPLES / "rules.yar"


def test_a_missing_engine_is_named_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xbrletools.analysis import yara

    monkeypatch.setattr(yara, "find_spec", lambda name: None)
    status, out, err = run(capsys, "yara", RULES, "/nothing/here")
    assert (status, out) == (2, "")
    assert err == "xbrle: YARA rules need the package yara-x. Install it: pip install 'xbrletools[yara]'\n"


class TestWithTheEngine:
    @pytest.fixture(autouse=True)
    def engine(self) -> None:
        pytest.importorskip("yara_x", reason="yara-x is not installed (extra yara)")

    def test_rules_that_hold_are_listed_with_their_places(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run(capsys, "yara", RULES, SAMPLE)
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            "migrating [sample] holds in guest-physical memory, 1 place",
            "  0x0038091d  pc.ram:0x0038091d      2521   11  $word     |MIg|",
        ]

    def test_places_are_those_of_grep(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, by_grep, _ = run(capsys, "grep", SAMPLE, "--hex", "55 aa", "--all", "--json")
        _, by_yara, _ = run(capsys, "yara", RULES, SAMPLE, "--all", "--json")
        keys = ("block", "offset", "length", "bytes", "appeared", "vanished", "pass")
        found = [json.loads(line) for line in by_yara.splitlines()]
        expected = [json.loads(line) for line in by_grep.splitlines()]
        assert [[o[k] for k in keys] for o in found if o["pattern"] == "$end"] == [
            [o[k] for k in keys] for o in expected
        ]

    def test_a_moment_is_the_end_of_what_is_judged(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(capsys, "yara", RULES, SAMPLE, "--at", "2520")[:2] == (1, "no rule holds\n")
        assert run(capsys, "yara", RULES, SAMPLE, "--at", "2521")[0] == 0

    def test_unknown_bytes_are_said_and_show_in_the_status(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "S").write_bytes(StreamBuilder({b"pc.ram": 8192}).page(4096, noise(1)).end().bytes())
        (tmp_path / "r").write_text("rule zeros { strings: $a = { 00 00 00 00 00 00 } condition: $a }")
        status, out, err = run(capsys, "yara", tmp_path / "r", tmp_path / "S", "--space", "block")
        assert status == 1
        assert out == "zeros holds in pc.ram, 0 places, not sure: it also counts 4091 places in unknown bytes\n"
        assert "xbrle: pc.ram: 4,096 bytes are unknown. No match has any of them, and conditions see zeros\n" in err

    def test_a_limit_is_said_and_shows_in_the_status(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "yara", RULES, SAMPLE, "--max-matches", "1")
        assert status == 1
        assert "boot_sector:$end has more than 1 places; its rule may be judged wrongly (--max-matches)" in err

    def test_wrong_rules_are_one_line_with_file_and_line(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "r.yar").write_text("rule r {\n condition: $a\n}")
        status, out, err = run(capsys, "yara", tmp_path / "r.yar", SAMPLE)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"{tmp_path}/r.yar:2:13: " in err

    def test_more_rules_come_by_option(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "more.yar").write_text("rule migrating { condition: filesize > 8MB }")
        _, out, _ = run(capsys, "yara", RULES, SAMPLE, "--rules", tmp_path / "more.yar", "--json")
        rules = [o for o in map(json.loads, out.splitlines()) if o["type"] == "rule"]
        assert [(Path(o["file"]).name, o["rule"]) for o in rules] == [
            ("rules.yar", "migrating"),
            ("more.yar", "migrating"),
        ]

    @pytest.mark.parametrize("words", [("--all", "--space", "block"), ("--block", "pc.ram", "--space", "physical")])
    def test_what_excludes_each_other_is_refused(
        self, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
    ) -> None:
        assert run(capsys, "yara", RULES, SAMPLE, *words)[0] == 2
