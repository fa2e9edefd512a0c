from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sender.snaps import PAGE
from xbrletools import XbrleError
from xbrletools.codec import deltas
from xbrletools.codec.layout import dtype_of
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS, Checksum
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.memory.ramaddr import layout
from xbrletools.model import Block
from xbrletools.sender.policy import Choices
from xbrletools.sender.saver import Frames, PageRecords, RecordForm, Writer, memory_size

NAMES = [b"pc.ram", b"\x00odd", b"x" * 255]
DUP, FULL, DELTA, SAME = range(4)


def batch(kinds: list[int], blocks: list[int], dialect: str) -> tuple[PageRecords, Choices, list[bytes]]:
    """PageRecords of these kinds over random pages, and the payload of each."""
    rng = np.random.default_rng(len(kinds))
    count = len(kinds)
    kind = np.array(kinds)
    old = rng.integers(0, 256, (count, PAGE), dtype=np.uint8)
    new = old.copy()
    new[:, 7] ^= 1
    new[kind == DUP] = 9
    data, lengths = deltas.encode(DIALECTS[dialect].encoding, old[kind == DELTA], new[kind == DELTA])
    ends = np.cumsum(lengths)
    cut = [bytes(data[e - n : e]) for e, n in zip(ends, lengths, strict=True)]
    sizes = np.zeros(count, np.int64)
    sizes[kind == DELTA] = lengths
    payloads = [cut.pop(0) if k == DELTA else b"" for k in kinds]
    none = np.zeros(count, bool)
    address = np.arange(count) * PAGE
    records = PageRecords(np.array(blocks), address, new, kind == DUP, none)
    return records, Choices(kind == DELTA, data, sizes, none, none, kind == SAME), payloads


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12),
    dialect=st.sampled_from(sorted(DIALECTS)),
    endian=st.sampled_from(["little", "big"]),
    checksums=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_batches_are_written_as_the_grammar_builds_each_record(rows, dialect, endian, checksums):
    form = RecordForm(DIALECTS[dialect], endian, checksums)
    d = form.dialect
    kinds, blocks = [k for k, _ in rows], [b for _, b in rows]
    records, choices, payloads = batch(kinds, blocks, dialect)
    grammar = ram.record(form.version, d, endian)
    selected, number, expected = -1, 0, []
    for i, kind in enumerate(kinds):
        if kind == SAME:
            expected.append(b"")
            continue
        named = form.version == 4 and blocks[i] != selected
        selected = blocks[i]
        flag = {DUP: Flag.COMPRESS, FULL: Flag.PAGE, DELTA: ram.delta_flag(form.version)}[kind]
        if form.version == 4 and not named:
            flag |= Flag.CONTINUE
        content = records.contents[i]
        total = int(content.sum(dtype=np.uint64))
        stated = {Checksum.SUM: total, Checksum.COMPLEMENT: total ^ 0xFFFFFFFF}.get(d.checksum, 0)
        flags = 1
        if d.checksum is Checksum.FLAGGED and checksums:
            stated, flags = total, 3
        header = dict.fromkeys(dtype_of(d.header(form.endian)).names, 0)
        header |= {"flags": flags, "length": len(payloads[i]) + d.length_counts, "checksum": stated, "sequence": number}
        body = {
            DUP: {"fill": 9},
            FULL: {"checksum": total, "data": content.tobytes()},
            DELTA: {"header": header, "payload": payloads[i]},
        }[kind]
        name = NAMES[blocks[i]] if named else None
        expected.append(
            grammar.build({"word": int(records.address[i]) | flag, "blocks": None, "name": name, "body": body})
        )
        number += 1
    out, starts = Writer(form, NAMES).write(records, choices)
    assert [out[a:b].tobytes() for a, b in pairwise(starts)] == expected


def test_the_block_last_named_is_remembered_between_batches():
    form = RecordForm(DIALECTS["posted"])
    records, choices, _ = batch([FULL, DUP], [1, 1], "posted")
    writer = Writer(form, NAMES)
    first, _ = writer.write(records, choices)
    second, _ = writer.write(records, choices)
    assert len(first) - len(second) == 1 + len(NAMES[1])


def test_a_name_that_has_no_length_byte_is_refused():
    with pytest.raises(XbrleError, match="1 to 255 bytes"):
        Writer(RecordForm(DIALECTS["posted"]), [b"x" * 256])


def test_mem_size_lists_blocks_in_v4_and_ends_ram_addr_space_in_v3():
    blocks = [Block(b"pc.ram", 3 * PAGE), Block(b"pc.bios", PAGE)]
    offsets, _ = layout(blocks, PAGE, {b"pc.bios": 8 * PAGE})
    assert memory_size(3, blocks, offsets, PAGE) == (9 * PAGE | 4).to_bytes(8, "big")
    assert memory_size(4, blocks, offsets, PAGE) == (
        (4 * PAGE | 4).to_bytes(8, "big")
        + b"\x06pc.ram"
        + (3 * PAGE).to_bytes(8, "big")
        + b"\x07pc.bios"
        + PAGE.to_bytes(8, "big")
    )


def test_a_part_after_an_idle_block_section_takes_nothing_but_ids():
    frames = Frames(4, block_section=True)
    part = bytes([SectionType.PART])
    assert frames.section(SectionType.PART) == (
        part + (1).to_bytes(4, "big") + (2).to_bytes(8, "big") + part + (2).to_bytes(4, "big")
    )
    assert qevm.FileHeader.parse(frames.file_header()).version == 3
