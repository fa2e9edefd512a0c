import json
import lzma
import tarfile
from io import BytesIO

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES, corpus_names
from tests.streams import PAGE, StreamBuilder, noise


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
def test_a_samples_memory_is_its_truth(capsys, tmp_path, name):
    status, out, err = run(capsys, "extract", SAMPLES / f"{name}.bin", "-o", tmp_path / "out")
    assert (status, out, err) == (0, "", "")
    assert (tmp_path / "out" / "pc.ram").read_bytes() == lzma.decompress((SAMPLES / f"{name}.truth.xz").read_bytes())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [b["unknown"] for b in manifest["blocks"]] == [0] * len(manifest["blocks"])


@pytest.mark.parametrize("name", corpus_names("qemu-2011-posted"))
def test_a_captures_blocks_are_the_sources(capsys, corpus, tmp_path, name):
    path = tmp_path / "x.bin"
    path.write_bytes(corpus(f"qemu-2011-posted/{name}.bin"))
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    if name == "dbg-cancelled":
        assert status == 1
        assert "truncated at offset 0x248382" in err
        return
    assert status == 0
    truth = "dst-default.ram" if name == "dbg-stale-reject" else "ram"
    assert (tmp_path / "out" / "pc.ram").read_bytes() == corpus(f"qemu-2011-posted/{name}.{truth}")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    files = {b["name"].replace("/", "__"): b["file"] for b in manifest["blocks"]}
    with tarfile.open(fileobj=BytesIO(corpus(f"qemu-2011-posted/{name}.otherblocks.tar"))) as others:
        for member in others.getmembers():
            content = others.extractfile(member).read()
            assert (tmp_path / "out" / files[member.name]).read_bytes() == content, member.name


def test_the_senders_view_of_a_rejected_capture_is_the_source(capsys, corpus, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    assert run(capsys, "extract", path, "--view", "sender", "--block", "pc.ram", "-o", tmp_path / "ram")[0] == 0
    assert (tmp_path / "ram").read_bytes() == corpus("qemu-2011-posted/dbg-stale-reject.ram")


@pytest.mark.parametrize("name", ["m115-x", "nov03a-x", "nov03b-x", "sep10-x", "m115dbg-x", "m115-plain"])
def test_a_v3_capture_has_one_block_the_whole_ram_space(capsys, corpus, tmp_path, name):
    path = tmp_path / "x.bin"
    path.write_bytes(corpus(f"qemu-2010/{name}.bin"))
    assert run(capsys, "extract", path, "-o", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "ram").read_bytes() == corpus(f"qemu-2010/{name}.ramspace")


@pytest.fixture
def two_moments(tmp_path):
    a, b = noise(1), noise(1)
    b[9] ^= 1
    path = tmp_path / "x.bin"
    builder = StreamBuilder({b"r": 2 * PAGE}).page(0, a, b"r").dup(PAGE, 3, b"r").part().delta(0, a, b, b"r")
    path.write_bytes(builder.end().bytes())
    return path, a, b


def test_memory_just_after_a_record(capsys, tmp_path, two_moments):
    path, a, b = two_moments
    status, _, err = run(capsys, "extract", path, "--at", 1, "--block", "r", "-o", tmp_path / "1")
    assert (status, (tmp_path / "1").read_bytes()) == (0, a.tobytes() + bytes(PAGE))
    assert "4096 bytes are unknown" in err
    run(capsys, "extract", path, "--at", 2, "--block", "r", "-o", tmp_path / "2")
    assert (tmp_path / "2").read_bytes() == a.tobytes() + b"\3" * PAGE
    run(capsys, "extract", path, "--block", "r", "-o", tmp_path / "3")
    assert (tmp_path / "3").read_bytes() == b.tobytes() + b"\3" * PAGE


def test_a_delta_without_a_base_leaves_its_page_unknown_and_exits_1(capsys, tmp_path):
    a = noise(1)
    path = tmp_path / "x.bin"
    path.write_bytes(StreamBuilder({b"r": PAGE}).part().delta(0, a, a ^ 1, b"r").bytes())
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    assert status == 1
    assert "r:0x0" in err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["blocks"][0]["unknown"] == PAGE


def test_a_page_of_a_block_that_is_not_listed_is_said_to_be_lost(capsys, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(StreamBuilder().page(0, noise(1), b"elsewhere").bytes())
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    assert status == 1
    assert "1 record carries a page outside all listed RAM blocks" in err


def test_what_is_there_is_kept_without_force(capsys, tmp_path, two_moments):
    path, _, b = two_moments
    (tmp_path / "keep").write_text("mine")
    status, _, err = run(capsys, "extract", path, "--block", "r", "-o", tmp_path / "keep")
    assert (status, (tmp_path / "keep").read_text()) == (2, "mine")
    assert "--force" in err
    assert run(capsys, "extract", path, "--block", "r", "-o", tmp_path / "keep", "--force")[0] == 0
    assert (tmp_path / "keep").read_bytes()[:PAGE] == b.tobytes()


def test_a_block_may_be_named_as_it_is_shown(capsys, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(StreamBuilder({b"\xff\x1b": PAGE}).page(0, noise(1), b"\xff\x1b").end().bytes())
    assert run(capsys, "extract", path, "--block", r"\xff\x1b", "-o", tmp_path / "ram")[0] == 0
    assert (tmp_path / "ram").read_bytes() == noise(1).tobytes()
    status, _, err = run(capsys, "extract", path, "--block", "none", "-o", tmp_path / "other")
    assert status == 2
    assert r"\xff\x1b" in err


def test_without_salvage_no_word_of_the_manifest_claims_that_nothing_speaks_against_a_byte(tmp_path, capsys):
    a, b = noise(1), noise(1)
    b[9] ^= 1
    path = tmp_path / "stale.bin"  # the receiver's base is not the sender's, and so the delta's sum refutes the page
    path.write_bytes(StreamBuilder({b"pc.ram": PAGE}, flags=3).page(0, a).part().dup(0, 9).delta(0, a, b).end().bytes())
    run(capsys, "extract", path, "-o", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (block,) = manifest["blocks"]
    assert (block["sum_holds"], block["unprotected"], block["unknown"]) == (0, PAGE, 0)
    assert (
        manifest["words"]["unprotected"] == "given by the stream, and no sum is stated for it, or the sum does not hold"
    )
    assert "recovered" not in manifest["words"]
