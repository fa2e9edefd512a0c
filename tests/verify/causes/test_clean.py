"""An undamaged capture has no cause, whatever wrote it."""

from collections.abc import Callable
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import SAMPLES, SOUND, corpus_names
from xbrletools.errors import XbrleError
from xbrletools.model import Stream
from xbrletools.verify.causes.diagnose import diagnose

FOLDERS = ("qemu-2010", "qemu-2011-posted", "qemu-7.2", "qemu-10", "qemu-11")


def _streams(data: bytes) -> list[Stream]:
    streams = []
    for salvage in (False, True):
        try:
            streams.append(xbrletools.open(data, salvage=salvage).stream)
        except XbrleError:
            continue
    return streams


@pytest.mark.parametrize("name", sorted(p.name for p in SOUND))
def test_a_sample_has_no_cause(name: str) -> None:
    for stream in _streams((SAMPLES / name).read_bytes()):
        assert diagnose(stream) == ()


@pytest.mark.parametrize("before", [1, 4097, 5000])
def test_a_sample_that_begins_within_its_file_has_no_cause(before: int) -> None:
    """The grid of 32 KiB counts from where the sender began, not from the file's first byte."""
    stream = xbrletools.open(bytes(before) + (SAMPLES / "posted-8m.bin").read_bytes(), offset=before).stream
    assert diagnose(stream) == ()


@pytest.mark.parametrize("path", [f"{f}/{n}.bin" for f in FOLDERS for n in corpus_names(f)])
def test_a_real_capture_has_no_cause(path: str, corpus: Callable[[str], bytes]) -> None:
    for stream in _streams(corpus(path)):
        assert diagnose(stream) == ()


def test_no_small_real_capture_has_a_cause(corpus: Callable[[str], bytes]) -> None:
    from tests.conftest import CORPUS

    if not CORPUS.is_dir():
        pytest.skip("there is no corpus")
    folder = Path(CORPUS) / "physical-maps"
    for path in sorted(folder.glob("*.bin.xz")):
        stream = _streams(corpus(f"physical-maps/{path.name.removesuffix('.xz')}"))[0]
        assert diagnose(stream) == (), path.name
