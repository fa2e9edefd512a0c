"""What a stream that is written anew changes around its records: the block list, what CONFIGURATION lists, commands.

Facts: formats/README.md, "Postcopy", "multifd" and "mapped-ram". A stream that one ordinary destination loads from a
file does not have commands that need a return path, and nothing of postcopy.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..formats import mapped_ram, qevm, ram
from ..formats.qevm import Command as Number
from ..formats.qevm import SectionType
from ..formats.ram import Kind
from ..model import Stream
from ..table.commands import Command
from .addresses import PageAddresses
from .saver import RecordForm, memory_size

Piece = bytes | memoryview
CAPABILITIES = b"configuration/capabilities"
#: Commands of the switch to postcopy itself. A stream without it does not have them.
_SWITCH = (
    Number.POSTCOPY_LISTEN,
    Number.POSTCOPY_RUN,
    Number.POSTCOPY_RAM_DISCARD,
    Number.PACKAGED,
)
#: Commands that only a destination with a return path or with postcopy switched on takes.
_ADVICE = (Number.OPEN_RETURN_PATH, Number.PING, Number.POSTCOPY_ADVISE)


@dataclass(frozen=True, slots=True)
class Edit:
    """The bytes [start, stop) of a capture become ``pieces``."""

    start: int
    stop: int
    pieces: tuple[Piece, ...] = ()


def dropped(stream: Stream, keep_advice: bool = False) -> Iterator[Command]:
    """The commands that a stream without postcopy leaves out.

    With ``keep_advice`` those that announce postcopy before RAM begins stay, as in a stream whose source could have
    switched and did not.
    """
    begins = next((s.offset for s in stream.sections.of_types(SectionType.START)), 0)
    for i, number in enumerate(stream.facts.commands.numbers):
        if number in _SWITCH or number in _ADVICE:
            command = stream.facts.commands[i]
            if not _stays(command, keep_advice and command.offset < begins):
                yield command


def _stays(command: Command, as_advice: bool) -> bool:
    if command.number == Number.POSTCOPY_ADVISE and not command.data:  # of dirty bitmaps, which any destination takes
        return True
    return command.number in _ADVICE and as_advice


def joined(found: Iterable[Edit]) -> Iterator[Edit]:
    """The same edits, with those joined that leave out bytes that follow each other."""
    last: Edit | None = None
    for edit in found:
        if last is not None and not last.pieces and not edit.pieces and last.stop == edit.start:
            last = Edit(last.start, edit.stop)
            continue
        if last is not None:
            yield last
        last = edit
    if last is not None:
        yield last


def edits(stream: Stream, form: RecordForm, addresses: PageAddresses, keep_advice: bool = False) -> list[Edit]:
    """All that changes around the records of ``stream``, in rising order, where they are written in ``form``."""
    found = [*_version(stream, form), *_lists(stream, form, addresses, keep_advice)]
    found += joined(commands(stream, keep_advice))
    if stream.facts.mapped_ram:
        found += capabilities(stream, without=mapped_ram.CAPABILITY)
    if stream.channels or form.version == ram.VERSION_FLAT:
        found += _bare_words(stream, form)
    return sorted(found, key=lambda e: (e.start, e.stop))


def _version(stream: Stream, form: RecordForm) -> Iterator[Edit]:
    """Another RAM section version in START."""
    if form.version == stream.facts.ram_version:
        return
    for section in stream.sections.of_types(SectionType.START):
        if section.owner is not None and section.owner.idstr == ram.IDSTR:
            version = Int32ub.build(form.version)  # version_id ends the header
            yield Edit(section.data - len(version), section.data, (version,))


def _lists(stream: Stream, form: RecordForm, addresses: PageAddresses, keep_advice: bool) -> Iterator[Edit]:
    """The block list in the form that the written stream needs, where that is not its own."""
    sizes = any(b.page_size is not None for b in stream.blocks)
    same = form.version == stream.facts.ram_version and not stream.facts.mapped_ram and (keep_advice or not sizes)
    if same:
        return
    columns = stream.records.columns
    stops = next_words(stream)
    for row in np.flatnonzero(columns.kind == Kind.MEM_SIZE).tolist():
        start = int(columns.offset[row])
        stop = start + int(columns.head[row]) + int(columns.length[row])
        if stream.facts.mapped_ram:
            stop = int(stops[row + 1]) if row + 1 < len(stops) else end_of_main(stream)
        listed = memory_size(form.version, addresses.blocks, addresses.offsets, form.page_size, keep_advice)
        yield Edit(start, stop, (listed,))


def _bare_words(stream: Stream, form: RecordForm) -> Iterator[Edit]:
    """Words without a page that the written stream does not have: v3 has none, and FLUSH is of channels."""
    kinds = (Kind.NOOP, Kind.HOOK, Kind.FLUSH) if form.version == ram.VERSION_FLAT else (Kind.FLUSH,)
    columns = stream.records.columns
    rows = np.flatnonzero(np.isin(columns.kind, kinds))
    yield from (Edit(int(start), int(columns.end(rows[i : i + 1])[0])) for i, start in enumerate(columns.offset[rows]))


def commands(stream: Stream, keep_advice: bool) -> Iterator[Edit]:
    """The commands that are left out. What PACKAGED carries comes after RAM's END, without the package.

    Devices may look at the guest's memory when they are loaded, so all of it must be there by then.
    """
    package = next((c.package for c in stream.facts.commands.packages() if c.package is not None), None)
    first, stop = (0, 0) if package is None else (package[0], min(package[1], end_of_main(stream)))
    inside: list[Edit] = []
    for command in dropped(stream, keep_advice):
        edit = Edit(command.offset, command.end)
        if first <= command.offset < stop:
            inside.append(edit)
        else:
            yield edit
    if package is None:
        return
    pieces: list[Piece] = []
    at = first
    for edit in (*joined(inside), Edit(stop, stop)):
        pieces.append(stream.data[at : edit.start].data)
        at = edit.stop
    yield Edit(first, stop)
    end = end_of_main(stream)
    eof = next((s.offset for s in stream.sections.of_types(SectionType.EOF) if s.offset >= stop), end)
    yield Edit(eof, eof, tuple(pieces))


def capabilities(stream: Stream, without: bytes | None = None, beside: bytes | None = None) -> list[Edit]:
    """CONFIGURATION's list of capabilities without one, or with another beside them."""
    configuration = stream.facts.configuration
    if configuration is None:
        return []
    names = [c for c in stream.facts.capabilities if c != without]
    names += [beside] if beside is not None and beside not in names else []
    if tuple(names) == stream.facts.capabilities:
        return []
    new = b""
    if names:
        new = bytes(qevm.SubsectionHeader.build({"idstr": CAPABILITIES, "version_id": 1}))
        new += bytes(qevm.Capabilities.build({"names": names}))
    own = next((s for s in configuration.subsections if s.name == CAPABILITIES), None)
    start, stop = (configuration.end, configuration.end) if own is None else (own.offset, own.end)
    return [Edit(start, stop, (new,))]


