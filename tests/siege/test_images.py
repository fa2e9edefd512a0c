"""Images of memory that claim much or are made of very many pieces: `diff` takes neither memory nor time for claims."""

import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLES
from tests.source.test_dumps import PAGE, core
from xbrletools.formats import elf, lime

ROOM = 64 << 10  # KiB, as the system counts
SECONDS = 60  # of the processor

_RUN = """
import resource, sys
from xbrletools.cli import main
status = main(sys.argv[1:])
sys.stdout.flush()
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def peak(*words: object) -> tuple[int, int, str]:
    """The exit status of ``xbrle``, its peak in KiB, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, words)], capture_output=True, text=True, cwd=ROOT, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    status, most = done.stderr.split("\n")[-2].split()
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    return int(status), int(most), done.stdout + done.stderr


def sparse(path: Path) -> list[object]:
    with path.open("wb") as file:
        file.truncate(4 << 40)
    return []


def sparse_by_address(path: Path) -> list[object]:
    return [*sparse(path), "--space", "physical"]


def same_segments(path: Path) -> list[object]:
    path.write_bytes(core(*[(0, 8 * PAGE, 0)] * 60_000) + bytes(8 * PAGE))
    return []


def tiny_segments(path: Path) -> list[object]:
    path.write_bytes(core(*[(2 * i, 1, i) for i in range(20_000)]) + bytes(20_000))
    return []


def tiny_ranges(path: Path) -> list[object]:
    path.write_bytes(b"".join(lime.Header.build({"start": 2 * i, "end": 2 * i}) + b"x" for i in range(20_000)))
    return []


def claims(path: Path) -> list[object]:
    path.write_bytes(core((0, 1 << 62, 0)) + bytes(PAGE))
    return []


def many_unknown(path: Path) -> list[object]:
    path.write_bytes(bytes(8 << 20))
    ranges = ",".join(f'{{"start":{40 * i},"length":1}}' for i in range(200_000))
    about = f'{{"file":"{path.name}","format":"raw","space":"block","unknown":[{ranges}],'
    Path(f"{path}.json").write_text(about + '"map":[{"start":0,"length":8388608,"block":"pc.ram"}]}')
    return []


def many_blocks(path: Path) -> list[object]:
    path.mkdir()
    (path / "f").write_bytes(bytes(PAGE))
    listed = ",".join(f'{{"name":"b{i}","file":"f","length":4096}}' for i in range(5_000))
    (path / "manifest.json").write_text(f'{{"blocks":[{listed}]}}')
    return []


@pytest.mark.parametrize(
    "make",
    [sparse, sparse_by_address, same_segments, tiny_segments, tiny_ranges, claims, many_unknown, many_blocks],
    ids=lambda make: make.__name__,
)
def test_no_image_takes_memory_or_time_by_what_it_claims(make: Callable[[Path], list[object]], tmp_path: Path) -> None:
    sample = SAMPLES / "posted-8m.bin"
    (tmp_path / "small").write_bytes(bytes(8 << 20))
    _, usual, _ = peak("diff", sample, tmp_path / "small", "--limit", 1)
    more = make(tmp_path / "image")
    status, most, said = peak("diff", sample, tmp_path / "image", "--limit", 3, "--json", *more)
    assert status == 1, said[-500:]
    assert most < usual + ROOM


def test_a_header_that_counts_too_many_segments_is_refused(tmp_path: Path) -> None:
    head = core((0, PAGE, 0), count=elf.SEGMENTS_ELSEWHERE, shoff=64 + 56)
    at = 64 + 56 + 44  # sh_info
    raw = head[:at] + struct.pack("<I", 0xFFFFFFFF) + head[at + 4 :]
    (tmp_path / "image").write_bytes(raw + bytes(PAGE))
    status, _, said = peak("diff", SAMPLES / "posted-8m.bin", tmp_path / "image")
    assert status == 2 and "claims 4294967295 program headers" in said
