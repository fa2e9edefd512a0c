"""Today's captures against what their guests really held. Each test needs the corpus."""

import json
from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.verify.rules import Severity

FOLDER = "qemu-7.2"
PLAIN = (
    "aarch64-virt26-1kpage-plain-tcg",
    "pc16-block-kvm",
    "pc16-compress-kvm",
    "pc16-dirtybitmap-kvm",
    "pc16-i440fx-2.3-plain-kvm",
    "pc16-noconfig-kvm",
    "pc16-nofooter-kvm",
    "pc16-novmdesc-kvm",
    "pc16-plain-kvm",
    "pc16-postcopy-kvm.chan0.fwd",
    "pc16-savevm-kvm",
    "pc16-validateuuid-kvm",
    "pc16-xbzrle-large-kvm",
    "ppc-g3beige32-plain-tcg",
    "s390x-ccw64-plain-tcg",
)
Corpus = Callable[[str], bytes]
KINDS = {
    "MEM_SIZE": "mem_size",
    "PAGE": "page",
    "ZERO": "dup",
    "XBZRLE": "xbzrle",
    "COMPRESS_PAGE": "compressed",
    "EOS": "eos",
}


def check_memory(capture: xbrletools.Capture, corpus: Corpus, name: str) -> None:
    """Every page of the main block is known, and equal to the truth."""
    name = name.split(".chan")[0]
    block = json.loads(corpus(f"{FOLDER}/{name}.json"))["ram_block"]
    truth = np.frombuffer(corpus(f"{FOLDER}/{name}.truth"), np.uint8).reshape(-1, capture.page_size)
    image = capture.memory()
    mine = image.space.slice(image.space.index(block))
    wrong = np.flatnonzero((image.pages[mine] != truth).any(axis=1))
    assert wrong.tolist() == []
    assert image.known[mine].all()


def check_clean(capture: xbrletools.Capture) -> None:
    """Nothing is an error."""
    assert [f for f in capture.verify() if f.severity is Severity.ERROR] == []


@pytest.mark.parametrize("name", PLAIN)
def test_memory_is_what_the_guest_held(name: str, corpus: Corpus):
    capture = xbrletools.open(corpus(f"{FOLDER}/{name}.bin"))
    check_memory(capture, corpus, name)
    check_clean(capture)
    assert capture.facts.complete


@pytest.mark.parametrize("name", PLAIN)
def test_records_by_kind_are_those_of_an_independent_count(name: str, corpus: Corpus):
    capture = xbrletools.open(corpus(f"{FOLDER}/{name}.bin"))
    about = json.loads(corpus(f"{FOLDER}/{name.split('.chan')[0]}.json"))["walker"]
    counts = {KINDS[k]: n for k, n in about["counts"].items() if k in KINDS}
    assert capture.records.counts() == counts
    assert np.count_nonzero(capture.records.columns.flags & Flag.CONTINUE) == about["counts"].get("CONTINUE", 0)
    if not about["error"]:  # the independent walk of s390x stopped early
        data = (SectionType.START, SectionType.PART, SectionType.END, SectionType.FULL)
        sections = sum(1 for s in capture.sections if s.type in data)
        assert (sections if capture.facts.footers else 0) == about["counts"].get("FOOTER", 0)