def end_of_main(stream: Stream) -> int:
    """The offset up to which a capture's main channel is written: its end, or its damage."""
    size = len(stream.data) if stream.records.main_size is None else stream.records.main_size
    return size if stream.facts.damage is None else min(size, stream.facts.damage.offset)


def has_word_in_main(stream: Stream, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether these records stand in the main channel as such, (n,) bool.

    Pages from packets and of mapped-ram have no words. Records of preempt's channel have, and stand there.
    """
    columns, main = stream.records.columns, stream.records.main_size
    has_word = columns.head[rows] > 0
    if main is not None:
        has_word &= columns.offset[rows] < np.uint64(main)
    return has_word


def next_words(stream: Stream) -> NDArray[np.int64]:
    """For each row the offset of the first word from it on that stands in a RAM section, (n,) int64.

    Pages that came over channels, and those of mapped-ram, do not have words. What is written of them goes before the
    next. After the last word there is only RAM's last EOS to go before.
    """
    columns, main = stream.records.columns, end_of_main(stream)
    offset = columns.offset.astype(np.int64)
    words = np.flatnonzero((columns.head > 0) & (offset < main))
    if not len(words):
        return np.full(len(columns), main)
    following = np.minimum(np.searchsorted(words, np.arange(len(columns))), len(words) - 1)
    out: NDArray[np.int64] = offset[words[following]]
    return out


def words_of(left_out: Iterable[Command]) -> str:
    """The commands that were left out, for a person. The text is empty where there are none."""
    names = Counter(c.name for c in left_out)
    count = names.total()
    return f"{count} command{'s' * (count != 1)} left out: {', '.join(names)}" if count else ""
