"""Every path that is timed: its input, what the baseline does with that, and a check that both give the same."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import xbrletools
from xbrletools.arrays import reserve
from xbrletools.codec import checksum, native, uniform, xbrle, xbzrle
from xbrletools.codec.batches import positions
from xbrletools.formats.ram import Flag
from xbrletools.memory.image import Image
from xbrletools.memory.replay import CHUNK, apply

from . import streams
from .baseline import Baseline
from .streams import BLOCK, MIXES, PAGE

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_ROOT = Path(__file__).parents[1]
_SAMPLE = _ROOT / "samples" / "posted-8m.bin"
_RUNS = {"pages": Flag.PAGE, "zeros": Flag.COMPRESS, "deltas": Flag.XBRLE}
_CODECS = {"xbrle": xbrle, "xbzrle": xbzrle}
_HEAD = {"xbrle": 16, "xbzrle": 11}  # bytes of a record before its payload, where it names no block
_ROUNDS = 15  # of kernels
_LONG = 5  # of what goes over a whole stream, or starts a process


@dataclass(frozen=True, slots=True)
class Made:
    """What paths work on. It is made from a seed, in ``folder``, when it is first used. ``baseline`` is None without a
    C compiler.
    """

    folder: Path
    baseline: Baseline | None
    quick: bool
    _streams: dict[str, Path] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of a stream."""
        return 8 << 20 if self.quick else 1 << 30

    @property
    def pages(self) -> int:
        """Pages that kernels work on."""
        return 256 if self.quick else 4096

    def random(self) -> np.random.Generator:
        """A generator that gives every path the same numbers."""
        return np.random.default_rng(1)

    def stream(self, name: str) -> Path:
        """The stream of this name: a mix, or a run of one kind of records."""
        if name not in self._streams:
            path = self._streams[name] = self.folder / name
            if name in MIXES:
                streams.write_mix(path, MIXES[name], self.size, self.random())
            else:
                streams.write_run(path, _RUNS[name], self.size // (PAGE if name == "pages" else 256), self.random())
        return self._streams[name]


@dataclass(frozen=True, slots=True)
class Trial:
    """A path made ready. ``count`` is how many pages or records one run handles. ``size`` is how many bytes `memcpy`
    copies for comparison, 0 where that would say nothing. ``theirs`` does the same work as the baseline does it.
    """

    count: int
    size: int
    ours: Callable[[], object]
    theirs: Callable[[], object]
    same: Callable[[object, object], bool]
    rounds: int


@dataclass(frozen=True, slots=True)
class Case:
    """A path by its name. ``unit`` is what its ``count`` counts. ``goal`` is the most that it may take: times the
    baseline, or nanoseconds for each where ``absolute``. ``goal_two`` is that of two threads. ``baseline`` is "C", or
    the name of a baseline that does not need a compiler.
    """

    name: str
    unit: str
    prepare: Callable[[Made], Trial]
    goal: float | None = None
    goal_two: float | None = None
    absolute: bool = False
    baseline: str = "C"


# -- kernels over pages ------------------------------------------------------------------------------------------------


def record_payloads(coding: str, old: Bytes, new: Bytes) -> tuple[Bytes, Ints, Ints]:
    """Deltas as in a stream, each after a word and a header.

    Returns the bytes, and the payloads' offsets and lengths.
    """
    payloads, lengths = _CODECS[coding].encode(old, new)
    offsets = np.cumsum(lengths + _HEAD[coding]) - lengths
    data = np.full(offsets[-1] + lengths[-1], 0xA5, np.uint8)
    data[positions(offsets, lengths)] = payloads
    return data, offsets, lengths


def _decode(coding: str, count: int, clustered: bool) -> Callable[[Made], Trial]:
    def prepare(made: Made) -> Trial:
        rng, codec = made.random(), _CODECS[coding]
        old = streams.noise(made.pages, rng)
        data, offsets, lengths = record_payloads(coding, old, streams.changed(old, count, clustered, rng))
        mine, its = old.copy(), old.copy()

        def ours() -> object:  # an XOR done twice is undone, so there is always something to do
            return int(np.count_nonzero(codec.apply(data, offsets, lengths, mine))), mine

        def theirs() -> object:
            assert made.baseline is not None
            return made.baseline.decode(coding, data, offsets, lengths, its), its

        return Trial(made.pages, old.size, ours, theirs, _equal, _ROUNDS)

    return prepare


def _encode(coding: str, count: int, clustered: bool) -> Callable[[Made], Trial]:
    def prepare(made: Made) -> Trial:
        rng, codec = made.random(), _CODECS[coding]
        old = streams.noise(made.pages, rng)
        new = streams.changed(old, count, clustered, rng)
        room = np.empty_like(old)

        def theirs() -> object:
            assert made.baseline is not None
            return made.baseline.encode(coding, old, new, room)

        return Trial(made.pages, old.size, lambda: codec.encode(old, new), theirs, _equal, _ROUNDS)

    return prepare


def _byte_sum(made: Made) -> Trial:
    pages = streams.noise(made.pages, made.random())

    def theirs() -> object:
        assert made.baseline is not None
        return made.baseline.sums(pages)

    return Trial(made.pages, pages.size, lambda: checksum.byte_sum(pages), theirs, _equal, _ROUNDS)


def _dup(share: float) -> Callable[[Made], Trial]:
    def prepare(made: Made) -> Trial:
        pages = streams.pages(made.pages, share, made.random())

        def theirs() -> object:
            assert made.baseline is not None
            return made.baseline.fills(pages)

        return Trial(made.pages, pages.size, lambda: uniform.fills(pages), theirs, _equal, _ROUNDS)

    return prepare


def _in_one(work: Callable[[], object]) -> Callable[[], object]:
    """A function that does the same in one thread."""

    def run() -> object:
        kept, native.THREADS = native.THREADS, 1
        try:
            return work()
        finally:
            native.THREADS = kept

    return run


def _sum_in_two(made: Made) -> Trial:
    """The sums in two threads, if `byte_sum` has its loop in C."""
    pages = streams.noise(8 * made.pages, made.random())
    ours = partial(checksum.byte_sum, pages)
    return Trial(len(pages), pages.size, ours, _in_one(ours), _equal, _ROUNDS)


def _decode_in_two(count: int) -> Callable[[Made], Trial]:
    """The deltas in two threads, if `xbrle.apply` has its loop in C."""

    def prepare(made: Made) -> Trial:
        rng = made.random()
        old = streams.noise(8 * made.pages, rng)
        payloads = record_payloads("xbrle", old, streams.changed(old, count, False, rng))

        def applied(pages: Bytes) -> object:
            xbrle.apply(*payloads, pages)
            return pages

        ours, theirs = partial(applied, old.copy()), _in_one(partial(applied, old.copy()))
        return Trial(len(old), old.size, ours, theirs, _equal, _ROUNDS)

    return prepare


# -- whole streams -----------------------------------------------------------------------------------------------------


def _scan(name: str) -> Callable[[Made], Trial]:
    def prepare(made: Made) -> Trial:
        path = made.stream(name)
        size = path.stat().st_size
        count = len(xbrletools.open(path, cache=False).records.by_number)

        def theirs() -> object:
            assert made.baseline is not None
            return made.baseline.walk(_mapped(path), count)

        def same(table: object, columns: object) -> bool:
            assert isinstance(table, xbrletools.table.table.RecordTable) and isinstance(columns, dict)
            return all(_equal(getattr(table.columns, n)[table.is_page].astype(c.dtype), c) for n, c in columns.items())

        return Trial(count, size, lambda: xbrletools.open(path, cache=False).records, theirs, same, _LONG)

    return prepare


def _memory(name: str, end_only: bool) -> Callable[[Made], Trial]:
    def prepare(made: Made) -> Trial:
        path = made.stream(name)
        capture = xbrletools.open(path, cache=False)
        count, pages = len(capture.records.by_number), len(capture.space)

        def ours() -> object:
            capture = xbrletools.open(path, cache=False)
            if end_only:
                return capture.memory().pages
            image, records = Image(capture.space), capture.stream.payloads
            for start in range(0, len(records), CHUNK):
                apply(image, records.take(slice(start, start + CHUNK)))
            return image.pages

        def theirs() -> object:
            assert made.baseline is not None
            memory = reserve((pages, PAGE), np.uint8)
            made.baseline.receive(_mapped(path), memory)
            return memory

        return Trial(count, path.stat().st_size, ours, theirs, _equal, _LONG)

    return prepare


def _verify(name: str) -> Callable[[Made], Trial]:
    def prepare(made: Made) -> Trial:
        path = made.stream(name)
        capture = xbrletools.open(path, cache=False)
        count, pages = len(capture.records.by_number), len(capture.space)

        def ours() -> object:
            return sum(f.rule == "checksum-mismatch" for f in xbrletools.open(path, cache=False).verify())

        def theirs() -> object:
            assert made.baseline is not None
            return made.baseline.receive(_mapped(path), reserve((pages, PAGE), np.uint8), sums=True)

        return Trial(count, path.stat().st_size, ours, theirs, lambda a, b: a == b == streams.WRONG_SUMS, _LONG)

    return prepare


def _history(made: Made) -> Trial:
    """The page that most records touched. The scan was done before, but the baseline walks the stream for it."""
    path = made.stream("realistic")
    capture = xbrletools.open(path, cache=False)
    addresses = capture.records.columns.address[capture.records.is_page]
    address = int(np.argmax(np.bincount((addresses // PAGE).astype(np.int64)))) * PAGE
    count = len(capture.page(BLOCK, address))

    def ours() -> object:
        return np.array([version.content.data for version in capture.page(BLOCK, address).versions()])

    def theirs() -> object:
        assert made.baseline is not None
        return made.baseline.versions(_mapped(path), address, count)

    return Trial(count, 0, ours, theirs, _equal, _LONG)


def _mapped(path: Path) -> Bytes:
    return np.memmap(path, np.uint8, "r")


# -- processes ---------------------------------------------------------------------------------------------------------


def _process(*words: str, stream: str | None = None) -> Callable[[Made], Trial]:
    """Time a Python process against one that does nothing."""

    def prepare(made: Made) -> Trial:
        more = [str(made.stream(stream))] if stream else []
        expected = subprocess.run([sys.executable, *words, *more], cwd=_ROOT, capture_output=True, check=True).stdout

        def run(*words: str) -> bytes:
            return subprocess.run([sys.executable, *words], cwd=_ROOT, capture_output=True).stdout

        def same(given: object, _: object) -> bool:
            return given == expected != b""

        return Trial(1, 0, lambda: run(*words, *more), lambda: run("-c", "pass"), same, _ROUNDS)

    return prepare


def _equal(a: object, b: object) -> bool:
    """Whether two arrays, or two tuples of arrays, are the same."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return np.array_equal(a, b)  # type: ignore[arg-type]


def _by_density(
    coding: str,
    name: str,
    prepare: Callable[[str, int, bool], Callable[[Made], Trial]],
    goals: Sequence[float | None],
    goals_two: Sequence[float | None] = (None,) * 5,
) -> list[Case]:
    densities = ((10, False), (50, False), (200, False), (200, True), (1200, True))
    return [
        Case(f"{name}-clustered-{n}" if clustered else f"{name}-{n}", "page", prepare(coding, n, clustered), *both)
        for (n, clustered), *both in zip(densities, goals, goals_two, strict=True)
    ]


CASES = [
    *_by_density("xbrle", "decode", _decode, (0.2, 0.45, 0.5, 0.7, 1.2)),
    *_by_density("xbrle", "encode", _encode, (0.25, 0.4, 0.45, 0.35, 0.8), (0.15, 0.25, 0.25, 0.2, 0.5)),
    *_by_density("xbzrle", "xbzrle-decode", _decode, (1.3,) * 5, (0.8,) * 5),
    *_by_density("xbzrle", "xbzrle-encode", _encode, (1.0, 1.0, 0.65, 1.1, 1.1), (0.6, 0.6, 0.4, 0.7, 0.7)),
    Case("byte-sum", "page", _byte_sum, 0.6),
    Case("dup-none", "page", _dup(0.0), 1.5),
    Case("dup-half", "page", _dup(0.5), 1.5),
    Case("dup-all", "page", _dup(1.0), 1.5),
    Case("scan-pages", "record", _scan("pages"), 1.5),
    Case("scan-zeros", "record", _scan("zeros"), 28, absolute=True),
    Case("scan-deltas", "record", _scan("deltas"), 139, absolute=True),
    Case("scan-realistic", "record", _scan("realistic"), 1.6),
    Case("scan-page-heavy", "record", _scan("page-heavy"), 1.3),
    Case("scan-shuffled", "record", _scan("shuffled"), 1.3),
    Case("whole-realistic", "record", _memory("realistic", end_only=False), 0.55, 0.35),
    Case("whole-page-heavy", "record", _memory("page-heavy", end_only=False), 0.9, 0.6),
    Case("whole-shuffled", "record", _memory("shuffled", end_only=False), 0.7, 0.42),
    Case("end-realistic", "record", _memory("realistic", end_only=True), 0.42, 0.3),
    Case("end-page-heavy", "record", _memory("page-heavy", end_only=True), 0.75, 0.5),
    Case("end-shuffled", "record", _memory("shuffled", end_only=True), 0.5, 0.33),
    Case("verify-realistic", "record", _verify("realistic"), 0.6, 0.45),
    Case("verify-page-heavy", "record", _verify("page-heavy"), 0.6, 0.45),
    Case("verify-shuffled", "record", _verify("shuffled"), 0.75, 0.55),
    Case("page-history", "version", _history),
    Case("two-threads-byte-sum", "page", _sum_in_two, baseline="one thread"),
    Case("two-threads-decode-10", "page", _decode_in_two(10), baseline="one thread"),
    Case("two-threads-decode-200", "page", _decode_in_two(200), baseline="one thread"),
    Case("start-help", "run", _process("-m", "xbrletools", "--help"), 6.0, baseline="bare Python"),
    Case("start-info", "run", _process("-m", "xbrletools", "info", str(_SAMPLE)), 7.0, baseline="bare Python"),
    Case("start-paint", "run", _process("-m", "benchmarks.paint", stream="realistic"), baseline="bare Python"),
]
