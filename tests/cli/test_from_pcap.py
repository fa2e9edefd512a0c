"""`xbrle capture --from-pcap`: the streams of a packet dump as files, and whole or not at all."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.run import run
from tests.packets import connection, dump, interleaved, replace, without
from xbrletools.source.opening import open_source

PARTS = [Path(f"samples/multifd.bin{e}").read_bytes() for e in ("", ".1", ".2")]
BACK = b"\0\1\0\4\0\0\0\0"


@pytest.fixture
def path(tmp_path):
    channels = [connection(p, port=50000 + i, isn=77 * i, back=b"" if i else BACK) for i, p in enumerate(PARTS)]
    first = [c[0] for c in channels]
    slow = [replace(s, after=2_000_000) for s in (*first, *interleaved(*(c[1:] for c in channels)))]
    path = tmp_path / "dump.pcap"
    path.write_bytes(dump(slow))
    return path


def test_all_channels_the_return_path_and_the_times_come_out(path, tmp_path, capsys):
    status, out, err = run(capsys, "capture", "--from-pcap", path, "-o", tmp_path / "S")
    assert (status, out) == (0, "")
    assert [(tmp_path / f"S{e}").read_bytes() for e in ("", ".1", ".2")] == PARTS
    assert (tmp_path / "S.reverse").read_bytes() == BACK
    assert "S.2" in err and "return path" in err
    arrivals = []
    for name in ("S", "dump.pcap"):
        status, out, err = run(capsys, "info", tmp_path / name, "--json")
        about = json.loads(out)
        assert (status, len(about["channels"]), [m["type"] for m in about["reverse"]]) == (0, 2, ["SHUT"])
        arrivals.append(about["arrival"])
    assert arrivals[0] == arrivals[1]
    assert arrivals[0]["seconds"] > 0.01


def test_the_dump_verifies_as_its_streams_do(path, capsys):
    of_dump = run(capsys, "verify", path, "--json")
    of_files = run(capsys, "verify", "samples/multifd.bin", "--json")
    assert of_dump[0] == of_files[0]
    assert json.loads(of_dump[1].splitlines()[-1])["status"] == json.loads(of_files[1].splitlines()[-1])["status"]


def test_json_has_an_object_for_each(path, tmp_path, capsys):
    status, out, _ = run(capsys, "capture", "--from-pcap", path, "-o", tmp_path / "S", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(r["connection"], r["kind"], r["reverse"]) for r in rows] == [
        (0, "main channel", False), (1, "multifd channel", False), (2, "multifd channel", False),
        (0, "main channel", True),
    ]  # fmt: skip
    assert [r["bytes"] for r in rows] == [*map(len, PARTS), len(BACK)]


def test_a_hole_ends_the_file_and_shows_in_the_status(tmp_path, capsys):
    data = Path("samples/plain-v4.bin").read_bytes()
    (tmp_path / "d").write_bytes(dump(without(connection(data), 3)))
    status, _, err = run(capsys, "capture", "--from-pcap", tmp_path / "d", "-o", tmp_path / "S")
    assert status == 1
    assert (tmp_path / "S").read_bytes() == data[: 3 * 1448]
    assert "missing-packets at offset 0x10f8" in err and "--salvage" in err


def test_nothing_is_written_over(path, tmp_path, capsys):
    (tmp_path / "S.7").write_bytes(b"kept")
    status, _, err = run(capsys, "capture", "--from-pcap", path, "-o", tmp_path / "S")
    assert status == 2 and "S.7" in err
    assert not (tmp_path / "S").exists()
    status, _, _ = run(capsys, "capture", "--from-pcap", path, "-o", tmp_path / "S", "--force")
    assert status == 0 and not (tmp_path / "S.7").exists()


@pytest.mark.parametrize("name", ["S", "S.1", "S.9", "S.reverse", "S.times"])
def test_the_dump_itself_is_never_replaced(path, name, tmp_path, capsys):
    shutil.copy(path, tmp_path / name)
    before = (tmp_path / name).read_bytes()
    status, _, err = run(capsys, "capture", "--from-pcap", tmp_path / name, "-o", tmp_path / "S", "--force")
    assert status == 2 and "is being read" in err
    assert (tmp_path / name).read_bytes() == before


def test_standard_output_takes_the_main_channel_alone(path, tmp_path, capsysbinary):
    from xbrletools.cli import main

    assert main(["capture", "--from-pcap", str(path), "-o", "-"]) == 1
    out, err = capsysbinary.readouterr()
    assert out == PARTS[0]
    assert b"2 channels left out" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from-pcap", "samples/plain-v4.bin", "-o", "S"], "is not a packet dump"),
        (["-o", "S"], "Missing argument"),
        (["tcp::1", "--stream", "1", "-o", "S"], "needs --from-pcap"),
        (["tcp::1", "--from-pcap", "x", "-o", "S"], "cannot be used with --from-pcap"),
        (["--from-pcap", "absent.pcap", "-o", "S"], "absent.pcap"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, said, capsys):
    status, _, err = run(capsys, "capture", *arguments)
    assert status == 2 and said in err


def test_other_connections_are_not_mixed_in(tmp_path):
    ssh = connection(b"SSH-2.0-x\r\n" * 400, port=40000, server_port=22)
    tls = connection(b"\x16\x03\x01" * 500, port=40001)
    mains = [connection(p, port=50000 + i, isn=77 * i) for i, p in enumerate(PARTS)]
    (tmp_path / "d").write_bytes(dump(interleaved(ssh, tls, *mains)))
    source = open_source(tmp_path / "d")
    assert bytes(source.view) == PARTS[0]
    assert sorted(bytes(c.view) for c in source.rebuilt.channels) == sorted(PARTS[1:])
