"""What is whole salvages as it stands, with status 0, however little of it there is. What is missing is said."""

import json

import numpy as np
import pytest

import xbrletools
from tests import building
from tests.building import EOF, EOS, HEADER, block_list, command, configuration, footer, start, stream, zero
from tests.cli.run import run
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.dialects import DIALECTS
from xbrletools.formats.qevm import SectionType

ONE = {b"a": PAGE}


def _streams():
    device = start(b"timer", 3, 2, SectionType.FULL) + bytes(24)
    yield "no section", HEADER + EOF
    yield "configuration", HEADER + configuration() + EOF
    yield "a command", HEADER + configuration() + command(11) + EOF
    yield "a device", HEADER + configuration() + device + footer(3) + EOF
    yield "a device without footer", HEADER + device + EOF
    yield "a page of zeros in today's", stream(zero(0, b"pc.ram"), blocks=((b"pc.ram", PAGE),))
    for name in DIALECTS:
        yield f"{name}, no page", StreamBuilder(dialect=name).part().end().bytes()
        yield f"{name}, a dup page", StreamBuilder(dialect=name).part().dup(0, 7).end().bytes()
        yield f"{name}, a page", StreamBuilder(ONE, dialect=name).part().page(0, noise(1), b"a").end().bytes()
        changed = np.where(np.arange(PAGE) < 9, 7, noise(1)).astype(np.uint8)
        both = StreamBuilder(dialect=name).page(0, noise(1)).part().delta(0, noise(1), changed)
        yield f"{name}, a page and a delta", both.end().bytes()


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in _streams()])
def test_a_tiny_stream_that_is_whole_is_salvaged_as_it_is_read(data, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(data)
    status, out, err = run(capsys, "salvage", path, "--json")
    assert (status, err) == (0, "")
    summary = json.loads(out)
    strict, salvaged = xbrletools.open(path), xbrletools.open(path, salvage=True)
    assert (summary["gaps"], summary["complete"]) == ([], True)
    assert salvaged.records.counts() == strict.records.counts()
    assert salvaged.blocks == strict.blocks
    if strict.blocks:
        one, other = strict.memory(), salvaged.memory()
        assert (one.recovered == other.recovered).all()
        assert (one.pages[: len(one.state)] == other.pages[: len(other.state)]).all()


@pytest.mark.parametrize(
    "name",
    [
        "cases/damage/hostile.bin",
        "cases/devices/q35-virtiomem-11.1.bin",
        "cases/devices/timer-false-footer-11.1.bin",
        "cases/devices/xen-save-devices-state.bin",
        "cases/physical/below1g.bin",
        "cases/physical/dimm.bin",
        "cases/physical/q35-plain-3g.bin",
        "qemu-7.2/pc16-ignoreshared-kvm.bin",
        "qemu-10/pc16-ignoreshared-mapped.bin",
        "qemu-10/pc16-mapped.bin",
        "qemu-10/q35-virtiomem.bin",
        "qemu-11/pc16-bgsnapshot.bin",
    ],
)
def test_a_capture_that_leaves_pages_out_is_whole(name, corpus, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(corpus(name))
    status, out, _ = run(capsys, "salvage", path, "--json")
    assert status == 0
    strict = xbrletools.open(path).memory().recovered
    assert (xbrletools.open(path, salvage=True).memory().recovered == strict).all()
    assert json.loads(out)["pages_recovered"] == int(np.count_nonzero(strict))


def test_damage_that_loses_no_bytes_shows_in_the_status(corpus, tmp_path, capsys):
    path = tmp_path / "S"
    path.write_bytes(corpus("cases/devices/device-footer-wrong.bin"))
    status, _, err = run(capsys, "salvage", path)
    assert status == 1
    assert "bad-footer" in err


def test_a_stream_that_ends_after_rams_start_lacks_ram(corpus, tmp_path, capsys):
    made = HEADER + configuration() + start() + block_list([(b"pc.ram", 16 * PAGE)]) + EOS + footer() + EOF
    heads = {"made": made, "real": corpus("cases/devices/early-section-before-ram-11.1.head.bin")}
    for name, data in heads.items():
        path = tmp_path / name
        path.write_bytes(data)
        extract = ["extract", "-o", str(tmp_path / f"{name}.out")]
        for words in (["info"], ["stats"], ["dump"], ["verify"], ["salvage"], extract):
            status, out, err = run(capsys, words[0], path, *words[1:])
            assert status == 1, (name, words)
            assert "cpr" not in out + err
        _, out, err = run(capsys, "info", path)
        assert "truncated" in err
        assert "no: RAM is missing" in out


def test_blocks_that_are_elsewhere_are_not_said_twice(corpus, tmp_path, capsys):
    path = tmp_path / "S"
    for name, left in (("qemu-10/pc16-cprtransfer-sink.bin", 0), ("qemu-7.2/pc16-ignoreshared-kvm.bin", 0)):
        path.write_bytes(corpus(name))
        _, out, _ = run(capsys, "verify", path, "--json")
        rules = [json.loads(line).get("rule") for line in out.splitlines()]
        assert rules.count("ram-elsewhere") == 1
        assert rules.count("page-never-sent") == left


def test_a_block_of_which_some_pages_came_is_said_beside_blocks_that_are_elsewhere():
    subsection = building.subsection(b"configuration/capabilities", b"\0\0\0\1\x0fx-ignore-shared")
    blocks = block_list([(b"pc.ram", PAGE), (b"vga", 2 * PAGE)], [bytes(8)] * 2)
    head = HEADER + configuration(subsections=subsection) + start() + blocks + EOS + footer()
    data = head + building.part() + building.page(0, building.patterned(1), b"vga") + EOS + footer()
    data += building.part(kind=SectionType.END) + EOS + footer() + EOF
    found = {
        (f.rule, f.block) for f in xbrletools.open(data).verify() if f.rule in ("ram-elsewhere", "page-never-sent")
    }
    assert found == {("ram-elsewhere", None), ("page-never-sent", b"vga")}
