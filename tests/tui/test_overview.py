"""What the overview says in numbers: all that `info` knows, in digits that a person can read, at every width."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.conftest import SAMPLES
from xbrletools.analysis import facts
from xbrletools.tui.palette import DARK
from xbrletools.tui.screens.overview import PARTS
from xbrletools.tui.screens.sentparts import _came, page_name
from xbrletools.tui.session import Session
from xbrletools.tui.widgets.pane import Pane
from xbrletools.tui.words import exactly, sized

from .driving import POSTED, XBZRLE, browsing, drives, stale

STALE = "qemu-2011-posted/dbg-stale-reject.bin"


def said(session: Session, part: str, width: int) -> str:
    """The text of a part in lines of ``width`` cells, blanks in a row taken as one."""
    lines = PARTS[part][1](session, width, 12, DARK)
    return " ".join("".join(text for text, _ in line) for line, _ in lines)


@pytest.mark.parametrize(
    ("count", "rounded", "exact"),
    [
        (0, "0 bytes", "0 bytes"),
        (506, "506 bytes", "506 bytes"),
        (4096, "4 KiB", "4 KiB"),
        (328_089, "320 KiB", "328,089 bytes"),
        (8_493_466, "8.1 MiB", "8,493,466 bytes"),
        (25_427_968, "24.2 MiB", "24,832 KiB"),
        (201_326_592, "192 MiB", "192 MiB"),
        (3 << 29, "1.5 GiB", "1,536 MiB"),
        (5 << 40, "5 TiB", "5 TiB"),
    ],
)
def test_a_size_has_a_unit_and_one_that_must_be_exact_is(count: int, rounded: str, exact: str) -> None:
    assert (sized(count), exactly(count)) == (rounded, exact)


@drives
async def test_every_number_of_info_about_blocks_and_records_stands_on_the_overview_at_every_width() -> None:
    for sample in (POSTED, XBZRLE, SAMPLES / "mapped-ram.bin.xz"):
        async with browsing(sample, (80, 24)) as d:
            capture = d.app.session.capture
            told = facts.as_json(facts.gather(capture.stream), capture.source)
            for width in (22, 34, 44, 78):
                blocks = said(d.app.session, "blocks", width)
                for block in told["blocks"]:
                    assert exactly(block["length"]) in blocks
                    assert f" {block['records']:,} " in f"{blocks} "
                    assert f"{block['passes']:,}" in blocks
                counts = said(d.app.session, "kinds", width)
                numbers = [*told["records"].values(), *told["payload"].values(), *told["saved"].values()]
                for number in numbers:
                    assert not number or f"{number:,}" in counts, (sample, width, number)


@drives
async def test_what_is_known_of_blocks_that_have_addresses_and_unlike_passes_is_said_where_it_is_narrow() -> None:
    async with browsing(SAMPLES / "mapped-ram.bin.xz", (80, 24)) as d:
        assert "passes: " in said(d.app.session, "blocks", 34)
        assert "passes" in said(d.app.session, "blocks", 78).split("kinds")[0]


@drives
async def test_at_60_columns_no_clause_is_cut(corpus: Callable[[str], bytes]) -> None:
    for content in (stale(), corpus(STALE)):
        async with browsing(content, (60, 20)) as d:
            for part in ("verdict", "passes", "kinds", "wrong"):
                for line, _ in PARTS[part][1](d.app.session, 60, 8, DARK):
                    text = "".join(piece for piece, _ in line)
                    assert len(text) <= 60, (part, text)
                    assert "…" not in text, (part, text)
            assert "…" not in await d.press("enter")
            assert "…" not in await d.press("7")
            text = await d.press("5", "down")
            assert "never heal…" not in text


@drives
async def test_the_chain_goes_on_in_a_second_line_where_it_is_narrow(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus(STALE), (60, 20)) as d:
        lines = [line.strip() for line in d.text.splitlines()]
        at = next(i for i, line in enumerate(lines) if line.startswith("■ base 11680"))
        assert lines[at] == "■ base 11680 → □ dup 11974 → ✗ delta 12280"
        assert lines[at + 1] == "→ ✗ never healed"


@drives
async def test_a_sentence_about_a_page_is_whole_or_ends_with_a_clause(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus(STALE), (60, 20)) as d:
        text = " ".join((await d.press("enter")).split())
        assert (
            "the receiver lost it to the dup page of record 11974; never healed: the page is wrong at the end" in text
        )


def test_of_a_page_in_a_block_with_a_long_name_the_address_is_shown() -> None:
    name = page_name(b"/rom@etc/table-loader", 0x1000, 24)
    assert (len(name), name.endswith("table-loader:0x1000"), name[0]) == (24, True, "…")
    assert page_name(b"pc.ram", 0x1000, 16) == "pc.ram:0x1000   "


def test_a_pass_that_is_wider_than_a_cell_fills_it() -> None:
    assert _came(np.array([1, 3]), 3, 6).tolist() == [1, 1, 0, 0, 1, 1]
    assert _came(np.array([1, 2, 4]), 4, 2).tolist() == [2, 1]


@drives
async def test_a_capture_without_a_record_says_so_once_all_was_read(corpus: Callable[[str], bytes]) -> None:
    async with browsing(corpus("cases/devices/xen-save-devices-state.bin"), (160, 50)) as d:
        assert "none yet" not in d.text
        assert "not known yet" not in d.text
        assert "no record carries a page" in d.text
        assert "no page was sent" in d.text


@drives
async def test_what_would_help_is_on_the_first_screen_and_under_the_cursor_of_its_pane() -> None:
    data = (SAMPLES / "truncated.bin").read_bytes()
    async with browsing(data) as d:
        assert "Enter: read on after the damage" in d.text
    async with browsing((SAMPLES / "multifd.bin").read_bytes()) as d:
        assert "Enter: name the files of the missing channels" in d.text
    async with browsing(data, (160, 50)) as d:
        await d.press("tab")
        pane = d.app.screen.focused
        assert isinstance(pane, Pane)
        first = next(i for i, (_, where) in enumerate(pane._entries) if where is not None)
        assert pane.cursor == first
        await d.press("down")
        chosen = pane.cursor
        assert chosen > first
        d.app.grow()
        assert pane.cursor == chosen
