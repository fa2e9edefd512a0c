"""What differs between the devices of two captures."""

import json
from typing import Any

import pytest

import xbrletools
from tests.building import EOF, configuration, footer, start, stream, subsection, zero
from tests.cli.run import run
from xbrletools.analysis.devices import What, device_differences
from xbrletools.formats import qevm
from xbrletools.formats.qevm import SectionType

NUMBERS = [{"name": "x", "type": "uint16", "size": 2}, {"name": "row", "type": "uint8", "size": 1, "array_len": 3}]
SUBSECTION = {"vmsd_name": "dev/a", "version": 1, "fields": [{"name": "y", "type": "uint8", "size": 1}]}


def capture_of(
    data: bytes = b"\0\1abc", described: bool = True, version: int = 1, name: bytes = b"dev", **more: Any
) -> bytes:
    tail = start(name, 9, version, SectionType.FULL) + data + footer(9) + EOF
    if described:
        entry = {"name": name.decode(), "instance_id": 0, "fields": NUMBERS, **more}
        text = json.dumps({"page_size": 4096, "devices": [entry]}).encode()
        tail += bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": text})
    return stream(zero(0, b"pc.ram"), last=tail)


def differences(one: bytes, two: bytes) -> list[tuple[What, str | None, Any, Any]]:
    found = device_differences(xbrletools.open(one).stream, xbrletools.open(two).stream)
    return [(d.what, d.field, d.first, d.second) for d in found]


@pytest.mark.parametrize("described", [True, False])
def test_a_capture_does_not_differ_from_itself(described):
    assert not differences(capture_of(described=described), capture_of(described=described))


def test_a_number_differs_by_its_value():
    assert differences(capture_of(), capture_of(b"\0\2abc")) == [(What.FIELD, "x", 1, 2)]


def test_a_row_says_which_of_its_numbers_differ():
    one, two = (xbrletools.open(capture_of(d)).stream for d in (b"\0\1abc", b"\0\1aXc"))
    (found,) = device_differences(one, two)
    assert (found.field, found.changed) == ("row", (1,))


def test_versions_differ_beside_fields():
    assert differences(capture_of(), capture_of(version=2)) == [(What.VERSION, None, 1, 2)]


def test_a_subsection_that_only_one_has_is_one_difference():
    longer = capture_of(b"\0\1abc" + subsection(b"dev/a", b"z"), subsections=[SUBSECTION])
    found = differences(capture_of(), longer)
    assert found[0] == (What.SIZE, None, 5, 5 + len(subsection(b"dev/a", b"z")))
    assert [(what, field) for what, field, _, _ in found[1:]] == [(What.SUBSECTION, "dev/a")]


def test_a_section_that_only_one_has_differs_and_so_does_its_name():
    assert differences(capture_of(), capture_of(name=b"other")) == [
        (What.SECTION, None, 5, None),
        (What.SECTION, None, None, 5),
    ]


def test_without_a_description_bytes_are_compared():
    one, two = (capture_of(data, described=False) for data in (b"abcde", b"abXde"))
    assert differences(one, two) == [(What.BYTES, None, b"abcde", b"abXde")]


def test_the_machine_differs():
    other = capture_of().replace(configuration(), configuration(b"q35"))
    assert differences(capture_of(), other) == [(What.MACHINE, None, b"pc", b"q35")]


class TestTheCommand:
    @pytest.fixture
    def files(self, tmp_path):
        paths = tmp_path / "a", tmp_path / "b"
        for path, data in zip(paths, (capture_of(), capture_of(b"\0\2abc")), strict=True):
            path.write_bytes(data)
        return [str(p) for p in paths]

    def test_devices_count_beside_memory(self, files, capsys):
        assert run(capsys, "diff", *files) == (1, "dev  x: 0x1 and 0x2\n", "")

    def test_memory_alone_does_not_differ(self, files, capsys):
        assert run(capsys, "diff", "--only", "memory", *files)[0] == 0
        assert run(capsys, "diff", *files, "--at", "1")[0] == 0

    def test_json_has_one_object_a_difference(self, files, capsys):
        (line,) = run(capsys, "diff", "--json", "--only", "devices", *files)[1].splitlines()
        found = json.loads(line)
        assert {k: found[k] for k in ("type", "what", "section", "field", "first", "second")} == {
            "type": "device",
            "what": "field",
            "section": "dev",
            "field": "x",
            "first": 1,
            "second": 2,
        }


def test_the_cases_differ_in_a_size_and_a_field(corpus):
    found = differences(corpus("cases/devices/dev-a.bin"), corpus("cases/devices/dev-b.bin"))
    assert found == [(What.SIZE, None, 10, 6), (What.FIELD, "acpi_index", 0x55, None)]
