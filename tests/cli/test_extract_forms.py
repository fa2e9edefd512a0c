import json

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import main
from xbrletools.formats import elf, lime

STREAM = str(SAMPLES / "xbzrle-16m.bin")


@pytest.fixture
def ram():
    return xbrletools.open(STREAM).memory()["pc.ram"].reshape(-1)


def test_an_elf_core_has_memory_at_its_physical_addresses(tmp_path, ram):
    core = tmp_path / "core"
    assert main(["extract", STREAM, "--format", "elf", "-o", str(core)]) == 0
    data = core.read_bytes()
    header = elf.header("little").parse(data)
    entry = elf.program_header("little")
    seen = 0
    for i in range(header.phnum):
        part = entry.parse(data[header.phoff + i * entry.sizeof() :])
        if part.type == elf.SEGMENT_LOAD and part.paddr < len(ram):
            held = np.frombuffer(data[part.offset : part.offset + part.filesz], np.uint8)
            assert (held == ram[part.paddr : part.paddr + part.filesz]).all()
            seen += part.filesz
    assert seen == len(ram)  # this guest has no VGA, and so no window


def test_a_lime_image_says_which_addresses_it_holds(tmp_path, ram):
    image = tmp_path / "x.lime"
    assert main(["extract", STREAM, "--format", "lime", "-o", str(image)]) == 0
    data = image.read_bytes()
    first = lime.Header.parse(data)
    at = lime.Header.sizeof()
    assert first.start == 0
    assert data[at : at + first.end + 1] == ram[: first.end + 1].tobytes()


def test_the_sidecar_names_the_source_the_map_and_what_is_unknown(tmp_path):
    image = tmp_path / "x.raw"
    assert main(["extract", STREAM, "--space", "physical", "-o", str(image)]) == 0
    told = json.loads((tmp_path / "x.raw.json").read_text())
    assert told["unknown_bytes"] == 0
    assert told["source"]["size"] == (SAMPLES / "xbzrle-16m.bin").stat().st_size
    assert "CMOS" in told["map_origin"]


def test_a_map_of_the_users_own_is_taken(tmp_path, ram):
    places = tmp_path / "map"
    places.write_text("# start length block offset\n0x1000 8K pc.ram 0x7000\n")
    image = tmp_path / "x.raw"
    assert main(["extract", STREAM, "--space", "physical", "--map", str(places), "-o", str(image)]) == 0
    assert image.read_bytes() == bytes(0x1000) + ram[0x7000:0x9000].tobytes()


@pytest.fixture
def partial(tmp_path):
    """A stream that no sender writes: its first record is of the second page, and the first page never comes."""
    path = tmp_path / "partial.bin"
    path.write_bytes(StreamBuilder().page(PAGE, noise(1)).bytes())
    return str(path)


def test_unknown_bytes_are_refused_where_that_is_asked_for(partial, tmp_path, capsys):
    for arguments in (["--block", "pc.ram"], [], ["--format", "elf"]):
        out = tmp_path / f"out{len(arguments)}{'elf' in arguments}"
        assert main(["extract", partial, "--unknown", "fail", "-o", str(out), *arguments]) == 2
        assert "nothing was written" in capsys.readouterr().err
        assert not out.exists()


def test_a_mask_file_marks_every_unknown_byte(partial, tmp_path):
    out = tmp_path / "pc.ram"
    assert main(["extract", partial, "--block", "pc.ram", "--unknown", "mask-file", "-o", str(out)]) == 1
    mask = np.frombuffer((tmp_path / "pc.ram.mask").read_bytes(), np.uint8)
    assert len(mask) == 4 * PAGE
    assert np.flatnonzero(mask == 0).tolist() == list(range(PAGE, 2 * PAGE))
    assert out.read_bytes()[PAGE : 2 * PAGE] == noise(1).tobytes()


@pytest.mark.parametrize(
    "arguments",
    [["--format", "elf", "--space", "block"], ["--space", "physical", "--block", "x"], ["--map", "m"]],
)
def test_options_that_exclude_each_other_are_wrong_usage(arguments, tmp_path, capsys):
    assert main(["extract", STREAM, "-o", str(tmp_path / "x"), *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_there_already_is_kept(tmp_path, capsys):
    out = tmp_path / "core"
    out.write_bytes(b"mine")
    assert main(["extract", STREAM, "--format", "elf", "-o", str(out)]) == 2
    assert out.read_bytes() == b"mine"
    assert main(["extract", STREAM, "--format", "elf", "--force", "-o", str(out)]) == 0


def test_one_block_and_a_folder_say_what_they_were_taken_from(partial, tmp_path):
    assert main(["extract", partial, "--block", "pc.ram", "-o", str(tmp_path / "ram")]) == 1
    assert main(["extract", partial, "-o", str(tmp_path / "out")]) == 1
    one = json.loads((tmp_path / "ram.json").read_text())
    folder = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert one["source"] == folder["source"]
    assert len(one["source"]["sha256"]) == 64
    unknown = [{"start": 0, "length": PAGE}, {"start": 2 * PAGE, "length": 2 * PAGE}]
    assert one["unknown"] == folder["blocks"][0]["unknown_ranges"] == unknown
    assert (one["view"], one["record"], one["space"], one["skipped"]) == ("receiver", None, "block", [])


def test_a_file_that_the_sidecar_would_replace_is_kept(partial, tmp_path, capsys):
    (tmp_path / "ram.json").write_text("mine")
    assert main(["extract", partial, "--block", "pc.ram", "-o", str(tmp_path / "ram")]) == 2
    assert (tmp_path / "ram.json").read_text() == "mine"
    assert not (tmp_path / "ram").exists()
    assert main(["extract", partial, "--block", "pc.ram", "-o", str(tmp_path / "ram"), "--force"]) == 1
