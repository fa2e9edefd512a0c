"""What `why` makes of log lines, without a QEMU."""

import json
import time

import pytest

import xbrletools
from tests import building
from tests.conftest import CORPUS, ROOT
from tests.streams import PAGE, noise
from tests.verify.test_receivers import RECORDED
from xbrletools.formats.ram import Flag
from xbrletools.verify.messages import LINE_MAX, SEEN, document, matches, messages
from xbrletools.verify.rules import RULES
from xbrletools.verify.why import Places, explained, lines_of

A = noise(3)
LOG = """\
2026-11-26T06:58:30.123456Z qemu-system-x86_64: -accel kvm: warning: something else
2026-11-26T06:58:31.123456Z qemu-system-x86_64: Found a zero page with value 65
2026-11-26T06:58:31.123457Z qemu-system-x86_64: error while loading state section id 2(ram)
2026-11-26T06:58:31.123458Z qemu-system-x86_64: load of migration failed: Invalid argument
2026-11-26T06:58:31.123458Z qemu-system-x86_64: load of migration failed: Invalid argument
"""


def templates(line: str) -> list[str]:
    return [message.template for message, _ in matches(line)]


def test_the_document_is_up_to_date() -> None:
    assert (ROOT / "docs" / "why.md").read_text("utf-8") == document(), "run: python docs/make_why.py"


def test_each_message_says_what_it_means_what_to_do_and_where_it_was_seen() -> None:
    for message in messages():
        assert message.meaning.endswith((".", "?")), message
        assert message.to_do.endswith("."), message
        assert message.source == SEEN or "," in message.source or message.source == "the posted patch", message


def test_the_rules_messages_are_among_them() -> None:
    by_template = {m.template: m for m in messages()}
    for rule in RULES.values():
        for template in rule.messages:
            assert template in by_template
            assert by_template[template].rule is not None


@pytest.mark.parametrize("message", messages(), ids=lambda m: m.template)
def test_each_message_is_found_in_a_line_of_its_own(message) -> None:
    parts = message.template.split("{}")
    values = [f"v{i}" for i in range(len(parts) - 1)]
    line = "qemu-kvm: " + "".join(p + v for p, v in zip(parts, [*values, ""], strict=True))
    found = [values_found for m, values_found in matches(line) if m is message]
    assert found == [tuple(values)] or (found and values and message.template.startswith("{}"))


@pytest.mark.parametrize("text", ["x", " received with bad length - expecting ", "Unable to read ", "mismatch: "])
def test_a_hostile_line_takes_little_time(text) -> None:
    began = time.process_time()
    for _ in range(20):
        matches((text * LINE_MAX)[:LINE_MAX])
    assert time.process_time() - began < 5


def test_no_message_goes_from_one_line_to_the_next() -> None:
    assert templates("Found a zero page with value 65\nIllegal RAM offset 2000:") == [
        "Found a zero page with value {}",
        "Illegal RAM offset {}",
    ]
    assert matches("a received with bad length - expecting 3,\n got 4") == []


def test_every_line_that_real_qemus_printed_is_known() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    lines = {line for seeds in recorded.values() for said in seeds.values() for v in said.values() for line in v[1]}
    assert {line for line in lines if not matches(line) and line.isprintable()} == set()


def test_a_chain_of_messages_is_told_part_by_part() -> None:
    line = (
        "load of migration failed: Invalid argument: error while loading state for instance 0x0 of device 'ram': "
        "Failed to load vmstate version_id: 4, ret: -22"
    )
    assert templates(line) == [
        "load of migration failed: {}",
        "error while loading state for instance {} of device '{}'",
        "Failed to load vmstate version_id: {}, ret: {}",
    ]
    assert templates("nothing of this is known") == []


def test_a_message_within_a_longer_one_does_not_count() -> None:
    assert templates("Unknown savevm section type 9") == ["Unknown savevm section type {}"]
    assert templates("Unknown savevm section 9") == ["Unknown savevm section {}"]


def test_a_log_gives_each_message_once_with_its_line() -> None:
    assert [number for number, _, _ in lines_of(LOG.splitlines())] == [2, 3, 4]


class TestPlaces:
    STREAM = building.stream(
        building.page(0, A.tobytes(), b"pc.ram"),
        building.record(Flag.COMPRESS, 3 * PAGE, b"A"),
        building.record(Flag.PAGE | 0x400, 4 * PAGE, A.tobytes()),
    )

    def of(self, line: str) -> list[tuple[str, int | None]]:
        with xbrletools.open(self.STREAM) as capture:
            places = Places(capture.stream)
            return [(p.what, p.record) for one in explained(line) for p in places.of(line, one)]

    def test_a_line_that_a_receiver_prints_is_about_the_record_where_it_stops(self) -> None:
        found = self.of("qemu-system-x86_64: Found a zero page with value 65")
        assert found[0][0].startswith("where qemu-8.2, ")
        assert found[0][1] == 2
        assert ("a dup page of the byte 65", 2) in found

    def test_an_address_names_the_records_of_its_page(self) -> None:
        assert ("a record of a page at this address", 2) in self.of("Illegal RAM offset 3000")

    def test_flags_name_their_records(self) -> None:
        assert ("a record with the flags 0x428", 3) in self.of("Unknown combination of migration flags: 0x428")

    def test_a_block_and_a_section_are_found_by_name(self) -> None:
        assert "RAM block pc.ram is listed" in self.of("Size mismatch: pc.ram: 0x1 != 0x2: Invalid argument")[0][0]
        assert self.of("Missing section footer for ram")[0][0] == "the section of ram, instance 0, version 4"
        assert self.of("Machine type received is 'pc' and local is 'q35'")[0][0] == "the stream's machine is pc"


@pytest.mark.parametrize(
    "part",
    [
        "Length mismatch",
        "Missing section footer",
        "error while loading state for instance",
        "Unknown savevm section",
        "Unknown combination of migration flags:",
    ],
)
def test_the_beginning_of_a_message_is_enough(part: str) -> None:
    found = explained(part)
    assert found
    assert all(one.is_part and one.text.startswith(part.rstrip(":")) and "..." in one.text for one in found)


@pytest.mark.parametrize("words", ["hello", "Unknown", "no such thing as this"])
def test_a_word_alone_is_no_message(words: str) -> None:
    assert explained(words) == []


def test_a_whole_line_is_not_taken_for_a_shorter_one_that_it_begins_like() -> None:
    (one,) = explained("Unknown savevm section or instance 'rtc' 0. Make sure that your current VM setup matches")
    assert one.values == ("rtc", "0")


def test_a_part_is_looked_for_in_the_capture() -> None:
    path = CORPUS / "cases" / "devices" / "desc-short.bin"
    if not path.exists():
        pytest.skip("the corpus of small inputs is not here")
    (one,) = explained("Missing section footer")
    assert [p.offset for p in Places(xbrletools.open(path).stream).of("Missing section footer", one)] == [0x40E7]


def test_the_line_of_2011_about_a_section_is_known() -> None:
    assert templates("qemu: warning: error while loading state section id 2") == [
        "error while loading state section id {}"
    ]
