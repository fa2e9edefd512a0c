"""What a large capture costs: anonymous memory beside image and table, processor time and bytes for each record.

The streams are generated. They are piped into a command, or written as a sparse file of 64 KiB pages that are all
holes. ``python -m benchmarks.bounds`` prints the tables. ``--size``, ``--records`` and ``--only`` make them smaller.
"""

import argparse
import os
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from xbrletools.codec import deltas
from xbrletools.codec.layout import dtype_of
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

GIB = 1 << 30
MIB = 1 << 20
BOUND = 64 * MIB  # of anonymous memory beside imports, images and table
SECTION = 4 * MIB  # bytes of records in one PART, about what a sender writes at a time
GUEST_PAGES = 1 << 16  # of 4 KiB
SPARSE_PAGE = 1 << 16
PIPE = MIB

# Kinds of a group's records: a sweep of the guest is made of groups, so that every page has all of them in time.
FULL, DUP, DELTA = range(3)


@dataclass(frozen=True)
class Mix:
    """A group of records: their kinds, the bytes of each delta's payload, and the page size."""

    name: str
    kinds: tuple[int, ...]
    page_size: int = ram.PAGE_SIZE
    runs: int = 24  # changed bytes of a delta, each a run of its own


REALISTIC = Mix("realistic", (FULL,) * 6 + (DELTA,) * 3 + (DUP,))
SHORT = Mix("short", (DUP,) * 2 + (DELTA,) * 5 + (DUP,), runs=3)
SPARSE = Mix("sparse", (FULL,) * 14 + (DELTA,) + (DUP,), SPARSE_PAGE)


