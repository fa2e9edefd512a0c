"""One vocabulary: filters in every command that lists, --limit, ranges as A-B and A+L, sizes with suffixes."""

import json

import click
import pytest

from tests.cli.run import run
from tests.cli.test_help import commands
from tests.conftest import SAMPLES
from xbrletools import open as open_capture
from xbrletools.filters import about, parse
from xbrletools.text import span
from xbrletools.verify.rules import RULES

POSTED, STALE, CUT = (SAMPLES / f"{name}.bin" for name in ("posted-8m", "stale-base", "truncated"))


def lines(capsys, *words: object) -> list[dict]:
    return [json.loads(line) for line in run(capsys, *words, "--json")[1].splitlines()]


class TestFilters:
    def test_every_command_that_lists_takes_one(self):
        for name in ("dump", "top", "verify", "stats", "grep"):
            params = {p.name for p in commands()[name].params}
            assert {"words", "by_kind", "by_pass", "by_finding"} <= params, name
            assert {"by_block", "block", "blocks"} & params

    def test_stats_counts_what_dump_lists(self, capsys):
        for words in (("kind:xbrle", "pass:2-3"), ("--kind", "dup", "--block", "pc.ram"), ("not", "kind:page")):
            listed = [r for r in lines(capsys, "dump", POSTED, *words) if r["type"] == "record" and r["record"]]
            (sums,) = lines(capsys, "stats", POSTED, *words)
            assert sums["records"] == len(listed) > 0
            assert sums["filtered"]
            assert sums["passes_left_out"] == sums["blocks_left_out"] == 0
        assert not lines(capsys, "stats", POSTED)[0]["filtered"]
        assert "only what the filter selects is counted" in run(capsys, "stats", POSTED, "kind:dup")[1]

    def test_stats_by_findings_needs_them(self, capsys):
        (sums,) = lines(capsys, "stats", STALE, "finding:stale-base")
        assert sums["kinds"] == {"xbrle": sums["kinds"]["xbrle"]}
        assert sums["records"] == 10

    def test_stats_refuses_one_beside_the_table_of_the_sender(self, capsys):
        assert "excludes a filter" in run(capsys, "stats", POSTED, "--posted", "kind:dup")[2]
        assert "excludes a filter" in run(capsys, "stats", POSTED, "--posted", "--kind", "dup")[2]

    def test_verify_lists_what_it_selects_and_concludes_about_all(self, capsys):
        everything = lines(capsys, "verify", STALE)
        status, out, _ = run(capsys, "verify", STALE, "finding:stale-base", "--json")
        chosen = [json.loads(line) for line in out.splitlines()]
        assert status == 1
        assert chosen[-1] == everything[-1]
        assert chosen[:-1] == [f for f in everything[:-1] if f["rule"] == "stale-base"] != []

    def test_verify_selects_by_record(self, capsys):
        everything = lines(capsys, "verify", STALE)[:-1]
        chosen = lines(capsys, "verify", STALE, "record:283-289")[:-1]
        assert chosen == [f for f in everything if f["record"] is not None and 283 <= f["record"] <= 289] != []
        others = lines(capsys, "verify", STALE, "not", "record:283-289")[:-1]
        assert len(chosen) + len(others) == len(everything)
        assert any(f["record"] is None for f in others)
        text = run(capsys, "verify", STALE, "record:283-289")[1]
        assert "selected" in text and "healed by record 301\n" in text and " record 301 pc.ram" not in text

    def test_a_finding_without_a_record_goes_by_its_section_and_its_rule(self, capsys):
        (cut,) = [f for f in lines(capsys, "verify", CUT)[:-1] if f["rule"] == "truncated"]
        assert cut["record"] is None
        section = next(s["section"] for s in lines(capsys, "dump", CUT)[::-1] if s["type"] == "section")
        for words in (("finding:truncated",), (f"section:{section}",), ("not", "kind:page"), ("finding:any",)):
            assert cut in lines(capsys, "verify", CUT, *words), words
        for words in (("finding!=truncated",), ("section:0",), ("kind:page",), ("pass:1-",)):
            assert cut not in lines(capsys, "verify", CUT, *words), words

    def test_verify_says_where_it_selects_nothing(self, capsys):
        assert "no finding is selected by the filter" in run(capsys, "verify", STALE, "record:1")[1]
        assert "no RAM block nope" in run(capsys, "verify", STALE, "block:nope")[2]

    def test_a_filter_beside_one_explanation_or_sarif_is_refused(self, capsys):
        for words in (("--explain", "stale-base", "kind:dup"), ("--sarif", "--kind", "dup")):
            status, out, err = run(capsys, "verify", STALE, *words)
            assert (status, out) == (2, "") and "excludes --sarif and --explain" in err

    def test_findings_of_a_block_without_a_record_are_chosen_by_it(self):
        class Finding:
            rule, offset, record, block = "block-missing", None, None, b"pc.bios"

        table = open_capture(STALE).records
        assert about(parse("block:pc.bios", RULES), table)(Finding)
        assert not about(parse("block:pc.ram", RULES), table)(Finding)
        assert about(parse("block!=pc.ram", RULES), table)(Finding)

    def test_grep_shows_matches_whose_record_it_selects(self, capsys):
        for more in ((), ("--all",)):
            everything = lines(capsys, "grep", POSTED, "--hex", "55 aa", *more)
            passes = {m["pass"] for m in everything}
            assert len(passes) > 1
            for number in passes - {None}:
                chosen = lines(capsys, "grep", POSTED, "--hex", "55 aa", f"pass:{number}", *more)
                assert chosen == [m for m in everything if m["pass"] == number]
        status, out, _ = run(capsys, "grep", POSTED, "-i", "mig", "pass:1", "--count")
        assert (status, out) == (1, "0\n")


