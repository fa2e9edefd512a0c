"""Lists of lines: what was drawn is drawn anew only where it has changed."""

from textual.app import App, ComposeResult

from xbrletools.tui.widgets.lines import LINE_CLASSES, LINE_CSS, Line, TextLines

from .driving import drives


class Counted(TextLines):
    """Lines that count which of them are made."""

    made: list[int]

    def line(self, row: int, width: int) -> Line:
        self.made.append(row)
        return super().line(row, width)


class OneList(App[None]):
    """An app that shows them."""

    CSS = "Screen { color: white; }" + LINE_CSS.replace("$faint", "gray")
    COMPONENT_CLASSES = LINE_CLASSES

    def compose(self) -> ComposeResult:
        lines = Counted()
        lines.made = []
        yield lines


@drives
async def test_lines_that_are_as_they_were_are_not_made_anew() -> None:
    async with OneList().run_test(size=(40, 10)) as pilot:
        lines = pilot.app.query_one(Counted)
        for text, made in (
            (["a", "b", "c"], [0, 1, 2]),
            (["a", "b", "c"], []),
            (["a", "x", "c"], [1]),
            (["a", "x", "c", "d"], [0, 1, 2, 3]),
        ):
            lines.made = []
            lines.show([[(word, "")] for word in text])
            await pilot.pause()
            await pilot.pause()
            assert sorted(set(lines.made)) == made, text
            strips = [lines.render_line(y).text.strip() for y in range(len(text))]
            assert strips == text
