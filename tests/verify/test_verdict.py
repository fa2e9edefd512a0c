"""The verdict: one conclusion that accounts for every finding."""

import lzma
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xbrletools
from tests import building
from tests.conftest import CORPUS, ROOT, SAMPLES, corpus_names
from tests.damages import KINDS, damage
from tests.streams import PAGE, StreamBuilder, noise
from tests.verify.test_ledger import corrupt, stale_stream, undecoded
from xbrletools.formats.ram import Flag, Kind
from xbrletools.table.kinds import IS_DELTA
from xbrletools.verify import found, ledger, sentences
from xbrletools.verify.by_rule import NOBODY
from xbrletools.verify.cause import MEANING, CauseName, Sure
from xbrletools.verify.checker import found_in
from xbrletools.verify.receivers import outcomes
from xbrletools.verify.refused import made_for, titles
from xbrletools.verify.rules import Severity
from xbrletools.verify.status import Status
from xbrletools.verify.verdict import Verdict, verdict

SAMPLE = (SAMPLES / "posted-8m.bin").read_bytes()
A, B = noise(1), noise(1)
B[9] ^= 0x55

CASES = {
    "stale": stale_stream(30),
    "stale, with sums": stale_stream(30, flags=3),
    "sample": SAMPLE,
    "corrupt": corrupt(SAMPLE),
    "undecoded": undecoded(SAMPLE),
} | {f"{kind}-{seed}": damage(SAMPLE, kind, seed).data for kind in KINDS if kind != "head" for seed in range(4)}


def of(data: bytes, **options: Any) -> Verdict:
    with xbrletools.open(data, **options) as capture:
        return capture.verdict()


def whole(**options: Any) -> StreamBuilder:
    """A stream that sends the only page of its block."""
    return StreamBuilder({b"pc.ram": PAGE}, **options).page(0, A).part()


@pytest.mark.parametrize("case", CASES)
def test_the_causes_and_what_needs_none_account_for_every_finding(case: str) -> None:
    with xbrletools.open(CASES[case]) as capture:
        listed = Counter(f.rule for f in capture.verify())
        told = verdict(found_in(capture.stream))
    counted = Counter(told.others)
    for cause in told.causes:
        counted.update(cause.explains)
    assert counted == listed
    assert told.shared is not None
    shares = Counter(share for _, share in told.shared)
    assert [shares[i] for i in range(len(told.causes))] == [sum(c.explains.values()) for c in told.causes]
    for i in range(NOBODY, len(told.causes)):
        assert sum(1 for _ in told.shared.of(i)) == shares[i]


