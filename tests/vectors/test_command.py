"""`xbrle vectors`, and the program in C that is held to the set."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import run
from xbrletools.vectors.cases import read

SOURCE = Path(__file__).parent.parent / "vectors_c" / "answer.c"

#: A program in a few lines of Python; each does something else with the requests.
PROGRAMS = {
    "silent": "pass",
    "unsupported": "print('unsupported', flush=True)",
    "garbage": "print('\\x1b[31m what', flush=True)",
    "hangs": "time.sleep(60)",
    "crashes": "sys.exit(7)",
}


def _program(what: str) -> str:
    code = f"import sys, time\nfor line in sys.stdin: {PROGRAMS[what]}"
    return f"{sys.executable} -c '{code}'".replace("'\\x1b[31m what'", '"\\x1b[31m what"').replace(
        "'unsupported'", '"unsupported"'
    )


@pytest.fixture
def few(written, tmp_path) -> Path:
    """A set of byte sums alone."""
    for name in ("index.json", "sums.json"):
        text = (written / name).read_text()
        (tmp_path / name).write_text(text)
    index = json.loads((tmp_path / "index.json").read_text())
    index["files"] = [f for f in index["files"] if f["subject"] == "sums"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path


def test_this_implementation_passes_its_own_vectors(capsys, written):
    status, out, _ = run(capsys, "vectors", "check", written)
    assert status == 0
    assert " 0 failed, 0 not supported" in out


def test_what_is_no_set_exits_2(capsys, tmp_path):
    status, out, err = run(capsys, "vectors", "check", tmp_path)
    assert (status, out) == (2, "")
    assert "index.json" in err


@pytest.mark.parametrize("command", ["/nonexistent/program {op}", "'", ""])
def test_a_program_that_cannot_be_run_exits_2(capsys, few, command):
    status, _, _ = run(capsys, "vectors", "check", few, "--command", command)
    assert status == 2


def test_a_program_that_supports_nothing_exits_2(capsys, few):
    status, out, err = run(capsys, "vectors", "check", few, "--command", _program("unsupported"))
    assert status == 2
    assert "6 not supported" in out
    assert "does not answer any operation" in err


def test_a_crash_fails_its_case_and_the_next_is_asked_anew(capsys, few):
    status, out, _ = run(capsys, "vectors", "check", few, "--command", _program("crashes"))
    assert status == 1
    assert out.count("ended with status 7") == 6


def test_an_answer_that_never_comes_fails_its_case(capsys, few):
    status, out, _ = run(capsys, "vectors", "check", few, "--timeout", "0.2", "--command", _program("hangs"))
    assert status == 1
    assert out.count("no answer in 0.2 s") == 6


def test_an_answer_that_is_none_is_shown_escaped(capsys, few):
    status, out, _ = run(capsys, "vectors", "check", few, "--command", _program("garbage"))
    assert status == 1
    assert "\x1b" not in out
    assert "is not KEY=VALUE" in out


def test_a_wrong_sum_in_the_set_is_found(capsys, few):
    text = (few / "sums.json").read_text().replace("1044480", "1044481", 2)
    (few / "sums.json").write_text(text)
    index = json.loads((few / "index.json").read_text())
    index["files"][0]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (few / "index.json").write_text(json.dumps(index))
    status, out, _ = run(capsys, "vectors", "check", few)
    assert status == 1
    assert "FAIL sum-largest" in out


# -- an implementation that is not this one --------------------------------------------------------------------------

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler called cc")


def _built(folder: Path, *options: str) -> Path:
    program = folder / "answer"
    words = ["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *options, "-o", str(program), str(SOURCE)]
    subprocess.run(words, check=True)
    return program


@needs_cc
def test_a_program_in_c_written_from_the_facts_passes(capsys, written, tmp_path):
    program = _built(tmp_path)
    status, out, err = run(capsys, "vectors", "check", written, "--command", f"{program} {{op}}")
    assert status == 0, out
    passed = int(out.split()[0])
    asked = [c for c in read(written) if c.op in ("encode", "decode", "header-read", "header-write", "cache")]
    assert passed > len(asked) * 3 // 4
    assert "memory: not supported" in err  # the sender's view


@needs_cc
def test_one_program_for_all_operations_passes_too(capsys, few, tmp_path):
    status, out, _ = run(capsys, "vectors", "check", few, "--command", _built(tmp_path))
    assert (status, out) == (0, "6 passed, 0 failed, 0 not supported\n")


@needs_cc
def test_a_cap_of_254_in_the_program_is_found_by_its_bytes(capsys, written, tmp_path):
    program = _built(tmp_path, "-DBUG_CAP=254")
    command = ("vectors", "check", written, "--limit", 0, "--command", f"{program} {{op}}")
    status, out, _ = run(capsys, *command, "--original")
    assert status == 1
    failed = [line.split()[1] for line in out.splitlines() if line.startswith(("FAIL", "UNLIKE"))]
    assert "rle-run-255-start" in failed
    assert all(case.startswith("rle-") for case in failed)
    assert not any(case.endswith("-back") for case in failed)  # the decoder has no bug
