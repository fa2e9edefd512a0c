"""The samples that tell a story: made anew they are the same, and each has the answer that samples/README.md gives."""

import json
import lzma

import numpy as np
import pytest

import xbrletools
from samples import cases
from tests.cli.run import run
from tests.conftest import SAMPLES, STORIES
from xbrletools.memory.replay import View

PAGE = cases.PAGE
SIZE_MAX = 300_000
FIRST = {name: next(iter(make().files)) for name, make in cases.CASES.items()}


def verdict(capsys, name: str, *options: str) -> tuple[int, dict]:
    status, out, _ = run(capsys, "verify", SAMPLES / name, "--json", *options)
    return status, json.loads(out.splitlines()[-1])


def unpacked(name: str, data: bytes) -> bytes:
    return lzma.decompress(data) if name.endswith(".xz") else data


@pytest.mark.parametrize("story", cases.CASES)
def test_building_a_story_again_gives_the_same_bytes(story):
    for name, data in cases.CASES[story]().files.items():
        assert unpacked(name, data) == unpacked(name, (SAMPLES / name).read_bytes())
        assert len(data) <= SIZE_MAX


@pytest.mark.parametrize("story", sorted(set(cases.CASES) - {"xbzrle-wrong-base", "truncated"}))
def test_the_sender_s_view_is_the_guest_s_memory(story):
    channels = [SAMPLES / name for name in list(cases.CASES[story]().files)[1:]]
    image = xbrletools.open(SAMPLES / FIRST[story], channels=channels).memory(view=View.SENDER)
    assert image.known.all()
    np.testing.assert_array_equal(image["pc.ram"], cases.CASES[story]().truth)


@pytest.mark.parametrize("story", ["stale-base", "xbzrle-wrong-base", "truncated"])
def test_what_the_receiver_has_differs_where_the_story_says(story):
    wrong = {"stale-base": range(30, 34), "xbzrle-wrong-base": range(20, 23), "truncated": [30]}
    pages = xbrletools.open(SAMPLES / FIRST[story]).memory()["pc.ram"]
    differs = (pages != cases.CASES[story]().truth).any(axis=1)
    assert np.flatnonzero(differs).tolist() == list(wrong[story])


def test_stale_base_is_corrupt_with_four_pages_for_certain(capsys):
    status, found = verdict(capsys, "stale-base.bin")
    assert (status, found["status"], found["pages_wrong"]) == (1, "corrupt", 4)
    assert (found["first_bad_record"], found["first_lasting_record"]) == (283, 289)
    (cause,) = found["causes"]
    assert (cause["cause"], cause["certainty"]) == ("stale-base", "certain")
    assert found["receivers"]["debug"]["stops_at"] == 283
    assert found["receivers"]["default"]["loads"]


def test_truncated_is_incomplete(capsys):
    status, found = verdict(capsys, "truncated.bin")
    assert (status, found["status"]) == (1, "incomplete")
    assert [c["cause"] for c in found["causes"]] == ["truncated"]


def test_a_wrong_base_shows_in_three_deltas(capsys):
    status, out, _ = run(capsys, "verify", SAMPLES / "xbzrle-wrong-base.bin", "--json")
    *findings, found = map(json.loads, out.splitlines())
    assert (status, found["status"], found["pages_wrong"]) == (1, "corrupt", None)
    assert [(f["rule"], f["record"], f["page"]) for f in findings] == [
        ("base-wrong", 261 + i, (20 + i) * PAGE) for i in range(3)
    ]


def test_multifd_is_whole_with_its_channels_and_incomplete_without(capsys):
    assert verdict(capsys, "multifd.bin")[1]["status"] == "no-fault"
    status, found = verdict(capsys, "multifd.bin", "--no-beside")
    assert (status, found["status"], found["causes"][0]["cause"]) == (1, "incomplete", "channel-missing")


@pytest.mark.parametrize("name", ["mapped-ram.bin.xz", "libvirt.save"])
def test_the_others_have_no_fault(capsys, name):
    status, found = verdict(capsys, name)
    assert (status, found["status"]) == (0, "no-fault")


def test_each_is_described():
    text = (SAMPLES / "README.md").read_text()
    for make in cases.CASES.values():
        for name in make().files:
            assert f"`{name}`" in text


def test_the_tests_of_sound_samples_leave_the_stories_out():
    assert {name.removesuffix(".bin") for name in FIRST.values() if name.endswith(".bin")} == STORIES


def test_the_packet_dump_has_the_channels_of_the_multifd_sample(capsys, tmp_path):
    status, found = verdict(capsys, "migration.pcapng")
    assert (status, found["status"]) == (0, "no-fault")
    assert run(capsys, "capture", "--from-pcap", SAMPLES / "migration.pcapng", "-o", tmp_path / "S")[0] == 0
    for ending in ("", ".1", ".2"):
        assert (tmp_path / f"S{ending}").read_bytes() == (SAMPLES / f"multifd.bin{ending}").read_bytes()
