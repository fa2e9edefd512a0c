"""What a scan shows of a capture: the same whoever asks, and however the records come."""

import io
import json

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES, SOUND
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.analysis import facts, stats

NAMES = sorted(p.stem for p in SOUND)


@pytest.mark.parametrize("name", NAMES)
def test_a_scan_a_stream_and_its_sums_give_one_overview(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    of_scan = facts.gather(capture.scan())
    of_sums = facts.overview_of(capture.facts, stats.collect_table(capture.stream))
    for other in (facts.gather(capture.stream), of_sums):
        assert facts.as_json(other, capture.source) == facts.as_json(of_scan, capture.source)


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m", "plain-v3"])
def test_the_library_gives_the_object_that_info_prints(capsys, name):
    path = SAMPLES / f"{name}.bin"
    capture = xbrletools.open(path)
    printed = json.loads(run(capsys, "info", path, "--json")[1])
    assert "placed" in printed.pop("physical")
    assert "cpus" in printed.pop("guest")
    assert printed.pop("arrival") is None
    assert printed.pop("verdict")["status"] is None
    assert printed.pop("format") == 1
    assert printed == facts.as_json(facts.gather(capture.scan()), capture.source)


def test_a_pipe_gives_what_its_file_gives():
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    file, pipe = xbrletools.open(data), xbrletools.open(io.BytesIO(data))
    whole, streamed = facts.gather(file.scan()), facts.gather(pipe.scan())
    assert pipe.source.size == len(data)
    assert streamed.saved == whole.saved
    assert (streamed.blocks, streamed.section_groups) == (whole.blocks, whole.section_groups)


def test_blocks_count_their_own_records_and_passes():
    stream = StreamBuilder({b"a": 2 * PAGE, b"b": PAGE}).page(0, noise(1), b"a").page(PAGE, noise(2), b"a")
    stream.page(0, noise(3), b"b").part().page(0, noise(4), b"a")
    overview = facts.gather(xbrletools.open(stream.end().bytes()).scan())
    assert [(use.block.name, use.records, use.passes) for use in overview.blocks] == [(b"a", 3, 2), (b"b", 1, 1)]
    assert overview.pass_count == 2


def test_a_dialect_that_no_delta_shows_is_said_to_be_unknown():
    reading = xbrletools.open(StreamBuilder().page(0, noise(1)).end().bytes()).stream.reading
    assert reading.dialect is None
    words = facts.dialect_words(reading)
    assert words.startswith("not known, since no delta shows it; possible: ")
    assert "posted" in words
