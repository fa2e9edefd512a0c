"""Every option of every command is honoured or refused, never ignored: beside each other option that it can have.

A claim is an option that changes what a command says or writes whatever else it is asked: --json, --view, --at,
--salvage, --block, --force and so on. The tests walk the commands, so that a new one is tried as well.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest

from tests.cli.schemas import parts_in
from tests.export.test_disk import capture as with_disks
from tests.export.test_disk import chunk
from tests.scan.test_wrappers import save_file
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import COMMANDS, cli, main
from xbrletools.cli.guide import HOW_TO_READ

#: They wait for a network or a terminal. Their tests stand elsewhere.
WAITING = {"capture", "tui", "serve"} | (set() if find_spec("yara_x") else {"yara"})  # which is not installed
#: They print nothing but the object about what they wrote.
WRITING = {"extract", "encode", "transcode", "log"}

#: They need a package of an extra, and are left out where that is not installed.
EXTRA = {"tables": "pyarrow", "query": "duckdb"}

CLAIMS = ("as_json", "view", "to_view", "at", "salvage", "block", "by_block", "limit", "receiver", "trust", "only")

#: How each command is called that does not take a capture alone. {S} is one, {T} another one, {out} what is written.
BASE = {
    "check": "{S} --on {T}",
    "converge": "{T} --link 1M",
    "describe": "{T} -o {out}",
    "page": "{S} pc.ram:0x1000",
    "blame": "{S} pc.ram:0x0+16K",
    "grep": "{S} --regex [A-Z][A-Z][A-Z]",
    "yara": "{rules} {S}",
    "diff": "{S} {T}",
    "extract": "{S} -o {out}",
    "log": "{S} --end receiver",
    "encode": "{raw} -o {out}",
    "transcode": "{T} -o {out}",
    "whatif": "{S} --cache 64K",
    "simulate": "--capture {T}",
    "report": "{S} -o {out}",
    "samples": "",
    "tables": "{T} -o {out}",
    "query": "{S} --named kinds",
    "grammars": "ksy",
    "vectors write": "{out}",
    "vectors check": "{vectors}",
}

#: A value of each option that takes one, by its parameter's name.
VALUES = {
    "at_pass": "2", "to_pass": "2", "context": "4", "image_at": "1", "taken_as": "raw",
    "at": "8", "to": "9", "view": "sender", "to_view": "sender", "block": "pc.ram", "trust": "checksum",
    "pair": "2 8", "inspect": "8", "passes": "2", "only": "devices", "form": "lime", "space": "physical",
    "map_file": "{map}", "unknown": "mask-file", "hash_unknown": "1", "disk": "ide0", "cache": "64K",
    "caches": "128K", "bases": "pc.ram=0x0", "end": "sender", "check": "{log}", "policy": "none", "dup_pages": "safe",
    "cache_bytes": "64K", "seed": "3", "rate": "4K", "device_tail": "{tail}", "layout": "{layout}", "to_endian": "big",
    "ram_version": "4", "redact": "block=pc.bios", "bandwidth": "1e6", "latency": "1", "downtime": "1",
    "by_kind": "page", "by_block": "pc.ram", "by_page": "0x0", "by_section": "0-9", "by_pass": "1",
    "by_record": "2-9", "by_packet": "1", "by_finding": "stale-base", "limit": "1", "receiver": "debug",
    "cpu": "0", "by": "block", "order": "bytes", "explain": "stale-base",
    "sender_log": "{log}", "receiver_log": "{log}", "to_channel": "{T}", "to_snapshot": "x",
    "more_rules": "{rules}", "max_matches": "2", "timeout": "3", "program": "false {{op}}", "capture": "{T}",
}  # fmt: skip

#: (command, claim, other option) -> why the other option leaves the claim nothing to change. * is any command.
SILENT = {
    ("*", "salvage", "at"): "record 8 stands before the damage",
    ("*", "salvage", "pair"): "record 8 stands before the damage",
    ("*", "salvage", "inspect"): "the page is the same",
    ("*", "view", "salvage"): "lost records may have changed the page, so that neither view knows it",
    ("*", "salvage", "disk"): "this capture is not damaged",
    ("info", "salvage", "xml"): "the XML stands before the stream",
    ("page", "at", "raw"): "record 8 is the page's last",
    ("grep", "at", "limit"): "the first match is the same",
    ("grep", "block", "limit"): "the first match is of this block",
    ("yara", "at", "limit"): "the first match is the same",
    ("diff", "salvage", "only"): "these captures have no devices",
    ("diff", "to_view", "view"): "it is as --view already",
    ("verify", "limit", "sarif"): "SARIF has all findings: --limit is for the list that a person gets",
    ("verify", "limit", "explain"): "one finding is explained",
    **{("verify", claim, "rules"): "rules do not depend on S" for claim in CLAIMS[1:]},
    ("*", "by_block", "by_packet"): "there are no packets",
    **{("*", claim, "by_packet"): "there are no packets" for claim in ("limit", "at", "block", "view")},
    **{("verify", "limit", other): "one finding a cause is left" for other in ("by_kind", "by_pass")},
    **{("grep", claim, "by_finding"): "no match is of such a record" for claim in ("at", "block", "limit")},
    **{("grep", "block", other): "all of these matches are in it" for other in ("by_pass", "by_record")},
    **{("grep", "view", other): "these matches are the same in both" for other in ("by_kind", "by_pass")},
    ("dump", "limit", "devices"): "there is one device",
    ("*", "by_block", "by_finding"): "the finding is of this block",
    ("query", "limit", "list_names"): "the named queries do not depend on S",
    ("dump", "by_block", "devices"): "there are no devices, which belong to no block",
}


def leaves() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    context = click.Context(cli)
    for name in COMMANDS:
        found = cli.get_command(context, name)
        if isinstance(found, click.Group):
            yield from ((f"{name} {n}", c) for n, c in found.commands.items())
        elif name not in WAITING and (name not in EXTRA or find_spec(EXTRA[name])):
            yield name, found


LEAVES = dict(leaves())


def options(command: click.Command) -> list[click.Option]:
    """The options that are a command's own, as far as there is a value for them here."""
    found = [p for p in command.params if isinstance(p, click.Option) and (p.is_flag or p.name in (*VALUES, "output"))]
    return [p for p in found if p.name not in HOW_TO_READ or p.name in CLAIMS]


