"""`xbrle stats`."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from tests.building import EOF, footer, start, stream, zero
from tests.conftest import SAMPLES
from xbrletools.cli import main
from xbrletools.formats.qevm import SectionType

STREAM = str(SAMPLES / "posted-8m.bin")

TABLE = """\
=====================================================
Save VM Memory Statistics (SUCCESS or FAILURE):
Iterations: 2559
Normal pages: 237 (9.27%)
Normal bytes: 970752 (86.74%)
Dup pages: 2092 (81.81%)
Dup bytes: 2092 (0.19%)
XBRLE pages: 228 (8.92%)
XBRLE bytes: 146302 (13.07%)
Total pages: 2557 (100.00%)
Total bytes: 1119146 (100.00%)
Cache number of inserts: 465
=====================================================
"""


def test_posted_prints_the_sender_s_own_table(capsys):
    assert main(["stats", STREAM, "--posted"]) == 0
    out, err = capsys.readouterr()
    assert out == TABLE
    assert "Iterations are inferred" in err
    assert "cache's size" in err


def test_posted_as_json_has_the_same_lines(capsys):
    assert main(["stats", STREAM, "--posted", "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert list(out) == ["format", *(line.partition(":")[0] for line in TABLE.splitlines()[2:-1])]
    assert out["XBRLE pages"] == {"value": 228, "share": pytest.approx(8.9167, abs=1e-4)}


def test_json_adds_up(capsys):
    assert main(["stats", STREAM, "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["dialect"], out["records"], out["truncated"]) == ("posted", 2557, False)
    assert out["kinds"]["xbrle"]["records"] == out["deltas"]["records"] == 228
    for key in ("records", "record_bytes", "plain_bytes", "saved_bytes"):
        assert sum(block[key] for block in out["blocks"]) == out[key]
        for block in out["blocks"]:
            assert sum(one[key] for one in block["passes"]) == block[key]
    assert out["plain_bytes"] - out["record_bytes"] == out["saved_bytes"] > 0


def test_text_has_kinds_savings_and_passes(capsys):
    assert main(["stats", STREAM]) == 0
    out = capsys.readouterr().out
    assert "xbrle      228   8.9%" in out
    assert "deltas save 787,586, 40.9%" in " ".join(out.split())
    assert "pc.ram     12" in out


def test_a_truncated_capture_gives_its_sums_and_exits_1(tmp_path, capsys):
    path = tmp_path / "cut.bin"
    path.write_bytes((SAMPLES / "posted-8m.bin").read_bytes()[:100000])
    assert main(["stats", str(path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["truncated"] is True
    assert "0x" in err


def test_standard_input_is_enough(capsys, monkeypatch):
    data = (SAMPLES / "xbzrle-16m.bin").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["stats", "-"]) == 0
    assert "xbzrle      163" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"], ["--posted"]])
def test_a_damage_that_does_not_stop_the_scan_is_said_and_exits_1(options, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(stream(zero(0, b"pc.ram"), last=start(b"dev", 9, 1, SectionType.FULL) + b"abc" + footer(8) + EOF))
    assert main(["info", str(path)]) == 1
    capsys.readouterr()
    assert main(["stats", str(path), *options]) == 1
    assert "bad-footer" in capsys.readouterr().err
