"""Maps of real machines against QEMU's own `info mtree -f`: each is right, or says what it could not place."""

import json
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import CORPUS
from tests.export import cores
from xbrletools.cli import main
from xbrletools.physical.infer import map_of

FOLDER = "physical-maps"
MEMORY = ("ram", "rom", "nv-ram", "romd", "ramd")
#: Blocks of the truth that are not RAM. A map may leave them out in silence, but never show them where they are not.
FIRMWARE = re.compile(r"^/rom@|bios|\.rom$|flash|vram|vga|qxl|isa-|mrom|firmware")
STREAMS = sorted(p.name.removesuffix(".bin.xz") for p in (CORPUS / FOLDER).glob("*.bin.xz")) or ["(no corpus)"]

GIB, MIB = 1 << 30, 1 << 20


def truth_of(about: dict) -> list[tuple[int, int, str, int]]:
    """What the guest sees, as (start, length, block, offset), in rising order."""
    seen = [r for r in about["truth"] if r["block"] and r["kind"] in MEMORY]
    return sorted((r["phys"], r["length"], r["block"], r["offset"]) for r in seen)


def at(ranges: list[tuple[int, int, str, int]], address: int) -> tuple[str, int] | None:
    for start, length, block, offset in ranges:
        if start <= address < start + length:
            return block, offset + address - start
    return None


def judged(truth: list, placed: list, unplaced: set[str]) -> str:
    """right, asked (what is missing is named), or what is wrong."""
    edges = sorted({x for start, length, *_ in [*truth, *placed] for x in (start, start + length)})
    missing = set()
    for low, _ in pairwise(edges):
        real, shown = at(truth, low), at(placed, low)
        if real == shown:
            continue
        if shown is not None:
            return f"wrong at {low:#x}: {shown}, and the guest has {real}"
        if not FIRMWARE.search(real[0]):
            missing.add(real[0])
    if missing - unplaced:
        return f"left out in silence: {missing - unplaced}"
    return "asked" if missing else "right"


def compared(name: str, corpus) -> str:
    about = json.loads((CORPUS / FOLDER / f"{name}.json").read_text())
    capture = xbrletools.open(corpus(f"{FOLDER}/{name}.bin"), cache=False)
    if capture.damage is not None or not capture.blocks:
        return "unread"  # and whoever exports it is told so
    where = map_of(capture.stream)
    placed = [(r.start, r.length, r.block.decode(), r.offset) for r in where.ranges]
    return judged(truth_of(about), placed, {u.block.decode() for u in where.unplaced})


@pytest.mark.parametrize("name", STREAMS)
def test_a_core_has_memory_where_the_guest_has_it_or_says_what_it_leaves_out(name, corpus, tmp_path):
    path = tmp_path / "s"
    path.write_bytes(corpus(f"{FOLDER}/{name}.bin"))
    status, told = exported(path, tmp_path / "core")
    placed = sorted((p["address"], p["length"], p["block"], p["offset"]) for p in told["placed"])
    assert [(start, length) for start, _, length in cores.read(tmp_path / "core").loads] == [p[:2] for p in placed]
    about = json.loads((CORPUS / FOLDER / f"{name}.json").read_text())
    verdict = judged(truth_of(about), placed, {u["block"] for u in told["unplaced"]})
    assert (verdict, status) in (("right", 0), ("right", 1), ("asked", 1))


def test_few_guests_are_asked_about(corpus, capsys):
    if not (CORPUS / FOLDER).is_dir():
        pytest.skip("the corpus has no physical maps")
    found = Counter(compared(name, corpus).split(":")[0] for name in STREAMS)
    with capsys.disabled():
        sys.stdout.write(f"\nphysical maps: {dict(found)}\n")
    assert found["right"] >= 0.75 * sum(found.values())


def exported(path: Path, out: Path, *more: str) -> tuple[int, dict]:
    status = main(["extract", str(path), "--format", "elf", "-o", str(out), "--no-cache", *more])
    return status, json.loads(out.with_name(out.name + ".json").read_text())


CASES = {
    "q35-rhel-3g": [(0, 2 * GIB, "pc.ram", 0), (4 * GIB, GIB, "pc.ram", 2 * GIB)],
    "q35-plain-3g": [(0, 2 * GIB, "pc.ram", 0), (4 * GIB, GIB, "pc.ram", 2 * GIB)],
    "numa-64m-128m": [(0, 64 * MIB, "ram-node0", 0), (64 * MIB, 128 * MIB, "ram-node1", 0)],
    "below1g": [(0, GIB, "pc.ram", 0), (4 * GIB, GIB, "pc.ram", GIB)],
}


@pytest.mark.parametrize("name", CASES)
def test_what_once_was_placed_wrong_is_right(name, tmp_path):
    path = CORPUS / "cases" / "physical" / f"{name}.bin"
    if not path.exists():
        pytest.skip("the corpus of real captures is not there")
    status, told = exported(path, tmp_path / "core")
    assert (status, told["unplaced"]) == (0, [])
    for start, length, block, offset in CASES[name]:
        for address in (start, start + MIB, start + length - 4096):
            found = [p for p in told["placed"] if p["address"] <= address < p["address"] + p["length"]]
            assert [(p["block"], p["offset"] + address - p["address"]) for p in found] == [
                (block, offset + address - start)
            ]


def test_a_module_without_evidence_is_named_and_the_status_says_so(tmp_path, capsys):
    path = CORPUS / "cases" / "physical" / "dimm.bin"
    if not path.exists():
        pytest.skip("the corpus of real captures is not there")
    status, told = exported(path, tmp_path / "core")
    assert status == 1
    assert [u["block"] for u in told["unplaced"]] == ["dm0"]
    assert "dm0: " in capsys.readouterr().err
    line = f"{told['unplaced'][0]['guess']:#x} {told['unplaced'][0]['length']:#x} dm0 0"
    lines = [f"{p['address']} {p['length']} {p['block']} {p['offset']}" for p in told["placed"]]
    (tmp_path / "map").write_text("\n".join([*lines, line]))
    status, told = exported(path, tmp_path / "core", "--map", str(tmp_path / "map"), "--force")
    assert (status, told["unplaced"]) == (0, [])


def test_a_sidecar_is_a_map(tmp_path):
    path = CORPUS / "cases" / "physical" / "below1g.bin"
    if not path.exists():
        pytest.skip("the corpus of real captures is not there")
    _, told = exported(path, tmp_path / "one")
    status, again = exported(path, tmp_path / "two", "--map", str(tmp_path / "one.json"))
    assert status == 0
    keys = ("block", "offset", "address", "length")
    assert [[p[k] for k in keys] for p in again["placed"]] == [[p[k] for k in keys] for p in told["placed"]]
