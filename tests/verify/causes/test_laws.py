"""The laws hold in undamaged captures, and say what a damage did."""

import random
from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from tests.building import configuration
from tests.causes.damage import Whole, damage
from tests.causes.measure import diagnosed
from tests.conftest import SAMPLES
from tests.siege.bombs import dup, page, stream
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.ram import Kind
from xbrletools.ram.record import WORD
from xbrletools.verify.cause import Sure
from xbrletools.verify.causes import grid, order, paced
from xbrletools.verify.causes.case import Case, open_case
from xbrletools.verify.causes.reading import read
from xbrletools.verify.status import Status


def _case(data: bytes) -> Case:
    found = read(xbrletools.open(data).stream)
    assert found is not None
    return open_case(found)


@pytest.fixture(scope="module")
def data() -> bytes:
    return (SAMPLES / "posted-8m.bin").read_bytes()


@pytest.fixture(scope="module")
def whole(data: bytes) -> Case:
    return _case(data)


def test_each_part_of_an_old_sender_ends_where_32_kib_of_the_file_end(whole: Case) -> None:
    assert whole.grid.in_force
    assert whole.grid.shift is None
    assert all(low <= 0 <= high for low, high in zip(whole.grid.low, whole.grid.high, strict=True))


@pytest.mark.parametrize("size", [9, 700, 5000])
def test_the_grid_tells_how_many_bytes_are_missing(data: bytes, whole: Case, size: int) -> None:
    row = int(whole.chains.carriers[600])
    at = int(whole.read.rows.offset[row]) + 50
    low, high = _case(data[:at] + data[at + size :]).grid.added(row) or (0, 0)
    assert low <= -size <= high < 0 or (size == 9 and low <= -9)


def test_a_sender_without_the_grid_says_nothing_by_it() -> None:
    assert not _case((SAMPLES / "lm2-little.bin").read_bytes()).grid.in_force
    assert not _case((SAMPLES / "xbzrle-16m.bin").read_bytes()).grid.in_force


def test_numbers_fit_the_grid_modulo_its_size() -> None:
    assert grid.fits(-10, 10, 0)
    assert grid.fits(-10, 10, grid.BUFFER - 3)
    assert not grid.fits(-10, 10, 11)


def test_first_sends_come_in_the_order_of_the_pages(whole: Case) -> None:
    walk = whole.order
    np.testing.assert_array_equal(walk.pages[walk.firsts], np.arange(len(walk.firsts)))
    assert not walk.broken


def test_a_page_left_out_of_the_first_sweep_is_a_hole(data: bytes, whole: Case) -> None:
    place = int(whole.order.firsts[500])
    start, end = whole.span(place, place + 1)
    walk = _case(data[:start] + data[end:]).order
    assert walk.holes[0] == (place, int(whole.order.pages[place]))


def test_two_spans_that_changed_places_are_found(whole: Case) -> None:
    walk = whole.order
    first, second, end = 300, 304, 309
    pages = walk.pages.copy()
    pages[first:end] = np.concatenate([pages[second:end], pages[first:second]])
    moved = order.Order(pages, walk.starts, walk.odd, walk.twice, (), walk.firsts, True)
    assert (first, first + end - second, end) in order.swaps(moved, modern=False)


def test_every_stated_sum_holds_as_the_sender_had_the_page(whole: Case) -> None:
    assert whole.sums.holds.sum() == 228
    assert not whole.sums.fails.any()


def test_a_flipped_bit_stays_in_every_later_sum_of_its_page(data: bytes, whole: Case) -> None:
    rows = whole.read.rows
    deltas = np.flatnonzero(rows.kind == Kind.XBRLE)
    chains = {r: whole.chains.of(int(whole.read.page[r])) for r in deltas.tolist()}
    row = next(r for r, chain in chains.items() if len(chain) > 3 and chain[1] == r)
    start, end = whole.chains.span(row)
    at = 1 + next(at for at in range(start, end, 2) if data[at] == 1)  # the value of one byte alone
    flipped = bytearray(data)
    flipped[at] ^= 0x80
    found = _case(bytes(flipped))
    later = [r for r in found.chains.of(int(found.read.page[row])).tolist() if r >= row and found.chains.is_delta(r)]
    assert found.sums.first.tolist() == [row]
    assert found.sums.fails[later[0]]


def _sent(pages: list[int]) -> xbrletools.Capture:
    records = b"".join(page(i * PAGE, seed=i) if i % 2 else dup(i * PAGE) for i in pages)
    return xbrletools.open(stream([(b"pc.ram", 1000 * PAGE)], records))


@pytest.mark.parametrize("count", [30, 100])
def test_a_sender_that_walks_otherwise_everywhere_is_not_a_damage(count: int) -> None:
    chance = random.Random(count)
    for pages in (chance.sample(range(count), count), [chance.randrange(count) for _ in range(2 * count)], [0] * count):
        told = _sent(pages).verdict()
        assert (told.status, told.causes) == (Status.NO_FAULT, ())
        assert "records do not come in the order of QEMU's senders" in told.summary


