"""Devices, and everything else that has fields: the list, the tree, registers, bytes, another capture."""

import random

import numpy as np
import pytest
from textual.widgets import Input

import xbrletools
from tests.conftest import CORPUS, SAMPLES
from tests.tui.driving import POSTED, XBZRLE, browsing, browsing_capture, drives
from xbrletools.analysis.cpus import cpus_of
from xbrletools.analysis.devices import device_differences
from xbrletools.analysis.locate import locate
from xbrletools.container.fields import Field
from xbrletools.table.sections import Section
from xbrletools.text import shown
from xbrletools.tui.fieldrows import FieldRows, leaf_count, name_of, walk
from xbrletools.tui.sectionrows import Item, Part, SectionRows, section_rows
from xbrletools.tui.widgets.devicecard import DeviceCard, registers_of
from xbrletools.tui.widgets.fieldtree import FieldTree
from xbrletools.tui.widgets.hexview import ByteMark, HexView
from xbrletools.tui.widgets.sectionlist import SectionList


def a_tree(depth: int, chosen: random.Random, at: int = 0) -> Field:
    """A made-up tree. Each field without parts has one byte."""
    if not depth:
        return Field(f"leaf{at}", at, 1, at % 251, bytes([at % 251]))
    children, start = [], at
    for _ in range(chosen.randint(1, 30)):
        child = a_tree(chosen.randint(0, depth - 1), chosen, at)
        children.append(child)
        at += child.size
    return Field(f"branch{start}", start, at - start, None, b"", tuple(children))


def slow_rows(root: Field, is_open: set[tuple[int, ...]], path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """The lines of a tree, all of them, one after the other."""
    out = []
    for place, child in enumerate(root.children):
        out.append((*path, place))
        if (*path, place) in is_open:
            out += slow_rows(child, is_open, (*path, place))
    return out


@pytest.mark.parametrize("seed", range(5))
def test_a_line_of_a_tree_is_found_as_if_all_lines_were_made(seed: int) -> None:
    chosen = random.Random(seed)
    root = a_tree(4, chosen)
    rows = FieldRows(root)
    is_open = {path for path, _ in walk(root) if (row := find_row(rows, path)) is not None and rows.at(row).is_open}
    for _ in range(60):
        lines = slow_rows(root, is_open)
        assert len(rows) == len(lines)
        for row in {0, len(lines) - 1, *(chosen.randrange(len(lines)) for _ in range(8))}:
            assert rows.at(row).path == lines[row]
        row = chosen.randrange(len(lines))
        if rows.at(row).is_open is not None:
            is_open ^= {lines[row]}
        rows.turn(row)
        offset = chosen.randrange(root.size)
        held = rows.holding(offset)
        assert held is not None
        assert held in slow_rows(root, is_open)
    path, leaf = chosen.choice([(p, f) for p, f in walk(root) if not f.children])
    row = rows.show(path)
    assert rows.at(row).field is leaf
    assert rows.holding(leaf.offset) == path


def find_row(rows: FieldRows, path: tuple[int, ...]) -> int | None:
    """The line of a path, where it is not folded away."""
    return next((row for row in range(len(rows)) if rows.at(row).path == path), None)


def test_a_list_of_300_000_fields_is_opened_at_once_and_any_line_of_it_found() -> None:
    inner = tuple(
        Field(f"[{i}]", 8 * i, 8, None, b"", (Field("a", 8 * i, 4, i, b""), Field("b", 8 * i + 4, 4, i, b"")))
        for i in range(300_000)
    )
    rows = FieldRows(Field("data", 0, 2_400_000, None, b"", (Field("list", 0, 2_400_000, None, b"", inner),)))
    assert len(rows) == 1
    rows.turn(0)
    assert len(rows) == 300_001
    assert rows.at(250_001).field is inner[250_000]
    rows.turn(250_001)
    assert len(rows) == 300_003
    assert rows.at(250_003).path == (0, 250_000, 1)
    assert rows.at(250_004).field is inner[250_001]
    assert rows.holding(8 * 250_000 + 5) == (0, 250_000, 1)


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
def test_the_list_has_every_section_once_and_devices_first(name: str) -> None:
    capture = xbrletools.open(SAMPLES / f"{name}.bin")
    rows = section_rows(capture.sections)
    items = [rows.at(row) for row in range(len(rows))]
    assert [rows.row_of(item) for item in items] == list(range(len(rows)))
    sections = [item.section for item in items if item.part is Part.SECTION]
    assert sorted(sections) == list(range(len(capture.sections)))
    devices = [s.index for s in capture.sections if s.owner is not None and s.owner.idstr not in (b"ram", b"block")]
    assert sections[: len(devices)] == devices
    assert len(SectionRows(np.zeros(0, np.int64), 3)) == 5


def cpu_section(capture: xbrletools.Capture) -> Section:
    return next(s for s in capture.sections if s.owner is not None and s.owner.idstr == b"cpu")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)])
