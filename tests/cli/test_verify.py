import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def bad(tmp_path):
    a, b = noise(1), noise(1)
    b[9] ^= 1
    path = tmp_path / "bad.bin"
    path.write_bytes(StreamBuilder(flags=3).page(0, a).dup(PAGE).part().delta(0, a, b, checksum=5).bytes())
    return path


def test_a_clean_capture_exits_0(capsys):
    status, out, _ = run(capsys, "verify", SAMPLES / "posted-8m.bin")
    assert status == 0
    assert "device-tail-unchecked" in out


def test_an_error_exits_1_and_is_shown_with_its_place(bad, capsys):
    status, out, _ = run(capsys, "verify", bad)
    assert status == 1
    assert "record 3 pc.ram:0x0" in out


def test_json_has_the_promised_keys_on_every_line(bad, capsys):
    _, out, _ = run(capsys, "verify", bad, "--json")
    *found, last = map(json.loads, out.splitlines())
    keys = {"type", "format", "rule", "severity", "offset", "record", "block", "page", "message", "evidence"}
    assert found
    assert all(keys <= finding.keys() and finding["type"] == "finding" for finding in found)
    assert (last["type"], last["status"]) == ("verdict", "corrupt")
    assert {"summary", "first_bad_record", "first_lasting_record", "pages_wrong", "causes", "receivers"} <= last.keys()


def test_a_file_that_cannot_be_read_has_a_verdict_too(tmp_path, capsys):
    path = tmp_path / "x"
    path.write_bytes(b"QEV")
    for what in (path, tmp_path / "none"):
        status, out, err = run(capsys, "verify", what, "--json")
        assert (status, err.count("\n")) == (2, 1)
        (last,) = map(json.loads, out.splitlines())
        assert (last["type"], last["status"], last["pages_wrong"], last["causes"]) == (
            "verdict",
            "unreadable",
            None,
            [],
        )


def test_sarif_is_one_document_with_every_finding(bad, capsys):
    _, out, _ = run(capsys, "verify", bad, "--sarif")
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    assert "checksum-mismatch" in [r["ruleId"] for r in log["runs"][0]["results"]]


@pytest.mark.parametrize(("receiver", "status"), [("default", 0), ("debug", 1), ("vanilla", 1), ("today", 1)])
def test_a_receivers_verdict_is_the_exit_status(bad, capsys, receiver, status):
    assert run(capsys, "verify", bad, "--receiver", receiver)[0] == status


def test_the_destinations_blocks_decide(capsys):
    sample = SAMPLES / "posted-8m.bin"
    have = ["--receiver", "default", "--blocks"]
    assert run(capsys, "verify", sample, *have, "pc.ram=8M,pc.bios=128K,pc.rom=128K")[0] == 0
    assert run(capsys, "verify", sample, *have, "pc.ram=16M,pc.bios=128K,pc.rom=128K")[0] == 1


@pytest.mark.parametrize("content", [b"", b"QEV", b"QEVM\0\0", b"\x7fELF" + bytes(100)])
def test_a_file_that_is_no_stream_is_one_line_and_exit_2(tmp_path, capsys, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    status, out, err = run(capsys, "verify", path)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_what_cannot_be_opened_is_one_line_and_exit_2(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "none"):
        status, out, err = run(capsys, "verify", path)
        assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "arguments", [["verify"], ["nonsense"], ["verify", "--blocks", "x", "y"], ["verify", "a", "--q"]]
)
def test_wrong_usage_exits_2_without_a_traceback(capsys, arguments):
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert "Traceback" not in err


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from xbrletools.cli import main; main(['--help']);"
        "heavy = {'numpy', 'construct', 'textual', 'rich'} & set(sys.modules); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done
    assert b"verify" in done.stdout


