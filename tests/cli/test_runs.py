"""A delta that is wrong, as `verify` and `dump --fields --runs` show it."""

import json

import pytest

from tests.cli.run import run


@pytest.mark.parametrize(
    ("name", "record", "wrong"),
    [
        ("bad-number.bin", 4336, (9, 657, "zrun of more than 2 bytes (d7 d7 d7)", "a number of 1 or 2 bytes")),
        ("first-delta-zrun0.bin", 9, (1, 3, "zrun = 0", "1 or more")),
    ],
)
def test_the_wrong_run_of_a_case_is_named(name, record, wrong, corpus, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(corpus(f"cases/xbzrle/{name}"))
    number, at, found, expected = wrong
    status, out, _ = run(capsys, "verify", path, "--json")
    assert status == 1
    (finding,) = [f for f in map(json.loads, out.splitlines()) if f.get("rule") == "delta-size"]
    evidence = finding["evidence"]
    assert (finding["record"], evidence["run"], evidence["payload_offset"]) == (record, number, at)
    assert (evidence["found"], evidence["expected"][: len(expected)]) == (found, expected)
    _, out, _ = run(capsys, "dump", path, "--record", record, "--fields", "--runs")
    lines = [line.split(None, 2) for line in out.splitlines()]
    (place,) = [i for i, line in enumerate(lines) if line[-1].startswith("wrong = ")]
    assert int(lines[place][0], 16) == evidence["file_offset"]
    assert lines[place][-1].startswith(f"wrong = run {number}: {found}, expected {expected}")
    assert lines[place - 1][-1].startswith((f"[{number - 1}] ", f"[{number}] "))  # where the run can be read, after it


def test_a_base_that_is_in_doubt_is_an_error_in_xbzrle(corpus, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(corpus("cases/xbzrle/xbzrle-stale-zero.bin"))
    status, out, _ = run(capsys, "verify", path)
    assert status == 1
    assert "base-wrong" in out