@drives
async def test_devices_are_listed_with_bytes_and_fields_and_a_field_is_four_keys_away(size: tuple[int, int]) -> None:
    capture = xbrletools.open(XBZRLE)
    section = cpu_section(capture)
    decoded = capture.fields(section)
    assert decoded is not None
    async with browsing(XBZRLE, size) as d:
        text = await d.press("6")  # the first
        line = next(x for x in text.splitlines() if x.split()[:1] == ["cpu"])
        assert line.split()[1:4] == ["0", f"{section.end - section.data:,}", str(leaf_count(decoded))]
        await d.press("slash")  # the second
        d.widget(Input).value = "env.eip"
        text = await d.press("enter")  # the third
        eip = next(f for _, f in walk(decoded) if f.name == "env.eip")
        assert f"{eip.value:#x}" in text
        chosen = d.widget(FieldTree).chosen.field
        assert (chosen.name, chosen.offset, chosen.value) == (eip.name, eip.offset, eip.value)
        view = d.widget(HexView)
        start = eip.offset - view.base
        assert np.flatnonzero(view.marks == ByteMark.CHANGED).tolist() == list(range(start, start + eip.size))
        if size[0] < 120:
            text = await d.press("x")
        assert eip.raw[:4].hex(" ") in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@drives
async def test_the_bytes_have_the_room_and_say_the_field_under_their_cursor(size: tuple[int, int]) -> None:
    async with browsing(XBZRLE, size) as d:
        await d.press("6")
        await d.fill("slash", "env.eip")
        await d.press("x", "home")
        view, tree = d.widget(HexView), d.widget(FieldTree)
        assert view.size.height > (14 if size[0] == 80 else 12)
        seen = set()
        for _ in range(6):
            text = await d.press("down")
            field = tree.chosen.field
            seen.add(field.offset)
            name = name_of(tree.root, tree.chosen.path)
            assert any(x.startswith(f" {name} = ") and f" · {field.size:,} byte" in x for x in text.splitlines())
        assert len(seen) > 1


@drives
async def test_the_names_of_columns_stand_over_them_after_a_scroll_bar_came_or_went() -> None:
    async with browsing(XBZRLE) as d:
        for keys in (["6", "enter"], ["s"], ["s"], ["x"], ["x"], ["s"], ["escape", "down", "enter"]):
            text = await d.press(*keys)
            head = next((x for x in text.splitlines() if "offset " in x), None)
            if head is not None:
                row = text.splitlines()[text.splitlines().index(head) + 1]
                end = head.index("offset") + len("offset")
                assert row[:end].split()[-1].startswith("0x"), (keys, head, row)
                assert row[end] == " ", (keys, head, row)


@drives
async def test_a_field_is_looked_for_in_all_devices_and_again_from_the_first() -> None:
    capture = xbrletools.open(XBZRLE)
    device = next(s for s in capture.sections if s.owner is not None and s.owner.idstr == b"i8254")
    async with browsing(XBZRLE) as d:
        await d.press("6")
        await d.fill("slash", "i8254 mode")
        assert d.widget(SectionList).chosen == Item(Part.SECTION, device.index)
        first = d.widget(FieldTree).chosen
        seen = [name_of(d.widget(FieldTree).root, first.path)]
        while True:
            await d.press("n")
            row = d.widget(FieldTree).chosen
            if row.path == first.path:
                break
            seen.append(name_of(d.widget(FieldTree).root, row.path))
        tree = capture.fields(device)
        assert seen == [n for p, f in walk(tree) if "mode" in f.name and (n := name_of(tree, p))]
        await d.fill("slash", "no such field")
        assert d.messages[-1] == "no field has the words: no such field"


