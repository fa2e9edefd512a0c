"""The Wireshark dissector, in every tshark that is here, not as root, against `xbrle dump`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import xbrletools
from tests.conftest import corpus_names
from tests.packets import Wire, connection, dump, interleaved, overlapping, reordered, repeated, without
from tests.tshark import ROOT, SCRIPT, columns, dissected, sharks
from xbrletools.formats.dialects import DIALECTS

SHARKS = sharks()
here = pytest.mark.skipif(not SHARKS, reason="tshark is not installed; .ci/install-tools does it")
each = pytest.mark.parametrize("shark", SHARKS, ids=lambda s: s.version)
CAPTURES = [
    f"{folder}/{name}"
    for folder in ("qemu-2011-posted", "qemu-2010", "qemu-7.2", "qemu-10", "qemu-11")
    for name in corpus_names(folder)
    if "mapped" not in name
    and "cprstate" not in name
    and "pc4608-hole" not in name  # half a million dup pages, 24 s a turn
    and not any(word in name for word in ("chan1", "chan2", "chan3", ".rev"))
]
DEVICES_FIRST = {"qemu-10/q35-virtiomem"}  # pages behind a device, whose length is not known
MOST = 2 << 20  # bytes of a capture: tshark takes long for more
SAMPLES = sorted(p.name for p in (ROOT / "samples").glob("*.bin") if p.name not in ("multifd.bin", "truncated.bin"))
ORDERED = ("-o", "tcp.reassemble_out_of_order:TRUE")
UNORDERED = ("-o", "tcp.reassemble_out_of_order:FALSE")
ROW = ("offset", "kind", "block", "page", "length")


def sample(name: str) -> bytes:
    return (ROOT / "samples" / name).read_bytes()


@cache
def rows_of(path: str) -> tuple[tuple[Any, ...], ...]:
    """The records by this tool."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        from xbrletools.cli import main

        main(["dump", path, "--json"])
    out.seek(0)
    rows = []
    for r in map(json.loads, out):
        if r["type"] == "record":
            paged = r["page"] is not None
            block = r["block"] if paged and r["block"] != "ram" else None
            rows.append((r["offset"], r["kind"], block, r["page"], r["length"] if paged else None))
    return tuple(rows)


def rows_by(pdus: list[dict[str, Any]]) -> tuple[tuple[Any, ...], ...]:
    """The records by tshark."""
    return tuple(
        (
            int(p["offset"]),
            p["kind"],
            p.get("block"),
            int(p["page"], 16) if "page" in p else None,
            int(p["length"]) if "length" in p else None,
        )
        for p in pdus
        if "kind" in p
    )


def test_the_dissector_is_the_layouts_and_the_glue():
    layouts = (SCRIPT.parent / "layouts.lua").read_text("utf-8")
    glue = (ROOT / "xbrletools" / "grammars" / "dissector.lua").read_text("utf-8")
    head, _, rest = SCRIPT.read_text("utf-8").partition("local L = (function()\n")
    assert "GENERATED" in head
    assert rest == f"{layouts}end)()\n\n{glue}"
    for name in DIALECTS:
        assert f'dialect = "{name}"' in layouts


@here
@each
@pytest.mark.parametrize("name", SAMPLES)
def test_records_of_every_sample_are_those_of_dump(name, shark):
    page_size = xbrletools.open(ROOT / "samples" / name).page_size
    page = ("-o", f"qemu_mig.page_size:{page_size}")
    pdus, marks = dissected(shark, dump(connection(sample(name))), "-2", *page)
    assert rows_by(pdus) == rows_of(str(ROOT / "samples" / name))
    assert marks == []


@here
@each
@pytest.mark.parametrize("name", CAPTURES)
def test_records_of_a_real_capture_are_those_of_dump(name, shark, corpus, tmp_path):
    capture = tmp_path / "S"
    capture.write_bytes(corpus(f"{name}.bin")[:MOST])
    opened = xbrletools.open(capture)
    segments = connection(capture.read_bytes()[opened.facts.start :], fin=False)
    options = ("-o", f"qemu_mig.page_size:{opened.page_size}")
    truth = [(o - opened.facts.start, *rest) for o, *rest in rows_of(str(capture))]
    for passes in ((), ("-2",)):
        found = columns(shark, dump(segments), ("kind", "page", "length", "block", "offset"), *options, *passes)
        count = len(found["kind"])
        of_pages = [t for t in truth[:count] if t[3] is not None]
        assert found["kind"] == [t[1] for t in truth[:count]]
        assert [int(p, 16) for p in found["page"]] == [t[3] for t in of_pages]
        assert found["length"] == [str(t[4]) for t in of_pages]
        assert found["block"] == [t[2] for t in of_pages if t[2]]
        assert {t[0] for t in truth[:count]} <= set(map(int, found["offset"]))
        assert found["marks"] == []
        assert count >= len(truth) - 1 or name in DEVICES_FIRST