def word(option: click.Option) -> list[str]:
    """An option as it is called."""
    name = max(option.opts, key=len)
    return [name] if option.is_flag else [name, *VALUES[option.name].split(" ")]


def pairs(claims: tuple[str, ...]) -> list[tuple[str, str, str | None]]:
    """Each command with each of its claims, beside each of its other options and alone."""
    found = []
    for name, command in LEAVES.items():
        own = [o.name for o in options(command)]
        found += [(name, a, b) for a in own if a in claims for b in (None, *own) if a != b and b != "output"]
    return found


def stream_with(last: np.ndarray, fill: int) -> bytes:
    """A stream whose records 8 and 9 are deltas over bases that the receiver lost to dup pages of this ``fill``.

    Record 11, the page ``last`` of another block, stands in the last section.
    """
    pages = [noise(i) for i in range(4)]
    changed = [p.copy() for p in pages]
    for p in changed:
        p[100:120] += 1
    builder = StreamBuilder({b"pc.ram": 4 * PAGE, b"pc.bios": 2 * PAGE}, flags=3)
    for i in range(4):
        builder.page(i * PAGE, pages[i])
    builder.page(0, noise(4), b"pc.bios").part().dup(0, fill).dup(PAGE, fill).part()
    for i in (1, 0, 3):
        builder.delta(i * PAGE, pages[i], changed[i])
    return builder.part().page(0, last, b"pc.bios").end().bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Captures in which every claim has something to show: a stale base, two blocks, damage before the end, a disk."""
    folder = tmp_path_factory.mktemp("options")
    whole = stream_with(noise(5), 0)
    damaged = bytearray(whole)
    damaged[-PAGE - 60 : -PAGE - 50] = b"\xff" * 10  # the header of the section before END
    (folder / "S").write_bytes(damaged)
    (folder / "T").write_bytes(stream_with(noise(6), 9))
    (folder / "disk").write_bytes(with_disks(chunk(0, b"one")))
    (folder / "save").write_bytes(save_file())
    (folder / "raw").write_bytes(b"".join(noise(i).tobytes() for i in range(4)))
    (folder / "layout").write_text(json.dumps({"blocks": [{"name": "pc.ram", "length": 4 * PAGE}]}))
    (folder / "map").write_text("0x0 0x4000 pc.ram 0x0\n")
    (folder / "tail").write_bytes(b"")
    (folder / "rules").write_text("rule three { strings: $a = /[A-Z][A-Z][A-Z]/ condition: $a }")
    (folder / "log").write_text("")
    return {p.name: str(p) for p in folder.iterdir()} | {"vectors": str(folder / "none"), "out": ""}


def data_of(path: Path) -> bytes:
    """What a file holds outside its holes, and where: guest-physical space is large and nearly empty."""
    pieces, at = [], 0
    with path.open("rb") as file, contextlib.suppress(OSError):  # after the last data there is none
        while True:
            at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            pieces.append(b"%d:" % at + os.pread(file.fileno(), end - at, at))
            at = end
    return b"".join(pieces)


class Caller:
    """Runs commands on the files, and says all that came of it."""

    def __init__(self, files: dict[str, str], folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        self.files, self.folder, self.capsys = files, folder, capsysbinary

    def __call__(self, name: str, *more: str, on: str = "S") -> tuple[int, str, str, str]:
        """The exit status, both outputs, and a digest of what was written."""
        out = self.folder / "out"
        if out.is_dir():
            shutil.rmtree(out)
        for p in self.folder.iterdir():
            p.unlink()
        places = self.files | {"out": str(out), "S": self.files[on]}
        words = [w.format(**places) for w in (*name.split(), *BASE.get(name, "{S}").split(), *more)]
        status = main(words)
        said, told = (out.decode(errors="backslashreplace") for out in self.capsys.readouterr())
        written = hashlib.sha256()
        for p in sorted(self.folder.rglob("*")):
            written.update(p.name.encode() + (data_of(p) if p.is_file() else b""))
        return status, said, told, written.hexdigest()


@pytest.fixture
def call(files, tmp_path, capsysbinary) -> Caller:
    return Caller(files, tmp_path, capsysbinary)


@pytest.mark.parametrize("command", LEAVES)
def test_each_command_is_called_as_it_wants_to_be(command, call):
    if command != "vectors check":  # which wants what `vectors write` takes seconds to write
        assert call(command)[0] != 2, f"{command} needs a line in BASE"


def is_json(text: str) -> bool:
    """Whether a text is JSON, or has JSON in every line."""
    try:
        json.loads(text)
    except ValueError:
        try:
            return all(json.loads(line) is not None for line in text.splitlines())
        except ValueError:
            return False
    return True


def by_name(command: str, name: str) -> list[str]:
    return word(next(o for o in options(LEAVES[command]) if o.name == name))


#: What the file must be for an option to have something to say.
NEEDS = {"xml": "save", "disk": "disk"}


@pytest.mark.parametrize(("command", "claim", "other"), pairs(("as_json",)))
def test_json_is_printed_or_refused_whatever_else_is_asked(command, claim, other, call):
    if (command, claim, other) in SILENT:
        pytest.skip(SILENT[command, claim, other])
    more = by_name(command, other) if other is not None else []
    status, said, *_ = call(command, *more, "--json", on=NEEDS.get(other, "S"))
    if status == 2:
        assert said == ""
        return
    assert is_json(said), said
    plain_status, plain, *_ = call(command, *more, on=NEEDS.get(other, "S"))
    assert plain_status == status
    assert command in WRITING or bool(plain.strip()) >= bool(said.strip())
    parts_in(command, said)


@pytest.mark.parametrize(("command", "claim", "other"), pairs(tuple(c for c in CLAIMS if c != "as_json")))
def test_a_claim_changes_what_comes_or_is_refused(command, claim, other, call):
    if why := SILENT.get((command, claim, other), SILENT.get(("*", claim, other))):
        pytest.skip(why)
    more = by_name(command, other) if other is not None else []
    without = call(command, *more, on=NEEDS.get(other, "S"))
    if without[0] == 2:
        return  # the other option is not for this capture
    found = call(command, *more, *by_name(command, claim), on=NEEDS.get(other, "S"))
    assert found[0] == 2 or found != without


def test_force_is_refused_where_nothing_is_written(call):
    for command in [n for n, c in LEAVES.items() if any(p.name == "force" for p in c.params)]:
        output = next((p for p in LEAVES[command].params if p.name == "output"), None)
        if output is None or output.required or " -o " in BASE.get(command, ""):
            continue
        assert call(command, "--force")[0] == 2, command


def test_an_output_is_written_where_it_is_asked_for_and_replaced_only_with_force(call, tmp_path):
    for command, found in LEAVES.items():
        output = next((o for o in options(found) if o.name == "output"), None)
        if output is None or "-o" in BASE.get(command, "") or command == "whatif":
            continue
        assert call(command, "-o", "{out}")[0] in (0, 1)
        assert (tmp_path / "out").exists()
