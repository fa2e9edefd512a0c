"""Draws the pictures of docs/concepts.md: python docs/make_concepts.py. They are readable on light and dark pages."""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "concepts"
WIDTH = 760
#: Each picture has its own ground, so that it can be read whatever the page around it looks like.
STYLE = """<style>
svg{font:14px system-ui,'DejaVu Sans',sans-serif}
.ground{fill:#f6f7f9;stroke:#c3c9d2}text{fill:#1d2430}.small{font-size:12px;fill:#4a5464}.line{stroke:#4a5464;fill:none}
.box{fill:#e3e7ee;stroke:#8a94a4}.page{fill:#bcd3f5;stroke:#3d68a8}.dup{fill:#f3e2a9;stroke:#9a7a14}
.delta{fill:#bfe5c6;stroke:#2f7d3f}.wrong{fill:#f7bcb4;stroke:#b3261e}.head{fill:#4a5464;stroke:none}
@media(prefers-color-scheme:dark){
.ground{fill:#161a22;stroke:#3a4352}text{fill:#e6eaf1}.small{fill:#aab4c3}.line{stroke:#aab4c3}.box{fill:#2a313d;stroke:#5d6878}
.page{fill:#24436f;stroke:#7fa9e6}.dup{fill:#5a4a14;stroke:#d9b84a}.delta{fill:#1f5230;stroke:#6fc985}
.wrong{fill:#6f2420;stroke:#f28b82}.head{fill:#aab4c3}}
</style>"""


