import json
import struct

import numpy as np
import pytest

import xbrletools
from tests.conftest import SAMPLES, corpus_names
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats import ram
from xbrletools.formats.qevm import SectionType
from xbrletools.formats.ram import Flag
from xbrletools.memory.replay import View
from xbrletools.verify.checker import found_in, verify
from xbrletools.verify.explain import chain
from xbrletools.verify.receivers import Destination, Receiver, named, outcome, posted, stop_amid_records
from xbrletools.verify.rules import RULES, Severity


def changed(page: np.ndarray, *places: int) -> np.ndarray:
    new = page.copy()
    new[list(places)] ^= 0xA5
    return new


def rules(stream: bytes, **options) -> list[str]:
    """The rules that a stream breaks, but for what every old stream with opaque or missing pages has."""
    quiet = {"device-tail-unchecked", "page-never-sent"}
    return [f.rule for f in xbrletools.open(stream, **options).verify() if f.rule not in quiet]


A = noise(1)
B = changed(A, 7, 8, 9)


def stream(flags: int = 3) -> StreamBuilder:
    return StreamBuilder(flags=flags).page(0, A).page(PAGE, A).part()


class TestRealCaptures:
    @pytest.mark.parametrize("name", ["posted-8m", "xbzrle-16m"])
    def test_a_sample_has_no_error(self, name):
        findings = list(xbrletools.open(SAMPLES / f"{name}.bin").verify())
        assert not [f for f in findings if f.severity is not Severity.NOTE]

    @pytest.mark.parametrize("name", corpus_names("qemu-2011-posted"))
    def test_a_posted_capture_breaks_just_the_rules_that_its_destination_showed(self, name, corpus):
        findings = list(xbrletools.open(corpus(f"qemu-2011-posted/{name}.bin")).verify())
        errors = [f.rule for f in findings if f.severity is not Severity.NOTE]
        analysis = json.loads(corpus(f"qemu-2011-posted/{name}.json"))["analysis"]
        assert errors.count("checksum-mismatch") == analysis["bad_checksum_records_on_replay"]["count"]
        assert errors.count("stale-base") == analysis["xbrle_after_dup_without_normal"]["count"]
        assert errors.count("truncated") == (analysis["truncated"] is not None)
        assert set(errors) <= {"checksum-mismatch", "stale-base", "truncated"}
        for rule, key in (
            ("checksum-mismatch", "bad_checksum_records_on_replay"),
            ("stale-base", "xbrle_after_dup_without_normal"),
        ):
            found = [(f.record, hex(f.offset), f.block.decode(), hex(f.page)) for f in findings if f.rule == rule]
            assert found == [tuple(r[:4]) for r in analysis[key]["records"]]

    @pytest.mark.parametrize("name", corpus_names("qemu-2010"))
    def test_a_capture_of_2010_has_no_error_but_the_cut(self, name, corpus):
        findings = list(xbrletools.open(corpus(f"qemu-2010/{name}.bin")).verify())
        errors = [f.rule for f in findings if f.severity is not Severity.NOTE]
        assert errors == (["truncated"] if name == "sep20-crash" else [])

    def test_exactly_the_pages_that_stay_wrong_are_stale_as_errors(self, corpus):
        findings = xbrletools.open(corpus("qemu-2011-posted/dbg-stale-reject.bin")).verify()
        wrong = {f.page // PAGE for f in findings if f.rule == "stale-base" and f.severity is Severity.ERROR}
        analysis = json.loads(corpus("qemu-2011-posted/dbg-stale-reject.json"))["analysis"]
        assert sorted(wrong) == analysis["replay_vs_source_wrong_pages"]["page_indices"]


class TestDeltas:
    def test_a_checksum_that_does_not_hold_is_an_error_with_both_sums(self):
        bad = stream().delta(0, A, B, checksum=77).bytes()
        finding = next(f for f in xbrletools.open(bad).verify() if f.rule == "checksum-mismatch")
        assert finding.evidence == {"stated": 77, "computed": int(B.sum(dtype=np.uint64))}
        assert (finding.record, finding.page, finding.block) == (3, 0, b"pc.ram")

    def test_without_the_flag_a_checksum_is_not_looked_at(self):
        builder = stream().delta(PAGE, A, B)
        builder.flags = 1
        assert rules(builder.delta(0, A, B, checksum=77).bytes()) == []

    def test_a_delta_of_another_size_is_an_error_and_spoils_no_other(self):
        bad = stream().delta(PAGE, A, B).raw_delta(0, b"\xff\x00" * 16, A).delta(PAGE, B, A).bytes()
        assert rules(bad) == ["delta-size"]

    def test_a_header_without_its_flag_is_an_error(self):
        builder = stream().delta(0, A, B)
        builder.flags = 2
        assert rules(builder.delta(PAGE, A, B).bytes()) == ["delta-header"]

    def test_a_delta_to_a_page_never_sent_has_no_base(self):
        assert rules(stream().delta(0, A, B).delta(2 * PAGE, A, B).bytes()) == ["delta-without-base"]

    @pytest.mark.parametrize(
        ("payload", "verdict", "run", "at", "found", "expected"),
        [
            (b"\x05\x00", "short", 1, 2, "the end, after runs of 5 bytes", "runs of 4091 bytes"),
            (b"\xff\x00" * 17, "long", 16, 32, "a run of 255 bytes from byte 4080", "at most 16 bytes"),
        ],
    )
    def test_a_delta_that_is_not_a_page_says_which_run_is_wrong(self, payload, verdict, run, at, found, expected):
        data = stream().delta(PAGE, A, B).raw_delta(0, payload, A).bytes()
        (finding,) = [f for f in xbrletools.open(data).verify() if f.record == 4]
        assert (finding.rule, finding.evidence["verdict"]) == ("delta-size", verdict)
        assert (finding.evidence["run"], finding.evidence["payload_offset"]) == (run, at)
        assert data[finding.evidence["file_offset"] - at :].startswith(payload)
        assert finding.evidence["found"].startswith(found)
        assert finding.evidence["expected"].startswith(expected)
        assert f"run {run}, at offset {at} of its payload" in finding.message

    @pytest.mark.parametrize(
        ("payload", "rule"),
        [
            (b"\xff\x00" * 16 + b"\x10\x00\x07", "delta-odd"),
            (b"\x00\x33" + b"\xff\x00" * 16 + b"\x10\x00", "delta-form"),
            (b"\x01\x00\xfe\x00" + b"\xff\x00" * 15 + b"\x10\x00", "delta-form"),
        ],
    )
    def test_forms_that_receivers_pass_over_are_notes(self, payload, rule):
        odd = stream().delta(PAGE, A, B).raw_delta(0, payload, A).bytes()
        assert rules(odd) == [rule]
        assert RULES[rule].severity is Severity.NOTE


class TestStaleBases:
    def test_a_healed_page_is_a_warning_that_names_the_records(self):
        bad = stream().dup(0, 9).delta(0, A, B).page(0, B).bytes()
        finding = next(f for f in xbrletools.open(bad).verify() if f.rule == "stale-base")
        assert finding.severity is Severity.WARNING
        assert finding.evidence == {
            "dup_record": 3,
            "base_record": 1,
            "healed_by_record": 5,
            "certainty": "checksum",
        }

    def test_a_page_that_stays_wrong_is_an_error(self):
        bad = stream().dup(0, 9).delta(0, A, B).bytes()
        finding = next(f for f in xbrletools.open(bad).verify() if f.rule == "stale-base")
        assert finding.severity is Severity.ERROR
        assert finding.evidence["healed_by_record"] is None

    def test_without_checksums_the_structure_shows_it(self):
        bad = stream(flags=1).dup(0, 9).delta(0, A, B).bytes()
        finding = next(f for f in xbrletools.open(bad).verify() if f.rule == "stale-base")
        assert finding.evidence["certainty"] == "structural"
        assert "a sender that caches dup pages would be right" in finding.message

    def test_a_page_that_would_have_gone_as_a_dup_page_proves_it_without_checksums(self):
        bad = stream(flags=1).dup(0, 9).delta(0, A, A).dup(PAGE, 9).delta(PAGE, A, B).bytes()
        found = [f for f in xbrletools.open(bad).verify() if f.rule == "stale-base"]
        assert [f.evidence["certainty"] for f in found] == ["uniform", "build"]
        assert "would be right" not in found[0].message + found[1].message

    def test_a_sender_that_caches_dup_pages_is_cleared_without_checksums_where_a_page_proves_it(self):
        nine = np.full(PAGE, 9, np.uint8)
        z = changed(np.zeros(PAGE, np.uint8), 5, 6)
        good = StreamBuilder(flags=1).page(0, z).page(PAGE, A).part()  # against z, the delta would leave zeros
        good.dup(0, 9).delta(0, nine, nine ^ z).dup(PAGE, 9).delta(PAGE, nine, changed(nine, 3))
        assert rules(good.bytes()) == []

    def test_a_sender_that_caches_dup_pages_is_cleared_by_its_checksum(self):
        nine = np.full(PAGE, 9, np.uint8)
        assert rules(stream().dup(0, 9).delta(0, nine, changed(nine, 3)).bytes()) == []

    def test_deltas_on_a_stale_page_are_stale_until_it_is_sent_in_full(self):
        c = changed(B, 100)
        bad = stream().dup(0, 9).delta(0, A, B).delta(0, B, c).page(0, c).delta(0, c, A).bytes()
        assert rules(bad).count("stale-base") == 2


class TestSumsThatLie:
    def test_a_sum_that_holds_on_a_wrong_page_is_called_a_collision(self):
        nine = np.full(PAGE, 9, np.uint8)
        base = np.where(np.arange(PAGE) % 2, 8, 10).astype(np.uint8)  # sums as a page of nines
        delta = np.zeros(PAGE, np.uint8)
        delta[1:3] = 0x10, 0x20  # adds the same to both
        new = base ^ delta
        assert (nine ^ delta).sum() == new.sum()
        bad = StreamBuilder(flags=3).page(0, base).page(PAGE, A).part().dup(0, 9).delta(0, base, new).bytes()
        findings = {f.rule: f for f in xbrletools.open(bad).verify()}
        assert findings["stale-base"].evidence["certainty"] == "collision"
        assert findings["checksum-collision"].severity is Severity.ERROR
        links = chain(xbrletools.open(bad).stream, findings["checksum-collision"])
        assert [n.part for n in links] == ["the sender's base", "forgotten by the sender", "this finding"]
        assert links[-1].receiver == links[-1].sender == links[-1].stated
        assert "checksum-mismatch" not in findings
        assert (xbrletools.open(bad).memory(view=View.SENDER).pages[0] == new).all()

    def test_damage_is_told_from_a_stale_base_and_its_earliest_record_named(self):
        c, d = changed(B, 100), changed(B, 100, 200)
        builder = stream().delta(0, A, B).delta(0, B, c).delta(0, c, d).page(0, A).delta(0, A, B)
        data = bytearray(builder.bytes())
        records = xbrletools.open(bytes(data)).records
        second = records.by_number[3]  # the delta from B to c
        data[int(records.payload[second]) + 3] ^= 0x40
        found = {f.rule: f for f in xbrletools.open(bytes(data)).verify()}
        assert "stale-base" not in found
        corrupt = found["corrupt-page"]
        assert (corrupt.record, corrupt.severity) == (4, Severity.WARNING)
        assert corrupt.evidence == {"earliest_record": 4, "tainted": 2, "healed_by_record": 6}

    def test_a_damaged_page_is_blamed_when_the_first_sum_over_it_fails(self):
        data = bytearray(stream().delta(0, A, B).bytes())
        records = xbrletools.open(bytes(data)).records
        data[int(records.payload[records.by_number[0]]) + 3000] ^= 1
        corrupt = next(f for f in xbrletools.open(bytes(data)).verify() if f.rule == "corrupt-page")
        assert (corrupt.record, corrupt.evidence["earliest_record"]) == (3, 1)
        assert corrupt.severity is Severity.ERROR


class TestRecords:
    def test_a_name_that_the_list_does_not_have(self):
        assert "unknown-block" in rules(stream().dup(0, 0, b"pc.xxx").bytes())

    def test_continue_before_any_name(self):
        builder = StreamBuilder()
        builder.selected = b"pc.ram"
        assert rules(builder.dup(0).dup(PAGE).bytes()) == ["continue-without-block"]

    def test_a_page_beyond_its_block(self):
        assert rules(stream().dup(9 * PAGE).bytes()) == ["page-out-of-bounds"]

    def test_two_kinds_in_one_record(self):
        builder = stream()
        builder.word(Flag.PAGE | Flag.COMPRESS | Flag.CONTINUE).out.append(7)
        assert rules(builder.bytes()) == ["flags-combined"]

    @pytest.mark.parametrize("word", [Flag.EOS | PAGE, Flag.EOS | 1 << 40, Flag.EOS | Flag.CONTINUE])
    def test_an_eos_with_more_than_its_flag(self, word):
        whole = stream().bytes()
        at = whole.index(struct.pack(">Q", Flag.EOS))
        assert "end-odd" in rules(whole[:at] + struct.pack(">Q", word) + whole[at + 8 :])

    def test_bytes_without_meaning_in_a_word(self):
        builder = stream()
        builder.word(0x400 | Flag.COMPRESS | Flag.CONTINUE).out.append(7)
        assert rules(builder.bytes()) == ["flags-unknown"]

    def test_a_page_that_no_record_gave_is_counted(self):
        findings = list(xbrletools.open(stream().bytes()).verify())
        assert [(f.rule, f.evidence) for f in findings] == [("page-never-sent", {"missing": 2, "pages": 4})]
        assert [str(f.page) for f in findings] == [str(2 * PAGE)]

    def test_findings_come_by_offset(self):
        bad = stream().dup(9 * PAGE).delta(0, A, B, checksum=1).dup(0, 1, b"zz").bytes()[:-1]
        offsets = [f.offset for f in xbrletools.open(bad).verify()]
        assert offsets == sorted(offsets)
        assert len(offsets) > 3


class TestReceivers:
    @pytest.mark.parametrize("base", ["sample", "capture"])
    def test_every_mutation_gets_the_verdict_of_both_original_receivers(self, base, corpus):
        mutations = json.loads(corpus("qemu-2011-posted/mutations.json"))["mutations"]
        sample = (SAMPLES / "posted-8m.bin").read_bytes()
        data = sample if base == "sample" else corpus("qemu-2011-posted/dbg-small-8m.bin")
        assert len(mutations) > 10
        for mutation in mutations:
            mutated = bytearray(data)
            for edit in sorted(mutation["edits"], key=lambda e: -e["offset"]):
                mutated[edit["offset"] : edit["offset"] + edit["remove"]] = bytes.fromhex(edit["insert"])
            capture = xbrletools.open(bytes(mutated))
            findings = list(capture.verify())
            for build in ("debug", "default"):
                verdict = outcome(capture.stream, findings, named(build))
                assert verdict.loads == mutation["results"][build]["loaded"], (mutation["name"], build, verdict)

    def test_a_vanilla_receiver_stops_at_the_first_delta(self):
        capture = xbrletools.open(stream().delta(0, A, B).bytes())
        verdict = outcome(capture.stream, list(capture.verify()), posted.VANILLA)
        assert (verdict.loads, verdict.record) == (False, 3)

    @pytest.mark.parametrize("receiver", [posted.VANILLA, posted.DEFAULT, posted.DEBUG])
    def test_a_stream_without_deltas_loads_in_every_receiver_of_its_time(self, receiver):
        capture = xbrletools.open(stream().bytes())
        assert outcome(capture.stream, list(capture.verify()), receiver).loads

    def test_only_the_debug_build_looks_at_checksums(self):
        capture = xbrletools.open(stream().delta(0, A, B, checksum=1).bytes())
        findings = list(capture.verify())
        assert outcome(capture.stream, findings, posted.DEFAULT).loads
        assert outcome(capture.stream, findings, posted.DEBUG).record == 3

    @pytest.mark.parametrize(
        "blocks", [{b"pc.ram": 5 * PAGE}, {b"pc.rom": 4 * PAGE}, {b"pc.ram": 4 * PAGE - 1, b"pc.rom": PAGE}]
    )
    def test_blocks_that_the_destination_does_not_have_stop_it(self, blocks):
        capture = xbrletools.open(stream().bytes())
        assert not outcome(capture.stream, list(capture.verify(blocks)), posted.DEFAULT).loads

    def test_blocks_that_the_destination_has_are_fine(self):
        capture = xbrletools.open(stream().bytes())
        findings = list(capture.verify({b"pc.ram": 4 * PAGE, b"more": PAGE}))
        assert outcome(capture.stream, findings, posted.DEFAULT).loads

    def loads(self, data: bytes, receiver: Receiver, destination: dict[bytes, int] | None = None) -> bool:
        capture = xbrletools.open(data)
        return outcome(
            capture.stream, list(capture.verify(destination)), receiver, Destination(blocks=destination)
        ).loads

    def test_a_name_that_the_list_lacks_is_looked_up_at_the_destination(self):
        data = stream().dup(0, 7, b"pc.rom").bytes()
        assert not self.loads(data, posted.DEFAULT)
        assert not self.loads(data, posted.DEFAULT, {b"pc.ram": 4 * PAGE})
        assert self.loads(data, posted.DEFAULT, {b"pc.ram": 4 * PAGE, b"pc.rom": PAGE})
        assert not self.loads(data, posted.DEFAULT, {b"pc.ram": 4 * PAGE, b"pc.rom": 0})

    def list_again(self, *entries: tuple[bytes, int]) -> bytes:
        builder = StreamBuilder({b"pc.ram": 4 * PAGE, b"vga": PAGE}).page(0, A)
        builder.word(sum(length for _, length in entries) | Flag.MEM_SIZE)
        for name, length in entries:
            builder.out += ram.BlockEntry.build({"idstr": name, "length": length})
        return builder.bytes()

    @pytest.mark.parametrize(
        ("entries", "loads"),
        [
            ([(b"pc.ram", 4 * PAGE), (b"vga", PAGE)], True),
            ([(b"vga", PAGE), (b"pc.ram", 4 * PAGE)], True),
            ([(b"vga", PAGE)], True),
            ([(b"vga", PAGE), (b"vga", PAGE)], True),
            ([(b"pc.ram", 4 * PAGE), (b"vga", 2 * PAGE)], False),
            ([(b"pc.ram", 4 * PAGE), (b"rom", PAGE)], False),
        ],
    )
    def test_each_entry_of_a_second_block_list_is_looked_up_by_itself(self, entries, loads):
        assert self.loads(self.list_again(*entries), posted.DEFAULT) is loads

    def test_an_entry_given_twice_does_no_harm_unless_it_contradicts_itself(self):
        def twice(length: int) -> bytes:
            entry = ram.BlockEntry.build({"idstr": b"pc.ram", "length": 4 * PAGE})
            more = ram.BlockEntry.build({"idstr": b"pc.ram", "length": length})
            data = stream().bytes().replace(entry, entry + more, 1)
            total = struct.pack(">Q", 4 * PAGE | Flag.MEM_SIZE)
            return data.replace(total, struct.pack(">Q", 4 * PAGE + length | Flag.MEM_SIZE), 1)

        assert self.loads(twice(4 * PAGE), posted.DEBUG)
        assert "block-list-form" in rules(twice(4 * PAGE))
        assert not self.loads(twice(PAGE), posted.DEBUG)

    def test_an_older_version_of_the_block_section_is_taken(self):
        sample = (SAMPLES / "posted-8m.bin").read_bytes()
        old = sample.replace(b"\x05block" + struct.pack(">II", 0, 1), b"\x05block" + struct.pack(">II", 0, 0), 1)
        new = sample.replace(b"\x05block" + struct.pack(">II", 0, 1), b"\x05block" + struct.pack(">II", 0, 2), 1)
        assert old != sample != new
        assert self.loads(old, posted.DEBUG)
        assert not self.loads(new, posted.DEBUG)

    def test_a_sum_that_does_not_hold_over_blank_memory_stops_the_debug_build(self):
        lost = StreamBuilder(flags=3).part().delta(0, A, B).bytes()
        assert self.loads(lost, posted.DEFAULT)
        assert not self.loads(lost, posted.DEBUG)
        found = next(f for f in xbrletools.open(lost).verify() if f.rule == "delta-without-base")
        assert found.evidence == {
            "stated": int(B.sum(dtype=np.uint64)), "blank": int((A ^ B).sum(dtype=np.uint64)),
        }  # fmt: skip
        blank = np.zeros(PAGE, np.uint8)
        fresh = StreamBuilder(flags=3).part().delta(0, blank, changed(blank, 7)).bytes()
        assert self.loads(fresh, posted.DEBUG)

    def test_words_without_a_kind_are_passed_over_until_one_is_a_record_again(self):
        builder = stream()
        for word in (0x0670632E726F6D00, 1 << 60, 0x80, 0, 0xA0):
            builder.word(word)
        capture = xbrletools.open(builder.dup(2 * PAGE, 9).bytes())
        assert outcome(capture.stream, list(capture.verify()), posted.DEBUG).loads
        assert int(capture.memory()["pc.ram"][2, 0]) == 9

    def test_a_live_section_without_a_handler_stops_the_receivers_of_2011(self):
        renamed = stream().bytes().replace(b"\x03ram\x00\x00\x00\x00", b"\x03ram\x00\x00\x00\x01", 1)
        capture = xbrletools.open(renamed)
        assert not outcome(capture.stream, list(capture.verify()), posted.DEFAULT).loads

    def test_a_live_section_of_today_is_not_an_error_without_footers_either(self):
        from tests.building import EOF, EOS, HEADER, block_list, configuration, part, start

        ends = (1).to_bytes(8, "big")  # no attribute follows
        attributes = start(b"s390-storage_attributes", 3, 0) + ends + part(3, SectionType.END) + ends
        ram_data = start() + block_list(((b"s390.ram", 1 << 16),)) + EOS + part(kind=SectionType.END) + EOS
        capture = xbrletools.open(HEADER + configuration() + ram_data + attributes + EOF)
        assert [f.rule for f in capture.verify() if f.severity is Severity.ERROR] == []
        assert not capture.verdict().is_bad

    @pytest.mark.parametrize("kind", [1, 4])
    def test_a_part_whose_type_byte_is_damaged_is_no_device(self, kind):
        data = bytearray((SAMPLES / "posted-8m.bin").read_bytes())
        sections = xbrletools.open(bytes(data)).sections
        part = [s for s in sections if s.type == SectionType.PART and s.owner.idstr == b"ram"][9]
        data[part.offset] = kind
        capture = xbrletools.open(bytes(data))
        findings = list(capture.verify())
        assert "unknown-owner" in [f.rule for f in findings]
        for receiver in (posted.DEFAULT, posted.DEBUG):
            assert not outcome(capture.stream, findings, receiver).loads

    def test_the_opaque_tail_is_said_to_be_unchecked(self):
        cut = (SAMPLES / "posted-8m.bin").read_bytes()[:-200]
        assert "device-tail-unchecked" in [f.rule for f in xbrletools.open(cut).verify()]


def test_a_synchronisation_with_pages_is_told_since_one_destination_drops_them():
    from tests.building import patterned
    from tests.scan.test_channels import Packets, main_channel

    riding = Packets().packet(0, sync=True).packet(1, [(0, patterned(1))], sync=True, zeros=[0x1000])
    alone = Packets().packet(0, sync=True).packet(1, [(0, patterned(1))], zeros=[0x1000]).packet(2, sync=True)
    found = [list(xbrletools.open(main_channel(), channels=[c.bytes()]).verify()) for c in (riding, alone)]
    (finding,) = [f for f in found[0] if f.rule == "sync-with-pages"]
    assert finding.evidence == {"channel": 0, "packets": 1, "pages": 2}
    assert [f for f in found[1] if f.rule == "sync-with-pages"] == []


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.bin")), ids=lambda path: path.name)
def test_the_first_finding_of_each_kind_tells_where_a_receiver_stops(path):
    stream = xbrletools.open(path).stream
    firsts = found_in(stream).first_of_each()
    for upto in (None, 1, stream.records.last_number // 2 or None):
        stop = stop_amid_records(stream, verify(stream), upto)
        assert stop_amid_records(stream, firsts, upto) == stop


def test_what_is_found_in_a_stream_is_worked_out_once_however_it_is_asked_for():
    stream = xbrletools.open(SAMPLES / "posted-8m.bin").stream
    assert found_in(stream) is found_in(stream, None)
    assert found_in(stream) is not found_in(stream, ((b"pc.ram", PAGE),))
