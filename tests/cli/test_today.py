"""What `info`, `dump` and `stats` show of today's streams: commands, devices, channels, the file around a stream."""

import json
import struct

import pytest
from construct import Int32ub

from tests.building import (
    EOF,
    EOS,
    PAGE,
    command,
    configuration,
    footer,
    page,
    part,
    patterned,
    start,
    stream,
    subsection,
    zero,
)
from tests.cli.run import run
from tests.scan.test_channels import Packets, main_channel
from tests.scan.test_wrappers import XML, save_file
from xbrletools.formats import qevm
from xbrletools.formats.multifd import Method
from xbrletools.formats.qevm import Command, SectionType

DEVICES = {
    "page_size": PAGE,
    "devices": [
        {
            "name": "timer",
            "instance_id": 0,
            "vmsd_name": "timer",
            "version": 2,
            "fields": [
                {"name": "ticks", "type": "int64", "size": 8},
                {"name": "table", "type": "uint16", "size": 2, "array_len": 40},
            ],
        }
    ],
}


def postcopy() -> bytes:
    """Commands around the RAM, a package with a device, and pages that are discarded."""
    ranges = b"\0" + qevm.IdStr.build(b"pc.ram") + b"\0" + struct.pack(">QQ", PAGE, 2 * PAGE)
    device = start(b"timer", 9, 2, SectionType.FULL) + struct.pack(">q", -3) + bytes(80) + footer(9)
    nested = command(Command.POSTCOPY_LISTEN) + device + command(Command.POSTCOPY_RUN)
    after = (
        command(Command.POSTCOPY_RAM_DISCARD, ranges)
        + command(Command.PACKAGED, Int32ub.build(len(nested)), nested)
        + part()
        + zero(PAGE)
        + EOS
        + footer()
    )
    vmdesc = bytes([SectionType.VMDESCRIPTION]) + qevm.VmDescription.build({"json": json.dumps(DEVICES).encode()})
    plain = stream(page(0, patterned(1), b"pc.ram"), page(PAGE, patterned(2)), last=after + EOF + vmdesc)
    subsections = subsection(b"configuration/new\x1b", b"\1\2\3") + subsection(b"configuration/uuid", bytes(16))
    head = configuration() + start()
    return plain.replace(head, configuration(b"pc-\x1b[1m", subsections) + command(Command.PING, b"\0\0\0\7") + start())


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "s.bin"
    found.write_bytes(postcopy())
    return found


class TestInfo:
    def test_commands_discards_and_configuration_are_told(self, capsys, path):
        facts = json.loads(run(capsys, "info", path, "--json")[1])
        assert [(c["name"], c["package"]) for c in facts["commands"]] == [
            ("ping", None),
            ("postcopy_ram_discard", None),
            ("packaged", None),
            ("postcopy_listen", 2),
            ("postcopy_run", 2),
        ]
        assert facts["discards"] == [{"block": "pc.ram", "ranges": 1, "bytes": 2 * PAGE}]
        assert [(s["name"], s["bytes"], s["value"]) for s in facts["configuration"]] == [
            ("configuration/new\\x1b", 3, None),
            ("configuration/uuid", 16, "00000000-0000-0000-0000-000000000000"),
        ]

    def test_a_package_is_in_braces_and_nothing_is_printed_raw(self, capsys, path):
        out = " ".join(run(capsys, "info", path)[1].split())
        assert "packaged 122 bytes of sections { listen, run }" in out
        assert "8,192 bytes of pc.ram in 1 ranges: unknown until sent again" in out
        assert "new\\x1b: 3 bytes of unknown form (its end is likely)" in out
        assert "\x1b" not in out

    def test_the_domains_xml_is_given_alone_and_without_control_characters(self, capsys, tmp_path):
        path = tmp_path / "s.save"
        path.write_bytes(save_file())
        assert run(capsys, "info", path, "--xml") == (0, XML.decode() + "\n", "")
        path.write_bytes(save_file().replace(b"lab", b"l\x1bb"))
        assert run(capsys, "info", path, "--xml")[1] == XML.decode().replace("lab", "l\ufffdb") + "\n"
        facts = json.loads(run(capsys, "info", path, "--json")[1])["wrapping"]
        assert (facts["kind"], facts["domain"], facts["running"]) == ("libvirt", "l\\x1bb", True)

    def test_what_has_no_xml_says_so(self, capsys, path):
        assert run(capsys, "info", path, "--xml")[0] == 2


