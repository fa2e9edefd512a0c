"""Commands on a capture whose arrival was recorded: clock times and rates, and times that are not this capture's."""

import json

import pytest

from tests.arriving import STARTED, even, written
from tests.building import patterned
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.scan.test_channels import Packets, main_channel
from xbrletools.formats import times

POSTED = SAMPLES / "posted-8m.bin"


@pytest.fixture
def wrong(timed):
    """The same beside times of other bytes."""
    written(timed, bytes(1 << 21), even(POSTED.read_bytes()))
    return timed


def test_info_says_when_it_came_and_how_fast(timed, capsys):
    status, out, err = run(capsys, "info", timed)
    assert (status, err) == (0, "")
    assert "2023-11-14T22:13:20.000Z to 2023-11-14T22:13:30.000Z, 10.000 s, 115.2 kB/s" in " ".join(out.split())
    arrival = json.loads(run(capsys, "info", timed, "--json")[1])["arrival"]
    assert arrival["seconds"] == 10
    assert arrival["bytes"] == timed.stat().st_size
    assert arrival["bytes_per_second"] == pytest.approx(timed.stat().st_size / 10)
    assert json.loads(run(capsys, "info", POSTED, "--json")[1])["arrival"] is None


def test_stats_has_the_pace_of_each_pass(timed, capsys):
    status, out, err = run(capsys, "stats", timed)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    row = next(line.split() for line in out.split("\n\n")[-1].splitlines() if line.startswith("pc.ram      2 "))
    assert (row[2:4], row[5:]) == (["3.770", "0.740"], ["115.8", "kB/s"])
    found = json.loads(run(capsys, "stats", timed, "--json")[1])
    passes = found["blocks"][0]["passes"]
    assert [p["began"] for p in passes] == sorted(p["began"] for p in passes)
    assert all(0 <= p["began"] < p["ended"] <= 10 for p in passes)
    assert found["arrival"]["seconds"] == 10
    assert "began" not in json.loads(run(capsys, "stats", POSTED, "--json")[1])["blocks"][0]["passes"][0]


def test_top_has_resends_a_second(timed, capsys):
    status, out, err = run(capsys, "top", timed)
    assert (status, err) == (0, "")
    assert "in 10.000 s: 44.5 resends/s, 71.1 kB/s" in out
    first = json.loads(run(capsys, "top", timed, "--json", "--limit", "1")[1])
    assert first["resends_per_second"] == first["resends"] / 10
    assert first["resent_bytes_per_second"] == first["resent_bytes"] / 10


def test_page_says_when_each_version_came(timed, capsys):
    status, out, err = run(capsys, "page", timed, "0x20b000")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[1] == "times count from 2023-11-14T22:13:20.000Z"
    assert "+1.690 s" in lines[3]
    found = [json.loads(line) for line in run(capsys, "page", timed, "0x20b000", "--json")[1].splitlines()]
    size = timed.stat().st_size
    for one in found:
        assert one["time"] == pytest.approx(10 * one["offset"] / size, abs=0.011)
        assert one["clock"].startswith("2023-11-14T22:13:2")
    assert "time" not in json.loads(run(capsys, "page", POSTED, "0x20b000", "--json")[1].splitlines()[0])


