"""Every capture of today's QEMU in the corpus, as a user opens it: memory, verdict, counts, devices."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.conftest import CORPUS, corpus_names
from tests.memory.test_truth import FOLDER, KINDS
from xbrletools.cli import main
from xbrletools.container.fields import UNREAD, Field
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Kind
from xbrletools.table.sections import Boundary

NAMES = corpus_names(FOLDER, ".json")
FORMS = ("bin", "chan0.bin", "chan0.fwd.bin", "save", "qcow2")
SHARED = "pc16-ignoreshared-kvm"  # its main block's pages are not in the stream

#: FULL sections, and the bytes of them that the VM description leaves over: null pointers in an array.
DEVICES = {
    "aarch64-virt26-1kpage-plain-tcg": (15, 0),
    "labdom-bzip2": (30, 0),
    "labdom-gzip": (30, 0),
    "labdom-raw": (30, 0),
    "pc16-block-kvm": (33, 0),
    "pc16-dirtybitmap-kvm": (33, 0),
    "pc16-i440fx-2.3-plain-kvm": (29, 0),
    "ppc-g3beige32-plain-tcg": (19, 0),
    "s390x-ccw64-plain-tcg": (14, 0),
}
OTHERS = (32, 0)
UNDESCRIBED = ("pc16-novmdesc-kvm", "pc16-postcopy-kvm")  # no VM description: bounded by their footers


def files(name: str) -> list[tuple[Path, list[Path]]]:
    """The capture's files, each with its channels."""
    if not CORPUS.is_dir():
        pytest.skip(f"the corpus of real captures is not at {CORPUS}; XBRLE_CORPUS names another place")
    there = CORPUS / FOLDER
    found = [there / f"{name}.{form}.xz" for form in FORMS if (there / f"{name}.{form}.xz").exists()]
    channels = [p for p in sorted(there.glob(f"{name}.chan*.bin.xz")) if ".chan0" not in p.name]
    return [(path, channels) for path in found]


def check_truth(capture: xbrletools.Capture, name: str) -> None:
    """The main block is the truth in every byte, all of it known.

    It is read piece by piece, for it can be gigabytes.
    """
    image = capture.memory()
    mine = image.space.slice(image.space.main)
    if name == SHARED:
        assert not image.known[mine].any()
        return
    assert image.known[mine].all()
    pages, at = image.pages[mine], 0
    with lzma.open(CORPUS / FOLDER / f"{name}.truth.xz") as truth:
        while piece := truth.read(1024 * capture.page_size):
            count = len(piece) // capture.page_size
            wrong = (pages[at : at + count].reshape(-1) != np.frombuffer(piece, np.uint8)).any()
            assert not wrong, f"from page {at} on"
            at += count
    assert at == len(pages)


def unread(field: Field) -> int:
    """The bytes of a field that nothing describes. Fails where its parts do not cover it."""
    at = field.offset
    for child in field.children:
        assert child.offset == at
        at += child.size
    assert not field.children or at == field.offset + field.size
    return sum(map(unread, field.children)) if field.children else field.size * (field.name == UNREAD)


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_is_the_guests_memory_verified_counted_and_decoded(name, capsys):
    found = files(name)
    assert found
    about = json.loads((CORPUS / FOLDER / f"{name}.json").read_text())
    counted = about["counts"] if "counts" in about else about["walker"]["counts"]
    counts = {KINDS[k]: n for k, n in counted.items() if k in KINDS}
    for path, channels in found:
        options = [str(o) for c in channels for o in ("--channel", c)]
        assert main(["verify", str(path), *options]) == 0, capsys.readouterr()
        capture = xbrletools.open(path, channels=channels)
        check_truth(capture, name)
        kinds = np.bincount(capture.records.columns.kind[capture.records.main_rows], minlength=len(Kind))
        assert {k.name.lower(): int(kinds[k]) for k in Kind if kinds[k]} == counts
        full = [s for s in capture.sections if s.type is SectionType.FULL]
        if name in UNDESCRIBED:
            assert capture.description is None
            assert len(full) == OTHERS[0]
            assert {s.found_by for s in full} == {Boundary.FOOTER}
            continue
        assert len(capture.description.devices) == len(full) == len(capture.devices)
        decoded = [capture.fields(s) for s in full]
        assert [(f.offset, f.offset + f.size) for f in decoded] == [(s.data, s.end) for s in full]
        assert (len(full), sum(map(unread, decoded))) == DEVICES.get(name, OTHERS)