class TestLimits:
    def test_zero_is_for_all_wherever_there_is_one(self, capsys):
        for name, command in commands().items():
            for param in command.params:
                if param.name == "limit":
                    assert isinstance(param.type, click.IntRange) and param.type.min == 0, name
        for words in (
            ("top", POSTED),
            ("grep", POSTED, "-i", "mig", "--all"),
            ("diff", POSTED, "--at", 2000),
            ("dump", POSTED),
        ):
            assert lines(capsys, *words, "--limit", 0) == lines(capsys, *words)

    def test_it_cuts_a_list_and_says_so(self, capsys):
        whole = lines(capsys, "dump", POSTED)
        for limit in (1, 3, 700):
            status, out, err = run(capsys, "dump", POSTED, "--limit", limit, "--json")
            assert [json.loads(line) for line in out.splitlines()] == whole[:limit]
            assert status == 0 and "what follows was not read" in err
        status, out, err = run(capsys, "dump", POSTED, "--limit", len(whole), "--json")
        assert (status, err) == (0, "") and len(out.splitlines()) == len(whole)

    def test_an_entry_with_its_fields_is_one(self, capsys):
        out = run(capsys, "dump", POSTED, "--limit", 2, "--fields")[1]
        assert [line.split(":")[0][11:] for line in out.splitlines() if " section " in line] == [
            "section 0",
            "section 1",
        ]
        assert len(out.splitlines()) > 10


class TestRanges:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("0x1000+16", ("0x1000", 16)), ("0x1000-0x100f", ("0x1000", 16)), ("a-b:4K+1K", ("a-b:4K", 1024)),
            ("a+b:0x10-0x10", ("a+b:0x10", 1)), ("phys:1M-0x1000ff", ("phys:1M", 256)),
            ("0000:00:02.0/x:0+1", ("0000:00:02.0/x:0", 1)),
        ],
    )  # fmt: skip
    def test_both_forms_are_read(self, text, found):
        assert span(text) == found

    def test_blame_and_redact_read_both(self, capsys, tmp_path):
        assert lines(capsys, "blame", POSTED, "0x20b000-0x20b03f") == lines(capsys, "blame", POSTED, "0x20b000+64")
        for i, text in enumerate(("page=pc.ram:0x200000-0x20ffff", "page=pc.ram:2M+64K")):
            assert run(capsys, "transcode", POSTED, "--redact", text, "-o", tmp_path / f"{i}")[0] == 0
        assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()

    @pytest.mark.parametrize(
        "text", ["0x20b000", "0x20b000-0x20aff0", "0x20b000+", "0x20b000+-1", "-5", "0x1--1", "+4"]
    )
    def test_what_is_neither_is_refused(self, text, capsys):
        status, out, err = run(capsys, "blame", POSTED, "--", text)
        assert (status, out) == (2, "") and "invalid" in err


