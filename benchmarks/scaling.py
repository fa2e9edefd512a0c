"""How the paths gain by more threads: 1, 2, 4, 8 and 16 of them, as far as the machine has cores.

Run it from the root of the repository, on a machine that does nothing else:

    python -m benchmarks.scaling            # about 3 GB of temporary files (TMPDIR), at most 6 minutes
    python -m benchmarks.scaling --json     # the same as one object
    python -m benchmarks.scaling --quick    # seconds, to see that it runs

It needs NumPy, construct and click, and the project's loops in C, without which all is done in one thread. If the
project is not installed there, build these with

    cc -O3 -fPIC -shared -I$(python -c "import sysconfig; print(sysconfig.get_path('include'))") \
        xbrletools/codec/_native.c -o xbrletools/codec/_native$(python -c \
        "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))")

A C compiler is not needed otherwise. Results with any number of threads are held against those with one; status 1 where
they differ. Times are wall time, the least of some rounds.

Measured are the kernels over 65,536 pages, a mix of 512 MiB (of a guest of 256 MiB), and last a guest of 64 GiB end to
end: 16.5 million dup pages, 262,144 pages in full, and two sweeps over these, mostly of deltas.
"""

import argparse
import gc
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

import xbrletools
from xbrletools.codec import checksum, native, xbrle, xbzrle
from xbrletools.formats.qevm import SectionType
from xbrletools.memory.image import Image
from xbrletools.memory.replay import apply
from xbrletools.model import Block
from xbrletools.sender.saver import PageRecords, Writer, end_of_section, memory_size

from . import paths, streams
from .streams import BLOCK, FORM, FRAMES, MIXES, PAGE, Bytes, nothing_of
from .threads import sharing

THREADS = (1, 2, 4, 8, 16)
GUEST = 64 << 30  # bytes of the sparse guest
APART = 64  # one page in so many is sent in full, all others are dup pages
_KERNEL_PAGES = 1 << 16
_MIX = 512 << 20
_SHRINK = 64  # --quick divides all sizes by this


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed. ``count`` is how many of ``unit`` one run handles. ``result`` makes what it gives comparable."""

    name: str
    unit: str
    count: int
    run: Callable[[], object]
    result: Callable[[object], object]
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A path's figures by the number of threads: seconds, how many threads had a part, and how many times as fast as
    one thread it was.
    """

    path: str
    unit: str
    count: int
    seconds: dict[int, float]
    used: dict[int, int]
    faster: dict[int, float]
    right: bool


def write_sparse(path: Path, guest: int, rng: np.random.Generator) -> None:
    """Write the stream of a guest of ``guest`` bytes: a first sweep over all its pages, then two over every 64th."""
    real = guest // PAGE // APART
    memory = streams.noise(real, rng)
    writer = Writer(FORM, [BLOCK])
    with path.open("wb") as file:
        file.write(FRAMES.file_header() + FRAMES.section(SectionType.START))
        file.write(memory_size(FORM.version, [Block(BLOCK, guest)], np.zeros(1, np.int64), PAGE))
        file.write(writer.write(*_group(memory[:1], 1))[0].data)  # names the block
        group, begins = writer.write(*_group(memory[:1], APART))
        for first in range(0, real, 1024):
            batch = memory[first : first + 1024]
            groups = np.tile(group, (len(batch), 1))
            groups[:, len(group) - PAGE :] = batch  # the page in full is the last of its group
            at = (np.arange(first, first + len(batch), dtype=np.uint64) * np.uint64(APART * PAGE)).astype(">u8")
            for begin in begins[:-1].tolist():
                words = groups[:, begin : begin + 8]
                words |= at.view(np.uint8).reshape(-1, 8)
            file.write(groups.data)
            file.write(end_of_section() + FRAMES.section(SectionType.PART))
        for rows, kinds in _sweeps(real, rng):
            records, choices = streams.send(memory, rows, kinds, rng)
            address = records.address * APART + (APART - 1) * PAGE
            sparse = PageRecords(records.block, address, records.contents, records.is_dup, records.named)
            file.write(writer.write(sparse, choices)[0].data)
            file.write(end_of_section() + FRAMES.section(SectionType.PART))
        file.write(end_of_section() + FRAMES.section(SectionType.END) + end_of_section() + FRAMES.end(b""))


def _group(page: Bytes, count: int):  # type: ignore[no-untyped-def]
    """The records of so many pages in a row: dup pages, and at their end one in full."""
    contents = np.zeros((count, PAGE), np.uint8)
    contents[-1] = page
    is_dup = np.arange(count) < count - 1
    address = np.arange(count, dtype=np.int64) * PAGE
    none = np.zeros(count, bool)
    return PageRecords(np.zeros(count, np.int64), address, contents, is_dup, none), nothing_of(count)


