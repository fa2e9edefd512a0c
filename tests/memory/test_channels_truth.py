"""Migrations of QEMU 10 and 11 with channels, against what their sources held. Each test needs the corpus."""

import hashlib
import json
import zlib
from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from xbrletools.verify.rules import Severity

Corpus = Callable[[str], bytes]

#: The captures, with how their other channels are called.
CHANNELS = {
    "qemu-10/aarch64-virt32-multifd-zstd": ("chan1", "chan2"),
    "qemu-10/pc16-killed-multifd": ("chan1", "chan2"),
    "qemu-10/pc16-multifd-none-zpdmultifd": ("chan1", "chan2"),
    "qemu-10/pc16-multifd-zstd-zpdlegacy": ("chan1", "chan2"),
    "qemu-10/pc16-postcopy-preempt-run": ("chan1.fwd",),
    "qemu-11/pc16-multifd-zlib-zpdnone": ("chan1", "chan2"),
    "qemu-11/pc16-postcopy-multifd-preempt": ("chan1.fwd", "chan2.fwd", "chan3.fwd"),
}
OLDER = {"pc16-multifd-none-kvm": 2, "pc16-multifd-zlib-kvm": 3, "pc16-multifd-zstd-kvm": 2}


def opened(corpus: Corpus, name: str, leave_out: int | None = None) -> xbrletools.Capture:
    """A capture with its channels, without the one at place ``leave_out``."""
    others = CHANNELS[name]
    main = f"{name}.chan0{'.fwd' if others[0].endswith('.fwd') else ''}.bin"
    channels = [corpus(f"{name}.{c}.bin") for i, c in enumerate(others) if i != leave_out]
    return xbrletools.open(corpus(main), channels=channels)


@pytest.mark.parametrize("name", CHANNELS)
def test_every_block_is_what_the_source_held(name: str, corpus: Corpus):
    about = json.loads(corpus(f"{name}.json"))
    capture = opened(corpus, name)
    image = capture.memory()
    assert image.known.all()
    for block, truth in about["truth"].items():
        content = image[block].reshape(-1)[: truth["size"]].tobytes()
        assert hashlib.sha256(content).hexdigest() == truth["sha256"], block
    sums = np.frombuffer(corpus(f"{name}.truth.crc32")[32:], "<u4").tolist()
    assert [zlib.crc32(page.tobytes()) for page in image[about["main_block"]]] == sums
    errors = {f.rule for f in capture.verify() if f.severity is Severity.ERROR}
    assert errors == ({"truncated"} if "killed" in name else set())


@pytest.mark.parametrize(
    ("name", "place"), [(n, i) for n, others in CHANNELS.items() if "postcopy" not in n for i in range(len(others))]
)
def test_without_one_channel_nothing_is_known_and_that_is_said(name: str, place: int, corpus: Corpus):
    capture = opened(corpus, name, place)
    assert {p.rule for p in capture.problems if p.lost} == {"channel-missing"}
    assert not capture.memory().known.any()


@pytest.mark.parametrize("name", OLDER)
def test_without_one_channel_of_an_older_sender_nothing_is_known_either(name: str, corpus: Corpus):
    main, count = corpus(f"qemu-7.2/{name}.chan0.bin"), OLDER[name]
    for place in range(count):
        others = [corpus(f"qemu-7.2/{name}.chan{i + 1}.bin") for i in range(count) if i != place]
        capture = xbrletools.open(main, channels=others)
        assert {p.rule for p in capture.problems if p.lost} == {"channel-missing"}
        assert not capture.memory().known.any()


@pytest.mark.parametrize("name", [*CHANNELS, *(f"qemu-7.2/{n}" for n in OLDER)])
def test_a_main_channel_alone_lacks_its_channels(name: str, corpus: Corpus):
    ending = ".fwd" if "postcopy" in name else ""
    capture = xbrletools.open(corpus(f"{name}.chan0{ending}.bin"))
    assert "channel-missing" in {p.rule for p in capture.problems if p.lost}
    if "preempt-run" not in name:
        assert not capture.memory().known.any()


def test_without_preempts_channel_what_was_asked_for_is_unknown(corpus: Corpus):
    name = "qemu-10/pc16-postcopy-preempt-run"
    whole, alone = opened(corpus, name).memory(), xbrletools.open(corpus(f"{name}.chan0.fwd.bin")).memory()
    known = alone.known
    assert np.count_nonzero(~known) == 1227
    assert (alone.pages[known] == whole.pages[known]).all()


@pytest.mark.parametrize("other", ["qemu-10/pc16-multifd-none-zpdmultifd", "qemu-10/pc16-killed-multifd"])
def test_a_channel_of_another_migration_of_the_same_guest_is_told(other: str, corpus: Corpus):
    name = "qemu-10/pc16-multifd-zstd-zpdlegacy"
    channels = [corpus(f"{name}.chan1.bin"), corpus(f"{other}.chan2.bin")]
    capture = xbrletools.open(corpus(f"{name}.chan0.bin"), channels=channels)
    assert "foreign-channel" in {p.rule for p in capture.problems if p.lost}
    assert not capture.memory().known.any()


@pytest.mark.parametrize("name", [n for n in CHANNELS if "multifd" in n and "postcopy" not in n])
def test_a_cut_channel_never_gives_a_page_that_is_known_and_wrong(name: str, corpus: Corpus):
    whole = opened(corpus, name)
    main, one, two = (corpus(f"{name}.chan{i}.bin") for i in range(3))
    for tenth in (1, 5, 9):
        capture = xbrletools.open(main, channels=[one[: len(one) * tenth // 10], two])
        assert any(p.lost for p in capture.problems)
        assert not capture.memory().known.any()
        broken = capture.stream.broken
        last = int(capture.records.number[:broken].max(initial=0))
        if last:
            image, then = capture.memory(at=last), whole.memory(at=last)
            assert (image.pages[image.known] == then.pages[image.known]).all()


@pytest.mark.parametrize("name", [*CHANNELS, *(f"qemu-7.2/{n}" for n in OLDER)])
def test_salvage_of_a_whole_main_channel_skips_nothing(name: str, corpus: Corpus):
    ending = ".fwd" if "postcopy" in name else ""
    capture = xbrletools.open(corpus(f"{name}.chan0{ending}.bin"), salvage=True)
    assert capture.skipped == []
