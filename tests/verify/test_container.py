"""The container: commands that receivers refuse, subsections out of place, a description that does not fit."""

import json
from typing import Any

import pytest

import xbrletools
from tests.building import EOF, command, footer, start, stream, subsection, zero
from tests.conftest import corpus_names
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.verify.cause import CauseName
from xbrletools.verify.container import container_findings
from xbrletools.verify.rules import Finding, Severity
from xbrletools.verify.status import Status

PATH, PING = command(1), command(2, bytes(4))
ADVISE, LISTEN, RUN, SWITCHOVER = command(3), command(4), command(5), command(11)
DISCARD = command(6, b"\0\x06pc.ram\0" + bytes(8) + (4096).to_bytes(8))


def found_in(*commands: bytes) -> list[Finding]:
    capture = xbrletools.open(stream(zero(0, b"pc.ram"), last=b"".join(commands) + EOF))
    return [f for f in capture.verify() if "command" in f.rule]


class TestCommands:
    def test_those_of_a_postcopy_are_in_order(self):
        assert not found_in(PATH, PING, ADVISE, DISCARD, DISCARD, LISTEN, command(2, b"\0\0\0\x42"), RUN, SWITCHOVER)

    def test_an_unknown_one_is_named_by_its_number(self):
        (found,) = found_in(command(40, b"ab"))
        assert found.rule == "unknown-command"
        assert "command 40 with 2 bytes" in found.message

    @pytest.mark.parametrize("wrong", [command(2, b"abc"), command(4, b"a"), command(11, b"a"), command(3, bytes(8))])
    def test_data_of_another_length_is_refused(self, wrong):
        assert [f.rule for f in found_in(PATH, wrong)] == ["command-length"]

    def test_a_bitmap_request_by_its_old_number_has_data(self):
        assert not found_in(command(9, b"\x06pc.ram"))

    @pytest.mark.parametrize(
        "order", [(ADVISE, ADVISE), (LISTEN,), (ADVISE, RUN), (DISCARD,), (PING,), (ADVISE, LISTEN, DISCARD)]
    )
    def test_one_that_the_state_does_not_allow_is_refused(self, order):
        assert [f.rule for f in found_in(*order)] == ["command-order"]

    def test_many_of_one_fault_are_one_finding(self):
        (found,) = found_in(*[ADVISE] * 1000)
        assert found.evidence["count"] == 999
        assert "998 more" in found.message

    def test_the_receiver_of_today_does_not_load_it(self):
        capture = xbrletools.open(stream(zero(0, b"pc.ram"), last=command(40) + EOF))
        assert {f.rule: f.severity.value for f in capture.verify()}["unknown-command"] == "error"


def devices(data: bytes, *entries: dict[str, Any], page_size: Any = 4096) -> list[Finding]:
    tail = start(b"dev", 9, 1, SectionType.FULL) + data + footer(9) + EOF + bytes([SectionType.VMDESCRIPTION])
    text = json.dumps({"page_size": page_size, "devices": entries}).encode()
    capture = xbrletools.open(stream(zero(0, b"pc.ram"), last=tail + qevm.VmDescription.build({"json": text})))
    return [f for f in capture.verify() if f.rule not in ("page-never-sent", "refused-by-all")]


def entry(*sizes: int, **more: Any) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": "buffer", "size": size} for i, size in enumerate(sizes)]
    return {"name": "dev", "instance_id": 0, "vmsd_name": "dev", "version": 1, "fields": fields, **more}


class TestTheDescription:
    def test_one_that_fits_is_not_a_finding(self):
        assert not devices(b"abc", entry(1, 2))

    @pytest.mark.parametrize("sizes", [(1,), (4,), (1, 1)])
    def test_a_section_of_another_size_is(self, sizes):
        (found,) = devices(b"abc", entry(*sizes))
        assert (found.rule, found.evidence) == ("description-mismatch", {"described": sum(sizes), "size": 3})

    @pytest.mark.parametrize("stated", [0, 2, 1 << 32 | 1, 10**30])
    def test_a_section_of_another_version_is(self, stated):
        (found,) = devices(b"abc", entry(1, 2, version=stated))
        assert (found.rule, found.evidence) == ("description-mismatch", {"described_version": stated, "version": 1})
        assert found.severity is Severity.ERROR

    def test_an_entry_without_a_version_is_not(self):
        described = entry(1, 2)
        del described["version"]
        assert not devices(b"abc", described)

    @pytest.mark.parametrize("stated", [0, 1024, 8192])
    def test_another_size_of_pages_is(self, stated):
        (found,) = devices(b"abc", entry(1, 2), page_size=stated)
        assert (found.rule, found.evidence) == ("description-mismatch", {"described": stated, "read": 4096})
        assert found.severity is Severity.ERROR

    def test_another_instance_is_named(self):
        (found,) = devices(b"abc", entry(1, 2, instance_id=7))
        assert found.rule == "description-mismatch"
        assert "the section is of instance 0, where the VM description has 7" in found.message

    def test_a_section_without_an_entry_and_an_entry_without_a_section_are(self):
        found = devices(b"abc", {**entry(3), "name": "other"})
        assert [f.rule for f in found] == ["device-name"]
        found = devices(b"abc", entry(3), {**entry(3), "name": "other"})
        assert [f.rule for f in found] == ["device-missing"]

    def test_an_array_that_is_described_by_its_null_element_is_not(self):
        css = {"name": "css", "array_len": 256, "type": "struct", "struct": {}, "size": 1}
        described = entry()
        described["fields"] = [css, {"name": "last", "type": "uint8", "size": 1}]
        assert not devices(b"0" * 255 + bytes(768) + b"\7", described)


