"""What `xbrle check` says of a stream and a destination, against real destinations. With every QEMU that is found."""

import json

import pytest

from tests.qemu.destinations import CARD, PAIRS, Pair, dumped, real, stream_of, waiting, with_version
from tests.qemu.guest import EMULATORS
from xbrletools.cli import main

pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label),
]


def asked(pair, emulator, folder, capsys):
    """What check says, and what the real destination does: (status, object), `Said`."""
    stream = stream_of(pair, emulator, folder / "S")
    description = folder / "destination.json"
    dump = dumped(pair.machine, emulator, folder / "dump.json") if pair.dumps else None
    options = [] if dump is None else ["--dump-vmstate", str(dump)]
    with waiting(emulator, pair.machine, pair.destination) as target:
        assert main(["describe", "--qmp", target.socket, *options, "-o", str(description)]) == 0
    capsys.readouterr()
    receiver = f"qemu-{emulator.version[0]}.{emulator.version[1]}"
    status = main(["check", str(stream), "--on", str(description), "--receiver", receiver, "--json"])
    return status, json.loads(capsys.readouterr().out), real(pair, emulator, stream)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.title)
def test_a_real_destination_does_and_says_what_check_says(pair, emulator, tmp_path, capsys):
    status, told, said = asked(pair, emulator, tmp_path, capsys)
    assert said.loads is (pair.loads and emulator.version < pair.refused_since)
    assert (status, told["loads"]) == (0 if said.loads else 1, said.loads)
    assert told["said"] == said.lines
    assert any(d["refuses"] for d in told["differences"]) is not said.loads


@pytest.mark.parametrize("source", EMULATORS, ids=lambda emulator: f"from-{emulator.label}")
@pytest.mark.parametrize("board", ["pc-i440fx-7.2", "pc-q35-7.2"])
def test_between_versions_a_real_destination_does_and_says_what_check_says(board, source, emulator, tmp_path, capsys):
    pair = Pair("another version", (*CARD, "-smp", "2"), (*CARD, "-smp", "2"), True, machine=board)
    stream = stream_of(pair, source, tmp_path / "S", board)
    with waiting(emulator, board, pair.destination) as target:
        assert main(["describe", "--qmp", target.socket, "-o", str(tmp_path / "d.json")]) == 0
    capsys.readouterr()
    status = main(["check", str(stream), "--on", str(tmp_path / "d.json"), "--json"])
    told, said = json.loads(capsys.readouterr().out), real(pair, emulator, stream)
    assert (status, told["loads"], told["said"]) == (0 if said.loads else 1, said.loads, said.lines)


@pytest.mark.parametrize("loads", [True, False])
def test_what_dump_vmstate_writes_is_a_description_in_every_version(loads, emulator, tmp_path, capsys):
    """It tells every kind of device that the program has, and not which of them this destination has."""
    dump = dumped("pc-i440fx-7.2", emulator, tmp_path / "dump.json")
    assert dump is not None
    pair = Pair("a newer version of a device", CARD, CARD, loads, edit=None if loads else with_version)
    stream = stream_of(pair, emulator, tmp_path / "S")
    assert main(["describe", "--dump-vmstate", str(dump), "-o", str(tmp_path / "d.json")]) == 0
    receiver = f"qemu-{emulator.version[0]}.{emulator.version[1]}"
    capsys.readouterr()
    for on in (dump, tmp_path / "d.json"):
        status = main(["check", str(stream), "--on", str(on), "--receiver", receiver, "--json"])
        told, said = json.loads(capsys.readouterr().out), real(pair, emulator, stream)
        assert (status, told["loads"], told["said"]) == (1, None if loads else False, said.lines)
        assert said.loads is loads


def test_a_destination_that_waits_for_a_migration_says_less_and_enough(emulator, tmp_path, capsys):
    """Its memory, its PCI devices and the number of its CPUs are known, and what a stream lacks there."""
    by_title = {pair.title: pair for pair in PAIRS}
    for title in ("a missing device", "less memory", "fewer CPUs", "another machine version"):
        pair = by_title[title]
        stream = stream_of(pair, emulator, tmp_path / "S")
        with waiting(emulator, pair.machine, (*pair.destination, "-incoming", "defer")) as target:
            assert main(["describe", "--qmp", target.socket, "-o", str(tmp_path / "d.json"), "--force"]) == 1
        capsys.readouterr()
        status = main(["check", str(stream), "--on", str(tmp_path / "d.json"), "--json"])
        told, said = json.loads(capsys.readouterr().out), real(pair, emulator, stream)
        assert (status, told["said"]) == (1, said.lines), title
