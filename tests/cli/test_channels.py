"""Channels on the command line: taken from beside S, listed, missing, and parts of a migration alone."""

import hashlib
import json
import re
import subprocess
import sys

import pytest

import xbrletools
from tests.building import PAGE, page, patterned, stream, zero
from tests.cli.run import run
from tests.conftest import CORPUS, ROOT
from tests.scan.test_channels import FLUSH, Packets, init, main_channel


def main() -> bytes:
    return main_channel(zero(2 * PAGE, b"pc.ram"), sync=FLUSH)


def channel(number: int = 0) -> bytes:
    """A channel, alone or with another of the next number."""
    one = Packets(0).sync(0).packet(1, [(0, patterned(1))], zeros=[PAGE]).sync(2).sync(3)
    return one.bytes() if number == 0 else Packets(number).sync(9).bytes()


@pytest.fixture
def recorded(tmp_path):
    """A main channel S and S.1 beside it, as `xbrle capture` names them."""
    (tmp_path / "S").write_bytes(main())
    (tmp_path / "S.1").write_bytes(channel())
    return tmp_path / "S"


def info(capsys, *words):
    status, out, err = run(capsys, "info", *words, "--json")
    return status, json.loads(out), err


class TestBeside:
    def test_channels_beside_s_are_taken_and_named(self, capsys, recorded):
        status, about, err = info(capsys, recorded)
        assert (status, about["complete"], about["multifd"]) == (0, True, True)
        assert [(c["id"], c["kind"], c["pages"], c["zero_pages"]) for c in about["channels"]] == [(0, "multifd", 1, 1)]
        assert f"reading the channels {recorded}.1 too" in err

    def test_no_beside_leaves_them_out(self, capsys, recorded):
        status, about, err = info(capsys, recorded, "--no-beside")
        assert (status, about["complete"], about["channels"]) == (1, False, [])
        assert "channel-missing" in err
        assert "reading the channels" not in err

    def test_given_channels_go_before_those_beside(self, capsys, recorded):
        other = recorded.with_name("other")
        recorded.with_name("S.1").rename(other)
        recorded.with_name("S.1").write_bytes(channel(1))
        assert info(capsys, recorded, "--channel", other)[0] == 0

    @pytest.mark.parametrize("damage", ["cut", "same id", "copy"])
    def test_a_damaged_one_beside_s_is_named_and_the_rest_is_read(self, capsys, recorded, tmp_path, damage):
        bad = {"cut": channel(1)[:30], "same id": init(0) + channel(1)[64:], "copy": channel()}[damage]
        (tmp_path / "S.2").write_bytes(bad)
        status, about, err = info(capsys, recorded)
        assert (status, about["channels"][0]["pages"], len(about["channels"])) == (1, 1, 1)
        assert f"{recorded}.2: " in err + json.dumps(about)
        status, out, _ = run(capsys, "verify", recorded)
        assert status == 1
        assert "multifd-channel" in out
        why = {"cut": "ends after 30 bytes", "same id": "as .*S.1 does: one of the two", "copy": "it is the same file"}
        assert re.search(f"S.2: .*{why[damage]}", " ".join(out.split()))
        status, _, _ = run(capsys, "extract", recorded, "-o", tmp_path / "out")
        assert status == 1
        assert xbrletools.open(recorded, beside=print).memory().known.any() == (damage == "copy")
        given = ["--channel", tmp_path / "S.1", "--channel", tmp_path / "S.2"]
        assert run(capsys, "info", recorded, *given)[0] == (2 if damage == "copy" else 1)

    @pytest.mark.parametrize(
        ("first", "second"),
        [("a.chan0.bin", "a.chan1.bin"), ("a.chan0.fwd.bin", "a.chan1.fwd.bin"), ("m-channel0", "m-channel1")],
    )
    def test_channels_that_are_named_by_their_numbers_are_found(self, capsys, tmp_path, first, second):
        (tmp_path / first).write_bytes(main())
        (tmp_path / second).write_bytes(channel())
        assert info(capsys, tmp_path / first)[0] == 0

    @pytest.mark.parametrize("name", ["S.1.reverse", "S.foreign.1", "S.x1", "T.1"])
    def test_other_files_beside_s_are_not(self, capsys, tmp_path, name):
        (tmp_path / "S").write_bytes(main())
        (tmp_path / name).write_bytes(channel())
        assert info(capsys, tmp_path / "S")[0] == 1

    def test_a_stream_without_multifd_leaves_a_channel_beside_it_alone(self, capsys, recorded):
        recorded.write_bytes(stream(*(page(i * PAGE, patterned(i + 1), b"pc.ram") for i in range(16))))
        status, about, err = info(capsys, recorded)
        assert (status, about["channels"], about["multifd"], err) == (0, [], False, "")
        assert run(capsys, "verify", recorded)[0] == 0

    def test_what_is_beside_and_is_no_channel_is_not_read(self, capsys, recorded):
        recorded.with_name("S.1").write_bytes(b"notes")
        assert info(capsys, recorded)[0] == 1


