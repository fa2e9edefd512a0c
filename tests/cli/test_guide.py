"""What leads a user on: groups of commands, names that were meant, a file alone, and what a shell completes."""

import os
import shutil
import subprocess
import sys

import click
import pytest

from tests.cli.run import run
from tests.cli.test_help import WAITS, commands, examples
from tests.conftest import ROOT, SAMPLES
from xbrletools import __version__
from xbrletools import open as open_capture
from xbrletools.cli import COMMANDS, cli, main
from xbrletools.cli.guide import ARGUMENTS, GROUPS, SEE_ALSO
from xbrletools.formats.dialects import DIALECTS
from xbrletools.verify.rules import RULES

SAMPLE = str(SAMPLES / "posted-8m.bin")
TITLES = ("Arguments:", "Options:", "Which records:", "What is printed or written:", "How S is read:", "Examples:")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """No layout may lean on the width of the window."""
    monkeypatch.setenv("COLUMNS", "200")


def test_every_command_stands_in_one_group_and_names_others():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    assert set(SEE_ALSO) == set(COMMANDS)
    assert all(set(others) <= set(COMMANDS) - {name} for name, others in SEE_ALSO.items())


def test_help_lists_the_groups(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    places = [out.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    assert "completion" in out


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_help_of_every_command_has_one_form(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert "xit status" in out or "exits 0" in out
    assert "See also: xbrle " in out
    assert 2 <= len([line for line in examples(commands()[name]) if line.startswith("xbrle ")]) <= 5 or name in WAITS
    first = out.split("\n\n")[1].split()
    assert first[0][0].isupper() and first[-1].endswith(".")
    shown = [title for title in TITLES if title in out]
    assert [out.index(title) for title in shown] == sorted(out.index(title) for title in shown)
    named = [p.make_metavar(click.Context(cli)) for p in commands()[name].params if isinstance(p, click.Argument)]
    assert set(named) <= set(ARGUMENTS)


@pytest.mark.parametrize(("typed", "meant"), [("grpe", "grep"), ("verfy", "verify"), ("ifno", "info")])
def test_a_command_that_is_nearly_one_is_named(typed, meant, capsys):
    status, _, err = run(capsys, typed, SAMPLE)
    assert status == 2
    assert f"there is no command '{typed}'. Did you mean {meant}" in err


def test_a_name_that_is_nothing_leads_to_the_help(capsys):
    status, _, err = run(capsys, "nothing/here.bin")
    assert status == 2
    assert "neither a command nor a file that is there" in err


def test_a_file_alone_is_for_info(capsys):
    assert run(capsys, SAMPLE) == run(capsys, "info", SAMPLE)
    assert run(capsys, SAMPLE, "--json") == run(capsys, "info", SAMPLE, "--json")


def test_help_of_a_command_by_word(capsys):
    assert run(capsys, "help", "grep") == run(capsys, "grep", "--help")
    assert run(capsys, "help", "vectors", "write") == run(capsys, "vectors", "write", "--help")
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "nothing")[0] == 2


@pytest.mark.parametrize("native", ["", "0"])
def test_the_version_says_whether_the_loops_in_c_are_in_use(native):
    words = [sys.executable, "-m", "xbrletools", "-V"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"XBRLE_NATIVE": native}, capture_output=True, text=True)
    assert done.stdout.startswith(f"xbrle, version {__version__}\n")
    assert ("turned off by XBRLE_NATIVE=0" in done.stdout) == (native == "0")
    assert done.returncode == 0


def test_an_option_that_has_one_value_is_refused_twice(capsys):
    status, _, err = run(capsys, "verify", SAMPLE, "--limit", "3", "--limit", "4")
    assert status == 2
    assert "--limit is given 2 times: give it once" in err
    assert run(capsys, "whatif", SAMPLE, "--cache", "1M", "--cache", "2M", "--json")[0] == 0


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """The manual pages, as `xbrle help --man` writes them."""
    folder = tmp_path_factory.mktemp("manual") / "man1"
    assert main(["help", "--man", str(folder)]) == 0
    return folder


def test_there_is_a_manual_page_of_every_command(manual):
    wanted = {f"xbrle-{name.replace(' ', '-')}" for name in (*COMMANDS, *commands(), "help", "completion")} | {"xbrle"}
    assert {p.stem for p in manual.iterdir()} == wanted


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")
def test_manual_pages_are_drawn_without_a_warning(manual):
    for path in sorted(manual.iterdir()):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-P-cbou", "-ww", path], capture_output=True, text=True, check=True
        )
        assert done.stderr == "", path.name
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"):
            assert section in done.stdout, path.name
        if path.stem not in ("xbrle", "xbrle-vectors"):
            assert "EXAMPLES" in done.stdout, path.name
            assert "xbrle " in done.stdout.partition("EXAMPLES")[2]


def test_manual_pages_that_are_there_are_replaced_only_with_force(manual, capsys):
    assert run(capsys, "help", "--man", manual)[0] == 2
    assert run(capsys, "help", "--man", manual, "--force")[0] == 0
    assert run(capsys, "help", "--force")[0] == 2


