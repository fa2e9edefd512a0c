"""`xbrle describe`, `xbrle check` and `xbrle why`, on samples, on other files and on wrong ones."""

import gzip
import json
import lzma
import os

import pytest

from tests import building
from tests.cli.run import run
from tests.conftest import SAMPLES

STREAM = str(SAMPLES / "xbzrle-16m.bin")
OTHER = str(SAMPLES / "posted-8m.bin")


@pytest.fixture
def description(capsys, tmp_path):
    """The description that a sample gives, as an object, and where it stands."""
    path = tmp_path / "destination.json"
    assert run(capsys, "describe", STREAM, "-o", path)[0] == 0
    return json.loads(path.read_text()), path


def changed(description, **other):
    """The description with other values, in its file."""
    about, path = description
    path.write_text(json.dumps(about | other))
    return path


class TestCheck:
    def test_a_stream_loads_where_the_destination_is_set_up_as_its_source(self, capsys, description):
        status, out, _ = run(capsys, "check", STREAM, "--on", description[1])
        assert status == 0
        assert out.startswith("It would load: QEMU 11.1")

    def test_a_capture_is_a_description_of_a_destination_too(self, capsys):
        assert run(capsys, "check", STREAM, "--on", STREAM)[0] == 0

    def test_devices_that_are_not_known_make_no_promise(self, capsys, description):
        status, out, _ = run(
            capsys, "check", STREAM, "--on", changed(description, devices=None, types=None, pci=None, cpus=None)
        )
        assert status == 1
        assert out.startswith("Whether it would load cannot be told: the description does not tell what devices")

    def test_ram_blocks_that_are_not_known_make_no_promise(self, capsys, description):
        status, out, _ = run(capsys, "check", STREAM, "--on", changed(description, blocks=None))
        assert status == 1
        assert out.startswith("Whether it would load cannot be told: the description does not tell its RAM blocks")

    def test_devices_of_which_only_those_on_pci_are_known_make_no_promise(self, capsys, description):
        status, out, _ = run(capsys, "check", STREAM, "--on", changed(description, devices=None, pci=[], cpus=1))
        assert status == 1
        assert "devices" in out

    def test_the_first_refusal_comes_in_qemus_words_and_then_all_others(self, capsys, description):
        about = description[0]
        blocks = [b | {"length": 2 * b["length"]} if b["name"] == "pc.ram" else b for b in about["blocks"]]
        devices = [d for d in about["devices"] if d["name"] != "kvmclock"]
        path = changed(description, machine="pc-i440fx-8.2", version="7.2.22", blocks=blocks, devices=devices)
        status, out, _ = run(capsys, "check", STREAM, "--on", path)
        assert status == 1
        assert "QEMU 7.2 prints:\n    Machine type received is 'pc-i440fx-7.2' and local is 'pc-i440fx-8.2'\n" in out
        for what in ("machine: pc-i440fx-7.2 in the stream", "RAM block pc.ram: 0x1000000 bytes", "device kvmclock"):
            assert what in out.partition("What refuses it")[2]

    def test_json_has_the_same_and_the_version_chooses_the_receiver(self, capsys, description):
        path = changed(description, version="9.1.0", capabilities=["mapped-ram"])
        status, out, _ = run(capsys, "check", STREAM, "--on", path, "--json")
        told = json.loads(out)
        assert (status, told["format"], told["receiver"], told["loads"]) == (1, 1, "qemu-8.2", False)
        assert [d["what"] for d in told["differences"] if d["refuses"]] == ["capability mapped-ram"]

    def test_blocks_of_fw_cfg_may_have_another_length(self, capsys, description):
        name = "/rom@etc/acpi/tables"
        blocks = [b | {"length": 4096} if b["name"] == name else b for b in description[0]["blocks"]]
        status, out, _ = run(capsys, "check", STREAM, "--on", changed(description, blocks=blocks))
        assert status == 0
        assert f"RAM block {name}" in out

    def test_what_dump_vmstate_says_tells_versions_and_subsections(self, capsys, tmp_path):
        kind = {"name": "timer", "version_id": 1, "minimum_version_id": 1, "Fields": []}
        dump = {"vmschkmachine": {"Name": "pc-i440fx-7.2"}, "timer": {"Name": "timer", "Description": kind}}
        (tmp_path / "dump.json").write_text(json.dumps(dump))
        status, out, _ = run(capsys, "check", STREAM, "--on", tmp_path / "dump.json", "--receiver", "qemu-7.2")
        assert status == 1
        assert "savevm: unsupported version 2 for 'timer' v1" in out

    @pytest.mark.parametrize("text", ["{", "{}", "[]", '{"type": "destination", "format": 9}', '{"vmschkmachine": 1}'])
    def test_what_is_not_a_description_is_refused(self, capsys, tmp_path, text):
        (tmp_path / "d").write_text(text)
        status, _, err = run(capsys, "check", STREAM, "--on", tmp_path / "d")
        assert (status, err.count("\n")) == (2, 1)

    @pytest.mark.parametrize(
        "wrong", [{"blocks": 1}, {"devices": [1]}, {"version": "x"}, {"machine": 5}, {"types": []}]
    )
    def test_a_damaged_description_is_refused_in_one_line(self, capsys, description, wrong):
        status, _, err = run(capsys, "check", STREAM, "--on", changed(description, **wrong))
        assert (status, err.count("\n")) == (2, 1)

    def test_verify_takes_the_same_description(self, capsys, description):
        path = changed(description, machine="virt-9.0")
        status, _, err = run(capsys, "verify", STREAM, "--receiver", "today", "--on", path)
        assert status == 1
        assert "Machine type received is 'pc-i440fx-7.2' and local is 'virt-9.0'" in err


