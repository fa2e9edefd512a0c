"""What each receiver makes of a stream: whether it loads it, where it stops, and with which words."""

import json
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests import building
from tests.conftest import corpus_names
from tests.qemu.edited import EDITS, NOT_JUDGED, made
from tests.qemu.edits import PAGE, RAM, Places
from tests.streams import StreamBuilder, noise
from tests.verify.named_edits import edited
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.verify.receivers import RECEIVERS, TODAY, Destination, Outcome, named, outcome, outcomes

A = noise(1)
OLD = ["vanilla", "default", "debug"]
NEW = [name for name in RECEIVERS if name.startswith("qemu-")]
BASE = "cases/receivers/base-7.2.bin"
MACHINE = b"pc-i440fx-7.2"
SAID_MAX = 160  # characters of a line, and two lines, that verdicts.json keeps
RECORDED = Path(__file__).parent / "receivers_said.json"


def verdict(data: bytes, receiver: str, destination: Destination | None = None) -> Outcome:
    capture = xbrletools.open(data)
    return outcome(capture.stream, _findings(capture, destination), named(receiver), destination)


def all_verdicts(data: bytes, destination: Destination | None = None) -> dict[str, Outcome]:
    capture = xbrletools.open(data)
    return outcomes(capture.stream, _findings(capture, destination), destination=destination)


def _findings(capture, destination: Destination | None):
    blocks = destination.blocks if destination else None
    return capture.verify(None if blocks is None else dict(blocks))


def test_today_is_the_newest_and_each_name_finds_its_receiver() -> None:
    assert named("today") is TODAY is RECEIVERS["qemu-11.1"]
    assert [named(name).name for name in RECEIVERS] == list(RECEIVERS)
    assert [r.version for r in RECEIVERS.values()] == [(), (), (), (7, 2), (8, 2), (9, 2), (10, 0), (11, 1)]


