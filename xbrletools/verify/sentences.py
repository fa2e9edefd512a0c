"""The verdict in words: what a cause says, the summary, and the commands that lead on."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ..memory.moments import space_of
from ..memory.replay import forgets_dups
from ..model import Stream
from ..table.claims import stated
from ..table.columns import PIECE, Sweeps
from ..text import shown
from .cause import MEANING, Cause, CauseName, Repair, Sure
from .marks import Ints
from .observed import next_full
from .receivers.values import Outcome

BLOCKS_MAX = 4  # RAM blocks that a sentence names
BYTES_MAX = 16  # bytes of a repair that a sentence names


def counted(count: int, word: str) -> str:
    """A number with its noun, in the plural where there are several or none."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def some(count: int, one: str, many: str) -> str:
    """A number with the words for one or for many."""
    return f"{count:,} {one if count == 1 else many}"


def pages_by_block(stream: Stream, pages: Ints) -> dict[bytes, int]:
    """How many of these pages each block has, by its name, most first."""
    space = space_of(stream)
    block = np.searchsorted(space.first, pages, side="right") - 1
    counts = Counter[bytes]()
    for i, count in zip(*(a.tolist() for a in np.unique(block, return_counts=True)), strict=True):
        counts[space.blocks[i].name] += count
    return dict(counts.most_common())


def of_blocks(by_block: Mapping[bytes, int]) -> str:
    """The blocks of some pages: "pc.ram", or "pc.ram (30) and vga.vram (2)"."""
    if len(by_block) == 1:
        return shown(next(iter(by_block)))
    named = [f"{shown(name)} ({count:,})" for name, count in list(by_block.items())[:BLOCKS_MAX]]
    rest = len(by_block) - len(named)
    if rest:
        return ", ".join(named) + f" and {counted(rest, 'more block')}"
    return ", ".join(named[:-1]) + f" and {named[-1]}"


def wrong(stream: Stream, pages: Ints, maybe: Ints) -> str:
    """How many pages of which blocks are wrong, and how many may be."""
    said = []
    if len(pages):
        what = f"{counted(len(pages), 'page')} of {of_blocks(pages_by_block(stream, pages))}"
        said.append(f"{what} {'is' if len(pages) == 1 else 'are'} wrong")
    if len(maybe):
        said.append(f"{counted(len(maybe), 'page')} of {of_blocks(pages_by_block(stream, maybe))} may be wrong")
    return " and ".join(said)


def place_of(stream: Stream, row: int) -> tuple[bytes | None, int]:
    """The block and the address of the page that a row carries."""
    columns, names = stream.records.columns, stream.records.names
    block = int(columns.block[row])
    return (names[block] if block < len(names) else None), int(columns.address[row])


def pass_of(stream: Stream, row: int) -> int | None:
    """The pass that a row belongs to, without a column for all rows. None where several channels make the order."""
    if stream.records.main_size is not None:
        return None
    sweeps, number = Sweeps({}), np.empty(0, np.uint32)
    for start in range(0, row + 1, PIECE):
        number = sweeps.number(stream.records.columns.take(slice(start, min(start + PIECE, row + 1))))
    return int(number[-1]) or None


def healed_by(stream: Stream, row: int) -> int | None:
    """The number of the record that gives a row's page anew, or None."""
    rows = np.array([row])
    pages = space_of(stream).pages_of(stream.records.columns.take(rows))
    if pages[0] < 0:
        return None
    return int(stream.records.numbers.of(next_full(stream, rows, pages))[0]) or None


def first_bad(stream: Stream, row: int, first_lasting: int | None) -> str:
    """Where memory first went wrong, and where it first stayed so."""
    number = stream.records.numbers
    own = int(number.of(np.array([row]))[0])
    _, page = place_of(stream, row)
    pass_, healing = pass_of(stream, row), healed_by(stream, row)
    about = [] if pass_ is None else [f"pass {pass_}"]
    about += [f"offset {int(stream.records.columns.offset[row]):#x}", f"page {page:#x}"]
    text = f"first bad record {own} ({', '.join(about)}"
    text += f"; healed by {healing})" if healing is not None else ")"
    if first_lasting is None:
        return text
    if first_lasting == row:
        return text[:-1] + "), which no later record heals"
    _, page = place_of(stream, first_lasting)
    return text + f", first that lasts {int(number.of(np.array([first_lasting]))[0])} (page {page:#x})"


OTHER_WALK = "; records do not come in the order of QEMU's senders, and so their order was not taken as evidence"


def sums(stream: Stream) -> str:
    """What the sums that records state show, where none of them fails."""
    columns, count = stream.records.columns, 0
    for start in range(0, len(columns), PIECE):
        states, _ = stated(columns.take(slice(start, start + PIECE)), stream.dialect)
        count += int(np.count_nonzero(states))
    if not count:
        return "no sums to check"
    return "the one stated sum holds" if count == 1 else f"every stated sum holds ({count:,})"


