import json
import re

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.damages import damage
from tests.streams import PAGE, StreamBuilder, noise
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
    assert (told["records"], told["gaps"], told["pages_recovered"]) == (2557, [], told["pages"])


def test_damage_exits_1_and_says_where_and_how_sure(damaged, capsys):
    assert main(["salvage", str(damaged), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (gap,) = told["gaps"]
    assert gap["start"] <= 400_000 <= gap["end"]
    assert gap["certainty"] == "near certain"
    assert told["complete"]


def test_a_capture_that_ends_in_a_record_names_no_record_that_follows(tmp_path, capsys):
    path = tmp_path / "cut.bin"
    path.write_bytes(SAMPLE.read_bytes()[:900_000])
    assert main(["salvage", str(path), "--json"]) == 1
    (gap,) = json.loads(capsys.readouterr().out)["gaps"]
    assert (gap["certainty"], gap["before_record"]) == ("none", None)
    assert main(["salvage", str(path)]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "the capture ends inside this record; no record after it can be believed" in text
    assert "resumption" not in text


def test_a_gap_that_the_device_sections_end_has_no_record_behind_it(tmp_path, capsys):
    data = SAMPLE.read_bytes()
    last = int(xbrletools.open(data).records.columns.offset[-3])
    path = tmp_path / "cut.bin"
    path.write_bytes(data[: last - 30_000] + bytes(10) + data[last + 3000 :])
    assert main(["salvage", str(path), "--json"]) == 1
    gap = json.loads(capsys.readouterr().out)["gaps"][-1]
    assert (gap["certainty"], gap["before_record"]) == ("likely", None)
    assert main(["salvage", str(path)]) == 1
    assert "no record follows; the resumption is likely" in " ".join(capsys.readouterr().out.split())


def test_the_clean_stream_is_read_like_any_other(damaged, tmp_path, capsys):
    assert main(["salvage", str(damaged), "-o", str(tmp_path / "clean"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    clean = xbrletools.open(tmp_path / "clean")
    assert clean.problems == ()
    assert len(clean.records.by_number) == told["written"]["records"]
    assert int(clean.memory().known.sum()) == told["pages_recovered"]


def test_bytes_whose_sum_holds_and_those_that_nothing_protects_are_counted_apart(damaged, tmp_path, capsys):
    main(["salvage", str(damaged), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["bytes_recovered"] == told["bytes_sum_holds"] + told["bytes_unprotected"]
    assert told["bytes"] == told["bytes_recovered"] + told["bytes_unknown"]
    assert 0 < told["bytes_sum_holds"] == told["pages_sum_holds"] * 4096 < told["bytes_recovered"]
    assert set(told["words"]) == {"recovered", "sum_holds", "unprotected", "unknown", "possible"}
    main(["salvage", str(damaged), "--trust", "checksum", "-o", str(tmp_path / "sure"), "--json"])
    strict = json.loads(capsys.readouterr().out)
    assert (strict["bytes_sum_holds"], strict["bytes_unprotected"]) == (told["bytes_sum_holds"], 0)
    assert strict["bytes_recovered"] == strict["bytes_sum_holds"]
    assert int(xbrletools.open(tmp_path / "sure").memory().known.sum()) == told["pages_sum_holds"]


def test_a_byte_that_two_gaps_skip_is_skipped_once(tmp_path, capsys):
    path = tmp_path / "overlapping.bin"
    path.write_bytes(damage(SAMPLE.read_bytes(), "cut", 24).data)
    main(["salvage", str(path), "--json"])
    told = json.loads(capsys.readouterr().out)
    skipped = {at for gap in told["gaps"] for at in range(gap["start"], gap["end"])}
    assert len(skipped) < sum(gap["end"] - gap["start"] for gap in told["gaps"])
    assert told["skipped_bytes"] == len(skipped)
    main(["extract", str(path), "--salvage", "-o", str(tmp_path / "out")])
    ranges = json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped"]
    assert sum(r["length"] for r in ranges) == len(skipped)


def test_what_it_prints_fits_a_terminal(damaged, capsys):
    main(["salvage", str(damaged)])
    assert max(map(len, capsys.readouterr().out.splitlines())) < 80


def test_deltas_against_pages_that_the_receiver_lost_are_no_damage(tmp_path, capsys):
    a, b = noise(1), noise(1)
    b[9] ^= 1
    path = tmp_path / "stale.bin"
    path.write_bytes(StreamBuilder({b"pc.ram": PAGE}, flags=3).page(0, a).part().dup(0, 9).delta(0, a, b).end().bytes())
    assert main(["salvage", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [d["cause"] for d in told["doubts"]] == ["stale"]
    assert told["pages_recovered"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["dump", "S", "kind:xbrle"],
        ["info", "S"],
        ["stats", "S"],
        ["log", "S", "--end", "receiver"],
        ["verify", "S"],
        ["page", "S", "0x0"],
        ["blame", "S", "0x0+4K"],
        ["grep", "S", "a", "--all"],
        ["diff", "S", "--pass", "1"],
        ["extract", "S", "-o", "OUT"],
    ],
    ids=lambda a: a[0],
)
def test_other_commands_read_on_after_damage_where_they_are_told_to(arguments, damaged, tmp_path, capsys):
    words = [{"S": str(damaged), "OUT": str(tmp_path / "out")}.get(a, a) for a in arguments]
    assert main([*words, "--salvage"]) in (0, 1)
    out, err = capsys.readouterr()
    assert "were skipped" in out + err


def test_extract_says_of_how_much_a_sum_holds_and_calls_nothing_known(damaged, tmp_path, capsys):
    main(["extract", str(damaged), "--salvage", "-o", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "the page's byte sum holds" in said
    assert not re.search(r"\bknown\b", said)
    (ram, *_) = json.loads((tmp_path / "out" / "manifest.json").read_text())["blocks"]
    assert 0 < ram["sum_holds"] == ram["length"] - ram["unknown"] - ram["unprotected"]
    main(["extract", str(damaged), "--salvage", "--trust", "checksum", "-o", str(tmp_path / "sure")])
    (sure, *_) = json.loads((tmp_path / "sure" / "manifest.json").read_text())["blocks"]
    assert sure["unknown"] == ram["length"] - ram["sum_holds"]
    image = str(tmp_path / "x.lime")
    main(["extract", str(damaged), "--salvage", "--format", "lime", "-o", image])
    told = json.loads((tmp_path / "x.lime.json").read_text())
    assert (told["trust"], told["sum_holds_bytes"]) == ("stream", ram["sum_holds"])
    assert told["words"]["sum_holds"].startswith("recovered, and the page has the byte sum")


def test_blocks_that_are_given_name_what_a_missing_head_leaves_nameless(tmp_path, capsys):
    path = tmp_path / "headless.bin"
    path.write_bytes(SAMPLE.read_bytes()[900_000:])
    main(["salvage", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["blocks"][0]["name"] == "(unnamed)"
    main(["salvage", str(path), "--blocks", "pc.ram=8M,pc.bios=128K,pc.rom=128K", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [b["name"] for b in told["blocks"]] == ["pc.ram", "pc.bios", "pc.rom"]
    assert told["pages_recovered"] > 0


@pytest.mark.parametrize("command", [["stats", "S", "--json"], ["info", "S", "--json"], ["dump", "S"], ["verify", "S"]])
def test_blocks_that_are_given_count_in_every_command_that_reads_on(command, tmp_path, capsys):
    path = tmp_path / "headless.bin"
    path.write_bytes(SAMPLE.read_bytes()[900_000:])
    words = [str(path) if word == "S" else word for word in command]
    main([*words, "--salvage"])
    nameless = capsys.readouterr()
    main([*words, "--salvage", "--blocks", "pc.ram=8M,pc.bios=128K,pc.rom=128K"])
    named = capsys.readouterr()
    assert "(unnamed)" not in named.out
    assert "(unnamed)" in nameless.out or command[0] == "verify"
    assert named.out != nameless.out


@pytest.mark.parametrize("blocks", ["pc.ram=99999999T", "pc.ram=0", "pc.ram=8M,pc.ram=4M", "pc.ram", "=8M"])
def test_blocks_that_cannot_be_are_refused(blocks, capsys):
    assert main(["salvage", "--blocks", blocks, str(SAMPLE)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xbrle: ")


def test_blocks_without_salvage_are_wrong_usage_but_for_verify_whose_destination_has_them(capsys):
    assert main(["info", str(SAMPLE), "--blocks", "pc.ram=8M"]) == 2
    assert "--blocks needs --salvage" in capsys.readouterr().err
    assert main(["verify", str(SAMPLE), "--blocks", "pc.ram=8M,pc.bios=128K,pc.rom=128K"]) in (0, 1)


def test_dump_knows_no_base_that_a_gap_puts_in_doubt(tmp_path, capsys):
    builder = StreamBuilder({b"pc.ram": 40 * PAGE}, flags=3)
    for page in range(40):
        builder.page(page * PAGE, noise(page))
    builder.part()
    for page in (3, 9, 20):
        builder.page(page * PAGE, noise(100 + page))
    builder.part()
    for page in (12, 35):
        new = noise(page)
        new[5] ^= 1
        builder.delta(page * PAGE, noise(page), new)
    data = bytearray(builder.page(38 * PAGE, noise(7)).end().bytes())
    capture = xbrletools.open(bytes(data))
    data[int(capture.records.columns.offset[capture.records.row(42)]) + 7] ^= 0xFF
    path = tmp_path / "damaged.bin"
    path.write_bytes(data)
    main(["dump", str(path), "kind:xbrle", "--salvage", "--json"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    bases = {one["page"] // PAGE: one["base_known"] for one in told}
    image = xbrletools.open(path, salvage=True).memory()
    assert bases == {page: bool(image.recovered[page]) for page in (12, 35)} == {12: False, 35: True}


@pytest.mark.parametrize("end", ["sender", "receiver"])
@pytest.mark.parametrize("kind", ["cut", "insert"])
@pytest.mark.parametrize("name", ["posted-8m", "lm2dbg-little", "m115dbg-little"])
def test_a_log_read_on_after_damage_has_lines_of_the_undamaged_log_alone_and_in_order(
    name, kind, end, tmp_path, capsys
):
    whole, path = SAMPLES / f"{name}.bin", tmp_path / "damaged.bin"
    main(["log", str(whole), "--end", end])
    real = [line.partition(" addr ")[2] for line in capsys.readouterr().out.splitlines()]
    for seed in range(4):
        done = damage(whole.read_bytes(), kind, seed)
        path.write_bytes(done.data)
        if main(["log", str(path), "--end", end, "--salvage"]) == 2:
            capsys.readouterr()
            continue  # nothing was left
        lines = [line.partition(" addr ")[2] for line in capsys.readouterr().out.splitlines()]
        assert lines
        left = iter(real)
        assert all(line in left for line in lines)  # each is looked for behind the one before it


@pytest.mark.parametrize("blocks", ["pc.ram", "=8M", "pc.ram=lots"])
def test_blocks_that_are_no_blocks_exit_2(blocks, capsys):
    assert main(["salvage", str(SAMPLE), "--blocks", blocks]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_no_stream_at_all_exits_2(tmp_path, capsys):
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    assert main(["salvage", str(tmp_path / "zeros")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