class TestSizes:
    def test_sizes_and_addresses_take_suffixes(self, capsys):
        assert lines(capsys, "page", POSTED, "2M") == lines(capsys, "page", POSTED, "0x200000")
        assert lines(capsys, "page", POSTED, "2M", "--inspect", "1K") == lines(
            capsys, "page", POSTED, "0x200400", "--inspect", "0x400"
        )
        assert lines(capsys, "grep", POSTED, "-i", "mig", "-C", "1K") == lines(
            capsys, "grep", POSTED, "-i", "mig", "-C", 1024
        )
        assert lines(capsys, "info", POSTED, "--page-size", "4K") == lines(capsys, "info", POSTED)

    @pytest.mark.parametrize(
        "words",
        [
            ("page", POSTED, "pc.ram:-1"), ("page", POSTED, "0x0", "--inspect", "-1"),
            ("grep", POSTED, "x", "-C", "-1"), ("grep", POSTED, "x", "-C", "2M"), ("dump", POSTED, "--limit", "-1"),
            ("info", POSTED, "--page-size", "-1"), ("whatif", POSTED, "--cache", "-1"),
            ("vectors", "check", "x", "--command", "x", "--timeout", "-1"),
            ("vectors", "check", "x", "--command", "x", "--timeout", "nan"), ("page", POSTED, "0x0", "--at", "-1"),
            ("simulate", "--capture", POSTED, "--bandwidth", "-1"), ("top", POSTED, "--by", "-4K"),
        ],
    )  # fmt: skip
    def test_negative_numbers_are_refused(self, words, capsys):
        status, out, err = run(capsys, *words)
        assert (status, out) == (2, "") and err

    def test_an_option_that_has_one_value_is_refused_twice(self, capsys):
        for name, command in commands().items():
            option = next(
                (
                    p
                    for p in command.params
                    if isinstance(p, click.Option)
                    and not p.multiple
                    and p.nargs == 1
                    and not p.is_flag
                    and p.name != "color"
                ),
                None,
            )
            if option is None:
                continue
            word = max(option.opts, key=len)
            status, _, err = run(capsys, *name.split(), word, "1", word, "1")
            assert status == 2 and f"{word} is given 2 times" in err, name


#: Options that mean something else in another command, where that is what the word means there.
TWICE = {
    "--block": {"NAME", "NAME=SIZE"},  # encode and transcode are told what blocks there are
    "--pass": {"RANGE", "P[-Q|+N]"},  # diff compares from before a pass to after it
    "--rules": {"", "FILE"},  # verify lists its own, yara takes some
    "--to": {"RECORD|TIME", "DIALECT"},  # diff's second moment, transcode's result
    "--space": {"[physical|block]", "[block|physical]"},
    "--output": {"OUT", "S", "T", "DIR", "FILE"},
}


class TestNames:
    def test_an_option_has_one_form_in_all_commands(self):
        forms: dict[str, set[str]] = {}
        for command in commands().values():
            context = click.Context(command)
            for param in command.params:
                if isinstance(param, click.Option):
                    form = "" if param.is_flag else param.make_metavar(context)
                    forms.setdefault(max(param.opts, key=len), set()).add(form)
        assert {name: found for name, found in forms.items() if len(found) > 1} == TWICE
        assert not {"INTEGER", "INTEGER RANGE", "FLOAT RANGE", "TEXT", "PATH"} & set().union(*forms.values())

    def test_no_number_can_be_below_zero(self):
        for name, command in commands().items():
            for param in command.params:
                assert param.type is not click.INT and param.type is not click.FLOAT, (name, param.name)
                if isinstance(param.type, click.IntRange | click.FloatRange):
                    assert param.type.min is not None and param.type.min >= 0, (name, param.name)
