import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE
from xbrletools.cli import main

SAMPLE = SAMPLES / "posted-8m.bin"


def test_full_pages_and_back_is_the_same_file(tmp_path):
    full, again = tmp_path / "p.bin", tmp_path / "t.bin"
    assert main(["transcode", str(SAMPLE), "--policy", "none", "-o", str(full)]) == 0
    assert "xbrle" not in xbrletools.open(full).records.counts()
    back = ["transcode", str(full), "--policy", "posted", "--cache", "128M", "--checksum", "-o", str(again)]
    assert main(back) == 0
    assert again.read_bytes() == SAMPLE.read_bytes()


@pytest.mark.parametrize(
    "knobs",
    [
        ["--to", "xbzrle"],
        ["--to", "lm2dbg", "--to-endian", "big"],
        ["--policy", "v2", "--cache", "1M"],
        ["--policy", "intended", "--seed", "4"],
        ["--dup-pages", "fixed", "--no-checksum"],
    ],
)
def test_another_form_leaves_the_same_memory(tmp_path, knobs):
    out = tmp_path / "t.bin"
    assert main(["transcode", str(SAMPLE), "-o", str(out), *knobs]) == 0
    before, after = xbrletools.open(SAMPLE).memory(), xbrletools.open(out).memory()
    np.testing.assert_array_equal(after.pages, before.pages)
    assert main(["verify", str(out)]) == 0


def test_v3_has_one_space_and_says_where_its_addresses_come_from(tmp_path, capsys):
    flat, named = tmp_path / "flat.bin", tmp_path / "named.bin"
    assert main(["transcode", str(SAMPLE), "--ram-version", "3", "-o", str(flat)]) == 0
    assert "the PC's allocation order" in capsys.readouterr().err
    capture = xbrletools.open(flat)
    assert (capture.facts.ram_version, capture.dialect and capture.dialect.name) == (3, "m115")
    source = xbrletools.open(SAMPLE).memory()
    image = capture.memory()
    np.testing.assert_array_equal(image.pages[: len(source["pc.ram"])], source["pc.ram"])
    blocks = ["--block", "pc.ram=8M", "--block", "pc.bios=128K", "--block", "pc.rom=128K"]
    assert main(["transcode", str(flat), "--to", "posted", *blocks, "-o", str(named)]) == 0
    again = xbrletools.open(named).memory()
    for block in ("pc.ram", "pc.bios", "pc.rom"):
        np.testing.assert_array_equal(again[block], source[block])


def test_redaction_keeps_every_record_in_its_place(tmp_path):
    out = tmp_path / "r.bin"
    assert main(["transcode", str(SAMPLE), "--redact", "block=pc.ram", "-o", str(out)]) == 0
    before, after = xbrletools.open(SAMPLE), xbrletools.open(out)
    np.testing.assert_array_equal(after.records.columns.offset, before.records.columns.offset)
    assert not after.memory()["pc.ram"].any()
    assert main(["verify", str(out)]) == 0


def test_a_damaged_capture_is_written_up_to_its_damage(tmp_path, capsys):
    cut, out = tmp_path / "cut.bin", tmp_path / "t.bin"
    cut.write_bytes(SAMPLE.read_bytes()[:500_000])
    assert main(["transcode", str(cut), "--policy", "posted", "-o", str(out)]) == 1
    assert "written up to offset" in capsys.readouterr().err
    assert SAMPLE.read_bytes().startswith(out.read_bytes())
    assert len(out.read_bytes()) > 500_000 - 2 * PAGE


@pytest.mark.parametrize(
    ("knobs", "word"),
    [
        (["--to", "gone"], "unknown dialect"),
        (["--to", "m115", "--ram-version", "4"], "needs RAM version 3"),
        (["--redact", "block=gone"], "no RAM block"),
        (["--redact", "page=0", "--policy", "none"], "--policy cannot be used with --redact"),
        (["--cache", "1"], "too small"),
    ],
)
def test_wrong_usage_leaves_no_file(tmp_path, capsys, knobs, word):
    assert main(["transcode", str(SAMPLE), "-o", str(tmp_path / "t.bin"), *knobs]) == 2
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_standard_output_is_only_the_stream(capfdbinary):
    assert main(["transcode", str(SAMPLE), "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == SAMPLE.read_bytes()
