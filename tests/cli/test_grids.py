"""Tables for a pipe are what rich draws there, without rich."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.conftest import SAMPLES
from xbrletools.cli import main, output
from xbrletools.cli.grids import Grid

WORDS = st.lists(st.text("ab1:,-(", min_size=0, max_size=14), max_size=14).map(" ".join)


def drawn(grid: Grid, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False, highlight=False, color_system=None).print(grid.rich())
    return [line.rstrip() for line in out.getvalue().removesuffix("\n").split("\n")]


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), WORDS), min_size=1, max_size=6), st.integers(30, 90))
def test_labelled_texts_are_folded_as_rich_folds_them(rows, width):
    grid = Grid(rows=rows)
    lines = grid.plain(width)
    assert lines is None or [line.rstrip() for line in lines] == drawn(grid, width)


@given(
    st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=4),
    st.lists(st.lists(st.text("12,x", max_size=12), max_size=4), max_size=5),
    st.integers(20, 60),
)
def test_columns_stand_where_rich_puts_them(heads, cells, width):
    grid = Grid(tuple(heads), [tuple(row[: len(heads)]) for row in cells])
    lines = grid.plain(width)
    assert lines is None or [line.rstrip() for line in lines] == drawn(grid, width)


@pytest.mark.parametrize("text", ["漢字", "a\tb", "x" * 200, "\x1b[1m"])
def test_what_only_rich_can_draw_is_left_to_it(text):
    assert Grid(rows=[("label", text)]).plain(80) is None


@pytest.mark.parametrize("name", ["posted-8m.bin", "multifd.bin", "truncated.bin", "libvirt.save"])
def test_info_prints_for_a_pipe_what_rich_would_draw(name, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "80")
    main(["info", str(SAMPLES / name)])
    plain = capfd.readouterr().out
    monkeypatch.setattr(Grid, "plain", lambda *_: None)
    main(["info", str(SAMPLES / name)])
    assert capfd.readouterr().out == plain != ""
    assert output.Grid is Grid
