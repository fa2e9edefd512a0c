"""Packet dumps: the streams in them come out byte for byte, and what is missing, odd or twice is said."""

import bz2
import gzip
import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest

import xbrletools
from tests.building import page, patterned, stream
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.packets import (
    RST,
    SYN,
    Segment,
    Wire,
    block,
    connection,
    dump,
    frames,
    head,
    interleaved,
    overlapping,
    reordered,
    repeated,
    with_data,
    without,
)
from xbrletools.errors import XbrleError
from xbrletools.source.opening import open_source

PAGES = 64
RAM = ((b"pc.ram", PAGES << 12),)
CONTENT = [np.random.default_rng(i).bytes(4096) for i in range(PAGES)]
S = stream(*(page(i << 12, c, None if i else b"pc.ram") for i, c in enumerate(CONTENT)), blocks=RAM)
SEGMENTS = connection(S)
WIRES = {
    "ethernet": Wire(),
    "big-endian": Wire(order=">"),
    "nanoseconds": Wire(nano=True),
    "nanoseconds, big-endian": Wire(nano=True, order=">"),
    "modified": Wire(modified=True),
    "pcapng": Wire(ng=True),
    "pcapng, big-endian": Wire(ng=True, order=">"),
    "pcapng, nanoseconds": Wire(ng=True, nano=True),
    "SLL": Wire(link=113),
    "SLL2": Wire(link=276),
    "SLL2, VLAN": Wire(link=276, tags=(0x8100,)),
    "VLAN": Wire(tags=(0x8100,)),
    "QinQ": Wire(tags=(0x88A8, 0x8100)),
    "IPv6": Wire(v6=True),
    "IPv6, extensions": Wire(v6=True, extensions=(0, 43, 60, 51)),
    "loopback": Wire(link=0),
    "loopback, IPv6, big-endian": Wire(link=0, v6=True, order=">"),
    "LOOP": Wire(link=108),
    "raw": Wire(link=101),
    "raw, IPv6": Wire(link=101, v6=True),
    "IPV4": Wire(link=228),
    "IPV6": Wire(link=229, v6=True),
    "padded": Wire(padding=6),
    "no length": Wire(no_total=True),
    "no length, IPv6": Wire(no_total=True, v6=True),
}


def keepalives(s: Segment) -> list[Segment]:
    """A segment, and after it keepalives without and with their byte of nothing."""
    last = s.seq + len(s.data) - 1
    return [s, replace(s, seq=last, data=b""), replace(s, seq=last, data=b"\0")] if s.data else [s]


EDITS = {
    "whole": lambda s: s,
    "reordered": reordered,
    "repeated": repeated,
    "overlapping": overlapping,
    "all at once": lambda s: overlapping(repeated(reordered(s, 5), 4), 3),
    "fragments": lambda s: [replace(x, fragments=512) for x in s],
    "fragments reordered": lambda s: [replace(x, fragments=512) for x in reordered(s)],
    "keepalives": lambda s: [k for x in s for k in keepalives(x)],
    "SYN twice": lambda s: [s[0], *s],
    "no SYN": lambda s: s[3:],
    "no SYN of the client": lambda s: s[1:],
    "data before its SYN": lambda s: [s[1], s[3], s[0], s[2], *s[4:]],
    "reset": lambda s: [*s[:-2], replace(s[-2], flags=RST)],
    "no end": lambda s: s[:-2],
    "reset in the middle": lambda s: [*s[:30], replace(s[29], data=b"", flags=RST), *s[30:]],
    "reset from outside": lambda s: [*s[:30], Segment(77, flags=RST, back=True), *s[30:]],
    "urgent": lambda s: [replace(x, flags=x.flags | 0x20) if x.data else x for x in s],
    "times that go back": lambda s: [replace(x, after=-50_000_000 if i % 9 == 4 else 10_000) for i, x in enumerate(s)],
    "empty segments": lambda s: [y for x in s for y in (x, replace(x, data=b"", flags=0x10))],
}  # fmt: skip


def opened(data: bytes, **options):
    source = open_source(data, **options)
    assert isinstance(source, xbrletools.source.sources.MappedSource)
    return source


def rules(data: bytes, **options) -> list[str]:
    return [p.rule for p in xbrletools.open(data, **options).problems]


