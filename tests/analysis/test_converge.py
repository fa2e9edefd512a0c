"""`analysis.writes` and `analysis.converge` on guests whose writes are known."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import xbrletools
from tests.arriving import STARTED, even, written
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.posted import PAGE, page, stream
from xbrletools.analysis.arrivals import Arrivals, beside
from xbrletools.analysis.converge import Answer, Sender, converge, outcome
from xbrletools.analysis.link import Link
from xbrletools.analysis.prospects import Timing, answer, prospects
from xbrletools.analysis.writes import writes_of
from xbrletools.table import windows

POSTED = SAMPLES / "posted-8m.bin"
MIB = 1 << 20


def recorded(rates: dict[float, int], intervals: list[float], seed: int = 1):
    """A capture of a guest that writes ``rates[r]`` pages r times a second each, at random, with its arrival times."""
    random = np.random.default_rng(seed)
    rate = np.repeat(list(rates), list(rates.values()))
    records = [page(i * PAGE, bytes([1]) * PAGE) for i in range(len(rate))]
    sizes = [len(records)]
    for length in intervals:
        dirty = np.flatnonzero(random.random(len(rate)) < -np.expm1(-rate * length))
        records += [page(int(i) * PAGE, bytes([2]) * PAGE) for i in dirty]
        sizes.append(len(dirty))
    data = stream(records, ((b"pc.ram", len(rate) * PAGE),))
    capture = xbrletools.open(data)
    firsts = capture.records.columns.offset[capture.records.by_number[np.cumsum([0, *sizes[:-1]])]].astype(np.int64)
    moments = np.cumsum([0, *intervals])
    # each pass comes at once, at its moment
    ends = np.append(firsts[1:], len(data))
    return capture, Arrivals("S.times", STARTED, ends, (moments * 1e9).astype(np.int64))


class TestWrites:
    def test_rates_of_a_known_guest_are_found(self):
        capture, when = recorded({0.05: 1500, 2.0: 400}, [1.0] * 20)
        found = writes_of(capture.stream, when, 1)
        assert found.measured
        for seconds in (0.5, 1.0, 3.0, 10.0):
            true = 1500 * -np.expm1(-0.05 * seconds) + 400 * -np.expm1(-2 * seconds)
            assert found.dirty(seconds) == pytest.approx(true, rel=0.1)

    def test_intervals_of_unlike_lengths_are_told_apart(self):
        capture, when = recorded({0.2: 2000}, [10.0, 0.1, 0.1, 0.1, 0.1, 0.1, 2.0, 0.1, 0.1, 0.5])
        found = writes_of(capture.stream, when, 1)
        for seconds in (0.1, 1.0, 5.0):
            assert found.dirty(seconds) == pytest.approx(2000 * -np.expm1(-0.2 * seconds), rel=0.15)

    def test_pages_that_come_in_every_pass_are_written_at_least_so_often(self):
        capture, when = recorded({1000.0: 50, 1e-9: 50}, [0.5] * 10)
        found = writes_of(capture.stream, when, 1)
        assert found.dirty(0.5) == pytest.approx(50, rel=0.05)
        assert found.sent == 100

    def test_without_times_the_speed_gives_the_intervals(self):
        capture = xbrletools.open(POSTED)
        slow, fast = (writes_of(capture.stream, None, speed) for speed in (1e5, 1e6))
        assert not slow.measured
        assert slow.end == pytest.approx(fast.end * 10)
        assert slow.dirty(1.0) == pytest.approx(fast.dirty(0.1), rel=0.02)

    def test_where_no_page_came_twice_there_is_no_answer(self):
        capture = xbrletools.open(stream([page(i * PAGE, bytes([i]) * PAGE) for i in range(8)]))
        found = writes_of(capture.stream, None, 1e6)
        assert found.dirty(100) == 0
        assert converge(capture.stream, found, Link(1e6), 0.01).outcomes[0].answer is Answer.MAYBE

    @pytest.mark.parametrize("end", [60, 20_000])
    def test_a_stream_with_no_record_or_few_has_none_either(self, end, monkeypatch):
        monkeypatch.setattr(windows, "WINDOW_RECORDS", 1)  # some windows hold an EOS alone
        capture = xbrletools.open(POSTED.read_bytes()[:end])
        found = writes_of(capture.stream, None, 1e6)
        assert converge(capture.stream, found, Link(1e6), 0.01).outcomes[0].answer is Answer.MAYBE


class TestOutcomes:
    def guest_of(self, rates):
        capture, when = recorded(rates, [1.0] * 20)
        return writes_of(capture.stream, when, 1)

    def plain(self, link, **more):
        return Sender("plain", PAGE, PAGE, link, **more)

    def test_a_busy_set_that_fits_into_the_downtime_converges_and_one_that_does_not_never_does(self):
        writes = self.guest_of({50.0: 1000, 1e-6: 1000})
        busy = 1000 * PAGE
        for share, expected in ((0.1, Answer.NO), (0.7, Answer.MAYBE), (1.5, Answer.YES)):
            found = outcome(self.plain(Link(busy * share / 0.3)), writes, 0.3)
            assert found.answer is expected, found

    def test_slow_writes_converge_once_the_link_is_faster_than_they(self):
        writes = self.guest_of({0.05: 1900})
        dirtied = 0.05 * 1900 * PAGE  # bytes a second, at first
        assert outcome(self.plain(Link(dirtied / 3)), writes, 0.01).answer is Answer.NO
        assert outcome(self.plain(Link(dirtied * 3)), writes, 0.01).answer is Answer.YES

    def test_a_faster_link_never_makes_it_worse(self):
        writes = self.guest_of({3.0: 300, 0.1: 1200})
        order = [Answer.NO, Answer.MAYBE, Answer.YES]
        answers = [order.index(outcome(self.plain(Link(b * 1e5)), writes, 0.3).answer) for b in range(1, 120, 4)]
        assert answers == sorted(answers)
        assert set(answers) == {0, 1, 2}

    def test_the_downtime_is_what_is_left_over_the_link(self):
        writes = self.guest_of({50.0: 1000})
        found = outcome(self.plain(Link(1000 * PAGE / 0.2)), writes, 0.3, devices=int(1000 * PAGE / 0.2))
        assert found.downtime == pytest.approx(0.2 + 1.0, rel=0.05)

    def test_auto_converge_slows_the_guest_until_it_fits(self):
        writes = self.guest_of({2.0: 1000})
        link = Link(400 * PAGE)
        assert outcome(self.plain(link), writes, 0.3).answer is Answer.NO
        slowed = outcome(self.plain(link, throttles=True), writes, 0.3)
        assert slowed.answer is Answer.YES
        assert 0.2 <= slowed.throttle <= 0.99

    def test_channels_help_where_one_does_not_fill_the_link(self):
        writes = self.guest_of({50.0: 1000})
        one = Link(1e9, 0, 1, 1000 * PAGE)
        assert outcome(self.plain(one), writes, 0.01).answer is Answer.NO
        assert outcome(self.plain(replace(one, channels=200)), writes, 0.01).answer is Answer.YES
        assert replace(one, channels=8).speed == 8000 * PAGE
        assert Link(1e6, 0, 8).speed == 1e6


class TestCommand:
    def test_without_times_the_answer_is_conditional_and_says_why_with_status_1(self, capsys):
        status, out, err = run(capsys, "converge", POSTED, "--link", "1M")
        assert (status, err) == (1, "")
        said = " ".join(out.split("\n\n")[0].split())
        assert said.startswith("If S came at 125.0 kB/s, this migration would not converge over 125.0 kB/s: ")
        assert said.endswith(
            "No arrival times lie beside S (xbrle capture writes them), and --recorded is not given: how fast S came, "
            "and so how fast the guest writes, is not known."
        )
        assert "if S came at 125.0 kB/s; the link carries 125.0 kB/s" in " ".join(out.split())
        found = json.loads(run(capsys, "converge", POSTED, "--link", "1M", "--json")[1])
        assert (found["recorded_bytes_per_second"], found["recorded_given"]) == (125000, False)

    def test_a_speed_that_the_user_gives_is_a_condition_with_status_0(self, capsys):
        status, out, _ = run(capsys, "converge", POSTED, "--link", "10G", "--recorded", "1M")
        said = " ".join(out.split("\n\n")[0].split())
        assert status == 0
        assert said.startswith("If S came at 125.0 kB/s, this migration would converge over 1.2 GB/s: after ")
        assert said.endswith("that S came at 125.0 kB/s is what --recorded says.")

    def test_the_answer_says_the_downtime_beside_the_limit(self, capsys, timed):
        status, out, err = run(capsys, "converge", timed, "--link", "1G", "--downtime", "0.5")
        said = " ".join(out.split("\n\n")[0].split())
        assert (status, err) == (0, "")
        assert re.fullmatch(
            r"This migration would converge over 125\.0 MB/s: after \d+\.\d s the guest would stand still for about "
            r"0\.\d{3} s, and it may for 0\.5 s\.",
            said,
        )

    def test_devices_beyond_the_limit_are_named(self):
        capture, when = recorded({50.0: 1000}, [1.0] * 20)
        found = converge(capture.stream, writes_of(capture.stream, when, 1), Link(1000 * PAGE / 0.2), 0.3)
        found = replace(found, devices=MIB, outcomes=(replace(found.outcomes[0], downtime=0.7),))
        said = answer(found, Link(1000 * PAGE / 0.2), 0.3, Timing())
        assert "for about 0.700 s, and it may for 0.3 s; it is more since QEMU counts memory alone" in said
        assert "the devices take 1.05 MB" in said

    def test_arrival_times_are_used_and_what_is_refused_is_said_with_the_reason(self, capsys, timed):
        status, out, err = run(capsys, "converge", timed, "--link", "1M", "--json")
        found = json.loads(out)
        assert (status, err, found["measured"], found["times_refused"]) == (0, "", True, None)
        assert found["recorded_seconds"] == pytest.approx(10, abs=0.2)
        data = timed.read_bytes()
        written(timed, bytes(len(data)), even(data))
        status, out, err = run(capsys, "converge", timed, "--link", "1M", "--json")
        assert (status, json.loads(out)["measured"]) == (1, False)
        assert "another capture's" in err
        assert "another capture's" in json.loads(out)["times_refused"]
        status, out, err = run(capsys, "converge", timed, "--link", "1M", "--recorded", "1M")
        said = " ".join(out.split("\n\n")[0].split())
        assert status == 1
        assert "The arrival times beside S are refused (" in said
        assert "is another capture's" in said
        assert "No arrival times" not in said

    def test_times_of_a_part_are_not_taken_for_the_whole(self, capsys, timed):
        times = timed.with_name("S.times")
        times.write_bytes(times.read_bytes()[: times.stat().st_size // 2])
        status, out, _ = run(capsys, "converge", timed, "--link", "1M")
        assert status == 1
        assert out.startswith("If S came at")
        assert "S.times: ends early)" in " ".join(out.split())

    def test_tables_fit_into_80_columns(self, capsys, timed):
        words = ("converge", timed, "--link", "2M", "--channels", "255", "--per-channel", "20K", "--cache", "67108865")
        out = run(capsys, *words)[1]
        assert "of which one connection carries 2.5 kB/s" in " ".join(out.split())
        assert max(map(len, out.splitlines())) <= 80

    def test_a_page_about_a_capture_has_the_same_words(self, timed):
        with xbrletools.open(timed) as capture:
            one, two = prospects(capture.stream, beside(capture.source), links=(125e3, 125e6))
            assert one.sentences[0].startswith("This migration would not converge over 125.0 kB/s: ")
            assert two.sentences[0].startswith("This migration would converge over 125.0 MB/s: ")
            assert all(len(row) == len(one.head) for row in (*one.rows, *two.rows))
            (none,) = prospects(capture.stream, None, "S.times: is damaged")
        assert none.rows == ()
        assert none.sentences[0] == "Whether this migration would converge cannot be told."
        assert "S.times: is damaged" in none.sentences[1]

    def test_json_has_every_sender(self, capsys):
        out = run(capsys, "converge", POSTED, "--link", "117MB", "--channels", "4", "--cache", "1M", "--json")[1]
        found = json.loads(out)
        assert [(s["sender"], s["cache_bytes"]) for s in found["senders"]] == [
            ("plain", None),
            ("xbzrle", MIB),
            ("zlib", None),
            ("zstd", None),
            ("multifd, 4 channels", None),
            ("auto-converge", None),
        ]
        assert found["link_bytes_per_second"] == 117e6
        assert all(s["converges"] and s["downtime"] <= 0.3 for s in found["senders"])

    @pytest.mark.parametrize(
        ("text", "speed"),
        [("10G", 1.25e9), ("1.5M", 187500), ("8000", 1000), ("2MB", 2e6), ("2MiB", 2 * MIB), ("1Gbit/s", 125e6)],
    )
    def test_speeds_are_bits_unless_they_end_in_b(self, text, speed, capsys):
        out = run(capsys, "converge", POSTED, "--link", text, "--json")[1]
        assert json.loads(out)["link_bytes_per_second"] == speed

    def test_a_speed_that_is_none_is_refused(self, capsys):
        for text in ("fast", "0", "-1G", "1e9", ""):
            assert run(capsys, "converge", POSTED, "--link", text)[0] == 2
        assert run(capsys, "converge", POSTED)[0] == 2

    def test_where_no_page_came_twice_that_is_said_with_status_1(self, capsys, tmp_path):
        path = tmp_path / "S"
        path.write_bytes(stream([page(i * PAGE, bytes([i]) * PAGE) for i in range(8)]))
        status, out, _ = run(capsys, "converge", path, "--link", "1G")
        assert status == 1
        assert "cannot be told: no page came twice" in " ".join(out.split())
        found = json.loads(run(capsys, "converge", path, "--link", "1G", "--json")[1])
        assert {s["converges"] for s in found["senders"]} == {None}

    def test_simulate_takes_channels(self, capsys):
        words = ("simulate", "--capture", POSTED, "--bandwidth", "1e6", "--per-channel", "1e5", "--json")
        one, four = (json.loads(run(capsys, *words, "--channels", n)[1]) for n in (1, 4))
        assert one["without"]["total"] == pytest.approx(4 * four["without"]["total"])

    def test_a_cut_capture_is_answered_with_status_1(self, capsys, tmp_path):
        path = tmp_path / "S"
        path.write_bytes(POSTED.read_bytes()[:900_000])
        status, out, err = run(capsys, "converge", path, "--link", "1G")
        assert status == 1
        assert "truncated" in err
        assert out.startswith("If S came at 125.0 MB/s, this migration would")


def test_beside_is_none_for_standard_input():
    assert beside(xbrletools.open(POSTED.read_bytes()).stream.source) is None
