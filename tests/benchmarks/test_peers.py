import lzma
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from benchmarks.peers import captures, heading, measured, page_of, right_pages, sections_of, true_checksums, unpacked

PAGE = 4096
MEMORY = bytes(PAGE) + b"\1" * PAGE + b"\2" * PAGE


def test_both_forms_of_a_truth_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.truth").write_bytes(MEMORY)
    sums = [zlib.crc32(MEMORY[at : at + PAGE]) for at in range(0, len(MEMORY), PAGE)]
    (tmp_path / "b.truth.crc32").write_bytes(bytes(32) + struct.pack("<3I", *sums))
    for name in ("a.truth", "b.truth.crc32"):
        assert true_checksums(tmp_path / name, PAGE).tolist() == sums


def test_a_page_that_is_wrong_cut_or_not_there_is_not_right(tmp_path: Path) -> None:
    truth = np.array([zlib.crc32(MEMORY[at : at + PAGE]) for at in range(0, len(MEMORY), PAGE)], np.uint32)
    found = tmp_path / "found"
    rights = []
    for content in (MEMORY, MEMORY[:-1], MEMORY[:PAGE], bytes(len(MEMORY)), b""):
        found.write_bytes(content)
        rights.append(right_pages(found, truth, PAGE, physical=False))
    assert rights == [3, 2, 1, 1, 0]
    assert right_pages(tmp_path / "none", truth, PAGE, physical=False) == 0


def test_a_process_is_stopped_at_its_deadline_and_told_from_one_that_failed(tmp_path: Path) -> None:
    late, seconds, _ = measured([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, dict(os.environ), 1)
    assert late is None
    assert seconds < 30
    failed, _, peak = measured([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, dict(os.environ), 60)
    assert failed == 3
    assert peak > 0


def test_channels_come_with_their_capture_and_lie_beside_it(tmp_path: Path) -> None:
    corpus, folder = tmp_path / "corpus", tmp_path / "folder"
    corpus.mkdir()
    folder.mkdir()
    (corpus / "x.json").write_text('{"qemu": {"qemu": {"major": 10, "minor": 0, "micro": 13}}}')
    (corpus / "x.truth.crc32.xz").write_bytes(lzma.compress(bytes(36)))
    (corpus / "x.chan0.fwd.bin.xz").write_bytes(lzma.compress(b"main"))
    (corpus / "x.chan1.fwd.bin").write_bytes(b"other")
    ((path, channels, truth, _),) = captures(corpus, [])
    assert (path.name, [c.name for c in channels], truth.name) == (
        "x.chan0.fwd.bin.xz",
        ["x.chan1.fwd.bin"],
        "x.truth.crc32.xz",
    )
    assert [unpacked(p, folder).read_bytes() for p in (path, *channels)] == [b"main", b"other"]
    assert sorted(p.name for p in folder.iterdir()) == ["x.chan0.fwd.bin", "x.chan1.fwd.bin"]
    assert heading(corpus) == "QEMU 10.0.13"


def test_a_page_keeps_its_tables() -> None:
    tables = {"QEMU 7.2.22": "| a |\n\nMeasured.", "QEMU 10.0.13": "| b |"}
    assert sections_of(page_of(tables)) == tables