@pytest.mark.parametrize("name", WIRES)
def test_every_wire_gives_the_stream(name):
    source = opened(dump(SEGMENTS, WIRES[name]))
    assert bytes(source.view) == S
    assert not source.rebuilt.oddities


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("isn", [1000, 2**32 - 5000, 2**32 - 1])
def test_every_edit_that_loses_nothing_gives_the_stream(name, isn):
    source = opened(dump(EDITS[name](connection(S, isn=isn))))
    assert bytes(source.view) == S
    assert {o.rule for o in source.rebuilt.oddities} <= ({"packets-odd"} if name == "no SYN" else set())
    assert not any(o.lost for o in source.rebuilt.oddities)


@pytest.mark.parametrize("size", [1, 7, 536, 9000, 65000])
def test_segments_of_every_size_give_the_stream(size):
    head = S[: 40 * size] if size < 500 else S
    assert bytes(opened(dump(connection(head, size=size))).view) == head


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_dump_is_opened(pack):
    source = opened(pack(dump(SEGMENTS)))
    assert bytes(source.view) == S
    assert source.wrapper is not None


def test_a_dump_comes_through_a_pipe():
    assert bytes(opened(io.BytesIO(dump(SEGMENTS))).view) == S


def test_lost_segments_are_named_holes_and_what_is_before_stands():
    data = dump(without(SEGMENTS, 20, 21, 90))
    source = opened(data)
    assert source.rebuilt.holes.tolist() == [[20 * 1448, 22 * 1448], [90 * 1448, 91 * 1448]]
    assert bytes(source.view) == S[: 20 * 1448]
    capture = xbrletools.open(data)
    missing = [(p.offset, p.message) for p in capture.problems if p.rule == "missing-packets"]
    assert [offset for offset, _ in missing] == [20 * 1448, 90 * 1448]
    assert "2,896 bytes" in missing[0][1] and "1,448 bytes" in missing[1][1]
    assert all(p.lost for p in capture.problems if p.rule == "missing-packets")
    assert capture.damage is not None and capture.damage.rule == "truncated"
    assert capture.records.last_number in (20 * 1448 // (8 + 4096), 20 * 1448 // (8 + 4096) + 1)


@pytest.mark.parametrize("lost", [(20,), (20, 21, 90), (5, 20, 60, 100, 140), tuple(range(30, 60))])
def test_salvage_reads_on_behind_holes_and_never_takes_zeros_for_content(lost):
    capture = xbrletools.open(dump(without(SEGMENTS, *lost)), salvage=True)
    image = capture.memory()
    truth = np.frombuffer(b"".join(CONTENT), np.uint8).reshape(PAGES, 4096)
    memory = image["pc.ram"].reshape(PAGES, 4096)
    assert (memory[image.recovered] == truth[image.recovered]).all()
    assert image.recovered.sum() >= PAGES // 4
    assert not any(p.lost and p.rule != "missing-packets" for p in capture.problems)


MULTIFD = [(SAMPLES / f"multifd.bin{e}").read_bytes() for e in ("", ".1", ".2")]


def multifd(*lost: int) -> bytes:
    """The sample of multifd, of whose second connection data segments are lost."""
    ways = [connection(p, port=50000 + i, isn=99 * i, size=512) for i, p in enumerate(MULTIFD)]
    return dump(interleaved(ways[0], without(ways[1], *lost), ways[2]))


@pytest.mark.parametrize("lost", [(12,), (12, 60), tuple(range(30, 50)), (1,)])
def test_salvage_reads_a_channel_on_behind_its_holes(lost):
    whole, strict = xbrletools.open(multifd()), xbrletools.open(multifd(*lost))
    capture = xbrletools.open(multifd(*lost), salvage=True)
    counts = [c.records.last_number for c in (strict, capture, whole)]
    assert counts == sorted(set(counts))
    holed = next(c for c in capture.channels.channels if c.damage)
    every = next(c for c in whole.channels.channels if c.id == holed.id)
    assert "missing" in holed.damage[1]
    assert set(holed.packets.offset.tolist()) < set(every.packets.offset.tolist())
    assert holed.packets.offset[-1] == every.packets.offset[-1]
    assert not capture.memory().recovered.any()  # the first round is broken: what came later is not known
    assert {p.rule for p in capture.problems if p.lost} == {"missing-packets", "multifd-channel"}


def test_a_packet_in_the_content_of_a_page_behind_a_hole_is_not_taken_for_one():
    forged = MULTIFD[1][64 : 64 + 320]  # a packet's header, behind which no packet follows
    parts = list(MULTIFD)
    at = 512 * 15
    parts[1] = parts[1][:at] + forged + parts[1][at + len(forged) :]
    ways = [connection(p, port=50000 + i, isn=99 * i, size=512) for i, p in enumerate(parts)]
    capture = xbrletools.open(dump(interleaved(ways[0], without(ways[1], 12), ways[2])), salvage=True)
    assert len(capture.records)
    assert all(at not in c.packets.offset for c in capture.channels.channels)


def test_a_cut_snap_length_is_a_hole_in_every_packet():
    source = opened(dump(SEGMENTS, Wire(snap=400)))
    there = 400 - 54
    assert bytes(source.view) == S[:there]
    assert source.rebuilt.holes[0].tolist() == [there, 1448]
    assert len(source.rebuilt.holes) == -(-len(S) // 1448) - (len(S) % 1448 <= there)
    whole = source.read(salvage=True)
    assert bytes(whole.view[1448 : 1448 + there]) == S[1448 : 1448 + there]


def test_a_dump_that_begins_late_says_that_the_beginning_is_missing():
    data = dump([s for s in SEGMENTS if not s.flags & SYN][40:])
    with pytest.raises(XbrleError, match="QEVM"):
        _ = xbrletools.open(data).records
    capture = xbrletools.open(data, salvage=True)
    assert len(capture.records)
    assert any(p.rule == "missing-packets" and p.offset == 0 and p.lost for p in capture.problems)


def test_a_lost_first_segment_is_a_hole_at_the_beginning():
    source = opened(dump(without(SEGMENTS, 0)))
    assert source.rebuilt.holes.tolist() == [[0, 1448]]
    assert len(xbrletools.open(dump(without(SEGMENTS, 0)), salvage=True).records)


def test_a_lost_last_segment_is_a_hole_by_the_fin():
    last = len(with_data(SEGMENTS)) - 1
    assert opened(dump(without(SEGMENTS, last))).rebuilt.holes.tolist() == [[last * 1448, len(S)]]


def test_what_was_sent_again_differently_is_said_and_the_first_counts():
    changed = repeated(SEGMENTS, 50, lambda d: d[:700] + bytes(b ^ 1 for b in d[700:720]) + d[720:])
    source = opened(dump(changed))
    assert bytes(source.view) == S
    assert source.rebuilt.oddities[0].rule == "packets-differ"
    assert source.rebuilt.oddities[0].offset == 700
    assert "20 bytes at stream offset 0x2bc" in source.rebuilt.oddities[0].message
    assert "packets-differ" in rules(dump(changed))


def test_the_first_of_different_overlaps_counts_wherever_it_begins():
    data = S[:3000]
    early = Segment(1001 + 500, data[500:1500])
    late = Segment(1001, b"\xff" * 1000)  # begins before, came after
    rest = [Segment(1001, data[:500]), Segment(1001 + 1500, data[1500:])]
    source = opened(dump([*SEGMENTS[:3], early, late, *rest], Wire()))
    assert bytes(source.view)[500:1500] == data[500:1500]
    assert any(o.rule == "packets-differ" for o in source.rebuilt.oddities)


def test_a_dump_that_ends_inside_a_packet_says_so():
    for wire in (Wire(), Wire(ng=True)):
        data = dump(SEGMENTS, wire)
        at = len(data) * 2 // 3
        capture = xbrletools.open(data[:at])
        assert [p.rule for p in capture.problems if p.lost or p.fatal] == ["dump-cut", "truncated"]
        assert S.startswith(bytes(capture.data))
        assert len(capture.data) > len(S) // 2


def test_several_migrations_are_listed_and_chosen(tmp_path, capsys):
    other = stream(page(0, patterned(1), b"pc.ram"), blocks=((b"pc.ram", 4096),))
    path = tmp_path / "two.pcap"
    path.write_bytes(dump(interleaved(SEGMENTS, connection(other, port=50001, isn=7))))
    status, out, err = run(capsys, "info", path)
    assert (status, out) == (2, "")
    assert "2 migrations" in err and "10.0.0.1:50000 to 10.0.0.2:4444" in err and "--stream" in err
    contents = {bytes(opened(path, stream=n).view) for n in (1, 2)}
    assert contents == {S, other}
    status, out, _ = run(capsys, "info", path, "--stream", 2, "--json")
    about = json.loads(out)["wrapping"]
    assert (status, about["kind"], about["stream"], about["streams"]) == (0, "packets", 2, 2)
    status, _, err = run(capsys, "info", path, "--stream", 3)
    assert status == 2 and "does not have a migration 3" in err
    assert "xbrle capture --from-pcap DUMP --stream 1" in run(capsys, "describe", path)[2]
    assert run(capsys, "why", "Unable to write to socket", path, "--stream", 2)[0] == 0


def test_describe_simulate_and_tables_choose_a_migration_too(tmp_path, capsys):
    other = stream(page(0, patterned(1), b"pc.ram"), blocks=((b"pc.ram", 4096),))
    path = tmp_path / "two.pcap"
    path.write_bytes(dump([*SEGMENTS, *connection(other, port=50001, isn=7)]))
    alone = {}
    for n in (1, 2):
        alone[n] = tmp_path / f"alone{n}.bin"
        alone[n].write_bytes(S if n == 1 else other)
    for words in (("describe",), ("simulate", "--json", "--capture")):
        said = {n: run(capsys, *words, path, "--stream", n)[1].replace(str(path), "S") for n in alone}
        assert said == {n: run(capsys, *words, of)[1].replace(str(of), "S") for n, of in alone.items()}
        assert said[1] != said[2]
        status, _, err = run(capsys, *words, path)
        assert status == 2 and "--stream" in err
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    manifest = tmp_path / "lines"
    manifest.write_text(json.dumps({"source": str(path), "stream": 1}))
    tables = ("tables", "--stream", 2, "-o", tmp_path / "tables", "--json")
    for words, n in (((path,), 2), (("--manifest", manifest), 1), (("--manifest", manifest, path), 1)):
        status, out, err = run(capsys, *tables, *words)
        with xbrletools.open(alone[n]) as capture:
            found = [o for o in map(json.loads, out.splitlines()) if o["type"] == "source"]
            assert status == 0 and found[-1]["records"] == capture.records.number.max(), err
    assert [o["what"] for o in found] == ["skipped", "skipped"]
    status, out, _ = run(capsys, *tables, "samples/plain-v4.bin")
    assert status == 1 and "not a packet dump" in out


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        (("describe", "--dump-vmstate", "x"), "S"),
        (("simulate", "samples/sap-central-instance.json"), "--capture"),
        (("why", "Unable to write to socket"), "S"),
        (("tables", "--compact", "-o", "x"), "SOURCE or --manifest"),
    ],
)
def test_stream_is_refused_where_no_capture_is_named(words, needs, capsys):
    status, _, err = run(capsys, *words, "--stream", 1)
    assert status == 2 and f"--stream needs {needs}" in err