EDITS = {
    "whole": (lambda s: s, Wire()),
    "large segments": (lambda s: connection(sample("posted-8m.bin"), size=32768), Wire()),
    "small segments": (lambda s: connection(sample("posted-8m.bin"), size=200)[:2000], Wire()),
    "repeated": (repeated, Wire()),
    "overlapping": (overlapping, Wire()),
    "reordered": (lambda s: [*s[:9], *reordered(s[9:])], Wire()),
    "reordered from the first": (reordered, Wire()),
    "wrap": (lambda s: connection(sample("posted-8m.bin"), isn=2**32 - 5000), Wire()),
    "no SYN": (lambda s: s[3:], Wire()),
    "VLAN": (lambda s: s, Wire(tags=(0x8100,))),
    "IPv6": (lambda s: s, Wire(v6=True)),
    "pcapng": (lambda s: s, Wire(ng=True)),
    "SLL2": (lambda s: s, Wire(link=276)),
}


@here
@each
@pytest.mark.parametrize("passes", [(), ("-2",)], ids=["one pass", "two passes"])
@pytest.mark.parametrize("order", [ORDERED, UNORDERED], ids=["in order", "as they come"])
@pytest.mark.parametrize("name", EDITS)
def test_every_edit_gives_the_records_or_a_mark_where_they_end(name, order, passes, shark):
    edit, wire = EDITS[name]
    segments = edit(connection(sample("posted-8m.bin"))[:400])
    pdus, marks = dissected(shark, dump(segments, wire), *order, *passes)
    truth = rows_of(str(ROOT / "samples" / "posted-8m.bin"))
    found = rows_by(pdus)
    assert found == truth[: len(found)]
    if name.startswith("reordered") and order == UNORDERED:
        assert marks
        assert found if name == "reordered" else not found  # Wireshark hands the beginning to no dissector
        return
    if name == "overlapping" and order == UNORDERED:  # Wireshark does not put these together then
        assert len(marks) == 1
        return
    assert marks == [] or (name.startswith("reordered") and all("come later" in m for m in marks))
    end = sum(len(s.data) for s in segments) if name not in ("repeated", "overlapping") else 390 * 1448
    assert found[-1][0] > end - 6000 or len(found) == len(truth)


@here
@each
@pytest.mark.parametrize("passes", [(), ("-2",)], ids=["one pass", "two passes"])
@pytest.mark.parametrize("order", [ORDERED, UNORDERED], ids=["in order", "as they come"])
@pytest.mark.parametrize("lost", [1, 2, 3, 17, 18, 19, 20])
def test_after_a_loss_what_is_before_is_right_and_there_is_a_mark(lost, order, passes, shark):
    segments = without(connection(sample("posted-8m.bin"))[:120], lost)
    pdus, marks = dissected(shark, dump(segments), *order, *passes)
    found, truth = rows_by(pdus), rows_of(str(ROOT / "samples" / "posted-8m.bin"))
    assert found == truth[: len(found)]
    assert all(offset + (length or 0) <= lost * 1448 for offset, *_, length in found)
    assert 1 <= len(marks) <= 2  # a packet that follows a gap, and where the stream cannot be followed


@here
@each
def test_a_cut_snap_length_is_marked(shark):
    pdus, marks = dissected(shark, dump(connection(sample("posted-8m.bin"))[:60], Wire(snap=600)), "-2")
    assert len(marks) == 1
    assert rows_by(pdus) == rows_of(str(ROOT / "samples" / "posted-8m.bin"))[: len(rows_by(pdus))]


