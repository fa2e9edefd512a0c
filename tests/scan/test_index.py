"""The index: the same answers with it and without, noticed when it is not the capture's, never in the way."""

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import xbrletools
import xbrletools.capture
from tests.cli.run import run
from tests.conftest import SAMPLES, SOUND, corpus_names
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import COMMANDS as COMMANDS_OF_XBRLE
from xbrletools.cli import main
from xbrletools.formats.ram import Kind
from xbrletools.model import Facts
from xbrletools.scan import cache as index
from xbrletools.scan import kept as kept_facts
from xbrletools.scan.cache import Indexed, Keeping
from xbrletools.scan.notes import Scan
from xbrletools.scan.strict import Scanner
from xbrletools.source.opening import open_source
from xbrletools.source.sources import MappedSource
from xbrletools.table.sections import Sections

COMMANDS = (
    ("info", "--json"),
    ("stats", "--json"),
    ("dump", "--json"),
    ("verify", "--json"),
    ("page", "--json", "0x0"),
    ("dump",),
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of indexes, of this test's own. Every capture is large enough for one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(xbrletools.capture, "INDEXED", 1)
    monkeypatch.setattr(index, "SETTLED", 0)
    return tmp_path / "cache" / "xbrletools"


def settled(path: Path, data: bytes, seconds: int = 1_000_000) -> Path:
    """A file that was last changed long ago."""
    path.write_bytes(data)
    os.utime(path, (seconds, seconds))
    return path


def sample(tmp_path: Path, name: str = "posted-8m.bin") -> Path:
    return settled(tmp_path / name, (SAMPLES / name).read_bytes())


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.exists() else []


def scan_of(path: Path) -> Scan:
    return scan_as(path, None)


def scan_as(path: Path, dialect: str | None) -> Scan:
    source = open_source(path)
    assert isinstance(source, MappedSource)
    assert source.origin is not None
    return index.scanner(source, source.origin, dialect, None, None)


def same_facts(one: Facts, other: Facts) -> bool:
    """Whether two scans found the same, section by section."""
    nothing = Sections()
    return list(one.sections) == list(other.sections) and (
        replace(one, sections=nothing) == replace(other, sections=nothing)
    )


@pytest.mark.parametrize("name", sorted(p.name for p in SOUND))
def test_an_index_gives_all_that_the_scan_gave(name: str, tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path, name)
    first = scan_of(path)
    assert isinstance(first, Keeping)
    rows = list(first)
    second = scan_of(path)
    assert isinstance(second, Indexed)
    again = list(second)
    for field in fields(rows[0]):
        one, other = (np.concatenate([getattr(c, field.name) for c in part]) for part in (rows, again))
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    assert same_facts(first.facts, second.facts)


@pytest.mark.parametrize("name", [n for n in corpus_names("qemu-7.2") if ".chan" not in n or n.endswith(".chan0")])
def test_an_index_keeps_what_is_known_of_todays_captures(
    name: str, corpus: Callable[[str], bytes], tmp_path: Path, cache: Path
) -> None:
    path = settled(tmp_path / "capture.bin", corpus(f"qemu-7.2/{name}.bin"))
    first = scan_of(path)
    for _ in first:
        pass
    second = scan_of(path)
    assert isinstance(second, Indexed)
    assert same_facts(first.facts, second.facts)


def test_commands_say_the_same_with_and_without_an_index(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample(tmp_path)
    without = [run(capsys, c[0], path, *c[1:], "--no-cache") for c in COMMANDS]
    assert files(cache) == []
    first = [run(capsys, c[0], path, *c[1:]) for c in COMMANDS]
    assert len(files(cache)) == 1
    assert isinstance(scan_of(path), Indexed)
    second = [run(capsys, c[0], path, *c[1:]) for c in COMMANDS]
    assert without == first == second


def test_a_damaged_capture_says_the_same_from_its_index(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settled(tmp_path / "cut.bin", (SAMPLES / "posted-8m.bin").read_bytes()[:-70_000])
    first = [run(capsys, c[0], path, *c[1:]) for c in COMMANDS]
    assert isinstance(scan_of(path), Indexed)
    assert [run(capsys, c[0], path, *c[1:]) for c in COMMANDS] == first


def test_memory_and_load_are_the_same_from_an_index(tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path)
    with xbrletools.open(path, cache=False) as plain:
        expected = plain.memory()
    for kind in (Keeping, Indexed):
        with xbrletools.open(path) as capture:
            for _ in capture.load(lambda table: None):
                pass
            assert isinstance(capture._scanner, kind)
            assert np.array_equal(capture.memory().pages, expected.pages)


def test_a_changed_capture_of_the_same_size_is_noticed(tmp_path: Path, cache: Path) -> None:
    one, other = (
        StreamBuilder().page(0, noise(i)).page(PAGE, noise(i + 1)).dup(2 * PAGE + i * PAGE).bytes() for i in (0, 1)
    )
    assert len(one) == len(other)
    path = settled(tmp_path / "a.bin", one)
    with xbrletools.open(path) as capture:
        assert capture.records.columns.address[-2] == 2 * PAGE
    settled(path, other)  # the same time too: its ends tell
    with xbrletools.open(path) as capture:
        assert capture.records.columns.address[-2] == 3 * PAGE
    settled(path, one, seconds=2_000_000)
    with xbrletools.open(path) as capture:
        assert not isinstance(capture.scan(), Indexed)


def other_middle(data: bytes) -> bytes:
    """The same capture with another address in a record that is far from both ends and from the places looked at."""
    columns = xbrletools.open(data).records.columns
    looked_at = [place * len(data) // (index.PLACES + 1) for place in range(1, index.PLACES + 1)]
    unseen = [
        at
        for at in columns.offset[columns.kind == Kind.DUP].tolist()
        if index.ENDS < at < len(data) - index.ENDS - 8 and all(not p - 8 < at < p + index.PLACE for p in looked_at)
    ]
    changed = bytearray(data)
    changed[unseen[len(unseen) // 2] + 6] ^= 0x10
    return bytes(changed)


#: Each command that reads a capture, with the rest of its line. OUT is a file or folder to write.
READERS: dict[str, tuple[str, ...]] = {
    "info": ("--json",),
    "dump": ("--json",),
    "verify": ("--json",),
    "stats": ("--json",),
    "top": ("--json",),
    "page": ("0x0", "--json"),
    "blame": ("0x0+4096",),
    "grep": ("--hex", "0000", "--json", "--limit", "9"),
    "diff": (str(SAMPLES / "m115-big.bin"), "--json"),
    "extract": ("-o", "OUT", "--force"),
    "describe": (),
    "check": ("--on", "DESCRIPTION"),
    "why": (),
    "log": ("--end", "receiver"),
    "sender": ("--json",),
    "transcode": ("--policy", "none", "-o", "OUT", "--force"),
    "whatif": ("--json",),
    "converge": ("--link", "1G", "--json"),
    "simulate": ("--json",),
    "report": ("-o", "OUT", "--force"),
    "query": ("select count(*), sum(length), sum(checksum) from records", "--csv"),
    "yara": ("--json",),
}
NEEDS = {"query": "duckdb", "yara": "yara_x"}  # extras
#: Salvage and tables read a capture anew each time, encode reads snapshots; the others read none, or do not end.
OTHERS = {"samples", "grammars", "salvage", "tables", "encode", "vectors", "capture", "tui", "serve"}


def test_every_command_that_reads_a_capture_is_tried_on_two_that_look_alike() -> None:
    assert sorted([*READERS, *OTHERS]) == sorted(COMMANDS_OF_XBRLE)


@pytest.mark.parametrize("command", READERS)
def test_a_copy_with_another_middle_and_the_same_size_and_times_has_its_own_answer(
    command: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command in NEEDS:
        pytest.importorskip(NEEDS[command])
    out, description = tmp_path / "out", tmp_path / "description"
    first = sample(tmp_path)
    second = settled(tmp_path / "second.bin", other_middle(first.read_bytes()))
    assert first.stat().st_size == second.stat().st_size
    assert first.stat().st_mtime_ns == second.stat().st_mtime_ns
    main(["describe", str(SAMPLES / "xbzrle-16m.bin"), "-o", str(description)])
    capsys.readouterr()

    def answer(path: Path, *more: str) -> tuple[int, str, dict[str, bytes]]:
        words = [str({"OUT": out, "DESCRIPTION": description}.get(w, w)) for w in READERS[command]]
        leading = {
            "why": ["Unknown combination of migration flags: 0x0"],
            "simulate": ["--capture"],
            "yara": [str(SAMPLES / "rules.yar")],
        }.get(command, [])
        status = main([command, *leading, str(path), *words, *more])
        said = capsys.readouterr()
        written = {p.name: p.read_bytes() for p in (out.iterdir() if out.is_dir() else [out] if out.exists() else [])}
        return status, (said.out + said.err).replace(str(path), "S"), written

    without = [] if command in ("describe", "why", "simulate") else ["--no-cache"]
    alone = answer(second, *without)
    shutil.rmtree(cache, ignore_errors=True)
    answer(first)
    kept = files(cache)
    assert answer(second) == alone
    assert len(files(cache)) > len(kept) > 0, "the copy has an index of its own"


def test_a_file_rewritten_in_place_with_its_time_set_back_is_noticed(tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path)
    for _ in scan_of(path):
        pass
    assert isinstance(scan_of(path), Indexed)
    settled(path, other_middle(path.read_bytes()))
    assert not isinstance(scan_of(path), Indexed)


def test_a_capture_that_changes_while_it_is_scanned_gets_no_index(tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path)
    scan = scan_of(path)
    os.utime(path, (5, 5))
    for _ in scan:
        pass
    assert files(cache) == []


def test_a_capture_that_was_only_just_written_gets_no_index(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SETTLED", 2)
    path = tmp_path / "fresh.bin"
    shutil.copyfile(SAMPLES / "posted-8m.bin", path)
    for _ in scan_of(path):
        pass
    assert files(cache) == []


def test_other_options_have_an_index_of_their_own(tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path)
    for options in ({}, {"dialect": "posted"}, {"endian": "little"}, {"page_size": 4096}):
        with xbrletools.open(path, **options) as capture:  # type: ignore[arg-type]
            assert len(capture.records)
    assert len(files(cache)) == 4


@pytest.mark.parametrize("turn", range(40))
def test_a_damaged_index_is_ignored_and_written_anew(turn: int, tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path, "m115-big.bin")
    expected = np.concatenate([c.offset for c in scan_of(path)])
    (kept,) = files(cache)
    whole = kept.read_bytes()
    data = bytearray(whole)
    random = np.random.default_rng(turn)
    place = int(random.integers(0, len(data)))
    if turn % 4 == 0:
        del data[place:]
    elif turn % 4 == 1:
        data[place : place + 8] = random.bytes(8)
    else:
        place //= 1 if turn % 4 == 2 else 20
        data[place] ^= 1 << int(random.integers(0, 8))
    kept.write_bytes(data)
    padding = len(whole) - len(whole.rstrip(b"\0"))
    found = scan_of(path)
    if isinstance(found, Indexed):  # only what nothing is read from can be damaged unseen: between columns
        assert bytes(data) == whole or place >= len(data) - padding or whole[place] == 0
    assert np.array_equal(np.concatenate([c.offset for c in found]), expected)
    if not isinstance(found, Indexed):
        assert files(cache)[0].read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"XBRLEIDX", b"\x80\x04N.", bytes(4096), b"{}" * 5000])
def test_a_foreign_file_in_the_place_of_an_index_is_ignored(content: bytes, tmp_path: Path, cache: Path) -> None:
    path = sample(tmp_path)
    for _ in scan_of(path):
        pass
    (kept,) = files(cache)
    kept.write_bytes(content)
    assert isinstance(scan_of(path), Keeping)


def test_an_index_whose_rows_point_outside_the_capture_is_ignored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(tmp_path)
    with monkeypatch.context() as patched:
        gather = Scanner.__iter__

        def far(self: Scanner):  # type: ignore[no-untyped-def]
            for columns in gather(self):
                columns.offset[:] += np.uint64(1 << 40)
                yield columns

        patched.setattr(Scanner, "__iter__", far)
        for _ in scan_of(path):
            pass
    assert len(files(cache)) == 1
    assert isinstance(scan_of(path), Keeping)


def test_every_fact_is_kept_but_those_of_salvage_and_the_sections_which_are_columns() -> None:
    assert {"sections", *kept_facts.KEPT, *kept_facts.SALVAGE} == {f.name for f in fields(Facts)}
    assert not set(kept_facts.KEPT) & set(kept_facts.SALVAGE)


#: What somebody could write into an index: where in the facts, and the value.
FORGERIES = (
    (("reading",), 5),
    (("reading",), None),
    (("reading", "page_size"), "4096"),
    (("reading", "page_size"), 0),
    (("reading", "version"), 9),
    (("reading", "endian"), "middle"),
    (("reading", "dialect"), "no such dialect"),
    (("reading", "dialect"), "m115"),  # of another RAM version
    (("reading", "evidence"), {}),
    (("reading", "evidence", "name"), "no such dialect"),
    (("reading", "evidence", "candidates"), [1]),
    (("blocks",), []),  # which the rows name
    (("blocks",), [1]),
    (("blocks", 0, "name"), 7),
    (("blocks", 0, "name"), "no hex"),
    (("blocks", 0, "length"), -1),
    (("blocks", 0, "length"), 1.5),
    (("blocks", 0, "page_size"), 3),
    (("problems",), [{"rule": "a"}]),
    (("problems",), {"__class__": "a"}),
    (("commands",), [[]]),
    (("commands",), [{"offset": 0, "number": 7, "data": "", "end": 1 << 60}]),
    (("disks",), [["ab"]]),
    (("vmdesc",), [1]),
    (("vmdesc",), [1 << 60, 5]),
    (("end",), True),
    (("complete",), 1),
    (("machine",), ["pc"]),
    (("ram_version",), "4"),
    (("unheard",), 1),
    (("end",), None),
)


@pytest.mark.parametrize(("where", "value"), FORGERIES)
def test_a_forged_index_is_ignored(
    where: tuple[str | int, ...], value: object, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(tmp_path)
    to_keep = index.facts_to_keep

    def forged(facts: Facts) -> dict[str, object]:
        kept = to_keep(facts)
        holder = kept
        for step in where[:-1]:
            holder = holder[step]
        assert where[-1] == "unheard" or holder[where[-1]] != value or type(holder[where[-1]]) is not type(value)
        holder[where[-1]] = value
        return kept

    with monkeypatch.context() as patched:
        patched.setattr(index, "facts_to_keep", forged)
        for _ in scan_of(path):
            pass
    assert len(files(cache)) == 1
    again = scan_of(path)
    assert isinstance(again, Keeping)
    for _ in again:
        pass
    assert isinstance(scan_of(path), Indexed)


def test_an_index_with_a_section_outside_the_capture_is_ignored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(tmp_path)
    columns = Sections.columns

    def far(self: Sections) -> dict[str, bytes]:
        found = columns(self)
        ends = np.frombuffer(found["section_end"], np.uint64).copy()
        ends[len(ends) // 2] = 1 << 40
        return found | {"section_end": ends.tobytes()}

    with monkeypatch.context() as patched:
        patched.setattr(Sections, "columns", far)
        for _ in scan_of(path):
            pass
    assert len(files(cache)) == 1
    assert isinstance(scan_of(path), Keeping)


def test_a_folder_that_cannot_be_written_fails_no_command(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(tmp_path)
    expected = run(capsys, "info", path, "--no-cache")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert run(capsys, "info", path) == expected
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    assert run(capsys, "info", path) == expected
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/proc/nothing")
    assert run(capsys, "info", path) == expected


def test_a_full_disk_fails_no_command_and_leaves_nothing(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(tmp_path)
    expected = run(capsys, "info", path, "--no-cache")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index, "_append", full)
    assert run(capsys, "info", path) == expected
    monkeypatch.setattr(index._Draft, "add", full)
    assert run(capsys, "info", path) == expected
    assert files(cache) == []


def test_an_index_that_would_take_too_much_of_the_disk_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MOST", 1000)
    for _ in scan_of(sample(tmp_path)):
        pass
    assert files(cache) == []


def test_the_index_unused_for_longest_goes_first(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [sample(tmp_path, name) for name in ("m115-big.bin", "m115-little.bin")]
    kept: list[Path] = []
    for i, path in enumerate(paths):
        for _ in scan_of(path):
            pass
        (new,) = set(files(cache)) - set(kept)
        kept.append(new)
        os.utime(new, (100 + i, 100 + i))
    assert isinstance(scan_of(paths[0]), Indexed)  # used again, so the other is the oldest now
    monkeypatch.setattr(index, "MOST", sum(p.stat().st_size for p in kept) + 100)
    for _ in scan_as(paths[0], "m115"):
        pass
    assert kept[0] in files(cache)
    assert kept[1] not in files(cache)


def test_a_scan_that_is_broken_off_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    for _ in scan_of(sample(tmp_path)):
        break
    assert files(cache) == []


def test_pipes_bytes_and_wrapped_captures_get_no_index(tmp_path: Path, cache: Path) -> None:
    data = (SAMPLES / "m115-big.bin").read_bytes()
    for what in (data, settled(tmp_path / "a.gz", gzip.compress(data))):
        with xbrletools.open(what) as capture:
            assert len(capture.records)
    assert files(cache) == []


def test_small_captures_get_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with xbrletools.open(sample(tmp_path)) as capture:
        assert len(capture.records)
    assert not (tmp_path / "cache").exists()


def test_both_captures_of_a_diff_go_without_an_index(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = sample(tmp_path, "m115-big.bin"), sample(tmp_path, "m115-little.bin")
    run(capsys, "diff", one, other, "--no-cache")
    assert files(cache) == []
