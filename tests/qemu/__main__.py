"""Asks every QEMU that is found. By default it migrates by every kind, and prints how many pages come out wrong.

    python -m tests.qemu > docs/qemu-versions.md      # a minute for each QEMU
    python -m tests.qemu --receivers 500 --seed 1     # asks every QEMU about 500 edits of a stream: 0.5 s each
    python -m tests.qemu --channels --seed 1          # asks about every edit of channels and of mapped-ram files
    python -m tests.qemu --check                      # prints the table of docs/check.md
    python -m tests.qemu --record                     # writes what they say of some edits to tests/verify

.ci/install-tools installs the QEMUs. A cell says why, where a kind cannot be made or its capture does not read.
"""

import argparse
import json
import lzma
import sys
import tempfile
from pathlib import Path

import xbrletools
from tests.conftest import CORPUS, ROOT
from tests.qemu import test_channels
from tests.qemu.channel_edits import CHANNEL_EDITS, mapped_edits
from tests.qemu.destinations import PAIRS, answered
from tests.qemu.edited import EDITS, made
from tests.qemu.edits import Places, ask
from tests.qemu.guest import EMULATORS, RAM, Emulator
from tests.qemu.kinds import KINDS, MAPPED, Kind, recorded, wrong_pages
from tests.qemu.test_receivers import MACHINE, NOT_TOLD, difference
from xbrletools.errors import XbrleError

HEAD = f"""# Kinds of captures, and versions of QEMU

A guest of {RAM >> 20} MiB that keeps writing is migrated by each kind, with each version of QEMU. The numbers count
pages of its RAM that the capture gives otherwise than the paused source held them, or does not give. Each capture must
also verify without an error. A dash: this version cannot make that kind. `python -m tests.qemu` makes this table. The
same runs are tests (`tests/qemu`).
"""


def cell(kind: Kind, emulator: Emulator) -> str:
    """What the table says of one kind with one QEMU."""
    if not kind.made_by(emulator):
        return "-"
    with tempfile.TemporaryDirectory() as folder:
        try:
            return str(wrong_pages(*recorded(kind, emulator, Path(folder))))
        except (XbrleError, AssertionError) as error:
            return f"fails: {str(error).splitlines()[0] if str(error) else 'the capture is not clean'}"


BASE = CORPUS / "cases" / "receivers" / "base-7.2.bin.xz"
RECORDED = ROOT / "tests" / "verify" / "receivers_said.json"
SEEDS = 5  # of each kind of edit that are recorded


def receivers(count: int, seed: int, only: str) -> int:
    """Ask every QEMU about edits of a stream, of all kinds or of the ``only`` ones, with commas between them.

    Prints where one says something else than its receiver. Refusals by a device's own code are counted apart.
    """
    at, wrong, asked, apart = Places(lzma.decompress(BASE.read_bytes())), 0, 0, 0
    kinds = only.split(",") if only else list(EDITS)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            for emulator in EMULATORS:
                asked += 1
                found = difference(kinds[i % len(kinds)], seed * 1_000_000 + i, emulator, at, Path(folder))
                if found is not None:
                    is_apart = found.startswith(NOT_TOLD)
                    apart, wrong = apart + is_apart, wrong + (not is_apart)
                    print(found, flush=True)
    print(f"{asked} asked, {wrong} answers differ, {apart} not judged: {NOT_TOLD}")
    return 1 if wrong else 0


def channels(seed: int) -> int:
    """Ask every QEMU about every edit of multifd's channels and of a mapped-ram file. Prints what differs."""
    wrong = asked = 0
    for emulator in EMULATORS:
        with tempfile.TemporaryDirectory() as folder:
            files = test_channels.channels_of(emulator, Path(folder))
            found = [test_channels.channel_difference(n, seed, emulator, files, Path(folder)) for n in CHANNEL_EDITS]
        if emulator.version >= MAPPED:
            with tempfile.TemporaryDirectory() as folder:
                data = test_channels.mapped_of(emulator, Path(folder))
                names = mapped_edits(data, data.index(test_channels.FIRST_NAME) + len(test_channels.FIRST_NAME) + 8)
                found += [test_channels.mapped_difference(n, emulator, data, Path(folder)) for n in names]
        print("\n".join(f for f in found if f), flush=True)
        asked, wrong = asked + len(found), wrong + sum(f is not None for f in found)
    print(f"{asked} asked, {wrong} answers differ")
    return 1 if wrong else 0


def record(only: str) -> int:
    """Write what the QEMUs here say of some edits, of all kinds or of the ``only`` ones. What others said stays."""
    at = Places(lzma.decompress(BASE.read_bytes()))
    kept = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "S"
        for kind in only.split(",") if only else EDITS:
            for seed in range(SEEDS):
                path.write_bytes(made(kind, seed, at))
                try:
                    xbrletools.open(path)
                except XbrleError:  # not a stream: no receiver is asked
                    continue
                by_version = kept.setdefault(kind, {}).setdefault(str(seed), {})
                for emulator in EMULATORS:
                    said = ask(emulator, path, *MACHINE)
                    by_version[f"{emulator.version[0]}.{emulator.version[1]}"] = [said.loads, said.lines]
    RECORDED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def check() -> int:
    """Print what each real destination does with the stream of each pair, and whether check says the same."""
    print("| destination differs in | " + " | ".join(emulator.label for emulator in EMULATORS) + " |")
    print("| --- |" + " --- |" * len(EMULATORS))
    wrong = 0
    for pair in PAIRS:
        cells = []
        for emulator in EMULATORS:
            with tempfile.TemporaryDirectory() as folder:
                answer, said = answered(pair, emulator, Path(folder))
            same = (answer.loads, list(answer.outcome.said)) == (said.loads, said.lines)
            wrong += not same
            line = "loads" if said.loads else f"`{said.lines[0].removeprefix('load of migration failed: ')[:80]}`"
            cells.append(line + ("" if same else " **check says otherwise**"))
        print(f"| {pair.title} | {' | '.join(cells)} |", flush=True)
    return 1 if wrong else 0


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.qemu", description=__doc__.splitlines()[0])
    parser.add_argument("--receivers", type=int, metavar="N", help="ask every QEMU about N edits of a stream")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which edits (default: 1)")
    parser.add_argument("--kinds", default="", metavar="NAME,...", help="only these kinds of edits (default: all)")
    parser.add_argument("--channels", action="store_true", help="ask every QEMU about edits of channels and mapped-ram")
    parser.add_argument("--check", action="store_true", help="ask real destinations, and hold check against them")
    parser.add_argument("--record", action="store_true", help="write what they say of some edits to tests/verify")
    asked = parser.parse_args()
    if asked.record:
        return record(asked.kinds)
    if asked.channels:
        return channels(asked.seed)
    if asked.check:
        return check()
    return table() if asked.receivers is None else receivers(asked.receivers, asked.seed, asked.kinds)


def table() -> int:
    """Print the table. Returns 1 where a page is wrong, or a capture does not read."""
    print(HEAD)
    print("| kind | " + " | ".join(emulator.label for emulator in EMULATORS) + " |")
    print("| --- |" + " ---: |" * len(EMULATORS))
    right = True
    for kind in KINDS:
        cells = [cell(kind, emulator) for emulator in EMULATORS]
        right &= set(cells) <= {"0", "-"}
        print(f"| {kind.name} | {' | '.join(cells)} |", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
