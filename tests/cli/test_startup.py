"""What a command imports, and so how soon it answers: nothing that it does not use."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, SAMPLES

_RUN = "import sys; from xbrletools.cli import main; main(sys.argv[1:]); sys.stderr.write('\\n'.join(sys.modules))"
SAMPLE = str(SAMPLES / "m115-big.bin")
HEAVY = {"numpy", "construct", "rich", "textual", "zstandard", "tempfile", "hashlib", "asyncio"}


def imported(*arguments: str) -> set[str]:
    """The modules that a command has imported when it is done, with their packages."""
    words = [sys.executable, "-c", _RUN, *arguments]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stderr.split("\n"))


def of_pdb() -> set[str]:
    """What Python's debugger imports, which construct imports: from 3.14 on asyncio and tempfile are among it."""
    words = [sys.executable, "-c", "import pdb, sys; sys.stderr.write('\\n'.join(sys.modules))"]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stderr.split("\n"))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_imports_no_library_but_click(arguments: tuple[str, ...]) -> None:
    modules = imported(*arguments)
    assert not modules & HEAVY
    assert {m for m in modules if m.startswith("xbrletools")} <= {
        "xbrletools",
        "xbrletools.cli",
        "xbrletools.cli.guide",
        "xbrletools.cli.writer",
        "xbrletools.codec",  # of which --version says
        "xbrletools.codec._native",
        "xbrletools.codec.built",  # whether its loops are in use
        "xbrletools.errors",
        "xbrletools.interrupts",  # signals end the work in order
        "xbrletools.source",
        "xbrletools.source.changed",  # whether a file was written to while it was read
        "xbrletools.text",  # escapes what messages name
        "xbrletools.urls",  # S can be a URL
        "xbrletools.version",
    }


@pytest.mark.parametrize("command", ["info", "stats", "dump"])
def test_a_small_capture_is_told_of_without_what_only_others_need(command: str) -> None:
    modules = imported(command, "--json", SAMPLE)
    assert not (modules - of_pdb()) & {
        "textual",
        "rich.table",
        "rich.text",
        "zstandard",
        "lzma",
        "bz2",
        "gzip",
        "tempfile",
        "asyncio",
    }
    unneeded = ("tui", "verify.", "export", "net", "vectors", "scan.salvage", "ram.multifd", "scan.cache", "arrow")
    if command == "info":  # it says what the scan shows of the verdict
        modules -= {"xbrletools.verify.status"}
    assert not {m for m in modules if m.startswith(tuple(f"xbrletools.{u}" for u in unneeded))}


def test_info_imports_nothing_of_senders() -> None:
    """It looks into memory for the guest and its map."""
    modules = imported("info", SAMPLE)
    assert not {m for m in modules if m.startswith("xbrletools.sender")}
    assert not modules & {"textual", "rich"}  # a pipe gets its tables without rich


def test_info_of_a_plain_stream_imports_nothing_of_what_it_does_not_meet() -> None:
    """Each of these is for captures of another kind: arrival times, a dump of packets, a board, a Windows guest."""
    modules = imported("info", str(SAMPLES / "posted-8m.bin"))
    unneeded = (
        *("filters", "arrow", "verify.cause", "verify.rules", "verify.scanned"),
        *("analysis.arrivals", "analysis.mappings", "container.cpr", "container.returnpath"),
        *("formats.packets", "formats.magics", "physical.devicetree"),
    )
    assert not {m for m in modules if m.startswith(tuple(f"xbrletools.{u}" for u in unneeded))}
    assert not modules & {"difflib", "xml.etree.ElementTree"}


def test_info_names_what_a_scan_met_all_the_same() -> None:
    """The rules and the causes are imported where there is a problem."""
    words = [sys.executable, "-c", _RUN, "info", "--json", str(SAMPLES / "truncated.bin")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["verdict"]["status"] == "incomplete"
    assert "xbrletools.verify.scanned" in done.stderr


def test_only_the_browser_imports_textual() -> None:
    for command in ("verify", "page", "extract"):
        rest = {"page": ("0x0",), "extract": ("-o", "/dev/null", "--block", "ram", "--force")}.get(command, ())
        assert "textual" not in imported(command, SAMPLE, *rest)


def test_the_browser_s_first_frame_needs_no_verdict_no_sender_and_no_screen_but_the_first() -> None:
    """What else it needs is imported once something is on the terminal."""
    code = "import sys, xbrletools.capture, xbrletools.tui.app, xbrletools.tui.screens.overview; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    unneeded = ("tui.reader", "verify.verdict", "verify.receivers", "sender", "physical", "export", "scan.salvage")
    assert not {m for m in modules if m.startswith(tuple(f"xbrletools.{u}" for u in unneeded))}
    screens = {m.removeprefix("xbrletools.tui.screens.") for m in modules if m.startswith("xbrletools.tui.screens.")}
    assert screens == {"base", "dialogs", "names", "overview", "parts", "sentparts"}