def test_stream_is_refused_where_there_is_no_dump(capsys):
    status, _, err = run(capsys, "info", "samples/plain-v4.bin", "--stream", 1)
    assert status == 2 and "not a packet dump" in err


def test_endpoints_that_are_used_again_are_another_connection():
    other = stream(page(0, patterned(1), b"pc.ram"), blocks=((b"pc.ram", 4096),))
    data = dump([*SEGMENTS, *connection(other, isn=3_000_000_000)])
    assert bytes(opened(data, stream=1).view) == S
    assert bytes(opened(data, stream=2).view) == other
    unclosed = dump([*SEGMENTS[:40], *connection(other, isn=3_000_000_000)])
    assert bytes(opened(unclosed, stream=2).view) == other


def test_what_comes_back_is_not_mixed_in(tmp_path, capsys):
    back = b"\0\1\0\4\0\0\0\0"
    path = tmp_path / "back.pcap"
    path.write_bytes(dump(connection(S, back=back)))
    assert bytes(opened(path).view) == S
    assert bytes(opened(path).rebuilt.back.view) == back
    status, out, _ = run(capsys, "info", path, "--json")
    assert status == 0
    assert [m["type"] for m in json.loads(out)["reverse"]] == ["SHUT"]


def test_other_packets_are_passed_over():
    arp = b"\xff" * 12 + b"\x08\x06" + bytes(28)
    udp = b"\2" * 12 + b"\x08\0" + bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]) + bytes(8)
    data = dump(SEGMENTS, Wire(more=[arp, udp, b"", b"\1" * 13]))
    assert bytes(opened(data).view) == S
    assert all(o.rule == "packets-odd" and not o.lost for o in opened(data).rebuilt.oddities)


