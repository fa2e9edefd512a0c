"""Every mapped-ram file of a real QEMU that is at hand, held against the memory of its source."""

import json
import lzma
import zlib
from hashlib import sha256

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import CORPUS
from xbrletools.formats.qevm import SectionType
from xbrletools.memory.image import State
from xbrletools.table.sections import Boundary

PAGE = 4096
UNFINISHED = ("killed", "cancelled")


def names() -> list[str]:
    """The captures whose source had mapped-ram on, as FOLDER/NAME."""
    found = [
        f"{path.parent.name}/{path.stem}"
        for folder in ("qemu-10", "qemu-11")
        for path in sorted((CORPUS / folder).glob("*.json"))
        if "mapped-ram" in (json.loads(path.read_text()).get("caps") or ())
    ]
    return found or ["(no corpus)"]


class Truth:
    """What the paused source held: each block's bytes where they are at hand, else their SHA-256, and sums of pages."""

    def __init__(self, name: str) -> None:
        about = json.loads((CORPUS / f"{name}.json").read_text())
        self.main: bytes = about["main_block"].encode()
        self.sha256 = {block.encode(): t["sha256"] for block, t in about["truth"].items()}
        raw = lzma.decompress((CORPUS / f"{name}.truth.crc32.xz").read_bytes())
        assert raw[:32].hex() == self.sha256[self.main]
        self.sums = np.frombuffer(raw[32:], "<u4")

    def wrong_pages(self, pages: np.ndarray) -> np.ndarray:
        """The pages of the main block, (n, 4096) uint8, that are not the source's."""
        return np.flatnonzero(np.array([zlib.crc32(p) for p in pages], np.uint32) != self.sums)


def file_of(name: str, tmp_path):
    path = tmp_path / "S"
    path.write_bytes(lzma.decompress((CORPUS / f"{name}.bin.xz").read_bytes()))
    return path


finished = [n for n in names() if not any(word in n for word in UNFINISHED)]
unfinished = [n for n in names() if any(word in n for word in UNFINISHED)] or ["(no corpus)"]


@pytest.mark.parametrize("name", finished)
def test_a_finished_file_gives_the_source_s_memory(name, corpus, capsys, tmp_path):
    corpus(f"{name}.json")
    truth, path = Truth(name), file_of(name, tmp_path)
    capture = xbrletools.open(path)
    assert capture.problems == ()
    assert capture.facts.complete and capture.facts.ram_ended
    image = capture.memory()
    assert image.known.all()
    given = {b.name: sha256(image[b.name].tobytes()[: b.length]).hexdigest() for b in capture.blocks}
    assert given == truth.sha256
    assert len(truth.wrong_pages(image[truth.main])) == 0
    full = [s for s in capture.sections if s.type is SectionType.FULL]
    assert full and all(s.found_by is Boundary.FOOTER for s in full)
    assert all(capture.fields(s) is not None for s in full)
    for command in ("info", "verify"):
        assert run(capsys, command, path)[0] == 0, command
    assert run(capsys, "extract", path, "-o", tmp_path / "out")[0] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"]
    assert [b["sha256"] for b in manifest["blocks"]] == [truth.sha256[b.name] for b in capture.blocks]
    assert manifest["source"]["sha256"] == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", unfinished)
def test_no_page_of_a_killed_source_s_file_is_known(name, corpus, capsys, tmp_path):
    corpus(f"{name}.json")
    truth, path = Truth(name), file_of(name, tmp_path)
    capture = xbrletools.open(path)
    assert "unfinished-bitmap" in [p.rule for p in capture.problems]
    image = capture.memory()
    assert not image.recovered.any() and not image.pages.any()
    for command in ("info", "verify"):
        assert run(capsys, command, path)[0] == 1, command
    assert run(capsys, "extract", path, "-o", tmp_path / "out")[0] == 1
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]

    salvaged = xbrletools.open(path, salvage=True).memory()
    assert not salvaged.recovered.any() and not salvaged.known.any()
    possible = np.flatnonzero(salvaged.state == State.POSSIBLE)
    assert len(possible) > 100
    assert (salvaged.pages.any(axis=1) == (salvaged.state == State.POSSIBLE)).all()
    # most of them are right; the guest went on writing the others, so no more than possible is said of any
    main = salvaged.space.slice(salvaged.space.index(truth.main))
    wrong = set((truth.wrong_pages(salvaged[truth.main]) + main.start).tolist())
    of_main = [p for p in possible.tolist() if main.start <= p < main.stop]
    assert sum(p in wrong for p in of_main) * 2 < len(of_main)
    out = tmp_path / "possible"
    assert run(capsys, "extract", "--salvage", path, "-o", out)[0] == 1
    manifest = json.loads((out / "manifest.json").read_text())
    marked = sum(r["length"] for b in manifest["blocks"] for r in b["possible_ranges"])
    assert marked == len(possible) * PAGE
    assert all(b["unknown"] == b["length"] for b in manifest["blocks"])
    assert (out / "pc.ram").read_bytes() == salvaged[b"pc.ram"].tobytes()
    said = run(capsys, "salvage", "--json", path)
    assert said[0] == 1
    assert json.loads(said[1])["pages_possible"] == len(possible)


@pytest.mark.parametrize("name", ["libvirt11.3-sparse-16m", "libvirt11.3-sparse-par2-16m"])
def test_a_sparse_save_file_of_libvirt_gives_the_guest_s_memory(name, corpus, capsys, tmp_path):
    """Its offsets count from before libvirt's header. With parallel channels there is one file all the same."""
    truth = corpus("libvirt-11/libvirt11.3-sparse-16m.truth")
    (tmp_path / "S").write_bytes(corpus(f"libvirt-11/{name}.save"))
    capture = xbrletools.open(tmp_path / "S")
    assert capture.problems == () and capture.facts.complete
    image = capture.memory()
    assert image.known.all()
    assert image["pc.ram"].tobytes() == truth
    for command in ("info", "verify"):
        assert run(capsys, command, tmp_path / "S")[0] == 0
    status, out, _ = run(capsys, "info", "--xml", tmp_path / "S")
    assert status == 0 and out.startswith("<domain")
    assert run(capsys, "extract", tmp_path / "S", "-o", tmp_path / "out")[0] == 0
    assert run(capsys, "transcode", tmp_path / "S", "--policy", "none", "-o", tmp_path / "T")[0] == 0
    again = xbrletools.open(tmp_path / "T")
    assert again.problems == ()
    assert (again.memory().pages == image.pages).all()