SUBSECTION = {"vmsd_name": "dev/a", "version": 1, "fields": [{"name": "x", "type": "uint8", "size": 1}]}


class TestSubsections:
    def test_the_described_one_fits(self):
        assert not devices(b"z" + subsection(b"dev/a", b"x"), entry(1, subsections=[SUBSECTION]))

    def test_another_of_the_same_size_is_out_of_place(self):
        (found, _) = devices(b"z" + subsection(b"dev/b", b"x"), entry(1, subsections=[SUBSECTION]))
        assert found.rule == "subsection-place"
        assert found.evidence == {"name": "dev/b"}

    def test_one_that_is_not_described_is_too(self):
        found = devices(b"z" + subsection(b"dev/a", b"x"), entry(1))
        assert [f.rule for f in found] == ["description-mismatch", "subsection-place"]

    @pytest.mark.parametrize("subs", [[b"configuration/new"], [b"configuration/uuid"] * 2])
    def test_an_unknown_or_repeated_one_of_configuration_is_said(self, subs):
        data = stream(zero(0, b"pc.ram"))
        at = data.index(b"\x01", 8)
        text = b"".join(subsection(name, bytes(16)) for name in subs)
        found = xbrletools.open(data[:at] + text + data[at:]).verify()
        assert "subsection-place" in [f.rule for f in found]


def typed(kind: str, size: int, **more: Any) -> dict[str, Any]:
    return {**entry(), "fields": [{"name": "f", "type": kind, "size": size, **more}]}


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "good", "bad", "at"),
        [
            ("bool", b"\1", b"\2", 0),
            ("powered_off", b"\0", b"\xff", 0),
            ("nullptr", b"0", b"\0", 0),
            ("pci irq state", bytes(3) + b"\1" + bytes(12), bytes(7) + b"\4" + bytes(8), 4),
            ("unused_buffer", bytes(9), bytes(8) + b"\1", 8),
        ],
    )
    def test_what_a_type_cannot_hold_is_said_with_its_place(self, kind, good, bad, at):
        assert not devices(good, typed(kind, len(good)))
        (found,) = devices(bad, typed(kind, len(bad)))
        assert found.rule == "device-value"
        assert (found.evidence["field"], found.evidence["type"]) == ("f", kind)
        assert bytes.fromhex(found.evidence["bytes"]) == bad[at : at + 8]

    def test_each_element_of_an_array_is_looked_at(self):
        assert not devices(b"\0\1\0", typed("bool", 1, array_len=3))
        (found,) = devices(b"\0\1\3", typed("bool", 1, array_len=3))
        assert found.rule == "device-value"

    def test_a_type_without_a_range_holds_anything(self):
        assert not devices(b"\xff" * 4, typed("uint32", 4))

    def test_a_section_that_does_not_read_as_described_is_a_mismatch_alone(self):
        assert [f.rule for f in devices(b"\7\7", typed("bool", 1))] == ["description-mismatch"]

    @pytest.mark.parametrize("folder", ["qemu-7.2", "qemu-10", "qemu-11"])
    def test_real_devices_are_as_described(self, folder, corpus):
        for name in corpus_names(folder):
            if (
                not name.endswith((".rev", ".cprstate"))
                and (".chan" not in name or ".chan0" in name)
                and "savevm" not in name
            ):
                capture = xbrletools.open(corpus(f"{folder}/{name}.bin"))
                wrong = {"device-value", "description-mismatch"}
                assert not [f for f in container_findings(capture.stream) if f.rule in wrong]


class TestDescribedDevices:
    """What the VM description has and the sections do not, on a real capture."""

    def _device(self, data: bytes) -> tuple[int, int, bytes]:
        sections = xbrletools.open(data).sections
        devices = [s for s in sections if s.type is SectionType.FULL]
        device = devices[len(devices) // 2]
        return device.offset, device.end + qevm.Footer.sizeof(), device.owner.idstr

    def test_a_lost_section_is_an_error(self, corpus):
        data = corpus("qemu-7.2/pc16-plain-kvm.bin")
        start, end, name = self._device(data)
        capture = xbrletools.open(data[:start] + data[end:])
        (found,) = [f for f in capture.verify() if f.rule == "device-missing"]
        assert name.decode() in found.message
        assert capture.verdict().status is Status.DAMAGED
        assert capture.verdict().causes[0].name is CauseName.BYTES_MISSING

    def test_a_section_of_another_name_is_an_error(self, corpus):
        data = bytearray(corpus("qemu-7.2/pc16-plain-kvm.bin"))
        start, _, name = self._device(bytes(data))
        data[data.index(name, start)] ^= 1
        capture = xbrletools.open(bytes(data))
        (found,) = [f for f in capture.verify() if f.rule == "device-name"]
        assert f"where the VM description has {name.decode()}" in found.message
        assert capture.verdict().causes[0].name is CauseName.SECTION_FRAMING
