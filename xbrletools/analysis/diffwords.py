"""What differs between two captures, in words: for the terminal and for the report."""

from collections import Counter
from typing import Any

from ..text import amount, label, shown
from .devices import DeviceDifference, What
from .diff import BlockDifference, Change, Tally

RAW_BYTES = 16  # bytes, or numbers of a row, that a line shows of a value

MEANING = {
    Change.VALUE: "differ",
    Change.GAINED: "unknown in the first",
    Change.LOST: "unknown in the second",
}


def conclusion(found: Tally) -> str:
    """One sentence: how many pages differ, and how."""
    pages = {shown(block): count for block, count in found.pages.items() if count}
    if not pages:
        return "the RAM blocks differ; every byte that both have is equal"
    total = sum(pages.values())
    of = f" of {next(iter(pages))}" if len(pages) == 1 else ""
    return f"{total:,} {'page' if total == 1 else 'pages'}{of} differ{'' if total > 1 else 's'}: {sums(found.bytes)}"


def sums(counts: Counter[Change]) -> str:
    """How many bytes differ in which way, in words."""
    ordered = sorted(counts.items(), key=lambda c: c[0].value)
    return ", ".join(f"{amount(n)} {_meaning(change, n)}" for change, n in ordered if n)


def _meaning(change: Change, count: int) -> str:
    return "differs" if change is Change.VALUE and count == 1 else MEANING[change]


def block_line(block: BlockDifference) -> str:
    """How a block differs that only one memory has, or that is longer in one."""
    name, first, second = shown(block.block), block.first, block.second
    if first is not None and second is not None:
        return f"{name}: {amount(first)} in the first, {amount(second)} in the second"
    if first is not None:
        return f"{name}: in the first only, {amount(first)}"
    return f"{name}: in the second only, {amount(second or 0)}"


def device_line(found: DeviceDifference) -> str:
    """A difference between devices in a line: where it is, and what each capture has."""
    words = [found.what.value] if found.section is None else [shown(found.section)]
    if found.instance:
        words.append(f"instance {found.instance}")
    if found.field is not None:
        words.append(label(found.field))
    elif found.section is not None:
        words.append(found.what.value)
    return f"{'  '.join(words)}: {_difference_words(found)}"


def _difference_words(found: DeviceDifference) -> str:
    if found.first is None or found.second is None:
        where, value, size = (
            ("second", found.second, found.sizes and found.sizes[1])
            if found.first is None
            else ("first", found.first, found.sizes and found.sizes[0])
        )
        if found.what is What.SECTION:
            return f"in the {where} only, {amount(value)}"
        return f"in the {where} only, {amount(size)}: {_value_words(value, found.what)}" if size else f"{where} only"
    sizes = "" if found.sizes is None else f"{amount(found.sizes[0])} and {amount(found.sizes[1])}: "
    if len(found.changed) and isinstance(found.first, tuple | bytes):
        at = found.changed[0]
        more = f"{len(found.changed)} of {len(found.first)} differ, first at {at:#x}: "
        return f"{more}{_value_words(found.first[at], found.what)} and {_value_words(found.second[at], found.what)}"
    return f"{sizes}{_value_words(found.first, found.what)} and {_value_words(found.second, found.what)}"


def _value_words(value: Any, what: What) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return amount(value) if what is What.SIZE else f"{value:#x}" if what is not What.VERSION else str(value)
    if isinstance(value, bytes):
        if what in (What.MACHINE, What.CAPABILITIES):
            return shown(value)
        return value[:RAW_BYTES].hex(" ") + (" ..." if len(value) > RAW_BYTES else "")
    more = " ..." if len(value) > RAW_BYTES else ""
    return ", ".join(_value_words(v, what) for v in value[:RAW_BYTES]) + more
