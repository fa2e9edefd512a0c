import json

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES, corpus_names
from tests.streams import PAGE, StreamBuilder, noise


@pytest.mark.parametrize(
    ("name", "expected", "counts"),
    [
        (
            "posted-8m",
            {"ram_version": 4, "dialect": "posted", "endian": "little", "page_size": 4096, "passes": 12},
            {"mem_size": 1, "page": 237, "dup": 2092, "xbrle": 228, "xbzrle": 0, "eos": 36},
        ),
        (
            "xbzrle-16m",
            {"ram_version": 4, "dialect": "xbzrle", "endian": None, "machine": "pc-i440fx-7.2"},
            {"page": 205, "dup": 4150, "xbrle": 0, "xbzrle": 163},
        ),
    ],
)
def test_the_samples_are_what_they_are(capsys, name, expected, counts):
    status, out, err = run(capsys, "info", SAMPLES / f"{name}.bin", "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert facts["container"] == "qevm"
    assert facts["truncated"] is False
    assert expected.items() <= facts.items()
    assert counts.items() <= facts["records"].items()


@pytest.mark.parametrize("name", corpus_names("qemu-2010"))
def test_each_tree_of_2010_is_told_by_its_name(capsys, corpus, tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(corpus(f"qemu-2010/{name}.bin"))
    facts = json.loads(run(capsys, "info", path, "--json")[1])
    tree, _, variant = name.partition("-")
    if variant == "plain":
        assert facts["dialect"] is None
        assert tree in facts["candidates"]
        assert facts["endian"] is None
    else:
        assert facts["dialect"] == tree
        assert facts["endian"] == (None if tree == "sep10" else "little")


def test_a_big_endian_host_shows_in_its_deltas(capsys, tmp_path):
    path = tmp_path / "big.bin"
    a, b = noise(1), noise(1)
    b[9] ^= 1
    path.write_bytes(StreamBuilder(endian="big", flags=3).page(0, a).part().delta(0, a, b).bytes())
    assert json.loads(run(capsys, "info", path, "--json")[1])["endian"] == "big"


def test_text_fits_a_screen_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("posted-8m", "xbzrle-16m"):
        status, out, _ = run(capsys, "info", SAMPLES / f"{name}.bin")
        lines = out.splitlines()
        assert status == 0
        assert len(lines) < 45
        assert max(map(len, lines)) <= 80
        assert all(line == line.rstrip() for line in lines)
        assert "posted" in out or "xbzrle" in out


def test_the_end_of_devices_says_how_it_was_found(capsys):
    posted = json.loads(run(capsys, "info", SAMPLES / "posted-8m.bin", "--json")[1])["device_tail"]
    assert posted["found_by"] == {"header": 24, "eof": 1}
    assert "likely" in posted["certainty"]
    today = json.loads(run(capsys, "info", SAMPLES / "xbzrle-16m.bin", "--json")[1])["device_tail"]
    assert today["found_by"] == {"footer": 32}


@pytest.mark.parametrize("hostile", [b"\x1b[2J\x07", b"\xff\xfe", "\u202eevil".encode(), b"[bold]x[/bold]"])
def test_names_are_shown_escaped(capsys, tmp_path, hostile):
    path = tmp_path / "x.bin"
    path.write_bytes(StreamBuilder({hostile: PAGE}).page(0, noise(1), hostile).bytes())
    for arguments in (("info",), ("info", "--json"), ("dump",), ("dump", "--json"), ("dump", "--fields")):
        _, out, err = run(capsys, *arguments, path)
        assert all(c.isprintable() or c == "\n" for c in out + err)
    assert "[bold]" not in run(capsys, "info", path)[1] or hostile.startswith(b"[bold]")


@pytest.mark.parametrize("lost", [1, 5000, 99_633])
def test_a_capture_that_ends_inside_the_vm_description_is_not_complete_for_anybody(capsys, tmp_path, lost):
    path = tmp_path / "cut.bin"
    path.write_bytes((SAMPLES / "xbzrle-16m.bin").read_bytes()[:-lost])
    status, out, _ = run(capsys, "info", path, "--json")
    told = json.loads(out)
    assert status == 1
    assert (told["complete"], told["truncated"], told["verdict"]["status"]) == (False, True, "incomplete")
    end = path.stat().st_size
    assert f"complete        no, truncated at {end:#x}" in run(capsys, "info", path)[1].replace(":", "")
    assert json.loads(run(capsys, "verify", path, "--json")[1].splitlines()[-1])["status"] == "incomplete"
    assert run(capsys, "extract", path, "-o", tmp_path / "out")[0] == 1
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"] is False
