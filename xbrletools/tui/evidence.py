"""What a page's bytes show of a finding: the sums at both ends, the first bytes that differ, and the page's records."""

import numpy as np

from ..codec import checksum
from ..errors import XbrleError
from ..memory.history import Content
from ..memory.moments import page_of
from ..memory.replay import View
from ..verify.rules import Finding
from .palette import Palette, mixed, style
from .session import Session
from .widgets.lines import Line
from .words import KIND_STYLE, SEVERITY_MARK, SEVERITY_STYLE, counted, kind_word, wrapped

#: A line, and the row that it leads to.
Explained = tuple[Line, int | None]

_SHOWN = 16  # bytes of a line, half of them where there is less room
_LABEL = 15  # cells before them
_LINES = 2
_RECORDS = 200  # of the page


def evidence(session: Session, finding: Finding, colours: Palette, width: int) -> list[Explained]:
    """Lines about the finding's page just after its record, for ``width`` cells.

    A thread's work: it replays the page.
    """
    if finding.block is None or finding.page is None or finding.record is None:
        return []
    try:
        history = page_of(session.stream(), finding.block, finding.page)
        ends = [(view.value, history.at(finding.record, view)) for view in (View.RECEIVER, View.SENDER)]
    except XbrleError as error:
        return [([(f" {session.reason(error)}", "warning")], None)]
    out = _bytes(ends, colours, width)
    numbers, rows = history.numbers.tolist(), history.rows.tolist()
    out.append(([(f" the page's {counted(len(numbers), 'record')}", "title")], None))
    for number, row in list(zip(numbers, rows, strict=True))[:_RECORDS]:
        record, worst = session.record(row), session.findings.severity(row)
        if record is None:
            continue
        here = number == finding.record
        said = "" if worst is None else f" {SEVERITY_MARK[worst]} {worst.value}"
        line: Line = [
            (f" {'>' if here else ' '} {number:>9} ", "strong" if here else ""),
            (f"{kind_word(record.kind):10}", KIND_STYLE.get(record.kind, "")),
            (f"pass {record.pass_ if record.pass_ is not None else '-':<4} {record.length:>5,} bytes", "dim"),
            (said, SEVERITY_STYLE[worst] if worst is not None else ""),
        ]
        out.append((line, row))
    return out


def _bytes(ends: list[tuple[str, Content]], colours: Palette, width: int) -> list[Explained]:
    """The sums at both ends, and the first bytes that differ."""
    (_, receiver), (_, sender) = ends
    differs = receiver.differs(sender)
    sums = [
        f"{name} {int(checksum.byte_sum(c.data[None, :])[0]):#x}" if c.recovered.all() else f"{name} unknown"
        for name, c in ends
    ]
    out: list[Explained] = [([], None), ([(f" sums: {', '.join(sums)}", "")], None)]
    count = int(np.count_nonzero(differs))
    if not count:
        return [*out, ([(" both ends have the same bytes after this record", "good")], None)]
    text = f"{count:,} of {len(differs):,} bytes differ between the ends, the first are"
    out += [([(line, "strong")], None) for line in wrapped(text, width)]
    each = _SHOWN if width >= _LABEL + 3 * _SHOWN else _SHOWN // 2
    first = int(np.argmax(differs)) // each * each
    ground = mixed(colours.wrong, colours.ground, 0.82)
    for name, content in ends:
        for start in range(first, min(first + _LINES * each, len(differs)), each):
            part = slice(start, start + each)
            line: list[tuple[str, object]] = [(f" {name if start == first else '':9}{start:4x} ", "dim")]
            for byte, known, other in zip(
                content.data[part].tolist(), content.recovered[part].tolist(), differs[part].tolist(), strict=True
            ):
                behind = ground if other else colours.ground
                shade = style(colours.byte(colours.ink if byte else colours.zero, behind), behind)
                few = "differs" if other else ""
                line.append((f"{byte:02x} " if known else "?? ", few if colours.plain else shade))
            out.append((line, None))  # type: ignore[arg-type]
    return out
