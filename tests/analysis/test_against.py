"""A capture's memory against a dump: as comparing them byte by byte finds it."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.posted import PAGE, encoded, page, stream, xbzrle_delta
from xbrletools.analysis import against
from xbrletools.analysis.against import Compared, by_block, compare, counterparts
from xbrletools.formats.elf import Machine
from xbrletools.memory.image import Image, State
from xbrletools.physical.layout import PhysicalMap, Range, Unplaced
from xbrletools.source.dumps import Dump, Form, Part, Space, Unknown
from xbrletools.source.sources import MappedSource

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]
NOISE = [random.Random(i).randbytes(PAGE) for i in range(8)]


def memory(pages: Sequence[int] = range(6)) -> Image:
    """8 pages of pc.ram of which some are known, one of them only in part, and 2 pages of vga."""
    records = [page(i * PAGE, NOISE[i]) for i in pages]
    records += [xbzrle_delta(6 * PAGE, encoded("xbzrle", A, B)), page(PAGE, NOISE[7], b"vga")]
    return xbrletools.open(stream(records, ((b"pc.ram", 8 * PAGE), (b"vga", 2 * PAGE))), dialect="xbzrle").memory()


def part(data: bytes, start: int, block: bytes | None = None, position: int = 0, length: int | None = None) -> Part:
    source = MappedSource("dump", data)
    return Part(source, position, len(data) - position if length is None else length, start, block)


def dump(*parts: Part, form: Form = Form.ELF, unknown: tuple[Unknown, ...] = ()) -> Dump:
    space = Space.PHYSICAL if parts[0].block is None else Space.BLOCK
    return Dump("dump", form, parts, space, unknown)


def layout(*ranges: Range, unplaced: tuple[Unplaced, ...] = ()) -> PhysicalMap:
    return PhysicalMap(ranges, "test", machine=Machine.NONE, unplaced=unplaced)


def naive(
    image: Image, block: bytes, start: int, data: bytes, unknown: Sequence[tuple[int, int]] = ()
) -> dict[str, int]:
    """What comparing byte by byte gives, in pages; ``differ`` counts bytes too."""
    first = image.space.slice(image.space.index(block)).start
    out = dict.fromkeys(("differ", "bytes", "equal", "partly", "unknown", "unsaid"), 0)
    for number in range(start // PAGE, -(-(start + len(data)) // PAGE)):
        given = image.recovered_bytes(first + number)
        states = set()
        for i in range(PAGE):
            at = number * PAGE + i
            if not start <= at < start + len(data):
                continue
            if image.state[first + number] == State.UNKNOWN:
                states.add("mine")
            elif not given[i] or any(low <= at < high for low, high in unknown):
                states.add("not")
            elif image.pages[first + number, i] == data[at - start]:
                states.add("same")
            else:
                states.add("other")
                out["bytes"] += 1
        kind = {
            "other" in states: "differ",
            states == {"mine"}: "unknown",
            states == {"not"}: "unsaid",
            states == {"same"}: "equal",
        }
        out[kind.get(True, "partly")] += 1
    return out


def as_counts(out: against.Outcome) -> dict[str, int]:
    return {
        "differ": len(out.pages), "bytes": out.bytes, "equal": out.equal,
        "partly": out.partly, "unknown": out.unknown, "unsaid": out.unsaid,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("piece", [against.PIECE, PAGE, 3 * PAGE])
def test_counts_are_those_of_a_naive_comparison(seed: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "PIECE", piece)
    monkeypatch.setattr(against, "LET_GO", PAGE)
    chance = random.Random(seed)
    image = memory(sorted(chance.sample(range(6), chance.randint(0, 6))))
    data = bytearray(image["pc.ram"].tobytes())
    for _ in range(chance.randint(0, 12)):
        data[chance.randrange(len(data))] ^= chance.randrange(256)
    start = chance.choice((0, chance.randrange(len(data))))
    stop = chance.choice((len(data), chance.randrange(start, len(data)) + 1))
    ranges = sorted(chance.sample(range(len(data)), 2 * chance.randint(0, 3)))
    unknown = [*zip(ranges[::2], ranges[1::2], strict=True)]
    raw = b"x" * 77 + bytes(data[start:stop])
    theirs = dump(
        part(raw, start, b"pc.ram", 77), form=Form.RAW, unknown=tuple(Unknown(*u, b"pc.ram") for u in unknown)
    )
    both = counterparts(image.space, theirs, None)
    found = compare(image, both.spans, theirs.unknown)
    assert as_counts(found) == naive(image, b"pc.ram", start, bytes(data[start:stop]), unknown)
    assert sum(a.length for a in both.alone) == len(data) - (stop - start)
    assert found.is_whole == (not (found.partly or found.unknown or found.unsaid))


@pytest.mark.parametrize("seed", range(20))
def test_by_addresses_it_is_the_same_through_the_map(seed: int) -> None:
    chance = random.Random(seed)
    image = memory()
    ram, vga = bytearray(image["pc.ram"].tobytes()), bytearray(image["vga"].tobytes())
    for data in (ram, vga):
        for _ in range(3):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    cut = chance.randrange(1, len(ram))
    hole = chance.choice((0, 0x1234, 0x100000))
    where = layout(
        Range(0, cut, b"pc.ram", 0),
        Range(cut + hole, len(ram) - cut, b"pc.ram", cut),
        Range(1 << 32, len(vga), b"vga", 0),
    )
    space = bytes(ram[:cut]) + bytes(hole) + bytes(ram[cut:])
    edge = chance.randrange(1, len(space))
    theirs = dump(part(space, 0, length=edge), part(space, edge, position=edge), part(bytes(vga), 1 << 32))
    both = counterparts(image.space, theirs, where)
    found = compare(image, both.spans)
    expected = {
        name: naive(image, b"pc.ram", 0, bytes(ram))[name] + naive(image, b"vga", 0, bytes(vga))[name]
        for name in ("differ", "bytes")
    }
    assert {name: as_counts(found)[name] for name in expected} == expected
    assert sum(a.length for a in both.alone) == hole
    assert all(a.reason == "the capture does not have memory there" for a in both.alone)
    for number, i in zip(found.pages.tolist(), found.spans.tolist(), strict=True):
        span = both.spans[i]
        address = Compared(image, span, {}).address(number)
        place = (number - int(image.space.first[span.block])) * PAGE
        [r] = [r for r in where.ranges if r.start <= address < r.end]
        assert place <= r.offset + address - r.start < place + PAGE


def test_what_only_one_side_has_is_listed_with_the_reason() -> None:
    image = memory()
    where = layout(
        Range(0, 4 * PAGE, b"pc.ram", 0), unplaced=(Unplaced(b"vga", 0, 2 * PAGE, "nothing says where it lies"),)
    )
    theirs = dump(part(bytes(PAGE), PAGE), part(bytes(PAGE), 0x100000))
    both = counterparts(image.space, theirs, where)
    assert [str(a) for a in both.alone] == [
        "pc.ram:0x0 at address 0x0: 0x1000 bytes are not compared: dump does not have this address",
        "pc.ram:0x2000 at address 0x2000: 0x2000 bytes are not compared: dump does not have this address",
        "address 0x100000 of dump: 0x1000 bytes are not compared: the capture does not have memory there",
        "vga:0x0: 0x2000 bytes are not compared: it is not placed: nothing says where it lies",
    ]
    only = counterparts(image.space, theirs, where, image.space.index("vga"))
    assert (only.spans, [a.where for a in only.alone]) == ((), ["vga:0x0"])


def test_blocks_are_matched_by_name_and_what_has_no_match_is_listed() -> None:
    image = memory()
    theirs = dump(part(bytes(9 * PAGE), 0, b"pc.ram"), part(bytes(PAGE), 0, b"rom"), form=Form.FOLDER)
    both = counterparts(image.space, theirs, None)
    assert [(s.block, s.offset, s.length) for s in both.spans] == [(0, 0, 8 * PAGE)]
    assert [(a.where, a.length) for a in both.alone] == [
        ("pc.ram:0x8000 of dump", PAGE), ("rom of dump", PAGE), ("vga:0x0", 2 * PAGE)
    ]  # fmt: skip
    raw = counterparts(image.space, dump(part(bytes(PAGE), 0, b"vga"), form=Form.RAW), None)
    assert [(a.where, a.length) for a in raw.alone] == [("vga:0x1000", PAGE)]  # and nothing of pc.ram


def test_zeros_of_a_raw_file_where_there_is_no_memory_are_a_gap(tmp_path: Path) -> None:
    image = memory()
    where = layout(Range(0, PAGE, b"pc.ram", 0), Range(5 * PAGE, PAGE, b"pc.ram", PAGE))
    for noise, expected in ((b"", []), (b"\1", [("address 0x1000 of dump", 4 * PAGE)])):
        data = bytearray(6 * PAGE)
        data[2 * PAGE : 2 * PAGE + len(noise)] = noise
        both = counterparts(image.space, dump(part(bytes(data), 0), form=Form.RAW), where)
        assert [(a.where, a.length) for a in both.alone] == expected


def test_a_page_that_two_ranges_show_is_one_page_that_differs() -> None:
    image = memory()
    wrong = bytes([image["pc.ram"][0, 0] ^ 1]) + image["pc.ram"][0, 1:].tobytes()
    where = layout(Range(0, PAGE, b"pc.ram", 0), Range(1 << 20, PAGE, b"pc.ram", 0))
    both = counterparts(image.space, dump(part(wrong, 0), part(wrong, 1 << 20)), where)
    found = compare(image, both.spans)
    assert (found.pages.tolist(), found.spans.tolist()) == ([0], [0])


def test_progress_counts_what_the_capture_gives() -> None:
    image, done = memory(), []
    compare(image, counterparts(image.space, dump(part(bytes(8 * PAGE), 0, b"pc.ram")), None).spans, (), done.append)
    assert sum(done) == 7 * PAGE


def test_bytes_that_a_dump_does_not_know_are_not_compared() -> None:
    image = memory()
    theirs = dump(part(bytes(PAGE), 0, b"pc.ram"), form=Form.RAW, unknown=(Unknown(0, PAGE, b"pc.ram"),))
    found = compare(image, counterparts(image.space, theirs, None).spans, theirs.unknown)
    assert as_counts(found) == {"differ": 0, "bytes": 0, "equal": 0, "partly": 0, "unknown": 0, "unsaid": 1}
    known, within = Compared(image, counterparts(image.space, theirs, None).spans[0], by_block(theirs.unknown)).known(0)
    assert not known.any() and within.all()
    assert np.array_equal(image["pc.ram"][0], np.frombuffer(NOISE[0], np.uint8))
