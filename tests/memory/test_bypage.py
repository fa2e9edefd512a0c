"""The loops in C that take all records of a page at once: what they find and leave is what NumPy does in layers."""

import random
import re
import threading

import numpy as np
import pytest

import xbrletools
from tests.codec.test_native import BUILT, SOURCE, in_numpy
from tests.conftest import SOUND
from tests.damages import KINDS, damage
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools import XbrleError
from xbrletools.codec import deltas, native
from xbrletools.formats.dialects import Encoding
from xbrletools.formats.ram import Flag
from xbrletools.memory import bypage, replay
from xbrletools.memory.image import Image, State
from xbrletools.memory.moments import memory_of, space_of
from xbrletools.memory.replay import View
from xbrletools.verify import bypage as looking
from xbrletools.verify.observed import Says

DIALECTS = [("posted", 1), ("posted", 3), ("lm2dbg", 1), ("nov03a", 1), ("m115", 1), ("xbzrle", 1), ("sep20", 1)]
PAGES = 6


def stream(dialect: str, flags: int, seed: int, length: int = PAGES * PAGE, faults: float = 0.05) -> bytes:
    """Records of a few pages in any order, now and then with a wrong sum, or a delta that does not fit."""
    rng = np.random.default_rng(seed)
    builder = StreamBuilder({b"pc.ram": length}, dialect=dialect, flags=flags)
    held = {}  # what the sender takes each page to be
    for _ in range(int(rng.integers(bypage.FEW, 200))):
        page = int(rng.integers(PAGES)) * PAGE
        kind = rng.choice(["page", "dup", "delta"], p=[0.15, 0.1, 0.75])
        if kind == "dup":
            fill = int(rng.choice([0, 0, 7]))
            builder.dup(page, fill)
            if builder.dialect.caches_dup or page not in held or rng.random() < 0.3:
                held[page] = np.full(PAGE, fill, np.uint8)
        elif kind == "page" or (page not in held and rng.random() < 0.9):
            held[page] = noise(int(rng.integers(9)))
            builder.page(page, held[page])
        else:
            old = held.get(page, noise(0))
            new = old.copy()
            at = rng.integers(0, PAGE, int(rng.choice([1, 3, 40])))
            new[at] = rng.integers(0, 256, len(at), np.uint8) if rng.random() < 0.9 else new[0]
            if rng.random() < 0.05:
                new[:] = 3
            checksum = 5 if rng.random() < faults else None
            if rng.random() < faults:
                builder.raw_delta(page, rng.bytes(int(rng.integers(1, 9))), new, checksum=checksum)
            else:
                builder.delta(page, old, new, checksum=checksum)
                held[page] = new
    return builder.part().end().bytes()


def findings(data: bytes) -> list[str]:
    return [repr(f) for f in xbrletools.open(data).verify()]


def held_in(image: Image) -> dict[str, object]:
    space = slice(0, len(image.state))
    given, written = image.given(space), image.written(space)
    assert not image.pages[np.setdiff1d(given, written)].any()  # all others are zero
    return {
        "given": given.tolist(),
        "state": image.state[given].tolist(),
        "pages": image.pages[given].tobytes(),
        "partly": {page: bits.tolist() for page, bits in image.partly.items()},
        "recovered": image.count(State.RECOVERED, space),
    }


def memories(data: bytes) -> list[dict[str, object]]:
    found = xbrletools.open(data).stream
    whole = Image(space_of(found))
    replay.apply(whole, found.payloads)
    return [held_in(i) for i in (memory_of(found), memory_of(found, view=View.SENDER), whole)]


@BUILT
@pytest.mark.parametrize("faults", [0.0, 0.05])
@pytest.mark.parametrize(("dialect", "flags"), DIALECTS)
def test_verify_finds_page_by_page_what_it_finds_in_layers(dialect, flags, faults, monkeypatch):
    monkeypatch.setattr(looking, "WINDOW", 50)
    for seed in range(6):
        data = stream(dialect, flags, seed, faults=faults)
        assert findings(data) == in_numpy(lambda data=data: findings(data))


@BUILT
@pytest.mark.parametrize(("dialect", "flags"), DIALECTS)
def test_memory_filled_page_by_page_is_memory_filled_in_layers(dialect, flags, monkeypatch):
    monkeypatch.setattr(bypage, "CHUNK", 90)
    for seed in range(6):
        data = stream(dialect, flags, seed)
        assert memories(data) == in_numpy(lambda data=data: memories(data))


