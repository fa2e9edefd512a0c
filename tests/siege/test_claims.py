"""What a capture claims costs nothing until bytes back it: each claim through the commands, with a bound on memory."""

import contextlib
import io
import struct
import zlib

import pytest

import xbrletools
from tests.fuzz import programs
from tests.fuzz import seeds as pieces
from tests.siege import bombs
from tests.siege.bounds import measured, no_hang
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools import cli
from xbrletools.formats import libvirt, multifd, qcow2, qevm, ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag

ROOM = 64 << 20  # resident bytes beside what the process had: scratch arrays and windows, whatever is claimed
FILE = qevm.FileHeader.build({"version": qevm.VERSION})


def _list(*blocks: tuple[bytes, int]) -> bytes:
    total = sum(length for _, length in blocks) & ~(PAGE - 1) & ((1 << 64) - 1)
    out = struct.pack(">Q", total | Flag.MEM_SIZE)
    return out + b"".join(bytes([len(name)]) + name + struct.pack(">Q", length) for name, length in blocks)


def _ram(records: bytes) -> bytes:
    start = {"section_id": 2, "idstr": b"ram", "instance_id": 0, "version_id": 4}
    return bytes([SectionType.START]) + qevm.SectionStart.build(start) + records


def _page(address: int, block: bytes) -> bytes:
    return struct.pack(">Q", address | Flag.PAGE) + bytes([len(block)]) + block + noise(1).tobytes()


def _block(length: int) -> bytes:
    """One page, at the very end of a block of that length."""
    return FILE + _ram(_list((b"pc.ram", length)) + _page(length - PAGE, b"pc.ram") + programs.EOS) + b"\0"


def _compressed(length: int) -> bytes:
    record = struct.pack(">Q", Flag.COMPRESS_PAGE) + b"\6pc.ram" + struct.pack(">I", length)
    return FILE + _ram(_list((b"pc.ram", 8 * PAGE)) + record + zlib.compress(bytes(1 << 24)) + programs.EOS) + b"\0"


