import io
import json
import os
import subprocess
import sys

import pytest

from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES, SOUND, corpus_names
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import listing

KEYS = {"type", "offset", "record", "kind", "block", "page", "pass", "stage", "length", "base_known"}


def rows(capsys, *arguments):
    return [json.loads(line) for line in run(capsys, "dump", "--json", *arguments)[1].splitlines()]


@pytest.fixture
def small(tmp_path):
    a, b = noise(1), noise(1)
    b[9] ^= 1
    path = tmp_path / "small.bin"
    stream = StreamBuilder(flags=3).page(0, a).dup(PAGE, 7).part().delta(0, a, b).delta(PAGE * 2, a, b).end()
    path.write_bytes(stream.bytes())
    return path


def test_every_record_has_the_promised_keys(capsys, small):
    found = [r for r in rows(capsys, small) if r["type"] == "record"]
    assert all(r.keys() >= KEYS for r in found)
    page = next(r for r in found if r["record"] == 1)
    assert (page["kind"], page["block"], page["page"], page["length"]) == ("page", "pc.ram", 0, PAGE)
    assert (page["pass"], page["stage"], page["base_known"]) == (1, "start", None)
    eos = found[-1]
    assert [eos[k] for k in ("record", "kind", "block", "page", "pass", "base_known")] == [None, "eos"] + [None] * 4


def test_a_delta_says_whether_its_base_was_known(capsys, small):
    assert [r["base_known"] for r in rows(capsys, small, "kind:delta")] == [True, False]
    assert run(capsys, "dump", small, "kind:delta")[1].count("base unknown") == 1


def test_sections_and_records_stand_in_the_order_of_the_file(capsys):
    found = rows(capsys, SAMPLES / "posted-8m.bin")
    assert [r["offset"] for r in found] == sorted(r["offset"] for r in found)
    assert sum(r["type"] == "section" for r in found) == 98
    assert max(r["record"] or 0 for r in found if r["type"] == "record") == 237 + 2092 + 228


@pytest.mark.parametrize("path", SOUND, ids=lambda p: p.stem)
def test_text_has_a_line_for_each_object(capsys, path):
    text = run(capsys, "dump", path)[1].splitlines()
    assert [int(line.split()[0], 16) for line in text] == [o["offset"] for o in rows(capsys, path)]


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (["kind:xbrle"], lambda r: r["kind"] == "xbrle"),
        (["--kind", "xbrle,page"], lambda r: r["kind"] in ("xbrle", "page")),
        (["--page", "pc.ram:0x203000"], lambda r: (r["block"], r["page"]) == ("pc.ram", 0x203000)),
        (["--page", "0x203000-0x204fff"], lambda r: r["page"] in (0x203000, 0x204000)),
        (["--record", "100-199"], lambda r: r["record"] and 100 <= r["record"] < 200),
        (["--pass", "3-"], lambda r: r["pass"] and r["pass"] >= 3),
        (["--block", "pc.bios"], lambda r: r["block"] == "pc.bios"),
        (
            ["--block", "pc.ram", "not", "kind:dup", "len>4000"],
            lambda r: r["block"] == "pc.ram" and r["kind"] != "dup" and r["length"] > 4000,
        ),
    ],
)
def test_filters_choose_records_and_no_sections(capsys, words, holds):
    everything = rows(capsys, SAMPLES / "posted-8m.bin")
    expected = [r for r in everything if r["type"] == "record" and holds(r)]
    assert expected
    assert rows(capsys, SAMPLES / "posted-8m.bin", *words) == expected


def test_a_section_is_listed_with_its_records(capsys):
    expected = [r for r in rows(capsys, SAMPLES / "posted-8m.bin") if r["section"] == 3]
    assert rows(capsys, SAMPLES / "posted-8m.bin", "--section", "3") == expected
    assert [r["type"] for r in expected[:2]] == ["section", "record"]


