import json

from tests.cli.run import run
from tests.conftest import SAMPLES
from xbrletools.cli import main

SAMPLE = str(SAMPLES / "posted-8m.bin")


def test_json_has_the_keys_that_scripts_lean_on(capsys):
    assert main(["sender", SAMPLE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dialect"] == "posted"
    assert found["build"] == "debug"
    assert found["policy"] == "posted"
    assert found["cache_bytes"] == {"min": 7602176, "max": None, "best": 33554432}
    assert (found["choices"], found["predicted"], found["first_miss"]) == (457, 457, None)
    assert found["ram_addr"] == "the PC's allocation order"


def test_a_wrong_cache_names_the_record_that_refutes_it(capsys):
    assert main(["sender", SAMPLE, "--cache", "64K"]) == 0
    out = capsys.readouterr().out
    assert "first miss  record" in out
    assert "with a cache of 64 KiB" in out


def test_a_base_for_no_block_is_wrong_usage(capsys):
    assert main(["sender", SAMPLE, "--base", "gone=0"]) == 2
    assert "no RAM block gone" in capsys.readouterr().err
    assert main(["sender", SAMPLE, "--base", "gone"]) == 2
    assert main(["sender", SAMPLE, "--cache", "lots"]) == 2


def test_the_text_says_what_was_taken_for_ram_addrs(capsys):
    assert main(["sender", SAMPLE]) == 0
    out = capsys.readouterr().out
    assert "ram_addr    the PC's allocation order" in out
    assert "of 4096 sizes that can be told apart, 39 fit" in out


def test_a_truncated_capture_exits_1_with_what_was_read(capsys, tmp_path):
    path = tmp_path / "cut.bin"
    path.write_bytes((SAMPLES / "posted-8m.bin").read_bytes()[:600_000])
    status, out, err = run(capsys, "sender", path, "--json")
    assert status == 1
    assert json.loads(out)["dialect"] == "posted"
    assert "truncated" in err