@here
@each
def test_packets_of_multifd_are_those_of_dump(shark, capsys):
    parts = [Path(f"samples/multifd.bin{e}").read_bytes() for e in ("", ".1", ".2")]
    segments = interleaved(*(connection(p, port=50000 + i, isn=99 * i) for i, p in enumerate(parts)))
    for passes in ((), ("-2",)):
        pdus, marks = dissected(shark, dump(segments), *ORDERED, *passes)
        assert marks == []
        packets = [p for p in pdus if "multifd.number" in p]
        capture = xbrletools.open("samples/multifd.bin", channels=["samples/multifd.bin.1", "samples/multifd.bin.2"])
        assert capture.records is not None and capture.channels is not None
        every = [c.packets for c in capture.channels.channels]
        truth = [z for p in every for z in zip(p.number.tolist(), p.normal.tolist(), p.zero.tolist(), strict=True)]
        found = [tuple(int(p[f"multifd.{n}"]) for n in ("number", "normal", "zero")) for p in packets]
        assert sorted(found) == sorted(truth)


@here
@each
@pytest.mark.parametrize("sizes", [b"", (1 << 21).to_bytes(8, "big")], ids=["as the host's", "large pages"])
@pytest.mark.parametrize("addresses", [False, True])
def test_a_block_list_is_read_with_addresses_and_page_sizes(sizes, addresses, shark):
    capabilities = "configuration/capabilities"
    name = b"x-ignore-shared" if addresses else b"postcopy-ram"
    body = (7).to_bytes(1) + (2).to_bytes(4, "big") + b"pc" + b"\5" + bytes([len(capabilities)]) + capabilities.encode()
    body += (1).to_bytes(4, "big") * 2 + bytes([len(name)]) + name
    blocks = {b"a": 0x400000, b"b": 0x200000}
    entries = [
        bytes([len(n)]) + n + size.to_bytes(8, "big") + sizes + bytes(8 * addresses) for n, size in blocks.items()
    ]
    ram = b"\1" + (2).to_bytes(4, "big") + b"\3ram" + bytes(4) + (4).to_bytes(4, "big")
    ram += (sum(blocks.values()) | 4).to_bytes(8, "big") + b"".join(entries)
    ram += (0x1000 | 2).to_bytes(8, "big") + b"\1b\0" + (0x10).to_bytes(8, "big")
    pdus, marks = dissected(shark, dump(connection(b"QEVM" + (3).to_bytes(4, "big") + body + ram)))
    assert marks == []
    end = len(b"QEVM----" + body + ram)
    assert rows_by(pdus)[1:] == ((end - 19, "dup", "b", 0x1000, 1), (end - 8, "eos", None, None, None))
    assert any(p.get("capability") == name.decode() for p in pdus)


@here
@each
def test_the_preferences_choose_dialect_and_order(shark):
    data = dump(connection(sample("lm2-big.bin")))
    chosen = ("-o", "qemu_mig.dialect:lm2", "-o", "qemu_mig.endian:big-endian")
    pdus, _ = dissected(shark, data, *chosen)
    assert rows_by(pdus) == rows_of(str(ROOT / "samples" / "lm2-big.bin"))


@here
@each
def test_details_of_a_delta_are_there(shark):
    pdus, _ = dissected(shark, dump(connection(sample("posted-8m.bin"))))
    deltas = [p for p in pdus if p.get("kind") == "xbrle"]
    assert deltas
    for one in deltas[:50]:
        assert one["dialect"] == "posted"
        assert {"delta_header", "checksum", "runs", "changed", "word", "flags.xbrle"} <= one.keys()
        payload = bytes.fromhex(one["data"].replace(":", ""))
        pairs = list(zip(payload[::2], payload[1::2], strict=True))
        assert (int(one["runs"]), int(one["changed"])) == (len(pairs), sum(n for n, b in pairs if b))


@here
@each
def test_other_traffic_is_left_alone(shark):
    noise = connection(b"GET / HTTP/1.1\r\n" * 500, port=40000, server_port=80)
    assert dissected(shark, dump(noise)) == ([], [])


@here
@each
@pytest.mark.parametrize("at", range(8, 400, 14))
def test_damage_is_marked_and_never_an_error_of_lua(at, shark):
    if at > 100 and shark is not SHARKS[0]:
        pytest.skip("one tshark is enough")
    data = bytearray(sample("posted-8m.bin")[:60000])
    data[at] ^= 0xFF
    _, marks = dissected(shark, dump(connection(bytes(data))))
    assert not any("error" in m.lower() for m in marks)
