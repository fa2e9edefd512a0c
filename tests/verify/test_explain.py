import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import main
from xbrletools.verify.explain import chain, conclusion, find

A, B = noise(1), noise(1)
B[9] ^= 0x55


@pytest.fixture
def healed():
    builder = StreamBuilder(flags=3).page(0, A).page(PAGE, A).part().dup(0, 9).delta(0, A, B).delta(PAGE, A, B)
    return builder.page(0, B).bytes()


def test_the_chain_runs_from_the_senders_base_to_the_record_that_heals(healed):
    capture = xbrletools.open(healed)
    finding = find(list(capture.verify()), "stale-base@4")
    links = chain(capture.stream, finding)
    assert [(n.version.record, n.part) for n in links] == [
        (1, "the sender's base"),
        (3, "forgotten by the sender"),
        (4, "this finding"),
        (6, "heals the page"),
    ]
    stale = links[2]
    assert stale.stated == stale.sender == int(B.sum())
    assert stale.receiver != stale.stated
    assert stale.wire == bytes(capture.data[stale.version.offset :][: len(stale.wire)])
    assert "was stale" in conclusion(capture.stream, finding)


def test_the_chain_of_damage_begins_with_the_earliest_record_that_can_be_damaged():
    builder = StreamBuilder(flags=3).page(0, A).part().delta(0, A, B).delta(0, B, A, checksum=1)
    capture = xbrletools.open(builder.bytes())
    finding = find(list(capture.verify()), "corrupt-page")
    parts = {n.version.record: n.part for n in chain(capture.stream, finding)}
    assert parts[finding.evidence["earliest_record"]] in ("the earliest that can be damaged", "this finding")
    lost = StreamBuilder(flags=3).page(0, A).part().delta(0, B, A)
    capture = xbrletools.open(lost.bytes())
    finding = find(list(capture.verify()), "corrupt-page")
    parts = [(n.version.record, n.part) for n in chain(capture.stream, finding)]
    assert parts == [(1, "the earliest that can be damaged"), (2, "this finding")]


def test_a_finding_is_named_by_rule_and_record_or_offset(healed):
    findings = list(xbrletools.open(healed).verify())
    wanted = find(findings, "stale-base@4")
    assert find(findings, f"stale-base@{wanted.offset:#x}") is wanted
    assert find(findings, "stale-base") is wanted
    for nonsense in ("stale-base@5", "stale-base@x", "none", ""):
        with pytest.raises(xbrletools.XbrleError):
            find(findings, nonsense)


def test_the_command_shows_the_chain_with_bytes(healed, tmp_path, capsys):
    path = tmp_path / "s.bin"
    path.write_bytes(healed)
    assert main(["verify", str(path), "--explain", "stale-base@4"]) == 1
    out = capsys.readouterr().out
    assert "forgotten by the sender" in out
    assert out.count(": 00 00 00") == 4


def test_the_first_page_that_the_two_ends_logged_differently_is_a_finding(corpus, tmp_path):
    capture = xbrletools.open(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    from xbrletools.analysis.ends import disagreements

    logs = {}
    for end, name in (("sender", "miglog"), ("receiver", "dst-debug.miglog")):
        logs[end] = tmp_path / end
        logs[end].write_bytes(corpus(f"qemu-2011-posted/dbg-stale-reject.{name}"))
    for sender, receiver in ((logs["sender"], logs["receiver"]), (logs["sender"], None), (None, logs["receiver"])):
        (found,) = disagreements(capture.stream, sender, receiver)
        assert (found.rule, found.record, found.offset) == ("ends-disagree", 4433, 0x15C208)


def test_ends_that_agree_give_no_finding(corpus, tmp_path):
    from xbrletools.analysis.ends import disagreements

    log = tmp_path / "log"
    log.write_bytes(corpus("qemu-2011-posted/dbg-small-8m.dst-debug.miglog"))
    capture = xbrletools.open(corpus("qemu-2011-posted/dbg-small-8m.bin"))
    assert disagreements(capture.stream, None, log) == []


@pytest.mark.parametrize(
    ("options", "shows"),
    [({"dialect": "lm2"}, "posted"), ({"endian": "big"}, "little"), ({"dialect": "lm2dbg"}, "posted")],
)
def test_a_reading_that_was_forced_wrongly_is_a_finding_that_names_what_the_deltas_show(options, shows):
    (found,) = [f for f in xbrletools.open(SAMPLES / "posted-8m.bin", **options).verify() if f.rule == "forced-reading"]
    assert found.evidence == {"shows": shows}
    assert "deltas" in found.message


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("posted-8m", {"dialect": "posted", "endian": "little"}),
        ("m115dbg-big", {"dialect": "nov09"}),  # the same on the wire
        ("xbzrle-16m", {"dialect": "xbzrle"}),
        ("plain-v4", {"dialect": "lm2"}),
    ],
)
def test_a_reading_that_was_forced_and_fits_is_none(name, options):
    rules = {f.rule for f in xbrletools.open(SAMPLES / f"{name}.bin", **options).verify()}
    assert "forced-reading" not in rules


def test_every_finding_can_be_explained_with_bytes(tmp_path, capsys):
    a, b = noise(1), noise(1)
    b[9] ^= 0x55
    streams = {
        "truncated": StreamBuilder(flags=3).page(0, a).bytes()[:3000],
        "page-out-of-bounds": StreamBuilder(flags=3).page(0, a).page(100 * PAGE, a).bytes(),
        "no-kind": StreamBuilder(flags=3).page(0, a).word(0xA0).bytes(),
        "delta-size": StreamBuilder(flags=3)
        .page(0, a)
        .part()
        .delta(0, a, b)
        .raw_delta(0, b"\x05\x00", b)
        .end()
        .bytes(),
        "corrupt-page": StreamBuilder(flags=3).page(0, a).part().delta(0, a, b, checksum=1).bytes(),
    }
    for rule, content in streams.items():
        path = tmp_path / rule
        path.write_bytes(content)
        findings = list(xbrletools.open(content).verify())
        assert rule in {f.rule for f in findings}, rule
        for finding in findings:
            if finding.offset is None:
                continue
            main(["verify", str(path), "--explain", f"{finding.rule}@{finding.offset:#x}"])
            out = capsys.readouterr().out
            assert f"{finding.offset & ~0xF:08x}  " in out or f"{finding.offset:#x}: " in out, (rule, finding)
            assert "eceiver" in out