def test_a_compressed_capture_reads_as_itself(tmp_path, capsys):
    import bz2
    import gzip
    import lzma

    import zstandard

    data = (SAMPLES / "posted-8m.bin").read_bytes()
    for suffix, pack in {
        "xz": lzma.compress,
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": zstandard.ZstdCompressor().compress,
    }.items():
        path = tmp_path / f"s.{suffix}"
        path.write_bytes(pack(data))
        assert run(capsys, "verify", path)[0] == 0, suffix
        path.write_bytes(pack(data)[:-2000])
        status, out, err = run(capsys, "verify", path)
        if suffix == "bz2":  # the whole sample is one bzip2 block, and half a block gives nothing
            assert (status, err.count("\n")) == (2, 1)
            continue
        assert status == 1, (suffix, err)
        assert "truncated" in out


def test_standard_input_is_read():
    command = [sys.executable, "-m", "xbrletools", "verify", "-"]
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    done = subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done


def test_explain_tells_the_cause_of_a_finding_and_what_fell(tmp_path, capsys):
    import numpy as np

    import xbrletools
    from xbrletools.formats.ram import Kind

    data = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
    with xbrletools.open(bytes(data)) as capture:
        columns = capture.records.columns
        row = np.flatnonzero(columns.kind == Kind.XBRLE)[40]
        data[int(columns.payload()[row]) - 4] ^= 4
    path = tmp_path / "flipped.bin"
    path.write_bytes(data)
    status, out, _ = run(capsys, "verify", path, "--explain", "checksum-mismatch")
    assert status == 1
    assert "checksum-field" in out
    assert "Cause: " in out
    assert "Shown by: " in out
    assert all(len(line) <= 80 for line in out.splitlines() if not line.lstrip().startswith("0x"))


class TestExplainAndRulesAsJson:
    """`--json` counts with `--explain` and `--rules` too."""

    def test_a_finding_with_its_cause_and_its_chain(self, bad, capsys):
        status, out, _ = run(capsys, "verify", bad, "--explain", "checksum-mismatch", "--json")
        (told,) = map(json.loads, out.splitlines())
        assert (status, told["type"], told["format"]) == (1, "explanation", 1)
        assert told["finding"]["rule"] == "checksum-mismatch"
        assert told["cause"]["explains"]["checksum-mismatch"] == 1
        assert told["conclusion"]
        own = [link for link in told["chain"] if link["part"] == "this finding"]
        assert [link["record"] for link in own] == [told["finding"]["record"]]
        assert {"pass", "kind", "offset", "stated", "receiver", "sender", "wire"} <= own[0].keys()

    def test_a_finding_without_a_page_has_the_bytes_about_it(self, capsys):
        sample = SAMPLES / "posted-8m.bin"
        _, out, _ = run(capsys, "verify", sample, "--explain", "device-tail-unchecked", "--json")
        told = json.loads(out)
        start = told["bytes"]["offset"]
        assert start <= told["finding"]["offset"]
        assert bytes.fromhex(told["bytes"]["data"]) == sample.read_bytes()[start:][: len(told["bytes"]["data"]) // 2]

    def test_a_rule_without_a_capture_and_one_that_the_capture_does_not_break(self, capsys):
        status, out, _ = run(capsys, "verify", "--explain", "bad-footer", "--json")
        told = json.loads(out)
        assert (status, told["type"], told["rule"], told["severity"]) == (0, "rule", "bad-footer", "error")
        assert "Missing section footer for {}" in told["messages"]
        _, out, err = run(capsys, "verify", SAMPLES / "posted-8m.bin", "--explain", "bad-footer", "--json")
        assert json.loads(out) == told
        assert "does not have a finding" in err

    @pytest.mark.parametrize("more", [[], [SAMPLES / "posted-8m.bin"], ["/nowhere"]])
    def test_all_rules_an_object_a_line(self, more, capsys):
        from xbrletools.verify.rules import RULES

        status, out, _ = run(capsys, "verify", *more, "--rules", "--json")
        assert (status, [json.loads(line)["rule"] for line in out.splitlines()]) == (0, list(RULES))

    @pytest.mark.parametrize("more", [["--rules"], ["--explain", "bad-footer"]])
    def test_sarif_is_refused_with_either(self, more, capsys):
        for before in ([], [SAMPLES / "posted-8m.bin"]):
            status, out, err = run(capsys, "verify", *before, *more, "--sarif")
            assert (status, out) == (2, "")
            assert "--sarif" in err