def test_a_tls_connection_is_named():
    with pytest.raises(XbrleError, match="TLS"):
        opened(dump(connection(b"\x16\x03\x01\x02\0" + bytes(600))))


def test_a_dump_without_a_migration_says_what_it_has():
    with pytest.raises(XbrleError, match=r"4 packets.*none of its 1 TCP connection begins"):
        opened(dump(connection(b"GET / HTTP/1.1\r\n", fin=False)))
    with pytest.raises(XbrleError, match="link type 105"):
        opened(dump(SEGMENTS, Wire(link=105)))


def test_times_of_packets_are_the_times_of_records(tmp_path, capsys):
    path = tmp_path / "timed.pcap"
    path.write_bytes(dump([replace(s, after=2_000_000) for s in SEGMENTS]))
    status, out, _ = run(capsys, "info", path, "--json")
    arrival = json.loads(out)["arrival"]
    assert status == 0
    assert arrival["bytes"] == len(S)
    assert arrival["seconds"] == pytest.approx(0.002 * (len(with_data(SEGMENTS)) - 1))
    assert arrival["started"].startswith("2023-11-14T22:13:20")


def test_packets_that_the_dump_says_were_dropped_are_said():
    oddities = opened(dump(SEGMENTS, Wire(ng=True, drops=7))).rebuilt.oddities
    assert any("7 packets were dropped" in o.message for o in oddities)