def _mapped(length: int) -> bytes:
    at = len(programs.FILE + programs.RAM_START) + 8 + 2 + 8 + 28
    listed = struct.pack(">Q", length | Flag.MEM_SIZE) + b"\1r" + struct.pack(">Q", length)
    header = struct.pack(">IQQQ", 1, programs.PAGE, at, at + length // programs.PAGE // 8 + 1)
    return programs.FILE + programs.RAM_START + listed + header + b"\xff" * 100


def _device(idstr: bytes, tail: bytes) -> bytes:
    full = {"section_id": 3, "idstr": idstr, "instance_id": 0, "version_id": 1}
    stream = StreamBuilder().page(0, noise(1)).end().bytes(b"")
    return stream + bytes([SectionType.FULL]) + qevm.SectionStart.build(full) + b"data" + tail


def _description(text: bytes) -> bytes:
    return _device(b"dev", b"\0\6" + struct.pack(">I", len(text)) + text)


def _libvirt(data_length: int, cookie: int) -> bytes:
    fields = {"magic": libvirt.MAGIC, "version": 2, "data_length": data_length, "was_running": 1, "format": 0}
    return libvirt.header("little").build(fields | {"cookie_offset": cookie, "unused": [0] * 14}) + b"<domain>" * 100


def _qcow2(**more: int) -> bytes:
    header = bytearray(b"QFI\xfb" + pieces.of("qcow2")[0] + bytes(4096))
    parsed = qcow2.Header.parse(bytes(header))
    snapshot = qcow2.Snapshot.parse(bytes(header[80:]))
    for name, value in more.items():
        (snapshot if name in snapshot else parsed)[name] = value
    built = qcow2.Header.build(parsed) + qcow2.Snapshot.build(snapshot)
    return built + bytes(4096)


DEEP = b'{"devices":[{"name":"dev","fields":' + b'[{"type":"struct","struct":{"fields":' * 20000
WIDE = b'{"devices":[{"name":"dev","fields":[{"array_len":%d,"type":"%s","size":%d,"struct":{"fields":[]}}]}]}'
MANY = tuple((b"%d" % i, 1 << 40) for i in range(16))
DELTA = struct.pack(">Q", 0x40) + b"\6pc.ram\1\0\xff\xff\0\0\0\0"
FORGET = b"\0\6pc.ram\0" + struct.pack(">QQ", 0, 1 << 40)
DISCARD = bytes([8]) + struct.pack(">HH", 6, len(FORGET)) + FORGET
CLAIMS = {
    "a block of 2^60 bytes": _block(1 << 60),
    "a block of 2^40 bytes": _block(1 << 40),
    "a block of 2^63 bytes": _block(1 << 63),
    "blocks of 2^44 bytes together": FILE + _ram(_list(*MANY) + programs.EOS) + b"\0",
    "a list that never adds up": FILE + _ram(struct.pack(">Q", 1 << 62 | Flag.MEM_SIZE) + (b"\1a" + bytes(8)) * 2000),
    "2^31 blocks": FILE + _ram(struct.pack(">Q", (PAGE << 31) | Flag.MEM_SIZE) + b"\1a" + struct.pack(">Q", PAGE)),
    "flat memory of 2^62 bytes": StreamBuilder(dialect="m115", blocks={b"ram": 1 << 62}).dup(0, 1).end().bytes(),
    "a compressed page of 4 GiB": _compressed(0xFFFFFFFF),
    "a compressed page that inflates to 16 MiB": _compressed(len(zlib.compress(bytes(1 << 24)))),
    "mapped-ram of 2^60 bytes": _mapped(1 << 60),
    "mapped-ram of 2^33 bytes": _mapped(1 << 33),
    "a VM description of 2 GB": _device(b"dev", b"\0\6" + struct.pack(">I", 0x7FFFFFFF) + b"{}"),
    "a VM description that nests": _description(DEEP),
    "a VM description of 10^18 elements": _description(WIDE % (10**18, b"struct", 1)),
    "a VM description of 10^18 numbers": _description(WIDE % (10**18, b"uint8", 10**18)),
    "a VM description with a number of 4000 digits": _description(b'{"page_size":%s,"devices":[]}' % (b"9" * 4000)),
    "a machine's name of 4 GiB": FILE + b"\7\xff\xff\xff\xff" + b"pc",
    "2^31 capabilities": FILE + b"\7\0\0\0\2pc\5\x1aconfiguration/capabilities\0\0\0\1\x80\0\0\0" + b"\1x" * 9,
    "a package of 4 GiB": FILE + bytes([8]) + struct.pack(">HHI", 7, 4, 0xFFFFFFFF) + b"\0",
    "a discard of 2^34 bytes": FILE + _ram(_list((b"pc.ram", 1 << 34)) + programs.EOS) + DISCARD + b"\0",
    "a delta of 65535 bytes": FILE + _ram(_list((b"pc.ram", PAGE)) + DELTA),
    "libvirt XML of 4 GiB": _libvirt(0xFFFFFFFF, 0),
    "a libvirt cookie at 4 GiB": _libvirt(800, 0xFFFFFFFF),
    "2^32 snapshots": _qcow2(snapshots=0xFFFFFFFF),
    "VM state of 4 GiB": _qcow2(vm_state_size=0xFFFFFFFF, l1_size=0xFFFFFFFF),
    "clusters of 2^63 bytes": _qcow2(cluster_bits=63),
}  # fmt: skip
COMMANDS = (
    ("info", "--json"), ("dump", "--fields"), ("verify", "--json"), ("stats", "--json"), ("page", "0x0"),
    ("salvage", "--json"),
)  # fmt: skip


def _run(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with no_hang(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([str(a) for a in arguments])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _commands_were_used(tmp_path_factory):
    """What commands import and keep is in memory before anything is measured."""
    path = tmp_path_factory.mktemp("first") / "capture.bin"
    path.write_bytes(StreamBuilder().page(0, noise(1)).end().bytes())
    for command, *options in COMMANDS:
        _run(command, path, *options)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_costs_no_memory(tmp_path, claim):
    path = tmp_path / "capture.bin"
    path.write_bytes(CLAIMS[claim])
    for command, *options in COMMANDS:
        more = [options[0]] if command == "page" else options
        with measured() as peak:
            status, _, err = _run(command, path, *more)
        assert peak.bytes < ROOM, command
        assert status in (0, 1, 2) and "Traceback" not in err, (command, err)
        assert status == 0 or err or command in ("verify", "salvage"), command


def test_memory_of_2_to_the_40_bytes_takes_what_was_sent(tmp_path):
    with measured() as peak:
        image = xbrletools.open(_block(1 << 40)).memory()
        assert image.recovered_count == 1
    assert peak.bytes < ROOM
    more = xbrletools.open(_block(1 << 60))
    assert not more.memory().recovered_count
    assert any("more than any guest has" in p.message for p in more.problems)


@pytest.mark.parametrize(
    "claimed", [(1_000_000_000, 1), (1_000_000_000, 1_000_000_000), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0)]
)
def test_a_billion_pages_in_a_channel_s_packet_cost_no_memory(tmp_path, claimed):
    init = multifd.Init.build({"version": 1, "uuid": bytes(16), "id": b"\1"})
    packet = {"version": 1, "flags": 0, "pages_allocated": claimed[0], "normal_pages": claimed[1]}
    packet |= {"next_packet_size": 0xFFFFFFFF, "packet_number": 1, "zero_pages": 0xFFFFFFFF, "reserved": bytes(28)}
    packet |= {"ramblock": b"pc.ram".ljust(256, b"\0")}
    (tmp_path / "main.bin").write_bytes(StreamBuilder().page(0, noise(1)).end().bytes())
    (tmp_path / "channel.bin").write_bytes(init + multifd.PacketHeader.build(packet) + bytes(64))
    with measured() as peak:
        status, _, err = _run("verify", tmp_path / "main.bin", "--channel", tmp_path / "channel.bin", "--json")
    assert peak.bytes < ROOM
    assert status in (1, 2) and "Traceback" not in err


def test_more_channels_than_there_are_files_are_refused(tmp_path):
    (tmp_path / "main.bin").write_bytes(StreamBuilder().page(0, noise(1)).end().bytes())
    init = multifd.Init.build({"version": 1, "uuid": bytes(16), "id": b"\1"})
    (tmp_path / "channel.bin").write_bytes(init)
    twice = ["--channel", tmp_path / "channel.bin"] * 2
    status, _, err = _run("verify", tmp_path / "main.bin", *twice)
    assert status == 2 and "is given twice" in err


def test_extracting_a_claimed_block_takes_a_hole(tmp_path):
    length = 1 << 36
    (tmp_path / "x.bin").write_bytes(bombs.stream([(b"pc.ram", length)], bombs.page(length - PAGE)))
    with measured() as peak:
        status, _, err = _run("extract", tmp_path / "x.bin", "-o", tmp_path / "out", "--hash-unknown", "1M")
    assert (status, "Traceback" in err) == (0, False)
    assert peak.bytes < ROOM + (1 << 24)
    file = tmp_path / "out" / "pc.ram"
    assert file.stat().st_size == length
    assert file.stat().st_blocks * 512 < 1 << 20
    assert ram.PAGE_SIZE == PAGE