class TestReceiversOf2011:
    """The programs of the posted patch, and QEMU before it."""

    @pytest.mark.parametrize("receiver", OLD)
    def test_they_stop_at_the_first_footer(self, receiver: str) -> None:
        first = building.start() + building.block_list([(b"pc.ram", 16 * PAGE)]) + building.EOS + building.footer()
        part = building.part() + building.page(0, A.tobytes(), b"pc.ram") + building.EOS + building.footer()
        last = building.part(kind=SectionType.END) + building.EOS + building.footer()
        data = b"".join((building.HEADER, first, part, last, building.EOF))
        found = verdict(data, receiver)
        assert (found.loads, found.record) == (False, None)
        assert found.offset == data.index(building.footer())
        assert found.reason == "a section footer, which it does not know"
        assert found.said == ("Unknown savevm section type 126", "load of migration failed")

    @pytest.mark.parametrize("receiver", OLD)
    def test_they_stop_at_the_footer_of_a_device_where_there_is_no_ram(self, receiver: str, corpus) -> None:
        found = verdict(corpus("cases/devices/xen-save-devices-state.bin"), receiver)
        assert (found.loads, found.offset) == (False, 0x33)
        assert found.said == ("Unknown savevm section type 126", "load of migration failed")

    @pytest.mark.parametrize("receiver", OLD)
    def test_they_stop_at_a_section_type_that_came_later(self, receiver: str) -> None:
        found = verdict(building.stream(), receiver)
        assert (found.loads, found.offset) == (False, len(building.HEADER))
        assert found.reason == "a CONFIGURATION section, which it does not know"

    def test_the_first_of_two_reasons_counts(self) -> None:
        broken = StreamBuilder(dialect="posted", flags=3).page(0, A).part().delta(0, A, A ^ np.uint8(1), checksum=1)
        data = broken.dup(9 * PAGE).bytes()
        records = xbrletools.open(data).records
        for receiver, record in (("vanilla", 2), ("debug", 2), ("default", 3)):
            found = verdict(data, receiver)
            assert (found.loads, found.record) == (False, record), receiver
            assert found.offset == records.columns.offset[records.row(record)]

    def test_the_original_programs_verdicts_and_words(self, corpus) -> None:
        base = corpus("qemu-2011-posted/dbg-small-8m.bin")
        blocks = {b.name: b.length for b in xbrletools.open(base).blocks}
        for mutation in json.loads(corpus("qemu-2011-posted/mutations.json"))["mutations"]:
            data = bytearray(base)
            for edit in sorted(mutation["edits"], key=lambda e: -e["offset"]):
                data[edit["offset"] : edit["offset"] + edit["remove"]] = bytes.fromhex(edit["insert"])
            found = all_verdicts(bytes(data), Destination(blocks=blocks))
            for build, real in mutation["results"].items():
                assert (found[build].loads, list(found[build].said)) == (real["loaded"], real["stderr"]), mutation[
                    "name"
                ]

    def test_a_stale_base_stops_the_debug_build_alone(self, corpus) -> None:
        found = all_verdicts(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
        assert found["default"].loads
        assert (found["debug"].loads, found["debug"].record) == (False, 4433)
        assert found["debug"].said[0] == "Failed to load XBRLE page - bad checksum!"
        assert found["debug"].as_object()["stops_at"] == 4433


class TestQemusWords:
    """Against what real QEMUs said."""

    def test_every_case_of_the_corpus_by_version(self, corpus) -> None:
        at = Places(corpus(BASE))
        cases = json.loads(corpus("cases/receivers/verdicts.json"))["cases"]
        for case, by_version in cases.items():
            found = all_verdicts(edited(case, at), Destination(MACHINE))
            for version, real in by_version.items():
                one = found[f"qemu-{version}"]
                said = [line[:SAID_MAX] for line in one.said[:2]]
                assert (one.loads, said) == (real["verdict"] == "loads", real["said"]), (case, version)
        assert len(cases) == 30

    @pytest.mark.parametrize("kind", EDITS)
    def test_what_four_versions_said_of_seeded_edits(self, kind, corpus) -> None:
        """`python -m tests.qemu --record` asks the QEMUs that are there, and adds to the file."""
        at = Places(corpus(BASE))
        destination = Destination(MACHINE, {b.name: b.length for b in at.blocks})
        for seed, by_version in json.loads(RECORDED.read_text(encoding="utf-8")).get(kind, {}).items():
            found = all_verdicts(made(kind, int(seed), at), destination)
            for version, (loads, lines) in by_version.items():
                one = found[f"qemu-{version}"]
                if one.loads and not loads and kind in NOT_JUDGED:
                    assert one.not_judged == ("device-values",), (seed, version)
                elif one.loads is not None:  # what only the device's own code decides
                    assert one.loads is loads, (seed, version)
                    if loads or one.said:  # the words can depend on what only the device's own code knows, too
                        assert list(one.said) == lines, (seed, version)

    @pytest.mark.parametrize("name", corpus_names("qemu-7.2"))
    def test_a_qemu_loads_what_it_wrote(self, name, corpus) -> None:
        """Those that were told to leave something out only load where the destination is told as well."""
        if name.endswith(".rev") or (".chan" in name and not name.endswith((".chan0", ".chan0.fwd"))):
            pytest.skip("not a main channel")
        capture = xbrletools.open(corpus(f"qemu-7.2/{name}.bin"))
        needs = {
            "compress": "compress",
            "postcopy": "postcopy-ram",
            "multifd": "multifd",
            "ignoreshared": "x-ignore-shared",
        }
        capabilities = frozenset(value for word, value in needs.items() if word in name)
        found = outcome(capture.stream, capture.verify(), RECEIVERS["qemu-7.2"], Destination(capabilities=capabilities))
        said = {"noconfig": "Configuration section missing", "novmdesc": "Expected vmdescription section, but got 0"}
        expected = next((line for word, line in said.items() if word in name), None)
        if expected is None:
            assert found.loads is not False, found
        else:
            assert found.said[0] == expected


def test_what_loads_says_that_the_values_of_devices_were_not_judged(corpus) -> None:
    found = all_verdicts(corpus(BASE))
    assert {name: o.not_judged for name, o in found.items() if o.loads} == dict.fromkeys(NEW, ("device-values",))
    assert {o.not_judged for name, o in found.items() if name in OLD} == {()}
    without = all_verdicts(building.stream(building.page(0, A.tobytes(), RAM), last=building.EOF + VMDESC))
    assert {o.not_judged for o in without.values()} == {()}


class TestWhatTheDestinationHas:
    """Made-up streams, without a corpus."""

    STREAM = building.stream(building.page(0, A.tobytes(), RAM))

    def test_a_stream_loads_in_every_version(self) -> None:
        found = all_verdicts(building.stream(building.page(0, A.tobytes(), RAM), last=building.EOF + VMDESC))
        assert {name for name, o in found.items() if o.loads} == set(NEW)

    @pytest.mark.parametrize("receiver", NEW)
    def test_without_a_vm_description_qemu_complains_and_goes_on(self, receiver: str) -> None:
        found = verdict(self.STREAM, receiver)
        assert (found.loads, found.goes_on) == (False, True)
        assert found.said == ("Expected vmdescription section, but got 0",)

    def test_a_machine_of_another_name_is_refused_by_its_name(self) -> None:
        found = verdict(self.STREAM, "qemu-10.0", Destination(b"virt-9.0"))
        assert found.said[0] == "Machine type received is 'pc' and local is 'virt-9.0'"
        assert found.offset == 0

    def test_a_block_that_is_not_there_or_has_another_length_is_refused(self) -> None:
        other = verdict(self.STREAM, "qemu-7.2", Destination(blocks={b"x": PAGE}))
        assert other.said[0] == 'Unknown ramblock "pc.ram", cannot accept migration'
        small = verdict(self.STREAM, "qemu-7.2", Destination(blocks={RAM: 8 * PAGE}))
        assert small.said[0] == "Size mismatch: pc.ram: 0x10000 != 0x8000: Invalid argument"

    @pytest.mark.parametrize(("grown", "loads"), [(b"/rom@etc/acpi/tables", True), (b"pc.rom", False)])
    def test_only_blocks_of_fw_cfg_may_have_another_length(self, grown: bytes, loads: bool) -> None:
        data = building.stream(blocks=[(RAM, 16 * PAGE), (grown, 4 * PAGE)], last=building.EOF + VMDESC)
        found = verdict(data, "today", Destination(blocks={RAM: 16 * PAGE, grown: 2 * PAGE}))
        assert found.loads is loads

    def test_a_capability_makes_packed_pages_load_where_the_version_has_it(self) -> None:
        data = building.stream(building.packed(0, bytes(PAGE), RAM), last=building.EOF + VMDESC)
        off = verdict(data, "qemu-8.2")
        assert (off.loads, off.needs) == (False, ("compress",))
        assert off.said[0] == "Received an unexpected compressed page"
        on = Destination(capabilities=frozenset({"compress"}))
        assert verdict(data, "qemu-8.2", on).loads
        assert verdict(data, "qemu-9.2", on).said[0] == "Unknown combination of migration flags: 0x100"

    def test_a_dup_page_that_is_not_zero_loads_before_8_2_only(self) -> None:
        record = building.record(Flag.COMPRESS, 0, b"\x41", RAM)
        found = all_verdicts(building.stream(record, last=building.EOF + VMDESC))
        assert [name for name in NEW if found[name].loads] == ["qemu-7.2"]
        assert found["qemu-9.2"].said[0] == "Found a zero page with value 65"
        assert found["qemu-9.2"].record == 1

    @pytest.mark.parametrize(
        ("byte", "value", "loads", "line"),
        [
            (4, 6, False, "Missing section footer for pckbd"),
            (5, 4, False, "Missing section footer for pckbd"),
            (8, 65, False, "Missing section footer for pckbd"),
            (17, 64, False, "Failed to load pckbd:kbd"),
            (5, 40, False, "pckbd/extended_state: incoming version_id 27 is too new for local version_id 0"),
            (29, 1, False, "pckbd/extended_state: incoming version_id 1 is too new for local version_id 0"),
            (28, 1, True, ""),
        ],
    )
    def test_a_subsection_inside_a_field_of_a_device_counts(self, byte, value, loads, line, corpus) -> None:
        """QEMU 7.2.22 and 10.0.13 said so. Of a subsection's version they keep one byte."""
        data = bytearray(corpus(BASE))
        device = next(d for d in Places(bytes(data)).devices if d.owner and d.owner.idstr == b"pckbd")
        data[device.data + byte] = value
        found = verdict(bytes(data), "qemu-10.0", Destination(MACHINE))
        assert found.loads is loads
        assert found.said[:1] == ((line,) if line else ())

    def test_a_subsection_of_an_older_version_is_not_said_to_load(self, corpus) -> None:
        data = corpus(BASE)
        head = b"\x05" + bytes([len(b"fw_cfg/acpi_mr")]) + b"fw_cfg/acpi_mr" + bytes(3)
        assert verdict(data.replace(head + b"\1", head + b"\0"), "today", Destination(MACHINE)).loads is None
        newer = verdict(data.replace(head + b"\1", head + b"\2"), "today", Destination(MACHINE))
        assert "fw_cfg/acpi_mr: incoming version_id 2 is too new for local version_id 1" in newer.said[0]

    @pytest.mark.parametrize("receiver", NEW)
    def test_ram_version_3_is_refused(self, receiver: str) -> None:
        data = StreamBuilder({b"ram": 4 * PAGE}, dialect="m115").page(0, A, b"ram").bytes()
        found = verdict(data, receiver)
        assert found.loads is False
        assert "error while loading state for instance 0x0 of device 'ram'" in "\n".join(found.said)

    def test_words_that_a_stream_brings_cannot_control_a_terminal(self, capsys, tmp_path) -> None:
        from xbrletools.cli import main

        path = tmp_path / "S"
        path.write_bytes(building.stream(building.page(0, A.tobytes(), b"\x1b[31mx")))
        assert main(["verify", str(path), "--receiver", "today"]) == 1
        printed = capsys.readouterr()
        assert "\x1b" not in printed.out + printed.err
        assert "Can't find block" in printed.err


VMDESC = b"\x06" + (2).to_bytes(4, "big") + b"{}"


def test_channels_that_are_damaged_do_not_load_whether_multifd_is_named_or_not(corpus, tmp_path):
    name = "qemu-10/pc16-multifd-none-zpdmultifd.chan{}.bin"
    paths = [tmp_path / "S", tmp_path / "S.1", tmp_path / "S.2"]
    for number, path in enumerate(paths):
        path.write_bytes(corpus(name.format(number)))
    whole = xbrletools.open(paths[0], channels=paths[1:])
    assert outcome(whole.stream, whole.verify(), RECEIVERS["qemu-10.0"], Destination()).loads
    paths[1].write_bytes(paths[1].read_bytes()[:-5000])
    cut = xbrletools.open(paths[0], channels=paths[1:])
    assert outcome(cut.stream, cut.verify(), RECEIVERS["qemu-10.0"], Destination()).loads is not True