def test_a_pcapng_of_two_sections_and_byte_orders_is_one_dump():
    half = len(SEGMENTS) // 2
    data = dump(SEGMENTS[:half], Wire(ng=True)) + dump(SEGMENTS[half:], Wire(ng=True, order=">", link=113))
    assert bytes(opened(data).view) == S


def test_a_pcapng_of_two_links_and_of_packets_without_a_time_is_one_dump():
    order, out = "<", head(Wire(ng=True))
    out += block(1, struct.pack(order + "HHI", 276, 0, 0) + struct.pack(order + "HH", 9, 0xFFFF))  # a lying option
    for i, s in enumerate(SEGMENTS):
        ((_, packet),) = frames(Wire(link=276 if i % 3 == 1 else 1), [s])
        padding = bytes(-len(packet) % 4)
        if i % 3 == 2:
            out += block(3, struct.pack(order + "I", len(packet)) + packet + padding)
        else:
            ends = struct.pack(order + "IIIII", i % 3, 0, i, len(packet), len(packet))
            out += block(6, ends + packet + padding)
    source = opened(out)
    assert bytes(source.view) == S
    assert not any(o.lost for o in source.rebuilt.oddities)


@pytest.mark.parametrize("count", [7, 8, 60])
def test_extension_headers_without_end_are_said(count):
    long = Wire(v6=True, extensions=(0,) * count)
    more = [f for _, f in frames(long, connection(b"y" * 100, port=40001))]
    source = opened(dump(SEGMENTS, Wire(v6=True, more=more)))
    assert bytes(source.view) == S
    said = any("are not TCP" in o.message for o in source.rebuilt.oddities)
    assert said == (count > 8)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_command_opens_a_dump(pack, tmp_path, capsys):
    one, two = tmp_path / "one.pcap", tmp_path / "two.pcap"
    one.write_bytes(pack(dump(SEGMENTS)))
    two.write_bytes(pack(dump([*SEGMENTS, *connection(S, port=50001, isn=3_000_000_000)])))
    for words in (
        ("info", "{}"), ("verify", "{}"), ("dump", "{}"), ("report", "{}", "-o", tmp_path / "r{}.html"),
        ("extract", "{}", "-o", tmp_path / "x{}"), ("salvage", "{}"), ("stats", "{}"), ("page", "{}", "pc.ram:0x3000"),
        ("grep", "{}", "no such text"), ("diff", "{}", "{}"),
    ):  # fmt: skip
        for i, (path, choice) in enumerate(((one, ()), (two, ("--stream", 2)))):
            if words[0] == "diff" and choice:
                continue
            out = [str(w).format(path if w == "{}" else i) for w in words]
            status, said, err = run(capsys, *out, *choice)
            assert status == (1 if words[0] == "grep" else 0), (out, err)
            assert said or words[0] in ("grep", "diff", "extract", "report"), out
    status, _, err = run(capsys, "verify", two)
    assert status == 2 and "--stream" in err


def test_blocks_that_are_not_known_are_passed_over():
    wire = Wire(ng=True)
    data = dump(SEGMENTS, wire)
    start = len(head(wire))
    assert bytes(opened(data[:start] + block(0x0BAD, b"what ever...") + data[start:]).view) == S
