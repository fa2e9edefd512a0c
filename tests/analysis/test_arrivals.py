"""Arrival times: what the tap writes beside a recording is what `analysis.arrivals` reads, and nothing else is."""

import os
import time

import numpy as np
import pytest

import xbrletools
from tests.arriving import even, written
from tests.cli.run import run
from tests.conftest import SAMPLES
from xbrletools.analysis import arrivals
from xbrletools.errors import XbrleError
from xbrletools.formats import times
from xbrletools.net.times import Times

POSTED = SAMPLES / "posted-8m.bin"
MS = 1_000_000


def test_what_the_tap_writes_is_read_again(tmp_path):
    path, data = tmp_path / "S", POSTED.read_bytes()
    path.write_bytes(data)
    began = time.monotonic_ns()
    sizes, moments = [1, 100_000, 300_000, 1000, 1000, 749_572], [0, 5 * MS, 9 * MS, 9 * MS + 10, 9 * MS + 20, 80 * MS]
    one = Times(lambda p: os.open(tmp_path / f"{p.name}.times", os.O_WRONLY | os.O_CREAT), path, began)
    at = 0
    for size, moment in zip(sizes, moments, strict=True):
        one.add(data[at : at + size], began + moment)
        at += size
    one.close()
    found = arrivals.read(str(tmp_path / "S.times"), np.frombuffer(data, np.uint8))
    assert found.offset.tolist() == [1, 100_001, 400_001, 402_001, at]  # two pieces share an entry
    assert found.elapsed.tolist() == [0, 5 * MS, 9 * MS, 9 * MS + 20, 80 * MS]
    assert found.of(np.array([0, 1, 100_000, 100_001, 402_001, at - 1, at])).tolist() == [
        0,
        5 * MS,
        5 * MS,
        9 * MS,
        80 * MS,
        80 * MS,
        -1,
    ]


def test_a_file_that_cannot_be_written_costs_the_times_and_nothing_else(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    one = Times(full, tmp_path / "S", 0)
    one.add(b"abc", 1)
    one.close()
    assert not list(tmp_path.iterdir())


class TestRefusals:
    def refused(self, path, said):
        with xbrletools.open(path) as opened, pytest.raises(XbrleError, match=said):
            arrivals.beside(opened.source)

    def test_times_of_another_capture(self, timed):
        data = bytearray(POSTED.read_bytes())
        data[500_000] ^= 1
        raw = timed.with_name("S.times").read_bytes()
        other = timed.with_name("T")
        other.write_bytes((SAMPLES / "xbzrle-16m.bin").read_bytes() * 2)
        other.with_name("T.times").write_bytes(raw)
        self.refused(other, "another capture's")

    def test_times_of_a_capture_that_was_longer(self, timed):
        timed.write_bytes(timed.read_bytes()[:900_000])
        self.refused(timed, "was cut")

    def test_times_that_fall(self, timed):
        data = timed.read_bytes()
        written(timed, data, [(4, 10), (9000, 9), (10_000, 20)])
        self.refused(timed, "fall")

    @pytest.mark.parametrize("raw", [b"", b"XBRTIMES", b"nonsense" * 10])
    def test_what_is_not_such_a_file(self, timed, raw):
        timed.with_name("S.times").write_bytes(raw)
        self.refused(timed, "is not a file of arrival times")

    def test_a_version_that_is_not_known(self, timed):
        timed.with_name("S.times").write_bytes(times.MAGIC + b"\0\0\0\2" + bytes(12))
        self.refused(timed, "version 2")

    def test_numbers_beyond_all_files(self, timed):
        data = timed.read_bytes()
        written(timed, data, [(4, 10), ((1 << 64) - 1, 20)])
        self.refused(timed, "too large")

    def test_times_that_ended_before_the_first_entry_are_none(self, timed):
        written(timed, timed.read_bytes(), [])
        with xbrletools.open(timed) as opened:
            assert arrivals.beside(opened.source) is None

    def test_an_entry_that_is_cut_is_left_out(self, timed):
        beside = timed.with_name("S.times")
        beside.write_bytes(beside.read_bytes()[:-7])
        with xbrletools.open(timed) as opened:
            assert len(arrivals.beside(opened.source).offset) == 999


def test_times_that_end_early_are_said_and_give_no_rate_of_the_whole(timed, capsys):
    data = timed.read_bytes()
    assert "resends/s" in run(capsys, "top", timed)[1]
    written(timed, data, even(data)[:300])
    status, out, err = run(capsys, "top", timed)
    assert status == 1 and "resends/s" not in out and "bytes from 0x" in err
    assert "resends_per_second" not in run(capsys, "top", timed, "--json")[1]
    for command in ("stats", "info"):
        status, _, err = run(capsys, command, timed)
        assert status == 1 and "do not have a time" in err


def test_a_packed_capture_has_the_times_of_what_is_in_it(timed):
    import lzma

    packed = timed.with_name("S.xz")
    packed.write_bytes(lzma.compress(timed.read_bytes()))
    with xbrletools.open(packed) as opened:
        assert arrivals.beside(opened.stream.source).seconds == 10
    with xbrletools.open(POSTED) as opened:
        assert arrivals.beside(opened.source) is None


class TestRecordAt:
    @pytest.mark.parametrize("seconds", [0.2, 0.5, 3, 7.25, 9.99, 10])
    def test_the_record_is_the_last_that_had_come_whole(self, timed, seconds):
        with xbrletools.open(timed) as opened:
            found = arrivals.beside(opened.source)
            number = arrivals.record_at(opened.stream, found, f"{seconds}s")
            upto = max(offset for offset, elapsed in even(timed.read_bytes()) if elapsed <= int(seconds * 1e9))
            columns, rows = opened.records.columns, opened.records.by_number
            ends = columns.end(rows)
            assert number == int(np.count_nonzero(ends <= upto))

    def test_clock_times_name_the_same_record(self, timed):
        with xbrletools.open(timed) as opened:
            found = arrivals.beside(opened.source)
            expected = arrivals.record_at(opened.stream, found, "7.25s")
            assert found.clock(0) == "2023-11-14T22:13:20.000Z"
            utc = ("2023-11-14T22:13:27.25Z", "22:13:27.25", "2023-11-14 22:13:27.250")
            for text in (*utc, "2023-11-14T23:13:27.25+01:00"):
                assert arrivals.record_at(opened.stream, found, text) == expected

    def test_a_time_after_midnight_is_of_the_next_day(self, timed):
        data = timed.read_bytes()
        midnight = 1_700_006_400 * times.NANOSECONDS
        written(timed, data, even(data), midnight - 5 * times.NANOSECONDS)
        with xbrletools.open(timed) as opened:
            found = arrivals.beside(opened.source)
            expected = arrivals.record_at(opened.stream, found, "6s")
            assert arrivals.record_at(opened.stream, found, "00:00:01") == expected

    @pytest.mark.parametrize(
        ("text", "said"),
        [("11s", "outside"), ("2023-11-14T22:13:19", "outside"), ("soon", "invalid time"), ("0s", "no record")],
    )
    def test_other_times_are_refused(self, timed, text, said):
        with xbrletools.open(timed) as opened:
            found = arrivals.beside(opened.source)
            with pytest.raises(XbrleError, match=said):
                arrivals.record_at(opened.stream, found, text)