@pytest.mark.parametrize(
    "words",
    [("page", SAMPLE, "0x0", "--at"), ("grep", SAMPLE, "x", "--at-pass"), ("verify", SAMPLE, "--limit")],
)
def test_a_number_below_zero_is_refused(words, capsys):
    assert run(capsys, *words, "-1")[0] == 2


def test_sizes_have_suffixes_and_ranges_a_length(capsys):
    assert run(capsys, "info", SAMPLE, "--page-size", "4K", "--json") == run(
        capsys, "info", SAMPLE, "--page-size", "4096", "--json"
    )
    by_end = run(capsys, "dump", SAMPLE, "--page", "0x20b000-0x20cfff", "--record", "500-2099", "--json")
    by_length = run(capsys, "dump", SAMPLE, "--page", "0x20b000+8K", "--record", "500+1600", "--json")
    assert by_end == by_length
    assert by_end[1]
    assert run(capsys, "diff", SAMPLE, "--pass", "2+2") == run(capsys, "diff", SAMPLE, "--pass", "2-3")


# -- completion --------------------------------------------------------------------------------------------------------


def completed(*words: str) -> set[str]:
    """What bash is given for the last of these words."""
    told = os.environ | {
        "_XBRLE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["xbrle", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = "from xbrletools.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("gr",), {"plain,grep"}),
        (("grep", "S", "--regex", "--ign"), {"plain,--ignore-case"}),
        (("info", "samples/pos"), {"file,samples/pos"}),
        (("info", "S", "--dialect", ""), {f"plain,{name}" for name in DIALECTS}),
        (("verify", "--explain", ""), {f"plain,{name}" for name in RULES}),
        (("grep", "samples/posted-8m.bin", "x", "--block", "pc.r"), {"plain,pc.ram"}),
        (("extract", "nothing", "--block", ""), set()),
        (("completion", ""), {"plain,bash", "plain,zsh", "plain,fish"}),
    ],
)
def test_a_shell_completes(words, wanted):
    found = completed(*words)
    assert wanted <= found
    assert wanted or not found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell, capsys):
    status, out, _ = run(capsys, "completion", shell)
    assert status == 0
    assert "_XBRLE_COMPLETE" in out


class TestHints:
    def test_damage_in_the_middle_leads_to_salvage(self, tmp_path, capsys):
        damaged = bytearray((SAMPLES / "stale-base.bin").read_bytes())
        with open_capture(bytes(damaged)) as opened:
            offset = int(opened.records.columns.offset[opened.records.row(200)])
        damaged[offset : offset + 16] = b"\xff" * 16
        path = tmp_path / "S"
        path.write_bytes(damaged)
        for command in ("info", "dump"):
            status, _, err = run(capsys, command, path)
            assert status == 1 and "use: xbrle salvage S" in err, command
        assert "salvage" not in run(capsys, "info", SAMPLES / "truncated.bin")[2]
        assert "xbrle salvage S" in run(capsys, "verify", path)[1]

    def test_grep_with_its_arguments_swapped_says_so(self, capsys):
        status, out, err = run(capsys, "grep", "mig", SAMPLE)
        assert (status, out) == (2, "")
        assert f"'mig' is not a file, but '{SAMPLE}' is" in err

    def test_a_main_channel_alone_is_told_of_its_channels(self, tmp_path, capsys):
        shutil.copy(SAMPLES / "multifd.bin", tmp_path / "S")
        status, _, err = run(capsys, "info", tmp_path / "S")
        assert status == 1 and "--channel FILE" in err

    @pytest.mark.parametrize(
        ("extra", "module", "words"),
        [
            ("plot", "plotext", ("whatif", "not there", "--plot")),
            ("plot", "matplotlib", ("whatif", "not there", "--image", "x.png")),
            ("web", "textual_serve", ("serve", "not there")),
            ("query", "duckdb", ("query", "not there", "SELECT 1")),
            ("fleet", "pyarrow", ("tables", "not there", "-o", "lake")),
            ("symbols", "drgn", ("top", "not there", "--symbols", "vmlinux")),
        ],
    )
    def test_a_missing_extra_is_told_before_the_work(self, extra, module, words, tmp_path):
        """In a process of its own, where nothing has been imported yet."""
        code = (
            f"import sys; sys.modules[{module!r}] = None; from xbrletools.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert f"pip install 'xbrletools[{extra}]'" in done.stderr

    def test_a_sample_that_was_not_copied_out_yet_leads_to_the_copies(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        for words in (("info", "samples/stale-base.bin"), ("samples/stale-base.bin",)):
            status, out, err = run(capsys, *words)
            assert (status, out) == (2, "") and "use: xbrle samples -o samples" in err, words
        assert "xbrle samples" not in run(capsys, "info", "samples/other.bin")[2]
        assert "xbrle samples" not in run(capsys, "info", "other/stale-base.bin")[2]

    def test_no_argument_at_all_shows_the_help_as_it_is(self, capsys):
        for words in ((), ("vectors",)):
            status, out, err = run(capsys, *words)
            assert (status, out, err) == (2, "", run(capsys, *words, "--help")[1])
