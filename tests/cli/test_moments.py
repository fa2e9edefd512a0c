"""`--at-pass`: the moment after a pass is the one after its last record, for every command that has `--at`."""

import subprocess
import sys

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from tests.posted import PAGE, page, stream
from xbrletools.memory.moments import ends_of_pass

SAMPLE = SAMPLES / "posted-8m.bin"
A = bytes(range(256)) * 16


def naive_end(number: int) -> int:
    table = xbrletools.open(SAMPLE).records
    return max(int(table.number[row]) for row in table.by_number.tolist() if table.pass_[row] == number)


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize(
    "words",
    [
        ["page", SAMPLE, "0x20b000", "--raw"],
        ["page", SAMPLE, "0x20b000", "--inspect", "8"],
        ["blame", SAMPLE, "0x20b000+64"],
        ["grep", SAMPLE, "--hex", "55 aa"],
        ["diff", SAMPLE, "--only", "memory"],
        ["extract", SAMPLE, "--block", "pc.ram", "-o", "-"],
    ],
    ids=lambda words: " ".join(map(str, [words[0], *words[2:]])),
)
def test_at_pass_is_at_the_last_record_of_the_pass(words, number, capfdbinary):
    outs = []
    for moment in (("--at-pass", number), ("--at", naive_end(number))):
        status = xbrletools_main([*words, *moment])
        outs.append((status, capfdbinary.readouterr().out.replace(b"after record", b"")))
    assert outs[0] == outs[1]
    assert outs[0][1]


def xbrletools_main(words: list[object]) -> int:
    return subprocess.run([sys.executable, "-m", "xbrletools", *map(str, words)], check=False, cwd=ROOT).returncode


@pytest.mark.parametrize("command", ["page 0x0", "blame 0x0+8", "grep x", "diff", "extract -o x"])
def test_both_moments_are_refused_in_either_order_before_the_capture_is_read(capsys, command):
    name, *rest = command.split()
    for order in (["--at", 1, "--at-pass", 1], ["--at-pass", 1, "--at", 1]):
        status, out, err = run(capsys, name, "nowhere.bin", *rest, *order)
        assert (status, out) == (2, "")
        assert "--at and --at-pass exclude each other" in err


@pytest.mark.parametrize("number", [0, 12345])
def test_a_pass_that_is_not_there_is_named_with_those_that_are(capsys, tmp_path, number):
    status, out, err = run(capsys, "extract", SAMPLE, "-o", tmp_path / "o", "--at-pass", number)
    assert (status, out) == (2, "")
    assert f"there is no pass {number}; this capture has passes 1 to 12" in err
    assert not (tmp_path / "o").exists()


def test_a_capture_without_records_does_not_have_passes(capsys, tmp_path):
    (tmp_path / "s").write_bytes(stream([]))
    status, _, err = run(capsys, "blame", tmp_path / "s", "0x0+8", "--at-pass", 1)
    assert status == 2 and "does not have records with pages" in err


def test_each_block_ends_a_pass_at_its_own_last_record():
    blocks = ((b"a", 2 * PAGE), (b"b", 2 * PAGE))
    records = [page(0, A, b"a"), page(PAGE, A, b"a"), page(0, A, b"a"), page(0, A, b"b"), page(0, A, b"a")]
    capture = xbrletools.open(stream(records, blocks))
    assert ends_of_pass(capture.stream, 1) == {0: 2, 1: 4}
    assert ends_of_pass(capture.stream, 2) == {0: 3}
    assert ends_of_pass(capture.stream, 3) == {0: 5}


def test_a_reader_that_ends_early_is_not_an_error_for_extract():
    command = [sys.executable, "-m", "xbrletools", "extract", str(SAMPLE), "--block", "pc.ram", "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(process.stdout.read(100)) == 100
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_the_pass_of_the_second_moment_is_counted_in_the_second_capture(capsys, tmp_path):
    for name, repeats in (("one", 1), ("two", 4)):
        records = [page(address, A) for _ in range(repeats) for address in (0, PAGE)]
        (tmp_path / name).write_bytes(stream([*records, page(0, bytes(reversed(A)))]))
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(capsys, "diff", one, two)[0] == 0
    assert run(capsys, "diff", one, two, "--at-pass", 1, "--to-pass", 4)[0] == 0
    assert run(capsys, "diff", one, two, "--at-pass", 1, "--to-pass", 5)[0] == 1
    assert "there is no pass 3; this capture has passes 1 to 2" in run(capsys, "diff", two, one, "--to-pass", 3)[2]
    assert run(capsys, "diff", two, "--to-pass", 5, "--to", 3)[0] == 2
