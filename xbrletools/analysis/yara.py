"""YARA rules over memory, by YARA-X (extra ``yara``): compiled rules, and the places of their patterns in a buffer.

Rules are compiled twice, side by side: as they are, and with conditions that hold wherever a pattern is. The engine
shares the patterns of the two. The first tells which rules match, the second where every pattern is.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..errors import XbrleError
from ..model import Stream
from ..source.beside import at_hand
from ..text import label, shown
from ..urls import is_url, without_secrets
from .arrivals import Arrivals
from .pattern import Pattern
from .search import Hit as Life
from .yara_source import locating, longest

REACH = 4096  # bytes by which a match may go beyond the page that it begins in, where all versions are searched
CONTEXT = 16  # bytes before a page that the engine sees: whole words end there
LONGEST = 4095  # bytes after which YARA-X ends a match of a regular expression or of bytes with jumps: 1.23 [C]
SECONDS = 600  # that rules may take for one piece of memory
MATCHES = 1_000_000  # of one pattern in one piece of memory, as far as places are told
RULES_MAX = 64 << 20  # bytes of rules
_ENDINGS = (".yar", ".yara", ".yr")
_OWN, _PLACES = "rules", "places"  # what namespaces begin with: rules as they are, and those that tell of places
_CACHED = 8  # sets of compiled rules that are remembered

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Named:
    """A pattern: its ``rule``, the ``file`` that has the rule, and what it is called there, such as $a."""

    file: str
    rule: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.rule}:{self.pattern}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A place of a pattern, by its index, in a buffer: where it begins, and its length in bytes."""

    pattern: int
    at: int
    length: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the engine found in a buffer: the rules that hold, by file and name, and the places of all patterns.

    ``full`` are the patterns, by their index, that have more places than were told.
    """

    rules: tuple[tuple[str, str], ...]
    hits: tuple[Hit, ...]
    full: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """Compiled rules. ``names`` are those that are not private, as (file, rule), ``patterns`` the patterns of them.

    ``tags`` are the rules' tags. ``locators`` tell the places alone. A match has at most ``reach`` bytes after its
    first one, as far as all versions are searched.
    """

    names: tuple[tuple[str, str], ...]
    patterns: tuple[Named, ...]
    tags: dict[tuple[str, str], tuple[str, ...]]
    reach: int
    both: Any = field(repr=False)
    locators: Any = field(repr=False)

    def scanner(self, everything: bool, seconds: int = SECONDS, matches: int = MATCHES) -> "Scanner":
        """What scans with them: for rules and places, or with ``everything`` False for places alone."""
        return Scanner(self, everything, seconds, matches)


class Scanner:
    """Scans buffers with compiled rules, which may take ``seconds`` for one, and tells ``matches`` places a pattern."""

    def __init__(self, rules: Rules, everything: bool, seconds: int, matches: int) -> None:
        self._rules = rules.both if everything else rules.locators
        self._matches = matches
        self._seconds = seconds
        first: dict[tuple[str, str], int] = {}
        for i, named in enumerate(rules.patterns):
            first.setdefault((named.file, named.rule), i)
        self._first = first

    def _engine(self) -> Any:
        """A scanner of the engine's. It may be used, and even forgotten, only by the thread that made it."""
        import yara_x

        found = yara_x.Scanner(self._rules)
        found.set_timeout(self._seconds)
        found.max_matches_per_pattern(self._matches + 1)  # so that it shows whether there are more
        return found

    def scan(self, data: bytes) -> Scanned:
        """What is in these bytes.

        Raises:
            XbrleError: the rules take too long.
        """
        return self._told(lambda: self._engine().scan(data))

    def scan_file(self, path: str) -> Scanned:
        """What is in a file. It is mapped, and not read into memory as a whole. Raises as `scan`."""
        return self._told(lambda: self._engine().scan_file(path))

    def _told(self, scan: Callable[[], Any]) -> Scanned:
        import yara_x

        try:
            found = scan()
        except yara_x.TimeoutError:
            raise XbrleError(
                f"the rules take more than {self._seconds} s; the search ends there. --timeout allows more, and "
                "patterns that begin with several fixed bytes take less"
            ) from None
        except yara_x.ScanError as error:
            raise XbrleError(f"YARA-X cannot search: {label(str(error))}") from None
        rules, hits, full = [], [], set()
        for rule in found.matching_rules:
            kind, _, file = rule.namespace.partition(":")
            name = (file, rule.identifier)
            if kind == _OWN:
                rules.append(name)
                continue
            for i, pattern in enumerate(rule.patterns, self._first.get(name, 0)):
                matches = pattern.matches
                hits += [Hit(i, m.offset, m.length) for m in matches[: self._matches]]
                if len(matches) > self._matches:
                    full.add(i)
        return Scanned(tuple(rules), tuple(hits), frozenset(full))