def words(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    """A line of text."""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{of_kind}>{escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, *lines: str) -> str:
    """A box with lines of text in its middle: the first in full size."""
    top = y + height / 2 + 5 - 8 * (len(lines) - 1)
    texts = (words(x + width / 2, top + 16 * i, line, "small" if i else "") for i, line in enumerate(lines))
    frame = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" class="{kind}"/>'
    return frame + "".join(texts)


def line(*points: tuple[float, float], arrow: bool = False) -> str:
    """A line through points, with an arrow at its end."""
    head = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<polyline points="{" ".join(f"{x:g},{y:g}" for x, y in points)}" class="line"{head}/>'


def picture(height: int, title: str, *parts: str) -> str:
    """A whole SVG file. ``title`` is what somebody hears who does not see it."""
    arrow = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 8,4 0,8z" class="head"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>{escape(title)}</title>{STYLE}<defs>{arrow}</defs>\n"
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="ground"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def stream() -> str:
    """A stream, one of its sections, and one of the records in it."""
    sections = (
        ("QEVM", "", 56), ("START", "RAM blocks", 96), ("PART", "records", 84), ("PART", "records", 84),
        ("PART", "records", 84), ("END", "records", 84), ("devices", "", 110), ("EOF", "", 50),
    )  # fmt: skip
    parts, x = [words(20, 30, "A stream is a row of sections", anchor="start")], 20.0
    for name, what, width in sections:
        parts.append(box(x, 44, width, 46, "box", name, *([what] if what else [])))
        x += width + 8
    parts += [
        line((84, 104), (448, 104), arrow=True), words(266, 121, "the guest runs on", "small"),
        line((456, 104), (738, 104), arrow=True), words(652, 121, "the guest stands still", "small"),
        line((188, 92), (20, 150)), line((272, 92), (738, 150)),
        words(20, 168, "A section of RAM is a row of records, one for each page that is sent", anchor="start"),
    ]  # fmt: skip
    records = (("page", 150), ("dup", 60), ("page", 150), ("delta", 84), ("delta", 60), ("dup", 60), ("page", 110))
    x = 20
    for kind, width in records:
        parts.append(box(x, 182, width, 34, kind, kind))
        x += width + 6
    parts += [
        words(20, 246, "A record says where the page belongs, and what it holds", anchor="start"),
        box(20, 258, 190, 34, "box", "address, flag, block"), box(216, 258, 240, 34, "page", "page: all 4096 bytes"),
        box(216, 298, 60, 34, "dup", "byte"), words(286, 320, "dup page: one byte, repeated", "small", "start"),
        box(216, 338, 110, 34, "delta", "changes"),
        words(336, 360, "delta: only what changed since an earlier version", "small", "start"),
    ]  # fmt: skip
    return picture(390, "A stream is a row of sections; a RAM section is a row of records; a record has a page", *parts)


def passes() -> str:
    """Which pages each pass sends."""
    sent = (
        ("pass 1", "every page", range(32)),
        ("pass 2", "what changed during pass 1", (2, 3, 8, 9, 10, 11, 19, 24, 25)),
        ("pass 3", "what changed during pass 2", (3, 9, 10, 24)),
        ("END", "the rest; the guest stands still", (9, 24)),
    )
    parts = [words(90, 30, "pages of memory, in the order of their addresses", "small", "start")]
    for i, (name, what, pages) in enumerate(sent):
        y = 42 + 40 * i
        parts.append(words(20, y + 18, name, anchor="start"))
        for p in range(32):
            kind = "page" if p in pages else "box"
            faint = "" if p in pages else ' opacity=".35"'
            parts.append(f'<rect x="{90 + 13 * p}" y="{y}" width="11" height="26" class="{kind}"{faint}/>')
        parts.append(words(520, y + 18, what, "small", "start"))
    return picture(212, "The first pass sends every page, each later one what changed meanwhile", *parts)


def delta() -> str:
    """A delta, and the base that both ends must have."""
    return picture(
        236,
        "The sender sends the difference to a base; the receiver adds it to its own",
        words(190, 32, "source"),
        words(570, 32, "destination"),
        box(30, 46, 320, 40, "page", "version 1, in its page cache: the base"),
        box(30, 102, 320, 40, "page", "version 2, in the guest's memory"),
        box(440, 46, 260, 40, "page", "version 1, in memory: the base"),
        box(440, 162, 260, 40, "page", "version 2"),
        box(110, 162, 160, 40, "delta", "delta: 2 minus 1"),
        line((350, 66), (438, 66), arrow=True),
        words(394, 58, "record 1", "small"),
        line((190, 142), (190, 160), arrow=True),
        line((270, 182), (438, 182), arrow=True),
        words(394, 174, "record 2", "small"),
        line((570, 86), (570, 160), arrow=True),
        words(582, 126, "plus the delta", "small", "start"),
        words(380, 224, "The stream does not say which version is the base. Both ends must have the same.", "small"),
    )


def stale() -> str:
    """How a base goes stale: the page of the tutorial, record by record."""
    columns = (
        ("record 31", "page", "page A", ("page", "A"), ("page", "A"), ("page", "A")),
        ("record 271", "delta", "delta: A to B", ("page", "B"), ("page", "B"), ("page", "B")),
        ("record 279", "dup", "dup page: zeros", ("dup", "zeros"), ("wrong", "B", "not updated"), ("dup", "zeros")),
        ("record 289", "delta", "delta: B to C", ("page", "C"), ("page", "C"), ("wrong", "zeros + (C - B)", "wrong")),
    )
    rows = ("sent", "source's memory", "its page cache", "destination")
    parts = [words(20, 68 + 54 * i, name, anchor="start") for i, name in enumerate(rows)]
    for i, (number, kind, sent, *ends) in enumerate(columns):
        x = 152 + 150 * i
        parts += [words(x + 71, 30, number, "small"), box(x, 42, 142, 42, kind, sent)]
        parts += [box(x, 96 + 54 * j, 142, 42, *end) for j, end in enumerate(ends)]
    parts.append(
        words(380, 280, "The delta of record 289 needs B. The destination has lost it: the base is stale.", "small")
    )
    return picture(296, "The sender does not cache a dup page, so its next delta has a base that was lost", *parts)


def views() -> str:
    """The two views of one stream."""
    return picture(
        216,
        "One stream, two answers: what the destination computed, and what the source held",
        box(20, 80, 150, 56, "box", "one stream", "all records"),
        line((170, 98), (250, 52), arrow=True),
        line((170, 118), (250, 162), arrow=True),
        box(252, 26, 236, 54, "box", "each delta on the base", "that the destination had"),
        box(252, 136, 236, 54, "box", "each delta on the base", "that the sender had"),
        line((488, 53), (538, 53), arrow=True),
        line((488, 163), (538, 163), arrow=True),
        box(540, 26, 200, 54, "wrong", "receiver's view", "right or wrong: the default"),
        box(540, 136, 200, 54, "page", "sender's view", "the true memory"),
    )


PICTURES = {"stream": stream, "passes": passes, "delta": delta, "stale-base": stale, "views": views}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), "utf-8")
