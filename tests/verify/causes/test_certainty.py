"""Damages in whose place another cause fits by chance: what is certain of them is right."""

from collections.abc import Callable

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES
from xbrletools.verify.cause import CauseName, Sure
from xbrletools.verify.causes.diagnose import diagnose
from xbrletools.verify.verdict import Verdict


def _verdict(data: bytes) -> Verdict:
    return xbrletools.open(data).verdict()


def _certain(data: bytes) -> set[CauseName]:
    return {c.name for c in _verdict(data).causes if c.sure is Sure.CERTAIN}


def _cut(data: bytes, at: int, count: int) -> bytes:
    return data[:at] + data[at + count :]


def _twice(data: bytes, at: int, count: int) -> bytes:
    return data[: at + count] + data[at:]


def _flipped(data: bytes, at: int, bits: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def test_lost_bytes_that_several_flips_explain_by_chance() -> None:
    assert _certain(_cut((SAMPLES / "xbzrle-16m.bin").read_bytes(), 175745, 4096)) <= {CauseName.BYTES_MISSING}


def test_bytes_that_came_twice_where_a_record_begins_inside_another() -> None:
    assert _certain(_twice((SAMPLES / "xbzrle-16m.bin").read_bytes(), 655360, 4096)) <= {CauseName.BYTES_INSERTED}


@pytest.mark.parametrize(
    ("path", "at", "count"), [("qemu-2011-posted/dbg-mixed-16m", 5787648, 4096), ("qemu-2010/sep10-x", 1634816, 512)]
)
def test_bytes_that_came_twice_where_the_bytes_before_show_it(
    path: str, at: int, count: int, corpus: Callable[[str], bytes]
) -> None:
    causes = _verdict(_twice(corpus(f"{path}.bin"), at, count)).causes
    assert causes[0].name is CauseName.BYTES_INSERTED
    assert causes[0].sure in (Sure.CERTAIN, Sure.LIKELY)


def test_a_page_whose_sum_holds_without_some_bytes_where_the_grid_says_that_bytes_are_missing(
    corpus: Callable[[str], bytes],
) -> None:
    assert _certain(_cut(corpus("qemu-2010/m115dbg-x.bin"), 2208980, 1460)) <= {CauseName.BYTES_MISSING}


@pytest.mark.parametrize("name", ["posted-8m.bin", "xbzrle-16m.bin"])
@pytest.mark.parametrize("kind", ["xbrle", "eos"])
def test_a_flag_that_says_multifd_in_a_stream_with_pages_does_not_make_a_channel_missing(name: str, kind: str) -> None:
    data = (SAMPLES / name).read_bytes()
    columns = xbrletools.open(data).records.columns
    number = {"xbrle": max(columns.kind[columns.header_flags > 0]), "eos": columns.kind[-1]}[kind]
    rows = (columns.kind == number).nonzero()[0]
    at = int(columns.offset[rows[len(rows) // 2]])
    verdict = _verdict(_flipped(data, at + 6, 0x02))
    assert CauseName.CHANNEL_MISSING not in {c.name for c in verdict.causes}
    assert verdict.status.value == "damaged"


@pytest.mark.parametrize("name", ["posted-8m.bin", "xbzrle-16m.bin"])
@pytest.mark.parametrize(("byte", "bit"), [(0, 0), (5, 0), (6, 4), (7, 2), (7, 5)])
def test_a_bit_of_an_eos_is_told_though_receivers_may_pass_over_it(name: str, byte: int, bit: int) -> None:
    data = (SAMPLES / name).read_bytes()
    columns = xbrletools.open(data).records.columns
    rows = (columns.kind == columns.kind[-1]).nonzero()[0]
    at = int(columns.offset[rows[len(rows) // 2]])
    verdict = _verdict(_flipped(data, at + byte, 1 << bit))
    assert verdict.status.value == "damaged"
    assert [c.name for c in verdict.causes] == [CauseName.SECTION_FRAMING]


@pytest.mark.parametrize("at", [1105920, 2281472])
def test_a_zeroed_block_over_a_header_is_not_certainly_a_flipped_flag(at: int, corpus: Callable[[str], bytes]) -> None:
    data = corpus("qemu-2010/m115dbg-x.bin")
    assert _certain(data[:at] + bytes(4096) + data[at + 4096 :]) <= {CauseName.BYTES_OVERWRITTEN}


@pytest.mark.parametrize("number", [93, 97, 99])
def test_a_section_that_came_twice_is_named_though_it_goes_on_in_another_block(
    number: int, corpus: Callable[[str], bytes]
) -> None:
    data = corpus("qemu-2011-posted/dbg-vga-x.bin")
    section = xbrletools.open(data).stream.sections[number]
    assert section.end is not None
    verdict = _verdict(_twice(data, section.offset, section.end - section.offset))
    assert verdict.status.value in ("damaged", "corrupt")
    assert CauseName.RECORDS_REPEATED in {c.name for c in verdict.causes}
    assert _certain(_twice(data, section.offset, section.end - section.offset)) <= {
        CauseName.RECORDS_REPEATED,
        CauseName.STALE_BASE,
    }


@pytest.mark.parametrize(
    ("path", "low", "middle", "high"),
    [("dbg-mixed-16m", 2612202, 2653242, 2679415), ("dbg-vga-x", 1084387, 1096762, 1111749)],
)
def test_spans_of_two_blocks_that_changed_places_are_not_certainly_missing(
    path: str, low: int, middle: int, high: int, corpus: Callable[[str], bytes]
) -> None:
    data = corpus(f"qemu-2011-posted/{path}.bin")
    changed = data[:low] + data[middle:high] + data[low:middle] + data[high:]
    assert CauseName.RECORDS_MISSING not in _certain(changed)


def test_records_of_nearly_32_kib_that_are_missing_are_not_certainly_spliced(corpus: Callable[[str], bytes]) -> None:
    data = corpus("qemu-2011-posted/def-mixed-16m.bin")
    assert CauseName.SPLICED not in _certain(_cut(data, 1784859, 31628))


@pytest.mark.parametrize(
    ("path", "at", "bit"), [("qemu-2010/m115-x", 3384944, 6), ("qemu-2011-posted/dbg-stale-reject", 3829242, 0)]
)
def test_a_bit_of_a_sum_after_a_long_chain_that_holds_is_not_taken_for_a_value_before(
    path: str, at: int, bit: int, corpus: Callable[[str], bytes]
) -> None:
    causes = _verdict(_flipped(corpus(f"{path}.bin"), at, 1 << bit)).causes
    assert CauseName.CHECKSUM_FIELD in {c.name for c in causes}


def test_pages_that_a_sender_without_a_cache_sends_anew_are_not_taken_for_the_damage(
    corpus: Callable[[str], bytes],
) -> None:
    data = corpus("qemu-7.2/pc16-plain-kvm.bin")
    causes = _verdict(_twice(data, 1659907 - 9, 9)).causes
    assert [c.name for c in causes] == [CauseName.RECORDS_REPEATED]
    assert causes[0].repair is None or causes[0].repair.replaced == 9


@pytest.mark.parametrize("at", [0x5E000, 0x42000, 0x90000])
def test_a_sector_that_came_twice_makes_a_record_begin_anew(at: int) -> None:
    data = _twice((SAMPLES / "xbzrle-16m.bin").read_bytes(), at, 4096)
    causes = _verdict(data).causes
    assert causes[0].name is CauseName.BYTES_INSERTED
    assert causes[0].sure in (Sure.CERTAIN, Sure.LIKELY)


@pytest.mark.parametrize(
    ("path", "low", "middle", "high"),
    [
        ("qemu-2010/lm2dbg-x", 1319208, 1320746, 1327176),  # the first is read as of the block before
        ("qemu-2010/lm2dbg-x", 1319235, 1319296, 1319460),  # where the next sweep begins
        ("qemu-2010/lm2dbg-x", 1135636, 1136021, 1136215),  # of a page that a bit of its address gives, too
        ("qemu-2011-posted/dbg-vga-x", 1096762, 1096819, 1096883),
        ("qemu-2011-posted/dbg-vga-x", 1850679, 1850736, 1850798),
        ("qemu-2011-posted/dbg-vga-x", 1850679, 1850798, 1856060),
        ("qemu-2011-posted/dbg-block-ix", 1924418, 1932626, 1934657),  # of the first pages of their block
        ("qemu-2011-posted/dbg-oddcache-1500000", 2891737, 2891764, 2895875),
        ("qemu-2011-posted/def-mixed-16m", 3561808, 3561865, 3561927),  # no sums are stated
    ],
)
def test_records_that_changed_places_where_the_block_changes_are_not_certain_to_be_anything_else(
    path: str, low: int, middle: int, high: int, corpus: Callable[[str], bytes]
) -> None:
    whole = corpus(f"{path}.bin")
    data = whole[:low] + whole[middle:high] + whole[low:middle] + whole[high:]
    causes = diagnose(xbrletools.open(data).stream)
    assert {c.name for c in causes if c.sure is Sure.CERTAIN} <= {CauseName.RECORDS_REORDERED}
    assert CauseName.RECORDS_REORDERED in (causes[0].name, *causes[0].candidates)
    for repair in [c.repair for c in causes if c.repair is not None]:
        assert data[: repair.offset] + repair.data + data[repair.offset + repair.replaced :] == whole


def test_an_exchange_where_the_block_changes_that_alone_makes_the_sums_hold_is_undone(
    corpus: Callable[[str], bytes],
) -> None:
    whole = corpus("qemu-2010/lm2dbg-x.bin")
    low, middle, high = 1319208, 1320746, 1327176
    data = whole[:low] + whole[middle:high] + whole[low:middle] + whole[high:]
    repair = diagnose(xbrletools.open(data).stream)[0].repair
    assert repair is not None
    assert data[: repair.offset] + repair.data + data[repair.offset + repair.replaced :] == whole


@pytest.mark.parametrize("bit", [4, 7])
def test_a_bit_of_an_address_whose_sum_holds_is_certain_though_another_block_has_that_page(
    bit: int, corpus: Callable[[str], bytes]
) -> None:
    whole = corpus("qemu-2011-posted/dbg-vga-x.bin")
    damaged = _flipped(whole, 1850563 + 5, 1 << bit)
    cause = diagnose(xbrletools.open(damaged).stream)[0]
    assert (cause.name, cause.sure, cause.repair is not None) == (CauseName.ADDRESS, Sure.CERTAIN, True)


def test_a_record_that_came_twice_is_not_given_another_address(corpus: Callable[[str], bytes]) -> None:
    """The page after the next one follows it, so one bit of its address would put the order right, too."""
    data = _twice(corpus("qemu-2010/lm2-x.bin"), 2848914, 9)
    (cause,) = diagnose(xbrletools.open(data).stream)
    assert cause.sure is not Sure.CERTAIN
    assert cause.repair is None


@pytest.mark.parametrize(("at", "other"), [(1672060, 1576308), (1318803, 1831016)])
def test_a_stream_of_another_sender_that_goes_on_is_not_taken_for_bytes_put_in(
    at: int, other: int, corpus: Callable[[str], bytes]
) -> None:
    data = corpus("qemu-2010/lm2dbg-x.bin")[:at] + corpus("qemu-2011-posted/dbg-vga-x.bin")[other:]
    cause = diagnose(xbrletools.open(data).stream)[0]
    assert cause.name is CauseName.SPLICED
    assert cause.sure in (Sure.CERTAIN, Sure.LIKELY)


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("qemu-10/pc16-dimm-hotplug", 147624),
        ("qemu-10/pc16-dimm-hotplug", 182600),
        ("qemu-7.2/ppc-g3beige32-plain-tcg", 67337),
    ],
)
def test_bytes_over_many_dup_pages_that_the_first_sends_count_are_not_taken_for_bytes_put_in(
    path: str, at: int, corpus: Callable[[str], bytes]
) -> None:
    data = corpus(f"{path}.bin")
    over = np.random.default_rng(5).integers(0, 256, 512).astype(np.uint8).tobytes()
    cause = diagnose(xbrletools.open(data[:at] + over + data[at + len(over) :]).stream)[0]
    assert cause.name is CauseName.BYTES_OVERWRITTEN
    assert cause.sure in (Sure.CERTAIN, Sure.LIKELY)


@pytest.mark.parametrize(
    ("path", "at", "end"),
    [
        ("qemu-2010/lm2dbg-x", 769721, 771243),
        ("qemu-2010/lm2dbg-x", 1135564, 1139637),
        ("qemu-2011-posted/dbg-vga-x", 1953204, 1965625),
        ("qemu-2011-posted/dbg-vga-x", 1842346, 1850563),
        ("qemu-2011-posted/dbg-block-ix", 2185120, 2187603),
        ("qemu-2011-posted/def-mixed-16m", 1595001, 1597307),
    ],
)
def test_records_that_came_twice_are_named_though_the_block_changes_amid_them(
    path: str, at: int, end: int, corpus: Callable[[str], bytes]
) -> None:
    whole = corpus(f"{path}.bin")
    data = _twice(whole, at, end - at)
    cause = diagnose(xbrletools.open(data).stream)[0]
    assert cause.name is CauseName.RECORDS_REPEATED
    if cause.repair is not None:
        repaired = data[: cause.repair.offset] + data[cause.repair.offset + cause.repair.replaced :]
        assert repaired == whole
