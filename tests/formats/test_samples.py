"""The streams that this project built: made anew they are the same bytes, and they read as what they were made from."""

import lzma

import numpy as np
import pytest

import xbrletools
from samples import build
from tests.conftest import SAMPLES
from xbrletools.formats.dialects import DIALECTS
from xbrletools.table.sections import Stage

SIZE_MAX = 1_200_000
REAL = {"posted-8m": "posted", "xbzrle-16m": "xbzrle"}


@pytest.mark.parametrize("name", build.STREAMS)
def test_building_a_sample_again_gives_the_same_bytes(name):
    assert build.build(name)[0] == (SAMPLES / f"{name}.bin").read_bytes()


@pytest.mark.parametrize("name", build.STREAMS)
def test_dialect_and_byte_order_are_found_without_a_hint(name):
    recipe = build.STREAMS[name]
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    assert (capture.dialect.name if capture.dialect else None) == recipe.dialect
    if capture.dialect and capture.dialect.host_endian:
        assert capture.evidence.endian == recipe.endian
    assert not capture.problems


@pytest.mark.parametrize("name", build.STREAMS)
def test_memory_is_the_guest_s(name):
    memory = build.build(name)[1]
    image = xbrletools.open(SAMPLES / f"{name}.bin").memory()
    assert {b.name for b in image.space.blocks} == set(memory)
    assert image.known.all()
    for block, pages in memory.items():
        np.testing.assert_array_equal(image[block], pages)


@pytest.mark.parametrize("name", build.STREAMS)
def test_a_sample_has_dups_pages_and_deltas_and_records_in_all_stages(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    table = capture.records
    counts = table.counts()
    assert counts["page"] >= 10
    assert counts["dup"] >= 10
    assert counts.get("xbrle", 0) + counts.get("xbzrle", 0) >= (10 if capture.dialect else 0)
    assert set(table.stage[table.is_page].tolist()) == {Stage.START, Stage.PART, Stage.END}
    assert int(table.pass_.max()) > 3
    eos = np.flatnonzero(np.diff(np.flatnonzero(~table.is_page)) == 1)
    assert len(eos), "some section is empty"


def test_every_dialect_has_a_sample_in_each_byte_order_it_can_have():
    made = {(r.dialect, r.endian) for r in build.STREAMS.values()} | {("posted", "little"), ("xbzrle", "little")}
    for d in DIALECTS.values():
        for endian in ("little", "big") if d.host_endian else ("little",):
            same = "m115dbg" if d.name == "nov09" else d.name  # the same on the wire
            assert (same, endian) in made


@pytest.mark.parametrize("endian", ["little", "big"])
def test_nov09_reads_what_m115dbg_wrote(endian):
    path = SAMPLES / f"m115dbg-{endian}.bin"
    forced = xbrletools.open(path, dialect="nov09")
    assert "nov09" in xbrletools.open(path).evidence.candidates
    np.testing.assert_array_equal(forced.memory().pages, xbrletools.open(path).memory().pages)


@pytest.mark.parametrize("name", REAL)
def test_real_samples_leave_the_memory_that_was_there(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    truth = np.frombuffer(lzma.decompress((SAMPLES / f"{name}.truth.xz").read_bytes()), np.uint8)
    assert capture.dialect.name == REAL[name]
    np.testing.assert_array_equal(capture.memory()["pc.ram"].reshape(-1), truth)


def test_each_sample_is_small_and_described():
    text = (SAMPLES / "README.md").read_text()
    for path in SAMPLES.glob("*.bin"):
        assert path.stat().st_size <= SIZE_MAX
        assert f"`{path.name}`" in text