def test_one_place_out_of_order_is_a_damage_still() -> None:
    pages = list(range(100))
    assert "QEMU's senders" not in _sent(pages).verdict().summary
    pages[50], pages[51] = pages[51], pages[50]
    assert _sent(pages).verdict().status is Status.DAMAGED


#: Pages of the sections after the first sweep, each as ranges. QEMU 10 sent such ones of a guest that writes in turn.
SWEEPS = {
    "begun anew between sections": [((20, 58), (82, 93)), ((58, 82), (93, 108))],
    "begun anew amid a section": [((20, 58), (82, 88)), ((88, 93), (58, 82)), ((93, 108),)],
}


@pytest.mark.parametrize("sections", SWEEPS.values(), ids=SWEEPS)
def test_two_sweeps_of_today_that_fit_into_each_other_are_not_taken_for_an_exchange(
    sections: list[tuple[tuple[int, int], ...]],
) -> None:
    builder = StreamBuilder({b"pc.ram": 120 * PAGE}, dialect="xbzrle")
    for i in range(120):
        builder.dup(i * PAGE)
    for ranges in sections:
        builder.part()
        for i in (i for first, end in ranges for i in range(first, end)):
            builder.dup(i * PAGE, 1)
    told = xbrletools.open(builder.end().bytes()).verdict()
    assert (told.status, told.causes) == (Status.NO_FAULT, ())


def test_an_exchange_amid_a_section_of_today_is_a_damage_still() -> None:
    builder = StreamBuilder({b"pc.ram": 120 * PAGE}, dialect="xbzrle")
    for i in (*range(58), *range(82, 93), *range(58, 82), *range(93, 120)):
        builder.dup(i * PAGE)
    assert xbrletools.open(builder.end().bytes()).verdict().status is Status.DAMAGED


# -- where a bandwidth limit rules, a PART ends with the first record that takes it over its share ---------------------


def test_nearly_all_parts_of_such_a_capture_keep_it(corpus: Callable[[str], bytes]) -> None:
    found = read(xbrletools.open(corpus("qemu-7.2/pc16-xbzrle-large-kvm.bin")).stream)
    assert found is not None
    pace = paced.weigh(found)
    assert pace is not None
    keeps = (pace.sizes >= pace.limit) & (pace.sizes - pace.lasts < pace.limit)
    assert keeps.mean() > 0.85
    assert 0 <= pace.limit - (1 << 20) // 10 < 100  # 1 MiB a second


@pytest.mark.parametrize("name", ["qemu-7.2/pc16-plain-kvm.bin", "qemu-10/s390x-ccw64-xbzrle.bin"])
def test_it_is_not_in_force_where_no_limit_rules(name: str, corpus: Callable[[str], bytes]) -> None:
    found = read(xbrletools.open(corpus(name)).stream)
    assert found is not None
    assert paced.weigh(found) is None


@pytest.mark.parametrize(("kind", "seeds"), [("inserted", (700004, 700009)), ("cut", (700001, 700005))])
def test_bytes_put_in_and_missing_are_told_apart(
    kind: str, seeds: tuple[int, ...], corpus: Callable[[str], bytes]
) -> None:
    whole = Whole(corpus("qemu-7.2/pc16-xbzrle-large-kvm.bin"))
    for seed in seeds:
        data, truth = damage(whole, kind, (seed,))
        first = diagnosed(data)[0]
        assert first.name in truth.right
        assert first.sure is Sure.LIKELY


@pytest.mark.parametrize("dialect", ["xbzrle", "posted", "lm2"])
def test_a_header_that_no_sender_writes_is_the_damage_where_no_majority_of_deltas_shows_it(dialect: str) -> None:
    old, new = noise(1), noise(2)
    new[100:] = old[100:]
    builder = StreamBuilder(dialect=dialect).page(0, old).part().delta(0, old, new)
    at = len(builder.out) + WORD
    data = bytearray(builder.delta(0, new, old).end().bytes())
    data[at] &= ~1
    (cause,) = xbrletools.open(bytes(data)).verdict().causes
    assert (cause.name, cause.began.offset, cause.began.bit) == ("record-flags", at, 0)


def test_the_header_of_the_only_delta_is_the_damage_where_its_dialect_is_known() -> None:
    old, new = noise(1), noise(2)
    new[100:] = old[100:]
    builder = StreamBuilder(dialect="xbzrle").page(0, old).part()
    at = len(builder.out) + WORD
    data = bytearray(builder.delta(0, old, new).end().bytes())
    data[at] &= ~1
    data[8:8] = configuration()
    (cause,) = xbrletools.open(bytes(data)).verdict().causes
    assert (cause.name, cause.began.offset) == ("record-flags", at + len(configuration()))