class TestMissing:
    def test_extract_says_so_and_its_manifest_is_not_complete(self, capsys, recorded, tmp_path):
        status, _, err = run(capsys, "extract", recorded, "--no-beside", "-o", tmp_path / "out")
        assert status == 1
        assert "no page is known" in err
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert manifest["complete"] is False
        assert [b["unknown"] for b in manifest["blocks"]] == [16 * PAGE]

    def test_a_pipe_says_so_as_well(self, recorded):
        import subprocess
        import sys

        words = [sys.executable, "-m", "xbrletools", "info", "-"]
        done = subprocess.run(words, input=recorded.read_bytes(), capture_output=True)
        assert done.returncode == 1
        assert b"channel-missing" in done.stderr

    def test_memory_before_the_damage_is_named(self, capsys, tmp_path):
        (tmp_path / "S").write_bytes(main())
        whole = Packets(0).sync(0).packet(1, [(0, patterned(1))]).sync(2)
        (tmp_path / "S.1").write_bytes(whole.bytes() + whole.packet(3, [(PAGE, patterned(2))]).bytes()[:400])
        status, _, err = run(capsys, "extract", tmp_path / "S", "-o", tmp_path / "out")
        assert status == 1
        assert "memory as of record 2 stands: --at 2" in err

    @pytest.mark.parametrize("command", [["whatif"], ["whatif", "--json"], ["stats"], ["stats", "--json"]])
    def test_numbers_of_a_part_are_said_to_be_of_a_part(self, capsys, recorded, command):
        assert run(capsys, *command, recorded)[0] == 0
        recorded.with_name("S.1").write_bytes(Packets(0).packet(1, [(0, patterned(1))]).bytes()[:-100])
        status, out, err = run(capsys, *command, recorded)
        assert (status, bool(out), "channel" in err) == (1, True, True)

    def test_transcode_does_not_write_what_is_left(self, capsys, recorded, tmp_path):
        words = ("transcode", recorded, "--no-beside", "--policy", "none", "-o", tmp_path / "out")
        status, _, err = run(capsys, *words)
        assert (status, "channels of this capture are missing" in err) == (2, True)
        assert not (tmp_path / "out").exists()

    def test_salvage_writes_the_pages_of_packets_as_records(self, capsys, recorded, tmp_path):
        assert run(capsys, "salvage", recorded, "-o", tmp_path / "out")[0] == 0
        written, whole = xbrletools.open(tmp_path / "out"), xbrletools.open(main(), channels=[channel()])
        assert written.problems == ()
        assert (written.memory().pages == whole.memory().pages).all()
        assert written.memory().known.tolist() == whole.memory().known.tolist()

    def test_simulate_takes_channels_and_refuses_to_do_without(self, capsys, recorded):
        status, out, _ = run(capsys, "simulate", "--capture", recorded, "--json")
        assert (status, json.loads(out)["without"]["pages"]) == (0, 1)
        status, _, err = run(capsys, "simulate", "--capture", recorded, "--no-beside")
        assert (status, "none of its channels is here" in err) == (2, True)
        given = ("--channel", f"{recorded}.1")
        assert run(capsys, "simulate", "--capture", recorded, *given)[0] == 0
        assert run(capsys, "simulate", "w.json", *given)[0] == 2