@BUILT
def test_threads_find_and_leave_what_one_does(monkeypatch):
    data = stream("posted", 3, 1)
    alone = findings(data), memories(data)
    monkeypatch.setattr(native, "THREADS", 3)
    monkeypatch.setattr(native, "THREAD_BYTES", 10 * PAGE)
    assert (findings(data), memories(data)) == alone


@BUILT
def test_pages_that_a_stream_only_claims_do_not_have_a_place():
    data = stream("posted", 3, 2, length=1 << 40)
    capture = xbrletools.open(data)
    ordered = bypage.by_page(capture.stream.payloads, capture.space)
    assert len(ordered.starts) <= PAGES + 2
    assert findings(data) == in_numpy(lambda: findings(data))
    assert held_in(capture.memory()) == in_numpy(lambda: held_in(xbrletools.open(data).memory()))


@BUILT
def test_a_sound_stream_is_not_replayed_in_layers(monkeypatch):
    monkeypatch.setattr(replay, "_apply_in_layers", lambda *_: pytest.fail("a replay in layers"))
    monkeypatch.setattr(bypage, "FEW", 1)
    new = noise(1)
    new[7] ^= 1
    data = StreamBuilder(flags=3).page(0, noise(1)).part().delta(0, noise(1), new).end().bytes()
    capture = xbrletools.open(data)
    assert "checksum-mismatch" not in {f.rule for f in capture.verify()}
    np.testing.assert_array_equal(capture.memory().pages[0], new)


@BUILT
@pytest.mark.parametrize("name", [path.name for path in SOUND])
def test_a_damaged_sample_shows_the_same_in_both_ways(name, monkeypatch):
    monkeypatch.setattr(bypage, "FEW", 1)
    whole = next(path for path in SOUND if path.name == name).read_bytes()
    for kind in KINDS:
        data = damage(whole, kind, 1).data

        def both(data=data):
            try:
                return findings(data), memories(data)
            except XbrleError as error:
                return str(error)

        assert both() == in_numpy(both)


def test_both_sides_of_the_boundary_mean_the_same_by_a_number():
    doing = re.search(r"typedef enum \{([^}]*)\} Doing;", SOURCE)[1]
    names = re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", doing, flags=re.DOTALL))
    assert [getattr(bypage, f"_{name}") for name in names] == list(range(len(names)))
    says = re.search(r"enum \{ (HOLDS[^}]*) \};", SOURCE)[1]
    assert dict(re.findall(r"(\w+) = (\d+)", says)) == {s.name: str(s.value) for s in Says}
    assert f"enum {{ RECOVERED = {State.RECOVERED:d} }};" in SOURCE
    assert "enum { PAIRS, RUNS };" in SOURCE
    assert [deltas.for_loops(e)[0] for e in (Encoding.RLE, Encoding.ZRUN)] == [0, 1]


def arguments(rows: int = 8, pages: int = 3):
    """What `check_pages` takes: rows of one byte each, of pages that hold them in turn."""
    columns = tuple(
        np.zeros(rows, dtype)
        for dtype in (np.uint64, np.uint64, np.uint32, np.uint32, np.uint16, np.uint16, np.uint16, np.uint8, np.uint8)
    )
    starts = np.linspace(0, rows, pages + 1).astype(np.uint32)
    chains = (np.zeros(9000, np.uint8), np.full(256, 2, np.uint8), starts, np.arange(rows, dtype=np.uint32))
    columns[2][:] = 1
    return chains, columns


def check(chains, columns, first=0, end=3, size=1024, coding=(0, 0, 1), said=8, left=3, wrong=(8, 2), suspects=(8, 4)):
    numbers = np.full(left, 9, np.uint8)
    room = np.zeros(wrong, np.int64), np.zeros(suspects, np.int64)
    span, sums = (first, end, size), (0, 0, 1)
    native.loops.check_pages(chains, columns, span, coding, sums, np.zeros(said, np.uint8), numbers, *room)
    return numbers.tolist()


@BUILT
def test_arguments_of_the_loops_over_pages_that_do_not_fit_are_refused():
    chains, columns = arguments()
    assert check(chains, columns) == [0, 0, 0]
    for wrong in (
        {"end": 4},
        {"first": -1},
        {"first": 2, "end": 1},
        {"size": 1 << 62},
        {"size": 0},
        {"coding": (2, 0, 1)},
        {"coding": (0, 1, 1)},
        {"coding": (1, 0, 7)},
        {"said": 7},
        {"left": 2},
        {"wrong": (8, 3)},
        {"suspects": (8, 2)},
    ):
        with pytest.raises(ValueError):
            check(chains, columns, **wrong)
    for place, wrong in ((1, np.zeros(255, np.uint8)), (2, np.uint32([5, 0, 8, 8])), (2, np.uint32([0, 3, 5, 9]))):
        with pytest.raises(ValueError):
            check(tuple(wrong if i == place else c for i, c in enumerate(chains)), columns)
    with pytest.raises(ValueError):
        check(chains, (*columns[:-1], columns[-1][:-1]))