class TestDump:
    def test_commands_say_what_they_say_and_a_package_stands_further_in(self, capsys, path):
        lines = [line.split(" ", 1)[1] for line in run(capsys, "dump", path)[1].splitlines() if "section" in line]
        assert lines[0].startswith("section 0: CONFIGURATION pc-\\x1b[1m, ")
        assert [line.split(",")[0] for line in lines if "COMMAND" in line] == [
            "section 1: COMMAND ping 0x7",
            "section 5: COMMAND postcopy_ram_discard pc.ram 1 ranges of 0x2000 bytes",
            "section 6: COMMAND packaged 122 bytes of sections",
            "  section 7: COMMAND postcopy_listen",
            "  section 9: COMMAND postcopy_run",
        ]
        assert lines[8].startswith("  section 8: FULL of timer")

    def test_devices_alone_with_their_fields_decoded(self, capsys, path):
        out = run(capsys, "dump", path, "--devices", "--fields")[1]
        assert out.count("section") == 3  # the line, and the id in header and footer
        assert "ticks = -3" in out
        assert "table = 40 x 0x0 0x0 0x0 0x0 ..." in out
        (section,) = [json.loads(line) for line in run(capsys, "dump", path, "--devices", "--json")[1].splitlines()]
        assert (section["idstr"], section["nested"], section["found_by"]) == ("timer", True, "footer")

    def test_fields_of_commands_and_of_configuration_cover_them(self, capsys, path):
        found = [json.loads(line) for line in run(capsys, "dump", path, "--json", "--fields")[1].splitlines()]
        for section in (s for s in found if s["type"] == "section" and s["kind"] in ("command", "configuration")):
            at = section["offset"]
            for field in section["fields"]:
                assert field["offset"] == at
                at += field["size"]
            assert at == section["end"]
        assert "unread" not in run(capsys, "dump", path, "--fields")[1]

    def test_a_damaged_description_is_said_once_and_what_is_intact_is_used(self, capsys, path):
        path.write_bytes(path.read_bytes().replace(b'{"page', b'["page'))
        status, out, err = run(capsys, "dump", path, "--devices", "--fields")
        assert err.count("not JSON") == 1
        assert "ticks = -3" in out
        assert status == 1

    def test_without_a_description_data_is_shown_as_bytes(self, capsys, path):
        path.write_bytes(path.read_bytes().replace(b'{"page', b'["page').replace(b'"instance_id"', b'"instance-id"'))
        status, out, err = run(capsys, "dump", path, "--devices", "--fields")
        assert err.count("not JSON") == 1
        assert "data = ff ff ff ff" in out
        assert status == 1, "the pages that were to be forgotten never come"


@pytest.fixture
def channels(tmp_path):
    """A main channel with two epochs, and two channels with pages in each."""
    one = Packets(0, Method.ZLIB).packet(0, [(0, patterned(1))], sync=True)
    one.packet(3, [(0, patterned(5)), (PAGE, patterned(2))], sync=True).packet(5, sync=True)
    two = Packets(1).packet(1, sync=True).packet(4, [(3 * PAGE, patterned(3))], sync=True).packet(6, sync=True)
    made = {"main": main_channel(zero(2 * PAGE, b"pc.ram")), "c0": one.bytes(), "c1": two.bytes()}
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / "main", "--channel", tmp_path / "c0", "--channel", tmp_path / "c1"]