class TestPackets:
    def test_dump_lists_packets_before_their_records(self, capsys, recorded):
        lines = run(capsys, "dump", recorded)[1].splitlines()
        at = next(i for i, line in enumerate(lines) if "packet 1 on channel 0" in line)
        assert lines[at].endswith(": 1 page and 1 of zeros of pc.ram, 4096 bytes")
        assert lines[at + 1].endswith("pc.ram:0x0, channel 0")
        assert sum(" packet " in line for line in lines) == 4

    def test_a_packet_is_an_object_of_its_own(self, capsys, recorded):
        objects = [json.loads(line) for line in run(capsys, "dump", recorded, "--json")[1].splitlines()]
        packets = [o for o in objects if o["type"] == "packet"]
        assert [(p["packet"], p["kind"], p["pages"], p["zero_pages"]) for p in packets] == [
            (0, "sync", 0, 0),
            (1, "pages", 1, 1),
            (2, "sync", 0, 0),
            (3, "sync", 0, 0),
        ]
        assert [(o["channel"], o["packet"]) for o in objects if o["type"] == "record" and o["record"]] == [
            (0, 1),
            (0, 1),
            (None, None),
        ]

    @pytest.mark.parametrize(
        ("words", "packets", "records"),
        [
            ("channel:0", 4, 2),
            ("packet:1", 1, 2),
            ("packet:2-", 2, 0),
            ("not channel:0", 0, 8),
            ("channel:0 kind:page", 0, 1),
        ],
    )
    def test_filters_know_channels_and_packets(self, capsys, recorded, words, packets, records):
        objects = [json.loads(line) for line in run(capsys, "dump", recorded, words, "--json")[1].splitlines()]
        assert [o["type"] for o in objects].count("packet") == packets
        assert [o["type"] for o in objects].count("record") == records


class TestParts:
    def test_the_channel_of_cpr_is_named_and_its_blocks_listed(self, capsys, corpus):
        corpus("cases/wrappers/cprstate-11.1.bin")
        path = CORPUS / "cases" / "wrappers" / "cprstate-11.1.bin"
        status, out, _ = run(capsys, "info", path)
        assert status == 0
        assert "QCPR" in out
        about = info(capsys, path)[1]
        assert about["container"] == "cpr"
        assert [d["name"] for d in about["descriptors"]] == [
            "/rom@etc/acpi/rsdp",
            "/rom@etc/acpi/tables",
            "pc.bios",
            "/rom@etc/table-loader",
            "pc.rom",
            "pc.ram",
        ]
        assert [s["name"] for s in about["subsections"]] == ["CprState/vfio devices"]

    def test_a_cut_channel_of_cpr_gives_what_came_and_exits_1(self, capsys, corpus, tmp_path):
        data = corpus("cases/wrappers/cprstate-11.1.bin")
        for cut in range(8, len(data)):
            (tmp_path / "cut").write_bytes(data[:cut])
            status, about, _ = info(capsys, tmp_path / "cut")
            assert status == (0 if cut == 0x99 else 1)
            assert len(about["descriptors"]) <= 6

    def test_a_channel_of_cpr_of_a_version_that_is_not_known_is_said(self, capsys, corpus, tmp_path):
        data = bytearray(corpus("cases/wrappers/cprstate-11.1.bin"))
        data[7] = 2
        (tmp_path / "cpr").write_bytes(data)
        status, out, _ = run(capsys, "info", tmp_path / "cpr")
        assert status == 1
        assert "version 2 is not known" in out
        status, about, _ = info(capsys, tmp_path / "cpr")
        assert (status, about["version"], about["version_known"], len(about["descriptors"])) == (1, 2, False, 6)

    def test_what_came_back_is_listed(self, capsys, corpus, tmp_path):
        path = tmp_path / "rev"
        path.write_bytes(corpus("qemu-11/pc16-postcopy-multifd-preempt.chan0.rev.bin"))
        status, about, _ = info(capsys, path)
        assert (status, about["container"]) == (0, "return-path")
        assert [m["words"] for m in about["messages"]] == [
            "PONG 0x1",
            "PONG 0x2",
            "PONG 0x4",
            "PONG 0x3",
            "PONG 0x42",
            "SHUT 0x0",
        ]
        path.write_bytes(path.read_bytes()[:-1])
        assert info(capsys, path)[0] == 1

    def test_blocks_that_are_handed_over_in_place_are_unknown_and_no_damage(self, capsys, corpus, tmp_path):
        path = tmp_path / "S"
        path.write_bytes(corpus("qemu-10/pc16-cprtransfer-sink.bin"))
        status, about, err = info(capsys, path)
        assert (status, about["multifd"]) == (0, False)
        assert "ram-elsewhere" in err
        assert run(capsys, "verify", path)[0] == 0
        assert run(capsys, "extract", path, "-o", tmp_path / "out")[0] == 1