@BUILT
def test_a_row_or_a_payload_that_is_not_there_is_left_to_others():
    chains, columns = arguments()
    chains[3][0] = 1 << 31
    columns[0][4] = 9000  # the payload lies behind the data
    columns[0][7] = (1 << 64) - 1
    assert check(chains, columns) == [1, 1, 1]
    chains, columns = arguments()
    assert check(chains, columns, wrong=(1, 2)) == [1, 1, 1]  # no room to tell what is seen


@BUILT
def test_pages_that_do_not_fit_memory_are_refused():
    chains, columns = arguments()
    pages, state, touched = np.zeros((3, 1024), np.uint8), np.zeros(3, np.uint8), np.zeros(3, bool)
    none, done = np.empty(0, np.int64), np.zeros(3, np.uint32)

    def fill(end=3, pages=pages, state=state, numbers=none, done=done):
        given = (pages, state, touched, numbers, done, False)
        native.loops.fill_pages(chains, columns, (0, end, 1024), (0, 0, 1), *given)

    fill()
    assert done.tolist() == chains[2][1:].tolist()
    assert state.tolist() == [State.RECOVERED] * 3
    fill(numbers=np.array([2, 1, 0]))
    for wrong in (
        {"end": 4},
        {"pages": pages[:2]},
        {"state": state[:2]},
        {"done": done[:2]},
        {"numbers": np.array([0, 1, 3])},
        {"numbers": np.array([0, -1, 2])},
        {"numbers": np.array([0])},
    ):
        with pytest.raises(ValueError):
            fill(**wrong)


@BUILT
def test_pages_are_counted_and_ordered_only_where_there_is_room():
    pages, counts = np.array([1, -1, 0, 1]), np.zeros(2, np.uint32)
    native.loops.count_pages(pages, counts)
    assert counts.tolist() == [1, 2]
    ends, order = np.array([0, 1], np.uint32), np.zeros(3, np.uint32)
    native.loops.order_pages(pages, 10, ends, order)
    assert order.tolist() == [12, 10, 13]
    with pytest.raises(ValueError):
        native.loops.count_pages(np.array([2]), counts)
    with pytest.raises(ValueError):
        native.loops.order_pages(np.array([2]), 0, ends, order)
    with pytest.raises(ValueError):  # the order is full
        native.loops.order_pages(np.array([1]), 0, ends, order)
    with pytest.raises(ValueError):
        native.loops.order_pages(pages, 1 << 32, np.zeros(2, np.uint32), order)


@BUILT
def test_a_record_without_a_kind_changes_nothing(monkeypatch):
    monkeypatch.setattr(bypage, "FEW", 1)
    builder = StreamBuilder().page(0, noise(1)).page(PAGE, noise(2))
    builder.word(PAGE | Flag.CONTINUE)  # a record without a kind
    assert memories(builder.end().bytes()) == in_numpy(lambda: memories(builder.end().bytes()))


@BUILT
def test_a_file_that_is_rewritten_while_it_is_read_ends_in_an_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "THREADS", 2)
    monkeypatch.setattr(native, "THREAD_BYTES", PAGE)
    whole = stream("posted", 3, 5)
    path, over = tmp_path / "S", threading.Event()
    path.write_bytes(whole)
    records = xbrletools.open(whole).records
    columns = records.columns.take(records.is_page)
    spans = zip(columns.payload().tolist(), columns.length.tolist(), strict=True)
    payloads = [(at, length) for at, length in spans if length]

    def rewrite():
        chance = random.Random(1)
        with path.open("r+b", buffering=0) as file:
            while not over.is_set():
                at, length = chance.choice(payloads)
                file.seek(at + chance.randrange(length))
                file.write(bytes([chance.choice((0, 1, 2, 127, 255))]))

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(12):
            try:
                capture = xbrletools.open(path, cache=False)
                assert held_in(capture.memory())["given"]
                list(capture.verify())
            except XbrleError:
                pass
    finally:
        over.set()
        writer.join()