def stale(stream: Stream, records: int, lasting_records: int) -> str:
    """What stale bases are, and what became of them."""
    healed = records - lasting_records
    what = f"{some(records, 'delta over a base', 'deltas over bases')} that the receiver had lost"
    why = ": the sender forgets dup pages (stale-base). " if forgets_dups(stream.dialect) else " (stale-base). "
    if not lasting_records:
        return what + why + f"{'It was' if records == 1 else 'All were'} healed by a later record."
    if not healed:
        return what + why + f"{'It was' if records == 1 else 'None was'} {'not ' if records == 1 else ''}healed."
    were, were_not = ("was" if n == 1 else "were" for n in (healed, lasting_records))
    return what + why + f"{healed:,} {were} healed by a later record, {lasting_records:,} {were_not} not."


def tested(cause: Cause) -> str:
    """A cause that hypotheses told: what happened, and where."""
    place = []
    if cause.began.record is not None:
        place.append(f"record {cause.began.record}")
    if cause.began.offset is not None:
        bit = "" if cause.began.bit is None else f" bit {cause.began.bit}"
        place.append(f"offset {cause.began.offset:#x}{bit}")
    at = f", at {', '.join(place)}" if place else ""
    if cause.candidates:
        names = ", ".join(name.value for name in cause.candidates)
        return f"Damage that one of these explains: {names}{at}."
    what = MEANING[cause.name].split(". ")[0].removesuffix(".")
    return f"{what} ({cause.name.value}){at}."


def how_sure(cause: Cause) -> str:
    """How sure a cause is, in a sentence. It is empty where nothing is to be said."""
    if cause.candidates:
        return f"One of: {', '.join(name.value for name in cause.candidates)}."
    words = {
        Sure.CERTAIN: "This is certain.",
        Sure.LIKELY: "This is likely.",
        Sure.ONE_OF: "",
        Sure.UNKNOWN: "Its cause is unknown.",
    }
    return words[cause.sure]


def in_short(cause: Cause) -> str:
    """A cause for a line below a conclusion that has its sentence: its name, how sure it is, and what shows it."""
    if cause.candidates:
        what = f"one of {', '.join(name.value for name in cause.candidates)}"
    else:
        what = cause.name.value if cause.sure.value == cause.name.value else f"{cause.name.value}, {cause.sure.value}"
    why = shown_by(cause)
    return f"{what}: {why}." if why else f"{what}."


def shown_by(cause: Cause) -> str:
    """What shows a cause, empty where its findings say that."""
    return "; ".join(cause.evidence) if cause.refuted or cause.candidates else ""


def repaired(repair: Repair) -> str:
    """What a repair changes: the bytes, as far as they are few."""
    count, place = len(repair.data), f"at {repair.offset:#x}"
    if not count:
        return f"{counted(repair.replaced, 'byte')} {place} fall{'s' if repair.replaced == 1 else ''} away"
    what = repair.data.hex(" ") if count <= BYTES_MAX else f"{count:,} others"
    which = "the byte" if repair.replaced == 1 else f"{repair.replaced:,} bytes"
    return f"{which} {place} become{'s' if repair.replaced == 1 else ''} {what}"


def loads(told: Outcome) -> str:
    """What a receiver makes of a stream, in a few words."""
    if told.loads:
        return f"loads{with_wrong(told)}"
    if told.loads is None:
        return "cannot be told"
    if told.goes_on:
        return f"complains, and loads it all the same{with_wrong(told)}"
    if told.stops_at is not None:
        return f"stops at record {told.stops_at}"
    return f"stops at {told.offset:#x}" if told.offset is not None else "does not load"


def with_wrong(told: Outcome) -> str:
    """What is said behind "loads" of pages that are wrong then. It is empty where no page is."""
    if told.wrong_pages is None:
        return ", and which pages are wrong is not known"
    return f", with {counted(told.wrong_pages, 'wrong page')}" if told.wrong_pages else ""


def onward(causes: Sequence[Cause], lasting: tuple[bytes | None, int, int] | None) -> tuple[str, ...]:
    """Commands that show or mend more, with what each is for where the command does not say it.

    ``lasting`` is the first page that is wrong at the end: its block, its address, and the record that left it so.
    """
    names = {cause.name for cause in causes}
    out = []
    if lasting is not None:
        block, page, record = lasting
        where = f"{shown(block)}:{page:#x}" if block else f"{page:#x}"
        out.append(f"xbrle page S {where} --at {record}")
    if CauseName.STALE_BASE in names:
        out.append("xbrle extract S -o OUT --view sender (the source's true memory)")
    if names & {CauseName.CHANNEL_MISSING, CauseName.CHANNEL_DAMAGED, CauseName.FOREIGN_CHANNEL}:
        out.append("xbrle verify S --channel FILE (each channel of this migration)")
    if CauseName.FORCED_READING in names:
        out.append("xbrle verify S (without --dialect and --endian)")
    if names - {CauseName.STALE_BASE, CauseName.CHANNEL_MISSING, CauseName.FOREIGN_CHANNEL, CauseName.FORCED_READING}:
        out.append("xbrle salvage S (what of memory still stands)")
    if any(cause.repair is not None for cause in causes):
        out.append("xbrle salvage S --repair -o T (the stream with the inferred repair)")
    return tuple(out)
