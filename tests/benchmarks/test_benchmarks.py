import json
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from benchmarks import scaling
from benchmarks.baseline import Baseline, compiler
from benchmarks.command import main
from benchmarks.paths import CASES
from benchmarks.threads import sharing
from xbrletools.codec import checksum, native

needs_cc = pytest.mark.skipif(compiler() is None, reason="the baseline takes a C compiler, and there is none here")
_SAMPLES = Path(__file__).parents[2] / "samples"


@needs_cc
def test_every_path_gives_what_the_baseline_gives(capsys: pytest.CaptureFixture[str]) -> None:
    names = {case.name for case in CASES if case.unit != "run"}
    assert main(["--quick", "--json", "--rounds", "1", *names]) == 0
    paths = json.loads(capsys.readouterr().out)["paths"]
    assert {path["path"] for path in paths} == names
    assert all(path["right"] is True for path in paths)
    if native.loops is not None:
        assert all((path["two_to_baseline"] is None) == (path["baseline"] != "C") for path in paths)


@needs_cc
def test_a_wrong_result_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    true_sum = checksum.byte_sum
    monkeypatch.setattr(checksum, "byte_sum", lambda pages: true_sum(pages) + np.uint32(1))
    assert main(["--quick", "byte-sum", "dup"]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["WRONG", "right", "right", "right"]
    assert err == "wrong results: byte-sum\n"


def test_without_a_compiler_paths_are_timed_and_nothing_is_called_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["--quick", "--json", "decode-10"]) == 0
    out, err = capsys.readouterr()
    (path,) = json.loads(out)["paths"]
    assert (path["right"], path["to_baseline"], path["met"]) == (None, None, None)
    assert path["ns"] > 0
    assert path["two_to_baseline"] is None
    assert "no C compiler" in err


@needs_cc
@pytest.mark.parametrize("name", ["posted-8m", "posted-little-default", "m115-little", "plain-v3", "plain-v4"])
def test_the_baseline_loads_streams_that_the_original_programs_wrote(name: str, tmp_path: Path) -> None:
    baseline = Baseline(str(compiler()), tmp_path)
    stream = np.fromfile(_SAMPLES / f"{name}.bin", np.uint8)
    expected = xbrletools.open(stream.tobytes()).memory().pages
    memory = np.zeros_like(expected)
    baseline.receive(stream, memory)
    assert (memory == expected).all()


@needs_cc
def test_a_saved_run_is_compared_with_and_a_document_gets_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, document = tmp_path / "saved.json", tmp_path / "performance.md"
    document.write_text("# Speed\n\n<!-- measured -->\nold\n<!-- end -->\n\nAfter.\n")
    assert main(["--quick", "--json", "byte-sum"]) == 0
    saved.write_text(capsys.readouterr().out)
    assert main(["--quick", "--against", str(saved), "--write", str(document), "byte-sum", "dup-all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-2:] == ["/", "saved"]
    assert lines[2].split()[-1] == "new"
    text = document.read_text()
    assert "old" not in text and "| byte-sum |" in text and text.endswith("<!-- end -->\n\nAfter.\n")


def test_two_threads_share_the_work_and_the_longer_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "THREAD_BYTES", 1 << 16)
    with sharing(2) as shared:
        checksum.byte_sum(np.zeros((64, 4096), np.uint8))
    assert (shared.used in (1, 2)) and shared.beside >= 0  # one thread may do all before the other begins
    assert native.in_threads.__module__ == native.__name__


def test_scaling_says_how_paths_gain_by_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "_SHRINK", 1024)
    assert scaling.main(["--quick", "--json", "--threads", "1", "--threads", "2"]) == 0
    paths = json.loads(capsys.readouterr().out)["paths"]
    assert {"byte-sum", "xbrle-encode-200", "verify-realistic", "end-sparse-64G"} <= {p["path"] for p in paths}
    assert all(path["right"] and set(path["seconds"]) == {"1", "2"} for path in paths)


def test_an_unknown_path_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["decode-11"])
    assert ended.value.code == 2