@pytest.mark.parametrize("more", [(), ("--all",)])
def test_grep_says_when_the_record_of_a_match_came(more, timed, capsys):
    status, out, err = run(capsys, "grep", timed, "-i", "mig", "--json", *more)
    assert (status, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    plain = [json.loads(line) for line in run(capsys, "grep", POSTED, "-i", "mig", "--json", *more)[1].splitlines()]
    assert [{k: v for k, v in one.items() if k not in ("time", "clock")} for one in found] == plain
    first = found[0]
    page = f"{first['block']}:{first['offset']:#x}"
    versions = map(json.loads, run(capsys, "page", timed, page, "--json")[1].splitlines())
    assert first["time"] == next(v["time"] for v in versions if v["record"] == first["record"])
    lines = run(capsys, "grep", timed, "-i", "mig", *more)[1].splitlines()
    assert "came s" in lines[0]
    assert f"{first['time']:.3f}" in lines[1]


def test_the_report_has_it(timed, capsys, tmp_path):
    assert run(capsys, "report", timed, "-o", tmp_path / "R.html")[0] == 0
    assert "2023-11-14T22:13:20.000Z to" in (tmp_path / "R.html").read_text()


@pytest.mark.parametrize("command", [("info",), ("stats",), ("top",), ("page", "0x20b000")])
def test_times_of_another_capture_are_refused_and_the_rest_is_there(command, wrong, capsys):
    status, out, err = run(capsys, command[0], wrong, *command[1:])
    assert status == 1
    assert "S.times: is another capture's" in err
    assert "2023" not in out
    assert "pc.ram" in out


def test_records_of_other_channels_have_the_times_of_their_own_files(capsys, tmp_path):
    pages = [(i << 12, patterned(i)) for i in range(4)]
    main, channel = main_channel(), Packets(0).packet(0, sync=True).packet(1, pages, sync=True).bytes()
    for name, data, started in (("S", main, STARTED), ("S.1", channel, STARTED + times.NANOSECONDS)):
        (tmp_path / name).write_bytes(data)
        written(tmp_path / name, data, even(data, 5.0, 10), started)
    status, out, err = run(capsys, "page", tmp_path / "S", "0x1000", "--json")
    one = json.loads(out.splitlines()[0])
    assert status == 0, err
    offset = json.loads(
        next(line for line in run(capsys, "dump", tmp_path / "S", "--json")[1].splitlines() if '"record": 2,' in line)
    )["offset"]
    assert one["time"] == pytest.approx(1 + 5 * (offset + 1) / len(channel), abs=0.5)
    written(tmp_path / "S.1", bytes(len(channel)), even(channel))
    status, out, err = run(capsys, "page", tmp_path / "S", "0x1000", "--json")
    assert (status, json.loads(out.splitlines()[0])["time"]) == (1, None)
    assert "without the times of this channel" in err


class TestAt:
    @pytest.mark.parametrize("text", ["7.25s", "22:13:27.25", "2023-11-14T22:13:27.25Z", "+7.25s"])
    def test_a_time_stands_for_the_last_record_that_had_come(self, text, timed, capsys):
        found = json.loads(run(capsys, "page", timed, "0x20b000", "--at", text, "--json")[1])
        same = run(capsys, "page", POSTED, "0x20b000", "--at", found["record"], "--json")[1]
        assert found == json.loads(same)
        records = f"{found['record']}-{found['record'] + 1}"
        lines = run(capsys, "dump", POSTED, "--record", records, "--json")[1].splitlines()
        first, next_one = (one["offset"] for one in map(json.loads, lines) if one["type"] == "record")
        assert first < 0.725 * timed.stat().st_size <= next_one + 5000

    def test_every_command_with_a_moment_takes_it(self, timed, capsys, tmp_path):
        for words in (
            ("grep", timed, "mig"),
            ("blame", timed, "0x20b000+16"),
            ("diff", timed, POSTED),
            ("extract", timed, "--block", "pc.ram", "-o", tmp_path / "out", "--force"),
        ):
            assert run(capsys, *words, "--at", "7.25s")[0] in (0, 1), words
        early = run(capsys, "diff", timed, timed, "--at", "5s", "--to", "9s", "--json")
        assert early[0] == 1

    @pytest.mark.parametrize("text", ["11s", "22:13:19x", "soon"])
    def test_a_time_that_is_none_is_refused(self, text, timed, capsys):
        assert run(capsys, "page", timed, "0x20b000", "--at", text)[0] == 2

    def test_without_times_it_is_refused(self, wrong, capsys):
        status, _, err = run(capsys, "page", POSTED, "0x20b000", "--at", "5s")
        assert status == 2
        assert "no arrival times lie beside" in err
        status, _, err = run(capsys, "page", wrong, "0x20b000", "--at", "5s")
        assert status == 2
        assert "another capture's" in err