class Stream:
    """A capture in the posted dialect of at least ``size`` bytes or ``records`` records, in pieces."""

    def __init__(self, mix: Mix, size: int | None = None, records: int | None = None) -> None:
        self.mix, self.size, self.limit = mix, size, records
        self.pages = GUEST_PAGES * ram.PAGE_SIZE // mix.page_size
        self.records = 0
        self.bytes = 0

    def pieces(self) -> Iterator[tuple[bytes | memoryview, bool]]:
        """What to write, and whether it is a page of zeros, which a sparse file leaves out."""
        owner = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": ram.VERSION_NAMED}
        length = self.pages * self.mix.page_size
        head = qevm.FileHeader.build({"version": 3})
        head += bytes([SectionType.START]) + qevm.SectionStart.build(owner)
        head += struct.pack(">Q", length | Flag.MEM_SIZE)
        head += ram.BlockEntry.build({"idstr": b"pc.ram", "length": length})
        head += struct.pack(">Q", Flag.EOS)
        eos = struct.pack(">Q", Flag.EOS)
        yield head, False
        yield self._part(SectionType.PART), False
        yield struct.pack(">Q", Flag.COMPRESS) + qevm.IdStr.build(b"pc.ram") + b"\0", False
        self.bytes, self.records, since = len(head) + 21, 1, 0
        group, sweep, place = [self._template(s) for s in range(len(self.mix.kinds))], 0, 0
        while not self._done():
            block, words, flags = group[sweep % len(group)]
            count = len(words)
            if place + count > self.pages:
                sweep, place = sweep + 1, 0
                continue
            address = (place + np.arange(count, dtype=np.uint64)) * np.uint64(self.mix.page_size)
            block[words[:, None] + np.arange(8)] = (address | flags).astype(">u8").view(np.uint8).reshape(count, 8)
            yield from self._cut(block, words)
            place += count
            since += len(block)
            self.records += count
            self.bytes += len(block)
            if since >= SECTION:
                yield eos + self._part(SectionType.PART), False
                self.bytes, self.records, since = self.bytes + 13, self.records + 1, 0
        yield eos + self._part(SectionType.END) + eos + bytes([SectionType.EOF]), False

    def _done(self) -> bool:
        return self.records >= self.limit if self.limit is not None else self.bytes >= (self.size or 0)

    @staticmethod
    def _part(kind: SectionType) -> bytes:
        return bytes([kind]) + qevm.SectionPart.build({"section_id": 2})

    def _template(self, shift: int):  # type: ignore[no-untyped-def]
        """A group's bytes, and where each record's word stands. ``shift`` turns the kinds from sweep to sweep."""
        dialect = DIALECTS["posted"]
        header = np.zeros((), dtype_of(dialect.header("little")))
        old = np.zeros((1, self.mix.page_size), np.uint8)
        new = old.copy()
        new[0, :: self.mix.page_size // self.mix.runs] = 1
        payload = deltas.encode(dialect.encoding, old, new)[0].tobytes()
        header["flags"], header["length"] = 1, len(payload)
        out, words, flags = bytearray(), [], []
        repeat = max(1, 64 // len(self.mix.kinds))
        kinds = (self.mix.kinds[shift:] + self.mix.kinds[:shift]) * repeat
        for kind in kinds:
            flag = (Flag.PAGE, Flag.COMPRESS, ram.delta_flag(ram.VERSION_NAMED))[kind] | Flag.CONTINUE
            words.append(len(out))
            flags.append(int(flag))
            out += bytes(8)
            if kind == FULL:
                out += (
                    bytes(self.mix.page_size) if self.mix is SPARSE else bytes(range(256)) * (self.mix.page_size // 256)
                )
            elif kind == DUP:
                out += b"\0"
            else:
                out += header.tobytes() + payload
        return np.frombuffer(out, np.uint8), np.array(words), np.array(flags, np.uint64)

    def _cut(self, block: np.ndarray, words) -> Iterator[tuple[memoryview, bool]]:  # type: ignore[no-untyped-def]
        if self.mix is not SPARSE:
            yield memoryview(block), False
            return
        for at, stop in pairwise([*words.tolist(), len(block)]):
            big = stop - at > self.mix.page_size
            yield memoryview(block[at : at + 8 if big else stop]), False
            if big:
                yield memoryview(block[at + 8 : stop]), True


def sparse_file(path: Path, size: int) -> Stream:
    """Write a capture of ``size`` bytes whose pages are holes."""
    stream = Stream(SPARSE, size)
    with path.open("wb") as file:
        for piece, hole in stream.pieces():
            if hole:
                file.seek(len(piece), os.SEEK_CUR)
            else:
                file.write(piece)
    return stream


@dataclass
class Run:
    """What a command took: seconds on the clock and of the processor, its peak of anonymous memory in bytes, its
    exit status, the end of its stderr.
    """

    seconds: float
    busy: float
    peak: int
    status: int
    said: str


def watched(
    arguments: list[str], feed: Iterator[tuple[bytes | memoryview, bool]] | None = None, cache: str = ""
) -> Run:
    """Run Python with these arguments. Drop its output, and sample its anonymous memory."""
    environment = os.environ | {"XDG_CACHE_HOME": cache or os.devnull}
    begun, before = time.monotonic(), _children_busy()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE if feed is not None else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    feeder = threading.Thread(target=_feed, args=(process, feed)) if feed is not None else None
    if feeder is not None:
        feeder.start()
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.005)
    for thread in (feeder, reader):
        if thread is not None:
            thread.join()
    busy, last = _children_busy() - before, b"".join(said).decode()[-300:]
    return Run(time.monotonic() - begun, busy, peak, process.returncode, last)


def _children_busy() -> float:
    """Processor time in seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _feed(process: "subprocess.Popen[bytes]", pieces: Iterator[tuple[bytes | memoryview, bool]]) -> None:
    held = bytearray()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        for piece, _ in pieces:
            held += piece
            if len(held) >= PIPE:
                process.stdin.write(held)
                held.clear()
        process.stdin.write(held)
    with suppress(BrokenPipeError):
        process.stdin.close()


def anonymous(pid: int) -> int:
    """The anonymous memory that a process has resident, in bytes, or 0 where the process has ended."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/status").read_text()
        return int(text[text.index("RssAnon:") :].split()[1]) * 1024
    return 0


# A command whose images lie in shared memory, so that what is anonymous is all but them.
_APART = """
import mmap, sys
import numpy as np
import xbrletools.memory.image as image
from xbrletools.cli import main
reserve = image.reserve
def shared(shape, dtype):
    if len(shape) == 1:
        return reserve(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, max(1, shape[0] * shape[1])), dtype, shape[0] * shape[1]).reshape(shape)
image.reserve = shared
sys.exit(main(sys.argv[1:]))
"""


def bare(command: str) -> int:
    """The anonymous memory of a process that imports a command and the front, and does nothing."""
    code = (
        f"import re, xbrletools.cli.{command}, xbrletools.capture, xbrletools.memory.replay\n"
        "import xbrletools.verify.checker\n"
        "print(re.search(r'RssAnon:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    return int(subprocess.check_output([sys.executable, "-c", code])) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=20, help="GB of the large stream")
    parser.add_argument("--records", type=int, default=100_000_000, help="records of the long stream")
    parser.add_argument("--only", default="pipe,sparse,linear,records,second", help="which tables")
    parser.add_argument("--commands", default="info,stats,dump,verify,extract")
    options = parser.parse_args()
    only, size = options.only.split(","), int(options.size * 1e9)
    with tempfile.TemporaryDirectory() as folder:
        for part in only:
            PARTS[part](Path(folder), size, options)


def _line(what: str, run: Run, stream: Stream, command: str, own: int = 0) -> None:
    above = run.peak - bare(command) - own
    print(
        f"{what:34} {stream.bytes / 1e9:6.2f} GB {stream.records:>11,} records {run.seconds:7.1f} s "
        f"{run.busy / stream.records * 1e9:7.0f} ns a record  above imports{', image, table' if own else ''} "
        f"{above / MIB:6.1f} MiB  {'within' if above <= BOUND else 'OVER'}  exit {run.status}",
        run.said if run.status > 1 else "",
        flush=True,
    )


def _file(command: str, path: Path, stream: Stream, *more: str) -> None:
    """A command on a file. With images it may take their memory too, and that of the table."""
    if command == "extract":
        more = ("-o", str(path.with_suffix(".raw")), "--block", "pc.ram", "--force")
    own = 32 * stream.records if command in ("info", "verify", "extract", "page") else 0
    run = watched(["-c", _APART, command, str(path), *more])
    _line(f"{command} FILE, {stream.mix.name}", run, stream, command, own)
    path.with_suffix(".raw").unlink(missing_ok=True)


def pipe(folder: Path, size: int, options: argparse.Namespace) -> None:
    """Commands on a pipe, with a realistic mix and with records of a few bytes. All run in constant memory but verify,
    which needs its images and the table.
    """
    for mix, most in ((REALISTIC, size), (SHORT, size // 10)):
        for command in ("info", "stats", "dump", "verify"):
            if command in options.commands.split(","):
                verifies = command == "verify"
                stream = Stream(mix, most // 10 if verifies and mix is SHORT else most)
                run = watched(["-c", _APART, command, "-"], stream.pieces())
                _line(f"{command} -, {mix.name}", run, stream, command, 32 * stream.records if verifies else 0)


def sparse(folder: Path, size: int, options: argparse.Namespace) -> None:
    """Every command on a sparse file."""
    path = folder / "sparse.bin"
    stream = sparse_file(path, size)
    print(f"sparse file: {path.stat().st_size:,} bytes, {path.stat().st_blocks * 512:,} of them on disk")
    for command in options.commands.split(","):
        _file(command, path, stream)
    path.unlink()


def linear(folder: Path, size: int, options: argparse.Namespace) -> None:
    """Time and memory at 1, 4 and 16 GB."""
    for gigabytes in (1, 4, 16):
        stream = Stream(REALISTIC, int(gigabytes * 1e9 * size / 20e9))
        _line("stats -, realistic", watched(["-m", "xbrletools", "stats", "-"], stream.pieces()), stream, "stats")
    for gigabytes in (1, 4, 16):
        path = folder / "sparse.bin"
        stream = sparse_file(path, int(gigabytes * 1e9 * size / 20e9))
        _file("verify", path, stream)
        path.unlink()


_OPEN = """
import sys, time, xbrletools, xbrletools.scan.strict
def anonymous():
    return int(next(l for l in open('/proc/self/status') if l.startswith('RssAnon')).split()[1]) * 1024
before, begun = anonymous(), time.process_time()
capture = xbrletools.open(sys.argv[1], cache=False)
rows = len(capture.records)
print(rows, anonymous() - before, time.process_time() - begun)
"""


def records(folder: Path, size: int, options: argparse.Namespace) -> None:
    """What the table costs for each record, up to a hundred million records."""
    for count in (options.records // 100, options.records // 10, options.records):
        path = folder / "long.bin"
        stream = Stream(SHORT, records=count)
        with path.open("wb") as file:
            for piece, _ in stream.pieces():
                file.write(piece)
        rows, taken, seconds = subprocess.check_output([sys.executable, "-c", _OPEN, str(path)], text=True).split()
        run = watched(["-c", _OPEN, str(path)])
        print(
            f"open, {int(rows):>12,} records, {stream.bytes / 1e9:.2f} GB: "
            f"table {int(taken) / int(rows):5.1f} bytes a record, "
            f"{float(seconds) / int(rows) * 1e9:5.0f} ns a record; peak {run.peak / MIB:,.0f} MiB, above the table "
            f"{(run.peak - bare('info') - 32 * int(rows)) / MIB:.1f} MiB",
            flush=True,
        )
        few = count <= options.records // 10
        for command in ("info", "stats", "page", "verify", "extract") if few else ("info", "stats"):
            if command == "page" or command in options.commands.split(","):
                _file(command, path, stream, *(["0x4000"] if command == "page" else []))
        path.unlink()


def second(folder: Path, size: int, options: argparse.Namespace) -> None:
    """How fast the second command on a capture of 4 GB starts."""
    path = folder / "real.bin"
    stream = Stream(REALISTIC, size // 5)
    with path.open("wb") as file:
        for piece, _ in stream.pieces():
            file.write(piece)
    os.utime(path, (1, 1))
    for command, extra in (("info", []), ("stats", []), ("page", ["0x4000"])):
        with tempfile.TemporaryDirectory() as cache:
            for turn in ("first", "second"):
                run = watched(["-m", "xbrletools", command, str(path), *extra], cache=cache)
                _line(f"{command} FILE, {turn}", run, stream, command, 32 * stream.records if command == "page" else 0)
    path.unlink()


PARTS = {"pipe": pipe, "sparse": sparse, "linear": linear, "records": records, "second": second}

if __name__ == "__main__":
    main()