# -- rules ------------------------------------------------------------------------------------------------------------


def check() -> None:
    """Look whether the engine is installed.

    Raises:
        XbrleError: it is not.
    """
    if find_spec("yara_x") is None:
        raise XbrleError("YARA rules need the package yara-x. Install it: pip install 'xbrletools[yara]'")


def read_rules(paths: Sequence[str]) -> Rules:
    """The rules in files, compiled: paths or URLs. A folder stands for the files with rules in it.

    Raises:
        XbrleError: a file cannot be read, or its rules have an error: the message says the line and the column.
    """
    check()
    return compiled(texts_of(paths))


def texts_of(paths: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The texts of the rules in files, which `compiled` takes: the name of each file, and what it holds.

    Raises:
        XbrleError: a file cannot be read.
    """
    files = dict.fromkeys(file for path in paths for file in _files(path))  # one that is named twice counts once
    sources, left = [], RULES_MAX
    for file in files:
        try:
            with at_hand(file, keep=False) as there, there.open("rb") as opened:
                raw = opened.read(left + 1)
        except OSError as error:
            raise XbrleError(f"{file}: {error.strerror or error}") from error
        left -= len(raw)
        if left < 0:
            raise XbrleError(f"{file}: more than {RULES_MAX >> 20} MiB of rules are not read")
        try:
            sources.append((without_secrets(file), raw.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            raise XbrleError(f"{file}: is not a file of YARA rules: it is not text in UTF-8", error.start) from None
    return tuple(sources)


def _files(path: str) -> list[str]:
    if is_url(path) or not Path(path).is_dir():
        return [path]
    found = sorted(str(p) for p in Path(path).iterdir() if p.suffix.lower() in _ENDINGS and p.is_file())
    if not found:
        raise XbrleError(f"{path}: there are no files {', '.join('*' + e for e in _ENDINGS)} in this folder")
    return found


@lru_cache(_CACHED)
def compiled(sources: tuple[tuple[str, str], ...]) -> Rules:
    """Rules from texts, each with the name of its file. Files that they include are not read: they could be any file.

    What was compiled is remembered as long as the process runs, by the text itself.

    Raises:
        XbrleError: a text has an error: the message says the file, the line and the column.
    """
    check()
    own = _compiled([(_OWN, name, text) for name, text in sources])
    located = [(_PLACES, name, locating(text)) for name, text in sources]
    places = _compiled(located)
    if _patterns(own) != _patterns(places):
        raise XbrleError("the rules cannot be followed: their patterns were not all understood")
    both = _compiled([*((_OWN, name, text) for name, text in sources), *located])
    lengths = [longest(text) for _, text in sources]
    reach = max((REACH if n is None else min(REACH, n) for n in lengths), default=REACH)
    names, tags = [], {}
    for rule in own:
        name = (rule.namespace.partition(":")[2], rule.identifier)
        names.append(name)
        tags[name] = tuple(rule.tags)
    return Rules(tuple(names), tuple(_patterns(places)), tags, reach, both, places)


def _patterns(rules: Any) -> list[Named]:
    """The patterns of compiled rules that are not private."""
    return [
        Named(rule.namespace.partition(":")[2], rule.identifier, pattern.identifier)
        for rule in rules
        for pattern in rule.patterns
    ]


def _compiled(sources: Sequence[tuple[str, str, str]]) -> Any:
    import yara_x

    compiler = yara_x.Compiler(includes_enabled=False)
    for kind, name, text in sources:
        compiler.new_namespace(f"{kind}:{name}")
        try:
            compiler.add_source(text, origin=name)
        except yara_x.CompileError as error:
            raise XbrleError(_said(name, compiler.errors(), str(error))) from None
    return compiler.build()


def _said(name: str, errors: Sequence[dict[str, Any]], otherwise: str) -> str:
    """An error of the compiler in one line: file:line:column, and what is wrong there."""
    shown_name = shown(os.fsencode(name))
    if not errors:
        return f"{shown_name}: {label(otherwise.splitlines()[0])}"
    first = errors[0]
    labels = [str(one["text"]) for one in first.get("labels", ()) if one.get("level") == "error"]
    what = f"{first['title']}: {labels[0]}" if labels else str(first["title"])
    if first.get("code") == "E044":
        what = "include is not read: give the other file beside this one, with --rules FILE"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return label(f"{shown_name}:{first.get('line', 1)}:{first.get('column', 1)}: {what}{more}")


# -- all versions -----------------------------------------------------------------------------------------------------


class Engine:
    """Finds the patterns of rules in a buffer of windows, each ``width`` bytes, for `search.Finder`.

    A match that would run over the end of its window is looked for again in that window alone, and ends there. ``cut``
    counts those that reach that end, or `LONGEST`.
    """

    def __init__(self, rules: Rules, seconds: int = SECONDS, matches: int = MATCHES) -> None:
        self.patterns = rules.patterns
        self.reach = rules.reach
        self.cut = 0
        self._scanner = rules.scanner(False, seconds, matches)
        self._matches = matches

    def places(self, buffer: bytes, width: int) -> tuple[Ints, Ints, Ints]:
        """Where each pattern is: the places in the buffer, the lengths and the patterns' indices, (n,) int64 each.

        Raises:
            XbrleError: the rules take too long, or a pattern has too many places.
        """
        hits = self._hits(buffer)
        at, length, which = (np.array([getattr(h, n) for h in hits], np.int64) for n in ("at", "length", "pattern"))
        crossing = at % width + length >= width - 1  # the byte after a match counts as well: $a fullword
        again = distinct(at[crossing] // width)
        keep = ~np.isin(at // width, again)
        found = [(at[keep], length[keep], which[keep])]
        for window in again.tolist():
            alone = self._hits(buffer[window * width : (window + 1) * width])
            if self.reach >= REACH:  # else no match is longer than what its window holds
                self.cut += sum(h.at + h.length == width and h.length != LONGEST for h in alone)
            found.append(
                (
                    np.array([h.at for h in alone], np.int64) + window * width,
                    np.array([h.length for h in alone], np.int64),
                    np.array([h.pattern for h in alone], np.int64),
                )
            )
        at, length, which = (np.concatenate([f[i] for f in found]) for i in range(3))
        self.cut += int((length == LONGEST).sum())
        order = np.lexsort((which, at))
        return at[order], length[order], which[order]

    def _hits(self, data: bytes) -> tuple[Hit, ...]:
        found = self._scanner.scan(data)
        if found.full:
            named = self.patterns[min(found.full)]
            raise XbrleError(
                f"{named} of {shown(os.fsencode(named.file))} has more than {self._matches:,} matches in the pages "
                "that are searched together, and the search ends there. --max-matches allows more"
            )
        return found.hits


def pattern_in(path: str) -> tuple[Pattern, tuple[Named, ...]]:
    """What `search` and `lives` look for: all patterns of the rules in a file or folder. And their names.

    Raises:
        XbrleError: it cannot be read, or its rules have an error.
    """
    rules = read_rules([path])
    return pattern_of(Engine(rules)), rules.patterns


def pattern_of(engine: Engine) -> Pattern:
    """What `search` and `lives` look for: all patterns of the rules."""
    return Pattern.of_engine(engine.places, engine.reach, CONTEXT)


def columns(
    stream: Stream, hits: Sequence[Life], patterns: Sequence[Named], when: Arrivals | None = None
) -> dict[str, list[Any] | NDArray[Any]]:
    """Lives of patterns as columns, (n,) each, for a table: one row for each time that a pattern was at a place.

    ``file``, ``rule``, ``pattern`` and ``block`` are text, ``content`` bytes, all others int64. ``offset`` is in the
    block. ``appeared`` is the record after which the bytes were there, ``vanished`` the one after which they were
    gone, 0 where they were there at the end. ``pass`` and ``vanished_pass`` are those records' passes, 0 for none.
    ``elapsed`` and ``vanished_elapsed`` are ns after the first byte of the capture, -1 where no times are known.
    """
    named = [patterns[h.pattern or 0] for h in hits]
    blocks = [shown(b.name) for b in stream.blocks]
    came = _moments(stream, [h.appeared or 0 for h in hits], when)
    went = _moments(stream, [h.vanished or 0 for h in hits], when)
    return {
        "file": [n.file for n in named],
        "rule": [n.rule for n in named],
        "pattern": [n.pattern for n in named],
        "block": [blocks[h.block] for h in hits],
        "offset": np.array([h.offset for h in hits], np.int64),
        "length": np.array([len(h.content) for h in hits], np.int64),
        "content": [h.content for h in hits],
        **dict(zip(("appeared", "pass", "elapsed"), came, strict=True)),
        **dict(zip(("vanished", "vanished_pass", "vanished_elapsed"), went, strict=True)),
    }


def _moments(stream: Stream, numbers: Sequence[int], when: Arrivals | None) -> tuple[Ints, Ints, Ints]:
    """Records by their numbers, 0 for none: the numbers, the passes, and when they came. See `columns`."""
    table = stream.records
    wanted = np.array(numbers, np.int64)
    passes, elapsed = np.zeros(len(wanted), np.int64), np.full(len(wanted), -1, np.int64)
    there = np.flatnonzero((wanted > 0) & (wanted <= table.last_number))
    rows = np.array([table.row(n) for n in wanted[there].tolist()], np.int64)
    if len(rows):
        passes[there] = table.pass_[rows]
        if when is not None:
            elapsed[there] = when.of(table.columns.offset[rows])
    return wanted, passes, elapsed