@drives
async def test_flags_have_names_and_registers_lead_to_memory() -> None:
    capture = xbrletools.open(XBZRLE)
    async with browsing(XBZRLE, (160, 50)) as d:
        await d.press("6")
        text = await d.fill("slash", "env.cr[0]")
        assert "PE" in next(x for x in text.splitlines() if "env.cr[0]" in x)
        taken = d.app.screen.taken
        assert taken.cpu == cpus_of(capture.stream)[0]
        registers = registers_of(taken.cpu)
        card = d.widget(DeviceCard)
        place = next(i for i, r in enumerate(registers) if r.name == "cr3")
        await d.press("tab")
        card.cursor, card.column = divmod(place, card.across)
        await d.press("i")
        target = registers[place].value & ~0xFFF
        try:
            where = locate(capture.stream, f"phys:{target:#x}")
        except xbrletools.XbrleError as error:
            assert d.messages[-1] == str(error)
        else:
            assert d.app.current_mode == "page"
            assert d.app.session.page == (where.block, where.offset // 4096 * 4096)
            assert d.widget(HexView, "#bytes").at == where.offset % 4096


@drives
async def test_the_record_s_fields_its_section_s_and_the_header_s_are_still_there() -> None:
    capture = xbrletools.open(POSTED)
    row = int(np.flatnonzero(capture.records.columns.kind == 4)[0])
    record = int(capture.records.number[row])
    offset = int(capture.records.columns.offset[row])
    async with browsing(POSTED) as d:
        await d.fill("colon", str(record))
        text = await d.press("2", "f")
        assert f"record {record}: xbrle" in text
        tree, view = d.widget(FieldTree), d.widget(HexView)
        while tree.chosen.field.name != "checksum":
            await d.press("down")
        field = tree.chosen.field
        assert field.value == int(capture.records.columns.checksum[row])
        marked = np.flatnonzero(view.marks == ByteMark.CHANGED)
        assert marked.tolist() == list(range(field.offset - offset, field.offset - offset + field.size))
        assert view.data[marked].tobytes() == field.raw
        while tree.chosen.field.name != "payload":
            await d.press("down")
        before = tree.count()
        await d.press("space")
        assert tree.count() > before
        await d.press("enter")
        assert tree.count() == before
        await d.press("x", "home")
        assert tree.chosen.field.name == "word"
    async with browsing(XBZRLE) as d:
        await d.press("full_stop", "2", "f")
        text = await d.press("s")
        assert "section 2 of 148 · read to its end" in text
        assert "ram · PART" in text
        assert "section 3 of 148" in await d.press("right_square_bracket")
        text = await d.press(*["left_square_bracket"] * 3)
        assert "CONFIGURATION" in text
        assert "pc-i440fx-7.2" in text
        text = await d.press("s", "s", "s")
        assert "file header" in text
        assert "version" in text
        assert "record 1: page" in await d.press("s")
        await d.press("escape")
        assert d.widget(SectionList).has_focus


@drives
async def test_what_differs_in_another_capture_is_marked() -> None:
    first, second = (CORPUS / f"cases/devices/dev-{name}.bin" for name in "ab")
    if not first.is_file():
        pytest.skip("needs the corpus of real captures")
    captures = [xbrletools.open(path) for path in (first, second)]
    differences = list(device_differences(captures[0].stream, captures[1].stream))
    field = next(d for d in differences if d.field is not None and d.section is not None)
    async with browsing_capture(captures[0], (160, 50)) as d:
        await d.press("6")
        text = await d.fill("d", str(second))
        name = shown(field.section)
        assert any(x.startswith("≠") and name[-8:] in x for x in text.splitlines())
        assert "size 10 here, 6 there" in text
        assert d.messages[-1].startswith(f"{len(differences)} differences in ")
        text = await d.fill("slash", f"{name} {field.field.split('.')[-1]}")
        assert "≠" in text
        await d.fill("d", "/no/such/file")
        assert "no/such/file" in d.messages[-1]
    async with browsing_capture(captures[0], (160, 50), other=captures[1]) as d:
        text = await d.press("6")
        assert "size 10 here, 6 there" in text
        assert "nothing there" in text
        assert any(x.startswith("≠") and name[-8:] in x for x in text.splitlines())
        assert f"{len(differences)} differences in 1 device" in d.messages
        assert "no page differs" in await d.press("8")
    async with browsing_capture(captures[0], read_only=True) as d:
        await d.press("6", "d")
        assert d.messages[-1] == "other files cannot be opened from here"
