"""The container's grammars: sizes, bytes, and both directions."""

import pytest
from construct import ConstError
from hypothesis import given
from hypothesis import strategies as st

from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType

u16, u32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
names = st.binary(max_size=255)

FIXED = {
    "FileHeader": 8,
    "SectionPart": 4,
    "Footer": 5,
    "TargetPageBits": 4,
    "Uuid": 16,
    "Word": 8,
}


@pytest.mark.parametrize(("name", "size"), FIXED.items())
def test_size_of_fixed_structures(name, size):
    assert getattr(qevm, name).sizeof() == size


def both_ways(grammar, value, size):
    """Build ``value``, parse it back, build that again. Returns the bytes."""
    data = grammar.build(value)
    parsed = grammar.parse(data)
    assert len(data) == size
    assert grammar.build(parsed) == data
    for name, field in value.items():
        assert parsed[name] == field
    return data


def test_file_header_is_magic_and_version():
    assert qevm.FileHeader.build({"version": 3}) == b"QEVM\0\0\0\3"
    with pytest.raises(ConstError):
        qevm.FileHeader.parse(b"QEVN\0\0\0\3")


@given(u32, names, u32, u32)
def test_section_start(section_id, idstr, instance_id, version_id):
    value = {"section_id": section_id, "idstr": idstr, "instance_id": instance_id, "version_id": version_id}
    both_ways(qevm.SectionStart, value, 13 + len(idstr))


def test_section_start_of_a_real_ram_section():
    data = bytes.fromhex("00000002 0372616d 00000000 00000004")
    parsed = qevm.SectionStart.parse(data)
    assert (parsed.section_id, parsed.idstr, parsed.instance_id, parsed.version_id) == (2, b"ram", 0, 4)


@given(u32)
def test_section_part_and_footer(section_id):
    both_ways(qevm.SectionPart, {"section_id": section_id}, 4)
    assert both_ways(qevm.Footer, {"section_id": section_id}, 5)[0] == SectionType.FOOTER


@given(st.sampled_from([SectionType.START, SectionType.FULL]), u32, names)
def test_header_of_a_section_that_says_who_it_is(kind, section_id, idstr):
    start = {"section_id": section_id, "idstr": idstr, "instance_id": 1, "version_id": 2}
    both_ways(qevm.SectionHeader, {"type": kind, "start": start, "part": None}, 14 + len(idstr))


@given(st.sampled_from([SectionType.PART, SectionType.END]), u32)
def test_header_of_a_section_that_goes_on(kind, section_id):
    both_ways(qevm.SectionHeader, {"type": kind, "start": None, "part": {"section_id": section_id}}, 5)


@given(names, u32)
def test_subsection_header(idstr, version_id):
    data = both_ways(qevm.SubsectionHeader, {"idstr": idstr, "version_id": version_id}, 6 + len(idstr))
    assert data[0] == SectionType.SUBSECTION


@given(st.binary(max_size=40), u32, st.lists(names, max_size=4), st.binary(min_size=16, max_size=16))
def test_configuration_with_each_known_subsection(machine, bits, capabilities, uuid):
    data_of = {
        b"configuration/target-page-bits": {"bits": bits},
        b"configuration/capabilities": {"names": capabilities},
        b"configuration/uuid": {"uuid": uuid},
    }
    assert set(data_of) == set(qevm.CONFIGURATION_SUBSECTIONS)
    subsections = [{"idstr": name, "version_id": 1, "data": data} for name, data in data_of.items()]
    size = 4 + len(machine) + sum(6 + len(n) for n in data_of) + 4 + 4 + sum(1 + len(n) for n in capabilities) + 16
    data = qevm.Configuration.build({"machine": machine, "subsections": subsections})
    parsed = qevm.Configuration.parse(data)
    assert len(data) == size
    assert parsed.machine == machine
    assert [s.idstr for s in parsed.subsections] == list(data_of)
    assert parsed.subsections[1].data.names == capabilities
    assert qevm.Configuration.build(parsed) == data


def test_configuration_ends_before_a_byte_that_is_no_subsection():
    data = b"\0\0\0\6pc-1.0"
    assert qevm.Configuration.build(qevm.Configuration.parse(data + b"\1\0\0\0\2")) == data


@given(u16, st.binary(max_size=300))
def test_command(command, data):
    both_ways(qevm.CommandHeader, {"command": command, "data": data}, 4 + len(data))


@given(st.binary(max_size=300))
def test_vm_description(json):
    both_ways(qevm.VmDescription, {"json": json}, 4 + len(json))


@given(names)
def test_names_are_bytes_of_any_value(name):
    assert qevm.IdStr.build(name) == bytes([len(name)]) + name
    assert qevm.IdStr.parse(bytes([len(name)]) + name) == name


def test_section_types_are_the_bytes_on_the_wire():
    assert {t.name: t.value for t in SectionType} == {
        "EOF": 0, "START": 1, "PART": 2, "END": 3, "FULL": 4, "SUBSECTION": 5, "VMDESCRIPTION": 6,
        "CONFIGURATION": 7, "COMMAND": 8, "FOOTER": 0x7E,
    }  # fmt: skip