class TestChannels:
    def test_counts_include_the_channels(self, capsys, channels):
        facts = json.loads(run(capsys, "info", *channels, "--json")[1])
        assert {k: n for k, n in facts["records"].items() if n} == {"mem_size": 1, "page": 4, "dup": 1, "eos": 3}
        assert [(c["id"], c["pages"], c["packets"], c["packed"]) for c in facts["channels"]] == [
            (0, 3, 3, "zlib"),
            (1, 1, 3, "none"),
        ]
        sums = json.loads(run(capsys, "stats", *channels, "--json")[1])
        assert sums["records"] == 5
        assert sums["kinds"]["page"] == {"records": 4, "bytes": 4 * PAGE, "payload_bytes": 4 * PAGE}
        assert sums["stages"] == {"start": 1, "part": 4, "end": 0}
        assert [c["pages"] for c in sums["channels"]] == [3, 1]
        assert "2 channels" in run(capsys, "stats", *channels)[1]

    def test_every_record_says_whose_it_is_and_stands_after_its_section(self, capsys, channels, tmp_path):
        found = [json.loads(line) for line in run(capsys, "dump", *channels, "--json")[1].splitlines()]
        seen = -1
        for line in found:
            if line["type"] == "section":
                assert line["section"] == seen + 1
                seen = line["section"]
            elif line["type"] == "record":
                assert line["section"] == seen
        pages = [r for r in found if r["type"] == "record" and r["kind"] in ("page", "dup")]
        assert [(r["record"], r["page"] // PAGE, r["channel"]) for r in pages] == [
            (1, 0, 0),
            (2, 0, 0),
            (3, 1, 0),
            (4, 2, None),
            (5, 3, 1),
        ]
        for record in pages:
            if record["channel"] is not None:
                data = (tmp_path / f"c{record['channel']}").read_bytes()
                assert data[record["offset"] :][:4] == b"\x11\x22\x33\x44"

    def test_text_names_the_channel_and_fields_are_the_page(self, capsys, channels):
        out = run(capsys, "dump", *channels, "kind:page")[1].splitlines()
        assert [line.rpartition(", ")[2] for line in out] == ["channel 0"] * 3 + ["channel 1"]
        assert "= " + patterned(3)[:16].hex(" ") in run(capsys, "dump", *channels, "record:5", "--fields")[1]


def test_stats_says_why_the_senders_counters_differ_where_there_are_deltas(capsys, samples):
    assert "query-migrate" in run(capsys, "stats", samples / "xbzrle-16m.bin")[1]
    assert "query-migrate" not in run(capsys, "stats", samples / "posted-8m.bin")[1]


@pytest.mark.parametrize("channel", ["fwd", "none", "zlib", "zstd"])
def test_real_captures_have_a_line_for_every_record(channel, corpus, capsys, tmp_path):
    name = "pc16-postcopy-kvm" if channel == "fwd" else f"pc16-multifd-{channel}-kvm"
    about = json.loads(corpus(f"qemu-7.2/{name}.json"))
    arguments, files = [], [f"{name}.chan0.fwd.bin"]
    if channel != "fwd":
        files = [f"{name}.chan{i}.bin" for i in range(4 if channel == "zlib" else 3)]
    for file in files:
        (tmp_path / file).write_bytes(corpus(f"qemu-7.2/{file}"))
        arguments += [tmp_path / file] if not arguments else ["--channel", tmp_path / file]
    found = [json.loads(line) for line in run(capsys, "dump", *arguments, "--json")[1].splitlines()]
    facts = json.loads(run(capsys, "info", *arguments, "--json")[1])
    records = [r for r in found if r["type"] == "record"]
    assert len(records) == sum(facts["records"].values())
    main = [r for r in records if r["channel"] is None]
    assert [r["offset"] for r in main] == sorted(r["offset"] for r in main)
    counts = about["walker"]["counts"]
    assert sum(r["kind"] == "dup" for r in main) == counts["ZERO"]
    others = [r for r in records if r["channel"] is not None]
    assert len(others) == sum(c["pages"] for c in facts["channels"])
    assert (len(others) > 0) == (channel != "fwd")


def test_info_says_that_a_description_is_damaged_and_exits_1(corpus, tmp_path, capsys):
    data = bytearray(corpus("qemu-7.2/pc16-plain-kvm.bin"))
    data[data.rindex(b'"instance_id"')] = ord("x")
    (tmp_path / "S").write_bytes(data)
    status, out, err = run(capsys, "info", tmp_path / "S")
    assert status == 1
    assert "VM description" in out
    assert "dump S --devices --fields" in err