def test_the_stale_deltas_of_a_rejected_capture_are_found_by_their_findings(capsys, corpus, tmp_path):
    path = tmp_path / "stale.bin"
    path.write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    found = rows(capsys, path, "--finding", "stale-base")
    assert len(found) == 598
    assert [found[0][k] for k in ("record", "offset", "page")] == [4433, 0x15C208, 0x315000]


@pytest.mark.parametrize("options", [(), ("--json",), ("kind:delta",), ("--fields",), ("--hex", "record:1-3")])
def test_a_pipe_gives_the_same_lines(capsys, monkeypatch, options):
    path = SAMPLES / "posted-8m.bin"
    whole = run(capsys, "dump", path, *options)
    pipe = io.BufferedReader(Trickle(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
    assert run(capsys, "dump", "-", *options) == whole


class Trickle(io.RawIOBase):
    """Gives its bytes a few at a time, and cannot seek."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.data.readinto(memoryview(buffer)[:65521])


def test_fields_cover_the_capture_and_hex_shows_the_payload(capsys, small):
    lines = run(capsys, "dump", small, "record:2", "--fields", "--hex")[1].splitlines()
    assert lines[1].endswith("word = 0x1022: 0x1000 COMPRESS|CONTINUE")
    assert lines[3].split()[1:] == ["1", "fill", "=", "7"]
    assert lines[4].split()[1:] == ["07", "."]
    field = rows(capsys, small, "record:3", "--fields", "--hex")[0]
    header = field["fields"][1]["fields"][0]
    assert {f["name"]: f["value"] for f in header["fields"]}["flags"] == 3
    assert len(field["hex"]) == 2 * field["length"]


def test_runs_are_shown_with_the_fields(capsys, small):
    out = run(capsys, "dump", small, "record:3", "--runs")[1]
    assert "run = 9" in out
    assert "byte = 1" in out


@pytest.mark.parametrize("name", corpus_names("qemu-2011-posted"))
def test_counts_of_lines_equal_info(capsys, corpus, tmp_path, name):
    path = tmp_path / "x.bin"
    path.write_bytes(corpus(f"qemu-2011-posted/{name}.bin"))
    status, out, _ = run(capsys, "info", path, "--json")
    counts = json.loads(out)["records"]
    found = rows(capsys, path)
    for kind, count in counts.items():
        assert sum(r["type"] == "record" and r["kind"] == kind for r in found) == count
    assert status == (1 if name == "dbg-cancelled" else 0)


def test_a_wrong_filter_is_one_line_and_exit_2(capsys):
    status, out, err = run(capsys, "dump", SAMPLES / "posted-8m.bin", "kind:bogus")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "character 6" in err


def test_a_reader_that_goes_away_ends_the_list_in_silence():
    process = subprocess.run(
        f"{sys.executable} -m xbrletools dump samples/posted-8m.bin | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert process.stdout.splitlines()[-1] == "141"
    assert process.stderr == ""


@pytest.mark.parametrize("command", ["info", "dump"])
def test_a_name_that_the_locale_cannot_write_is_escaped(tmp_path, command):
    path = tmp_path / "x.bin"
    path.write_bytes(StreamBuilder({"é".encode(): PAGE}).page(0, noise(1), "é".encode()).bytes())
    process = subprocess.run(
        [sys.executable, "-m", "xbrletools", command, path], cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert r"\xe9" in process.stdout


def test_the_fields_of_a_very_long_record_are_cut_and_the_rest_is_shown_as_unread(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "FIELDS_MAX", 200)
    path = tmp_path / "x.bin"
    path.write_bytes(StreamBuilder({b"block%03d" % i: PAGE for i in range(50)}).dup(0, 0, b"block000").end().bytes())
    record = next(r for r in rows(capsys, path, "--fields") if r["type"] == "record")
    rest = record["fields"][-1]
    assert (rest["name"], rest["offset"], rest["size"]) == ("unread", record["offset"] + 200, 8 + 50 * 17 - 200)
    assert sum(f["size"] for f in record["fields"]) == 8 + 50 * 17