@pytest.mark.parametrize("case", CASES)
def test_a_verdict_is_the_same_from_pieces_of_any_size(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = of(CASES[case])
    monkeypatch.setattr(ledger, "HELD", 1)
    monkeypatch.setattr(ledger, "PIECE", 7)
    monkeypatch.setattr(found, "AT_ONCE", 3)
    monkeypatch.setattr(found, "ALIKE", 5)
    assert of(CASES[case]) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_first_finding_of_each_kind_tells_where_a_receiver_stops(case: str) -> None:
    with xbrletools.open(CASES[case]) as capture:
        all_found = found_in(capture.stream)
        expected = outcomes(capture.stream, all_found)
        assert outcomes(capture.stream, all_found.first_of_each()) == expected


class TestStatus:
    def test_no_fault_says_whether_sums_showed_it(self) -> None:
        with_sums = of(whole(flags=3).delta(0, A, B).end().bytes())
        assert (with_sums.status, with_sums.pages_wrong, with_sums.causes) == (Status.NO_FAULT, 0, ())
        assert "the one stated sum holds" in with_sums.summary
        without = of(whole().end().bytes())
        assert without.status is Status.NO_FAULT
        assert "no sums to check" in without.summary

    def test_a_stale_page_that_lasts_is_corrupt_and_one_that_is_healed_is_healed(self) -> None:
        lasting = whole(flags=3).dup(0, 7).delta(0, A, B)
        told = of(lasting.end().bytes())
        assert (told.status, told.pages_wrong) == (Status.CORRUPT, 1)
        assert (told.first_bad_record, told.first_lasting_record) == (3, 3)
        told = of(whole(flags=3).dup(0, 7).delta(0, A, B).page(0, B).end().bytes())
        assert (told.status, told.pages_wrong) == (Status.HEALED, 0)
        assert (told.first_bad_record, told.first_lasting_record) == (3, None)
        (cause,) = told.causes
        assert (cause.name, cause.sure, cause.records, cause.lasting) == (CauseName.STALE_BASE, Sure.CERTAIN, 1, 0)
        assert cause.explains == {"stale-base": 1, "checksum-mismatch": 1}

    def test_no_sum_makes_a_stale_base_likely(self) -> None:
        (cause,) = of(whole().dup(0, 7).delta(0, A, B).end().bytes()).causes
        assert (cause.name, cause.sure) == (CauseName.STALE_BASE, Sure.LIKELY)

    def test_a_capture_that_is_cut_is_incomplete_and_its_end_cannot_be_told(self) -> None:
        told = of(whole().bytes()[:-40])
        assert (told.status, told.pages_wrong) == (Status.INCOMPLETE, None)
        assert [c.name for c in told.causes] == [CauseName.TRUNCATED]

    def test_a_stale_page_before_a_cut_may_have_been_healed_after_it(self) -> None:
        told = of(whole(flags=3).dup(0, 7).delta(0, A, B).page(0, B).bytes()[:-2000])
        assert (told.status, told.pages_wrong) == (Status.INCOMPLETE, None)
        assert told.first_bad_record == 3

    def test_bytes_that_are_no_record_are_damage(self) -> None:
        told = of(whole().word(0x123456789 << 12 | 0x800).word(0xFFFFFFFF_FFFFF007).end().bytes())
        assert (told.status, told.pages_wrong) == (Status.DAMAGED, None)

    def test_a_forced_reading_explains_what_it_breaks(self) -> None:
        told = of(SAMPLE, dialect="lm2")
        assert told.status is Status.INCOMPLETE
        assert [c.name for c in told.causes] == [CauseName.FORCED_READING]
        assert told.pages_wrong is None

    def test_a_head_that_is_missing_is_the_cause_of_what_salvage_skips(self) -> None:
        told = of(SAMPLE[5000:], salvage=True, blocks=[(b"pc.ram", 8 << 20)])
        assert CauseName.HEAD_MISSING in [c.name for c in told.causes]
        assert told.pages_wrong is None


def test_causes_that_last_come_before_those_that_were_healed() -> None:
    pages = [noise(i) for i in range(8)]
    changed = [np.concatenate([page[:9], page[9:10] ^ 0x55, page[10:]]) for page in pages]
    stream = StreamBuilder({b"pc.ram": 8 * PAGE}, flags=3)
    for i, page in enumerate(pages):
        stream.page(i * PAGE, page)
    stream.part()
    for i in range(4):
        stream.dup(i * PAGE, 7)
    for i in range(4):
        stream.delta(i * PAGE, pages[i], changed[i])
    stream.delta(4 * PAGE, pages[4], changed[4], checksum=1)
    for i in range(4):
        stream.page(i * PAGE, pages[i])
    told = of(stream.end().bytes())
    first, second = told.causes
    assert (bool(first.lasting), first.records) == (True, 1)
    assert (second.name, bool(second.lasting), second.records) == (CauseName.STALE_BASE, False, 4)


def test_a_flipped_sum_leaves_every_page_right() -> None:
    flipped = bytearray(SAMPLE)
    with xbrletools.open(SAMPLE) as capture:
        columns = capture.records.columns
        row = np.flatnonzero(columns.kind == Kind.XBRLE)[40]
        flipped[int(columns.payload()[row]) - 4] ^= 4
    told = of(bytes(flipped))
    (cause,) = told.causes
    assert (cause.name, cause.lasting, told.pages_wrong, told.status) == (
        CauseName.CHECKSUM_FIELD,
        0,
        0,
        Status.DAMAGED,
    )
    assert cause.explains == {"checksum-mismatch": 1, "corrupt-page": 1}


def test_a_delta_that_cannot_be_decoded_does_not_explain_those_of_other_pages() -> None:
    told = of(undecoded(SAMPLE))
    (run,) = [c for c in told.causes if c.name is CauseName.PAYLOAD_RUN]
    assert run.explains == {"delta-size": 1}
    assert len(told.causes) > 1


def test_a_flush_behind_damage_does_not_speak_of_channels() -> None:
    assert CauseName.CHANNEL_MISSING not in [c.name for c in of(CASES["cut-0"]).causes]


@pytest.mark.parametrize("name", corpus_names("qemu-2011-posted"))
def test_captures_of_the_posted_build_get_their_verdict(name: str, corpus: Callable[[str], bytes]) -> None:
    told = of(corpus(f"qemu-2011-posted/{name}.bin"))
    expected = {"dbg-stale-reject": Status.CORRUPT, "dbg-cancelled": Status.INCOMPLETE}.get(name, Status.NO_FAULT)
    assert told.status is expected
    if name == "dbg-stale-reject":
        assert (told.first_bad_record, told.first_lasting_record, told.pages_wrong) == (4433, 12280, 32)
        (cause,) = told.causes
        assert (cause.name, cause.sure, cause.records, cause.lasting) == (CauseName.STALE_BASE, Sure.CERTAIN, 598, 32)
        assert "566 were healed by a later record, 32 were not" in cause.sentence
        assert "(page 0x30c000)" in told.summary
        assert told.receivers["default"].wrong_pages == 32
        assert (told.receivers["debug"].loads, told.receivers["debug"].stops_at) == (False, 4433)


#: Captures of the corpus that are not whole by themselves.
PARTS = ("multifd", "preempt", "killed", "cancelled", "crash")


@pytest.mark.parametrize(
    "path",
    [
        f"{folder}/{name}{suffix}"
        for folder in ("qemu-2010", "qemu-7.2", "qemu-10", "qemu-11", "libvirt-11", "physical-maps", "linux-guest")
        for suffix in (".bin", ".save")
        for name in corpus_names(folder, f"{suffix}.xz")
        if CORPUS.is_dir() and not any(part in name for part in (".chan1", ".chan2", ".chan3", ".rev", "cprstate", "("))
    ],
)
def test_what_loads_right_has_no_fault_and_what_is_a_part_is_incomplete(
    path: str, corpus: Callable[[str], bytes]
) -> None:
    """Of what has no fault, the conclusion says why a program stops that the stream was made for."""
    with xbrletools.open(corpus(path)) as capture:
        told, own = capture.verdict(), made_for(capture.stream)
    is_part = any(part in path for part in PARTS) and "mapped-multifd" not in path
    assert told.status is (Status.INCOMPLETE if is_part else Status.NO_FAULT), told.summary
    if not is_part:
        stopping = [r for r in own if told.receivers[r.name].loads is False and not told.receivers[r.name].goes_on]
        words = ("refuse", "needs the capability", "must be set up")
        assert any(word in told.summary for word in words) is bool(stopping), told.summary


def test_where_nothing_tells_which_pages_are_wrong_nothing_says_just_that_it_loads(
    corpus: Callable[[str], Any],
) -> None:
    """All channels of this migration are missing, and it said "loads"."""
    told = xbrletools.open(corpus("qemu-10/pc16-multifd-zstd-zpdlegacy.chan0.bin")).verdict()
    assert told.pages_wrong is None
    assert sentences.loads(told.receivers["qemu-10.0"]) == "loads, and which pages are wrong is not known"


def test_what_only_complains_and_loads_counts_wrong_pages_too() -> None:
    sound = building.stream(building.page(0, bytes(PAGE), b"pc.ram"))
    told = xbrletools.open(sound).verdict().receivers["qemu-10.0"]
    assert (told.goes_on, told.wrong_pages) == (True, 0)
    assert sentences.loads(told) == "complains, and loads it all the same"
    assert sentences.loads(replace(told, wrong_pages=2)) == "complains, and loads it all the same, with 2 wrong pages"


def test_the_document_explains_every_word() -> None:
    text = (ROOT / "docs" / "verdict.md").read_text("utf-8")
    for word in (*Status, *CauseName, *Sure):
        assert f"| `{word.value}` |" in text
    for name in CauseName:
        assert f"| `{name.value}` | {MEANING[name]} |" in text


def test_of_several_causes_that_hypotheses_name_none_is_certain() -> None:
    """Each hypothesis is tested as if there were no other damage."""
    capture = xbrletools.open(SAMPLE)
    columns = capture.records.columns
    row = int(np.flatnonzero(columns.kind == Kind.XBRLE)[20])
    one, two = bytearray(SAMPLE), bytearray(SAMPLE)
    one[int(columns.offset[row]) + 7] ^= 1 << 6  # a flag bit without a meaning
    two[:] = one
    two[int(columns.offset[row + 40]) + 7] ^= 1 << 6
    for data, sure in ((one, {Sure.CERTAIN}), (two, {Sure.LIKELY})):
        told = xbrletools.open(bytes(data)).verdict()
        assert {c.sure for c in told.causes} == sure, [str(c.name) for c in told.causes]


def test_a_stream_that_ends_in_order_and_lacks_ram_is_incomplete_and_not_damaged(corpus: Callable[[str], Any]) -> None:
    found = xbrletools.open(corpus("cases/devices/early-section-before-ram-11.1.head.bin")).verdict()
    assert (found.status, [c.name for c in found.causes]) == (Status.INCOMPLETE, [CauseName.TRUNCATED])


class TestWhatReceiversRefuse:
    """A conclusion does not contradict what the programs do that the stream was made for."""

    @pytest.mark.parametrize(
        ("case", "status", "cause", "explains"),
        [
            ("receivers/xbzrle-flags3.bin", Status.DAMAGED, CauseName.RECORD_FLAGS, {"delta-flags", "refused-by-all"}),
            ("devices/desc-short.bin", Status.DAMAGED, CauseName.UNKNOWN, {"description-mismatch", "refused-by-all"}),
            ("receivers/hook.bin", Status.DAMAGED, CauseName.UNKNOWN, {"rdma-hook"}),
        ],
    )
    def test_what_all_of_them_refuse_is_not_without_fault(
        self, case: str, status: Status, cause: CauseName, explains: set[str], corpus: Callable[[str], Any]
    ) -> None:
        told = of(corpus(f"cases/{case}"))
        assert (told.status, [c.name for c in told.causes]) == (status, [cause])
        assert set(told.causes[0].explains) == explains
        assert not told.others.keys() & explains

    def test_what_some_of_them_refuse_stands_in_the_conclusion(self) -> None:
        """Up to 7.2 a dup page can be of any byte."""
        told = of(building.stream(building.record(Flag.COMPRESS, 0, b"\x41", b"pc.ram"), last=building.EOF + VMDESC))
        assert told.status is Status.NO_FAULT
        assert told.summary.endswith("; QEMU 8.2 to 11.1 refuse it.")

    def test_a_capability_that_they_need_stands_in_the_conclusion_and_is_not_a_fault(self) -> None:
        told = of(building.stream(building.packed(0, bytes(PAGE), b"pc.ram"), last=building.EOF + VMDESC))
        assert told.status is Status.NO_FAULT
        assert "a destination needs the capability compress" in told.summary

    @pytest.mark.parametrize(
        ("machine", "names"),
        [(b"pc-i440fx-7.2", "QEMU 7.2 to 11.1"), (b"pc-q35-10.0", "QEMU 10.0 and 11.1"), (b"virt-12.0", "QEMU 11.1")],
    )
    def test_a_machine_tells_the_oldest_program_that_has_it(self, machine: bytes, names: str) -> None:
        whole_stream = building.stream(building.page(0, A.tobytes(), b"pc.ram"))
        data = whole_stream.replace(building.configuration(), building.configuration(machine))
        assert titles(made_for(xbrletools.open(data).stream)) == names

    def test_a_posted_stream_was_made_for_the_patch(self) -> None:
        assert [r.name for r in made_for(xbrletools.open(SAMPLE).stream)] == ["default"]


_TEXT = b'{"devices": []}'
VMDESC = b"\x06" + len(_TEXT).to_bytes(4, "big") + _TEXT


def test_a_footer_of_another_section_is_a_fault_of_the_framing(corpus: Callable[[str], Any]) -> None:
    (cause,) = xbrletools.open(corpus("cases/devices/device-footer-wrong.bin")).verdict().causes
    assert (cause.name, cause.sure, cause.began.offset) == (CauseName.SECTION_FRAMING, Sure.LIKELY, 0x40EB)
    assert dict(cause.explains) == {"bad-footer": 1}


def test_a_run_that_several_bits_mend_is_not_certain(corpus: Callable[[str], Any]) -> None:
    (cause,) = xbrletools.open(corpus("cases/xbzrle/first-delta-zrun0.bin")).verdict().causes
    assert (cause.name, cause.sure, cause.repair) == (CauseName.PAYLOAD_RUN, Sure.LIKELY, None)
    assert len(cause.evidence) == 2


@pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m", "sep10", "lm2dbg-big", "nov03b-big", "plain-v3"])
def test_a_stream_that_is_cut_anywhere_is_incomplete_and_nothing_else_is_wrong(name: str) -> None:
    whole = (SAMPLES / f"{name}.bin").read_bytes()
    capture = xbrletools.open(whole)
    columns = capture.records.columns
    deltas = np.flatnonzero(IS_DELTA[columns.kind])[::60]
    places = {int(columns.offset[row]) + part for row in deltas.tolist() for part in (10, 15, 20, 40)}
    places |= set(np.random.default_rng(8).integers(200, len(whole) - 1, 12).tolist())
    for cut in sorted(places):
        found = xbrletools.open(whole[:cut]).verdict()
        assert [c.name for c in found.causes] == [CauseName.TRUNCATED], cut
        assert found.status is Status.INCOMPLETE, cut


def test_a_capture_of_too_many_records_says_that_no_hypothesis_was_tested(monkeypatch):
    data = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
    data[0x29E3A + 3] ^= 0xFF
    told = xbrletools.open(bytes(data)).verdict().causes
    assert not any("No hypothesis was tested" in cause.sentence for cause in told)
    monkeypatch.setattr("xbrletools.verify.tested.RECORDS_MAX", 10)
    (cause,) = xbrletools.open(bytes(data)).verdict().causes
    assert cause.name is CauseName.UNKNOWN
    assert "No hypothesis was tested: the capture has" in cause.sentence


def test_what_every_receiver_refuses_and_one_bit_mends_has_one_cause() -> None:
    path = CORPUS / "cases" / "receivers" / "page-flag400.bin"
    if not path.exists():
        pytest.skip("the corpus of small inputs is not here")
    found = xbrletools.open(path).verdict()
    assert [(c.name, c.sure) for c in found.causes] == [(CauseName.RECORD_FLAGS, Sure.CERTAIN)]
    assert found.causes[0].explains == {"refused-by-all": 1, "flags-unknown": 1}


def test_bytes_put_among_the_pages_of_a_mapped_file_are_no_sound_file_that_lacks_a_capability() -> None:
    data = lzma.decompress((SAMPLES / "mapped-ram.bin.xz").read_bytes())
    (mapped, *_) = xbrletools.open(data).facts.mapped
    found = xbrletools.open(data[: mapped.pages + 5000] + bytes(range(1, 9)) + data[mapped.pages + 5000 :]).verdict()
    assert (found.status, dict(found.shared.found.counts())) == (
        Status.DAMAGED,
        {("refused-by-all", Severity.ERROR): 1, ("no-kind", Severity.WARNING): 1},
    )
    assert xbrletools.open(data).verdict().status is Status.NO_FAULT


def test_the_library_lists_the_findings_that_the_command_lists() -> None:
    path = CORPUS / "cases" / "receivers" / "page-flag400.bin"
    if not path.exists():
        pytest.skip("the corpus of small inputs is not here")
    capture = xbrletools.open(path)
    assert [f.rule for f in capture.verify() if f.severity.value == "error"] == ["refused-by-all"]
    assert list(capture.verify()) == list(capture.verdict().shared.found)