@pytest.mark.parametrize("direction", ["S", "NAME.chan0.fwd.bin"])
def test_a_recording_is_read_back_whole(capsys, corpus, tmp_path, direction):
    name = "qemu-11/pc16-postcopy-multifd-preempt"
    for i in range(4):
        for way, ending in (("fwd", ""), ("rev", ".reverse")):
            data = corpus(f"{name}.chan{i}.{way}.bin")
            own = f"S{f'.{i}' if i else ''}{ending}" if direction == "S" else f"NAME.chan{i}.{way}.bin"
            if data:
                (tmp_path / own).write_bytes(data)
    path = tmp_path / direction
    status, about, _ = info(capsys, path)
    assert (status, about["complete"]) == (0, True)
    assert [c["kind"] for c in about["channels"]] == ["multifd", "multifd"]
    assert len(about["reverse"]) == 6
    assert run(capsys, "verify", path)[0] == 0
    assert run(capsys, "extract", path, "-o", tmp_path / "out")[0] == 0
    truth = json.loads(corpus(f"{name}.json"))["truth"]
    blocks = {b["name"]: b["sha256"] for b in json.loads((tmp_path / "out" / "manifest.json").read_text())["blocks"]}
    assert blocks == {n: t["sha256"] for n, t in truth.items()}


@pytest.mark.parametrize("command", ["info", "stats", "dump", "verify"])
def test_a_channel_alone_through_a_pipe_is_incomplete_as_its_file_is(command, tmp_path):
    def answered(*words):
        program = [sys.executable, "-m", "xbrletools", command, *words, "--json"]
        done = subprocess.run(program, cwd=ROOT, input=channel(), capture_output=True, check=False)
        return done.returncode, b"channel" in done.stderr + done.stdout, len(done.stdout.splitlines())

    path = tmp_path / "channel"
    path.write_bytes(channel())
    assert answered("-") == answered(str(path))
    assert answered("-")[:2] == (1, True)


def test_a_manifest_names_each_file_that_memory_came_from(capsys, recorded, tmp_path):
    assert run(capsys, "extract", recorded, "-o", tmp_path / "out")[0] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for about, data in zip([manifest["source"], *manifest["channels"]], [main(), channel()], strict=True):
        assert (about["size"], about["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert [c["name"] for c in manifest["channels"]] == [f"{recorded}.1"]


def test_a_flush_beside_pages_in_full_does_not_say_that_no_page_is_known(capsys, tmp_path):
    (tmp_path / "S").write_bytes(main_channel(zero(2 * PAGE, b"pc.ram") + page(0, patterned(1)), sync=FLUSH))
    status, out, _ = run(capsys, "info", tmp_path / "S")
    assert (status, "no page is known" in out) == (0, False)
