import numpy as np
import pytest
from construct import Byte, Int16ub, RepeatUntil, Select, Struct

import xbrletools
from tests.conftest import SAMPLES, SOUND
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.container.fields import (
    UNREAD,
    expanded,
    flag_words,
    flags_of,
    record_tree,
    section_tree,
    tree,
    whole_tree,
)
from xbrletools.formats import qevm, ram
from xbrletools.formats.dialects import DIALECTS


def leaves(field):
    if not field.children:
        yield field
    for child in field.children:
        yield from leaves(child)


def named(field, name):
    return next(f for f in walk(field) if f.name == name)


def walk(field):
    yield field
    for child in field.children:
        yield from walk(child)


def assert_covers(field):
    """Every byte belongs to exactly one leaf, in order."""
    at = field.offset
    for leaf in leaves(field):
        assert leaf.offset == at
        assert len(leaf.raw) == leaf.size
        at += leaf.size
    assert at == field.offset + field.size


EVERY_SAMPLE = sorted(p.stem for p in SOUND)


@pytest.mark.parametrize("name", EVERY_SAMPLE)
def test_the_fields_of_every_record_of_a_sample_cover_its_bytes_and_say_what_the_table_says(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    c, settings = capture.records.columns, capture.facts.reading
    grammar = (settings.version, settings.dialect, settings.endian, settings.page_size)
    for row in range(0, len(c), 7):
        start = int(c.offset[row])
        data = capture.data[start : start + int(c.head[row]) + int(c.length[row])].tobytes()
        field = record_tree(data, start, *grammar)
        assert_covers(field)
        assert UNREAD not in [f.name for f in walk(field)]
        assert named(field, "word").value == int(c.address[row]) | int(c.flags[row])
        if any(f.name == "payload" for f in walk(field)):
            payload = named(field, "payload")
            assert (payload.offset, payload.size) == (start + int(c.head[row]), int(c.length[row]))


@pytest.mark.parametrize("name", EVERY_SAMPLE)
def test_the_fields_of_all_sections_cover_the_capture(name):
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    at = qevm.FileHeader.sizeof()
    for section in capture.sections:
        field = section_tree(section, capture.data)
        assert field.offset == at
        assert_covers(field)
        at += field.size
    assert at == len(capture.data)


def test_a_delta_comes_apart_into_its_pairs():
    old, new = np.zeros(PAGE, np.uint8), np.zeros(PAGE, np.uint8)
    new[10:12] = 5
    data = StreamBuilder().page(0, noise(1)).part().delta(0, old, new).bytes()
    capture = xbrletools.open(data)
    row = int(capture.records.by_number[1])
    start = int(capture.records.columns.offset[row])
    field = record_tree(data[start : start + 8 + 8 + 40], start, 4, DIALECTS["posted"], "little", PAGE)
    pairs = named(expanded(field, DIALECTS["posted"]), "payload").children
    assert [tuple(f.value for f in pair.children) for pair in pairs[:3]] == [(10, 0), (2, 5), (255, 0)]
    assert_covers(expanded(field, DIALECTS["posted"]))


def test_runs_of_xbzrle_come_apart_with_their_literals():
    old, new = np.zeros(PAGE, np.uint8), np.zeros(PAGE, np.uint8)
    new[200:203] = (1, 2, 3)
    stream = StreamBuilder(dialect="xbzrle").page(0, noise(1)).part()
    start = len(stream.out)
    data = bytes(stream.delta(0, old, new).out)[start:]
    field = expanded(record_tree(data, start, 4, DIALECTS["xbzrle"], "big", PAGE), DIALECTS["xbzrle"])
    run = named(field, "payload").children[0]
    assert [(f.name, f.value) for f in run.children] == [("zrun", 200), ("nzrun", 3), ("data", b"\1\2\3")]
    assert_covers(field)


@pytest.mark.parametrize("there", range(8 + 7 + 1))
def test_a_cut_record_shows_the_fields_that_are_there(there):
    data = bytes(StreamBuilder().page(0, noise(1)).out)
    start = data.index(b"\6pc.ram", 0x30) - 8
    field = record_tree(data[start : start + there], start, 4, None, "little", PAGE)
    assert_covers(field)
    whole = [("word", 8), ("name", 15)]
    expected = [name for name, end in whole if end <= there]
    if there not in (0, 8, 15):
        expected.append(UNREAD)
    assert [f.name for f in leaves(field) if f.size] == expected


def test_a_block_list_shows_each_entry():
    data = bytes(StreamBuilder({b"pc.ram": PAGE, b"vga.vram": 2 * PAGE}).out)
    start = data.index(b"\6pc.ram") - 8
    field = tree(ram.record(4), data[start:], start)
    assert [f.value for f in leaves(named(field, "entries"))] == [b"pc.ram", PAGE, b"vga.vram", 2 * PAGE]
    assert_covers(field)


def test_what_failed_in_a_choice_leaves_no_trace():
    grammar = Struct(
        "a" / Byte,
        "b" / Select(Struct("x" / Byte, "y" / RepeatUntil(lambda v, *_: v == 9, Byte)), Struct("z" / Int16ub)),
    )
    field = tree(grammar, b"\1\2\3", 100)
    assert [(f.name, f.offset, f.value) for f in leaves(field)] == [("a", 100, 1), ("z", 101, 0x203)]


def test_the_flags_of_an_x86_cpu_have_the_names_that_its_maker_gives_them():
    capture = xbrletools.open(SAMPLES / "xbzrle-16m.bin")
    section = next(s for s in capture.sections if s.owner is not None and s.owner.idstr == b"cpu")
    whole = whole_tree(section, capture.data, capture.facts, capture.fields(section))
    flags = flags_of(section)
    words = {name: flag_words(named(whole, name), flags) for name in ("env.cr[0]", "env.eflags", "env.cr[3]")}
    cr0, rflags = named(whole, "env.cr[0]").value, named(whole, "env.eflags").value
    assert words["env.cr[0]"].split("|") == [n for n, bit in (("PE", 0), ("ET", 4), ("PG", 31)) if cr0 >> bit & 1]
    assert ("IF" in words["env.eflags"].split("|")) == bool(rflags >> 9 & 1)
    assert words["env.cr[3]"] is None
    assert [f.name for f in whole.children][-2:] == ["data", "footer"]