def _sweeps(real: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    for _ in range(2):
        yield from streams.sweep(MIXES["realistic"], real, MIXES["realistic"].shares, rng)


def works(folder: Path, quick: bool):  # type: ignore[no-untyped-def]
    """Each path that is timed, one made after the other."""
    rng, shrink = np.random.default_rng(1), _SHRINK if quick else 1
    pages = streams.noise(_KERNEL_PAGES // shrink, rng)
    yield Work("byte-sum", "page", len(pages), lambda: checksum.byte_sum(pages), _digest)
    for coding, codec in (("xbrle", xbrle), ("xbzrle", xbzrle)):
        for changes in (10, 200):
            new = streams.changed(pages, changes, False, rng)
            encode = partial(codec.encode, pages, new)
            yield Work(f"{coding}-encode-{changes}", "page", len(pages), encode, _digest)
            deltas = paths.record_payloads(coding, pages, new)

            def decode(codec=codec, deltas=deltas) -> object:  # type: ignore[no-untyped-def]
                return codec.apply(*deltas, pages)  # XORs are undone by the next round, new bytes stay

            yield Work(f"{coding}-decode-{changes}", "page", len(pages), decode, _digest, rounds=4)
    for name in ("realistic", "shuffled"):
        path = folder / name
        streams.write_mix(path, MIXES[name], _MIX // shrink, np.random.default_rng(1))
        yield from _of_stream(name, path)
        path.unlink()
    path = folder / "sparse"
    write_sparse(path, GUEST // shrink, rng)
    yield from _of_stream("sparse-64G", path, rounds=1)


def _of_stream(name: str, path: Path, rounds: int = 3):  # type: ignore[no-untyped-def]
    count = len(xbrletools.open(path, cache=False).records.by_number)

    def whole() -> object:
        stream = xbrletools.open(path, cache=False)
        image = Image(stream.space)
        apply(image, stream.stream.payloads)
        return image

    def verify() -> object:
        return sum(f.rule == "checksum-mismatch" for f in xbrletools.open(path, cache=False).verify())

    yield Work(f"scan-{name}", "record", count, lambda: xbrletools.open(path, cache=False).records.columns, str, rounds)
    yield Work(f"end-{name}", "record", count, lambda: xbrletools.open(path, cache=False).memory(), _image, rounds)
    if name != "sparse-64G":
        yield Work(f"whole-{name}", "record", count, whole, _image, rounds)
    yield Work(f"verify-{name}", "record", count, verify, str, rounds)


def _digest(given: object) -> object:
    arrays = given if isinstance(given, tuple) else (given,)
    return [hashlib.sha256(np.ascontiguousarray(a)).hexdigest() for a in arrays]


def _image(given: object) -> object:
    assert isinstance(given, Image)
    pages = given.written(slice(0, len(given.state)))
    sums = checksum.byte_sum(given.pages, pages).astype(np.uint64)
    return int((sums * (pages.astype(np.uint64) + np.uint64(1))).sum()), given.recovered_count


def measured(work: Work, threads: tuple[int, ...]) -> Row:
    """Time one path with each number of threads, in turns, and compare what it gives."""
    seconds, used, results = dict.fromkeys(threads, float("inf")), dict.fromkeys(threads, 1), {}
    for _ in range(work.rounds):
        for count in threads:
            gc.collect()
            with sharing(count) as shared:
                start = time.perf_counter()
                given = work.run()
                seconds[count] = min(seconds[count], time.perf_counter() - start)
            used[count] = max(used[count], shared.used)
            results[count] = work.result(given)
            del given
    faster = {n: seconds[threads[0]] / s for n, s in seconds.items()}
    right = all(r == results[threads[0]] for r in results.values())
    return Row(work.name, work.unit, work.count, seconds, used, faster, right)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and print a table. Returns 1 where a result with several threads is not that with one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--threads", type=int, action="append", help="only these, repeatable (default: 1 to 16)")
    asked = parser.parse_args(words)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = tuple(asked.threads or (n for n in THREADS if n <= cores))
    if native.loops is None:
        print("the loops in C are not built here: all is done in one thread", file=sys.stderr)
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}, NumPy {np.__version__}", file=sys.stderr)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="xbrle-scaling-") as name:
        if not asked.json:
            heads = "".join(f"{n:>5} thr." for n in threads[1:])
            print(f"{'path':26}{'1 thread':>16}{heads}   threads used")
        for work in works(Path(name), asked.quick):
            row = measured(work, threads)
            rows.append(row)
            if not asked.json:
                ns = row.seconds[threads[0]] * 1e9 / row.count
                gains = "".join(f"{row.faster[n]:>8.2f}x" for n in threads[1:])
                used = ", ".join(map(str, row.used.values())) + ("" if row.right else "  WRONG")
                print(f"{row.path:26}{ns:>9,.0f} ns/{row.unit:6}{gains}   {used}", flush=True)
    if asked.json:
        print(json.dumps({"cores": cores, "numpy": np.__version__, "paths": [asdict(r) for r in rows]}, indent=1))
    return 0 if all(r.right for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
