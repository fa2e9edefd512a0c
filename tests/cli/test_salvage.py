import json

import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.cli import main

SAMPLE = SAMPLES / "posted-8m.bin"


@pytest.fixture
def damaged(tmp_path):
    data = SAMPLE.read_bytes()
    path = tmp_path / "damaged.bin"
    path.write_bytes(data[:400_000] + data[410_000:])
    return path


def test_an_undamaged_capture_exits_0(capsys):
    assert main(["salvage", str(SAMPLE), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["gaps"], told["pages_known"]) == (2557, [], told["pages"])


def test_damage_exits_1_and_says_where_and_how_sure(damaged, capsys):
    assert main(["salvage", str(damaged), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (gap,) = told["gaps"]
    assert gap["start"] <= 400_000 <= gap["end"]
    assert gap["certainty"] == "near certain"
    assert told["complete"]


def test_the_clean_stream_is_read_like_any_other(damaged, tmp_path, capsys):
    assert main(["salvage", str(damaged), "-o", str(tmp_path / "clean"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    clean = xbrletools.open(tmp_path / "clean")
    assert clean.problems == []
    assert len(clean.records.by_number) == told["written"]["records"]
    assert int(clean.memory().known.sum()) == told["pages_known"]


def test_blocks_that_are_given_name_what_a_missing_head_leaves_nameless(tmp_path, capsys):
    path = tmp_path / "headless.bin"
    path.write_bytes(SAMPLE.read_bytes()[900_000:])
    main(["salvage", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["blocks"][0]["name"] == "(unnamed)"
    main(["salvage", str(path), "--blocks", "pc.ram=8M,pc.bios=128K,pc.rom=128K", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [b["name"] for b in told["blocks"]] == ["pc.ram", "pc.bios", "pc.rom"]
    assert told["pages_known"] > 0


@pytest.mark.parametrize("blocks", ["pc.ram", "=8M", "pc.ram=lots"])
def test_blocks_that_are_no_blocks_exit_2(blocks, capsys):
    assert main(["salvage", str(SAMPLE), "--blocks", blocks]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_no_stream_at_all_exits_2(tmp_path, capsys):
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    assert main(["salvage", str(tmp_path / "zeros")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