class TestDescribe:
    def test_a_capture_without_a_description_of_its_devices_is_a_part(self, capsys):
        status, out, err = run(capsys, "describe", OTHER)
        assert (status, json.loads(out)["devices"]) == (1, None)
        assert "VM description" in err

    def test_nothing_to_describe_and_nobody_at_the_socket_are_wrong(self, capsys, tmp_path):
        assert run(capsys, "describe")[0] == 2
        status, _, err = run(capsys, "describe", "--qmp", tmp_path / "nobody")
        assert (status, err.count("\n")) == (2, 1)


class TestWhy:
    def test_a_known_line_is_explained_and_an_unknown_one_is_not(self, capsys):
        status, out, _ = run(capsys, "why", "qemu-kvm: Missing section footer for timer")
        assert status == 0
        assert "Missing section footer for timer\n    means    " in out
        assert run(capsys, "why", "all is well")[0] == 1

    @pytest.mark.parametrize("name", ["missing.log", "no/such/file", "two words.txt", "/var/log/nothing"])
    def test_the_name_of_a_missing_file_is_not_a_line(self, name, capsys):
        status, out, err = run(capsys, "why", name)
        assert (status, out) == (2, "")
        assert err.startswith(f"xbrle: {name}: there is no such file")

    def test_a_line_that_names_a_file_is_a_line(self, capsys):
        assert run(capsys, "why", "error while loading state for instance 0x0 of device '0000:00:02.0/vga'")[0] == 0

    def test_a_folder_is_not_a_line(self, capsys, tmp_path):
        status, _, err = run(capsys, "why", tmp_path)
        assert (status, err) == (2, f"xbrle: {tmp_path}: Is a directory\n")

    def test_a_pipe_can_be_a_log(self, capsys, tmp_path):
        read, write = os.pipe()
        os.write(write, b"one\nFound a zero page with value 65\n")
        os.close(write)
        status, out, _ = run(capsys, "why", f"/dev/fd/{read}")
        os.close(read)
        assert status == 0
        assert "line 2: " in out

    def test_a_log_and_a_stream_give_the_record(self, capsys, tmp_path):
        (tmp_path / "S").write_bytes(building.stream(building.record(building.Flag.COMPRESS, 0, b"A", b"pc.ram")))
        (tmp_path / "log").write_text("one\n2026-01-01 qemu-system-x86_64: Found a zero page with value 65\ntwo\n")
        status, out, _ = run(capsys, "why", tmp_path / "log", tmp_path / "S")
        assert status == 0
        assert "line 2: " in out
        assert ", record 1\n" in out
        status, out, _ = run(capsys, "why", tmp_path / "log", tmp_path / "S", "--json")
        told = json.loads(out)
        assert (told["line"], told["values"], told["places"][0]["record"]) == (2, ["65"], 1)

    @pytest.mark.parametrize(("packing", "pack"), [("gzip", gzip.compress), ("xz", lzma.compress)])
    def test_a_packed_log_is_not_one_with_nothing_known(self, packing, pack, capsys, tmp_path):
        (tmp_path / "log").write_bytes(pack(b"qemu-kvm: Missing section footer for timer\n"))
        status, _, err = run(capsys, "why", tmp_path / "log")
        assert (status, f"is packed with {packing}" in err) == (2, True)

    def test_a_log_with_nothing_known_and_a_missing_capture(self, capsys, tmp_path):
        (tmp_path / "log").write_text("one\ntwo\n")
        assert run(capsys, "why", tmp_path / "log")[0] == 1
        assert run(capsys, "why", "Getting RAM address failed", tmp_path / "none")[0] == 2
