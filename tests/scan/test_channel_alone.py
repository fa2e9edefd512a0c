"""A channel without its main channel, multifd's or preempt's: what it holds can be had, no page of it is known.

And this is said.
"""

import json
import lzma

import numpy as np
import pytest

import xbrletools
from tests.building import page, patterned, zero
from tests.cli.run import run
from tests.conftest import CORPUS, corpus_names
from xbrletools.formats import multifd
from xbrletools.verify.cause import CauseName
from xbrletools.verify.status import Status

CASES = ("multifd-sync-10.0.chan1.bin", "multifd-sync-10.0.chan2.bin", "mfd-devstate.ch0")
CHANNELS = [
    f"{folder}/{name}.bin"
    for folder in ("qemu-7.2", "qemu-10", "qemu-11")
    for name in corpus_names(folder)
    if CORPUS.is_dir() and "multifd" in name and ".chan" in name and not any(w in name for w in (".chan0", "preempt"))
]
PAGE = 4096


@pytest.fixture(params=CASES)
def channel(request, corpus, tmp_path):
    path = tmp_path / request.param
    path.write_bytes(corpus(f"cases/multifd/{request.param}"))
    return path


@pytest.mark.parametrize("path", CHANNELS)
def test_each_channel_of_the_corpus_is_incomplete_and_has_its_own_pages(path, corpus):
    with xbrletools.open(corpus(path)) as capture:
        told = capture.verdict()
        assert (told.status, told.causes[0].name) == (Status.INCOMPLETE, CauseName.CHANNEL_MISSING)
        assert "the main channel and the others are not here" in told.summary
        assert told.pages_wrong is None
        (only,) = capture.channels.channels
        assert len(capture.records) == only.pages + only.zeros


@pytest.mark.parametrize("command", ["info", "verify", "stats", "dump", "extract"])
def test_each_command_gives_what_there_is_and_exits_1(command, channel, capsys, tmp_path):
    more = ["-o", tmp_path / "out"] if command == "extract" else []
    status, out, err = run(capsys, command, channel, "--no-beside", *more)
    assert status == 1
    assert "channel" in out + err
    assert "Traceback" not in err


def test_info_says_what_part_it_is(channel, capsys):
    about = json.loads(run(capsys, "info", channel, "--json")[1])
    assert (about["container"], about["ram_version"], len(about["channels"])) == ("multifd-channel", None, 1)
    assert about["records"]["page"] == about["channels"][0]["pages"]
    assert "a multifd channel by itself" in run(capsys, "info", channel)[1]


def test_extract_writes_its_pages_and_knows_none(channel, capsys, tmp_path):
    run(capsys, "extract", channel, "-o", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"] is False
    assert all(block["unknown"] == block["length"] for block in manifest["blocks"])


def test_a_cut_channel_says_that_too(channel, tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(channel.read_bytes()[:-100])
    told = xbrletools.open(path).verdict()
    assert (told.status, {c.name for c in told.causes}) == (
        Status.INCOMPLETE,
        {CauseName.CHANNEL_MISSING, CauseName.CHANNEL_DAMAGED},
    )


@pytest.fixture(params=["", ".xz"], ids=["plain", "packed"])
def row(request, tmp_path):
    """A channel of postcopy-preempt: pages of two blocks, and a dup page."""
    data = page(0x7000, patterned(1), b"pc.ram") + page(0x8000, patterned(2)) + zero(0, b"vga.vram")
    path = tmp_path / f"S.1{request.param}"
    path.write_bytes(lzma.compress(data) if request.param else data)
    return path


@pytest.mark.parametrize("command", ["info", "verify", "stats", "dump", "extract"])
def test_each_command_gives_what_a_preempt_channel_has_and_says_what_is_missing(command, row, capsys, tmp_path):
    more = ["-o", tmp_path / "out"] if command == "extract" else []
    status, out, err = run(capsys, command, row, *more)
    assert status == 1
    assert "channel of postcopy-preempt alone" in " ".join((out + err).split())


def test_a_preempt_channel_alone_is_incomplete_and_no_page_of_it_is_known(row, capsys, tmp_path):
    about = json.loads(run(capsys, "info", row, "--json")[1])
    assert about["container"] == "preempt-channel"
    assert {kind: count for kind, count in about["records"].items() if count} == {"page": 2, "dup": 1}
    assert [(b["name"], b["length"]) for b in about["blocks"]] == [("pc.ram", 0x9000), ("vga.vram", PAGE)]
    assert "the channel of postcopy-preempt by itself" in run(capsys, "info", row)[1]
    told = xbrletools.open(row).verdict()
    assert (told.status, told.causes[0].name, told.pages_wrong) == (
        Status.INCOMPLETE,
        CauseName.CHANNEL_MISSING,
        None,
    )
    run(capsys, "extract", row, "-o", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"] is False
    assert all(block["unknown"] == block["length"] for block in manifest["blocks"])


def test_a_cut_preempt_channel_says_that_too(row):
    data = xbrletools.open(row).stream.files[0].view[:-20]
    told = xbrletools.open(bytes(data)).verdict()
    assert {c.name for c in told.causes} == {CauseName.CHANNEL_MISSING, CauseName.CHANNEL_DAMAGED}


@pytest.mark.parametrize("address", [1, 1 << 48, (1 << 64) - PAGE, 1 << 47])
def test_no_block_is_made_up_of_a_claimed_address(address, tmp_path, capsys):
    packet = multifd.PacketHeader.build(
        {
            "magic": multifd.MAGIC,
            "version": multifd.VERSION,
            "flags": 0,
            "pages_allocated": 1,
            "normal_pages": 0,
            "next_packet_size": 0,
            "packet_number": 0,
            "zero_pages": 1,
            "reserved": bytes(28),
            "ramblock": b"pc.ram".ljust(multifd.BLOCK_NAME_MAX, b"\0"),
        }
    )
    init = multifd.Init.build({"version": 1, "uuid": bytes(16), "id": b"\0"})
    path = tmp_path / "S"
    path.write_bytes(init + packet + multifd.Offset.build(address))
    assert run(capsys, "info", path)[0] == run(capsys, "verify", path)[0] == 1
    with xbrletools.open(path) as capture:
        lengths = np.array([b.length for b in capture.blocks], np.uint64)
        assert (lengths <= (1 << 43)).all()
