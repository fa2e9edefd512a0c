"""The library as a program uses it: what is public, the examples in docstrings, and what values look like."""

import doctest
import io
import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools import capture as front
from xbrletools import questions
from xbrletools.errors import NoFileError, NoRowError, TransportError
from xbrletools.memory import image as images
from xbrletools.table import table as tables

SAMPLE = SAMPLES / "posted-8m.bin"


@pytest.fixture(scope="module")
def capture():
    with xbrletools.open(SAMPLE) as opened:
        yield opened


class TestPublicNames:
    def test_dir_lists_what_is_public_and_each_is_there(self):
        assert set(xbrletools.__all__) <= set(dir(xbrletools))
        for name in xbrletools.__all__:
            assert getattr(xbrletools, name) is not None
        assert "annotations" not in dir(xbrletools)
        assert "import_module" not in dir(xbrletools)

    def test_a_name_that_is_not_there_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = xbrletools.nonsense

    def test_library_md_names_all_that_is_public(self):
        text = (ROOT / "docs" / "library.md").read_text()
        assert {n for n in xbrletools.__all__ if n != "__version__"} <= set(
            re.findall(r"`(?:xbrletools\.)?(\w+)`", text)
        )


@pytest.mark.parametrize("module", [front, questions, images, tables], ids=lambda m: m.__name__)
def test_examples_in_docstrings_give_what_they_show(module, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    opened = xbrletools.open("samples/posted-8m.bin")
    _ = opened.stream
    given = {"xbrletools": xbrletools, "capture": opened, "folder": tmp_path}
    found = doctest.testmod(module, extraglobs=given, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert not found.failed
    assert module in (images, tables) or found.attempted


def test_the_examples_of_library_md_give_what_they_show(monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```pycon\n(.*?)```", (ROOT / "docs" / "library.md").read_text("utf-8"), re.DOTALL)
    given = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "library.md", None, 0)
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(given)
    assert found.attempted > 15
    assert not found.failed


class TestRecords:
    def test_iterating_gives_every_row_as_its_index_does(self, capture):
        rows = list(capture.records)
        assert len(rows) == len(capture.records)
        for i in (0, 1, 700, len(rows) - 1):
            assert rows[i] == capture.records[i] == capture.records[i - len(rows)]
        assert capture.records[5:9] == rows[5:9]
        assert capture.records[9:5] == []
        assert capture.records[::-1000] == rows[::-1000]

    def test_records_are_those_that_dump_lists(self, capture, capsys):
        _, out, _ = run(capsys, "dump", SAMPLE, "--json")
        listed = [r for r in map(json.loads, out.splitlines()) if r["type"] == "record" and r["record"] is not None]
        for line, record in zip(listed, (r for r in capture.records if r.number is not None), strict=True):
            assert line["record"] == record.number
            assert (line["kind"], line["block"]) == (record.kind.name.lower(), record.name.decode())
            assert (line["page"], line["offset"]) == (record.address, record.offset)
            assert (line["pass"], line["length"]) == (record.pass_, record.length)

    def test_a_table_of_channels_gives_rows_with_their_channel(self):
        names = ["multifd.bin.1", "multifd.bin.2"]
        opened = xbrletools.open(SAMPLES / "multifd.bin", channels=[SAMPLES / n for n in names])
        rows = list(opened.records)
        assert {r.channel for r in rows} >= {None, 0, 1}
        assert rows[7] == opened.records[7]

    def test_to_dict_has_a_value_for_every_row(self, capture):
        table = capture.records.to_dict()
        assert {len(column) for column in table.values()} == {len(capture.records)}
        row = capture.records[2]
        assert table["record"][2] == row.number
        assert (table["kind"][2], table["block"][2], table["stage"][2]) == ("dup", "pc.ram", "start")
        assert table["kind"][0] == "mem_size" and table["block"][0] == "" and table["record"][0] == 0

    def test_an_empty_table_has_no_rows_and_its_columns_are_empty(self):
        opened = xbrletools.open(StreamBuilder({b"ram": PAGE}).end().bytes())
        table = opened.records.to_dict()
        assert len(table["kind"]) == len(opened.records)
        assert opened.records.last_number == 0

    def test_a_row_that_is_not_there_is_an_index_error_and_an_xbrle_error(self, capture):
        for index in (len(capture.records), -len(capture.records) - 1):
            with pytest.raises(IndexError) as error:
                _ = capture.records[index]
            assert isinstance(error.value, NoRowError | xbrletools.XbrleError)

    def test_names_in_reprs_cannot_control_a_terminal(self):
        opened = xbrletools.open(StreamBuilder({b"a\x1b[31m": PAGE}).page(0, noise(1)).end().bytes())
        opened.source.name = "evil\x1b]0;x\x07\n"
        _ = opened.records
        finding = xbrletools.Finding("made-up", next(iter(capture_severities())), "a\x1b[31m\nb", 4, 2)
        for value in (opened, opened.records, opened.memory(), finding, xbrletools.open(b"QEVM\0\0\0\3")):
            assert repr(value).isprintable(), value


def capture_severities():
    return type(next(xbrletools.open(SAMPLE).verify()).severity)


class TestMasks:
    def stream(self):
        """A page in full, one never sent, one of which a delta gives some bytes, one that is one byte."""
        builder = StreamBuilder({b"pc.ram": 4 * PAGE, b"pc.bios": 2 * PAGE}, dialect="xbzrle")
        before, after = noise(1), noise(1).copy()
        after[100:120] ^= 0xFF
        builder.page(0, noise(0)).delta(2 * PAGE, before, after).dup(3 * PAGE, 0)
        return xbrletools.open(builder.end().bytes(), dialect="xbzrle").memory()

    def test_they_have_the_shape_of_the_block_and_say_which_bytes_are_known(self):
        image = self.stream()
        mask = image.known_in("pc.ram")
        assert mask.shape == image["pc.ram"].shape == (4, PAGE)
        assert mask.dtype == bool
        assert mask[0].all() and not mask[1].any() and mask[3].all()
        assert (mask == [image.known_bytes(page) for page in range(4)]).all()
        assert not image.known_in("pc.bios").any()

    def test_a_page_that_is_known_in_part_is_so_in_the_mask(self):
        image = self.stream()
        in_part = np.zeros(PAGE, bool)
        in_part[7:9] = True
        image.set_partly(1, in_part)
        assert (image.known_in("pc.ram")[1] == in_part).all()
        assert image.known_in("pc.ram")[0].all()

    def test_they_cannot_be_written_and_there_is_no_mask_of_a_block_that_is_not_there(self):
        image = self.stream()
        with pytest.raises(ValueError, match="read-only"):
            image.known_in("pc.ram")[0, 0] = False
        with pytest.raises(xbrletools.XbrleError, match=r"no RAM block nope"):
            image.known_in("nope")

    def test_after_salvage_nothing_is_known_and_what_stands_is_recovered(self):
        image = xbrletools.open(SAMPLES / "truncated.bin", salvage=True).memory()
        assert not image.known_in("pc.ram").any()
        assert image.recovered_in("pc.ram").any()


class TestQuestions:
    def test_each_question_has_the_answer_of_its_command(self, capture, capsys):
        def lines(*words):
            return [json.loads(line) for line in run(capsys, *words, "--json")[1].splitlines()]

        found = lines("grep", SAMPLE, "-i", "mig")
        assert [(h.offset, h.content.hex()) for h in capture.grep("mig", ignore_case=True)] == [
            (f["offset"], f["bytes"]) for f in found
        ]
        ever = list(capture.grep("mig", ignore_case=True, everything=True))
        assert len(ever) == len(lines("grep", SAMPLE, "-i", "mig", "--all")) > 1
        assert [(s.offset, s.record) for s in capture.blame("0x20b000", 64)] == [
            (f["offset"], f["record"]) for f in lines("blame", SAMPLE, "0x20b000+64")
        ]
        pages = lines("top", SAMPLE)
        top = capture.top()
        assert top.address.tolist() == [f["page"] for f in pages]
        assert top.resends.tolist() == [f["resends"] for f in pages]
        (sums,) = lines("stats", SAMPLE)
        assert capture.stats().total.page_wire == sums["record_bytes"]
        (sender,) = lines("sender", SAMPLE)
        assert (capture.sender().build, capture.sender().predicted) == (sender["build"], sender["predicted"])
        assert capture.verdict().status.value == lines("verify", SAMPLE)[-1]["status"]

    def test_a_filter_selects_what_stats_and_top_count(self, capture):
        assert capture.stats("kind:xbrle").total.pages == 228
        assert capture.top("kind:xbrle pass:2").records.sum() == len(capture.chosen("kind:xbrle pass:2"))

    def test_a_filter_may_ask_for_findings(self):
        opened = xbrletools.open(SAMPLES / "stale-base.bin")
        rows = opened.chosen("finding:stale-base")
        assert [opened.records[r].number for r in rows.tolist()] == [
            f.record for f in opened.verify() if f.rule == "stale-base"
        ]

    def test_views_are_given_as_text_or_as_members(self):
        opened = xbrletools.open(SAMPLES / "stale-base.bin")
        by_text, by_member = opened.memory(view="sender"), opened.memory(view=xbrletools.View.SENDER)
        assert (by_text.pages == by_member.pages).all()
        assert len(list(opened.diff(view="receiver", to_view="sender"))) > 0
        assert list(opened.diff()) == []

    def test_diff_of_two_captures_compares_devices_and_blocks_too(self, capture):
        found = list(capture.diff(xbrletools.open(SAMPLES / "xbzrle-16m.bin")))
        assert {type(f).__name__ for f in found} >= {"BlockDifference", "DeviceDifference"}

    def test_what_is_not_there_is_an_xbrle_error(self, capture, tmp_path):
        for ask in (
            lambda: capture.memory(view="nobody's"),
            lambda: capture.memory(at=10**6),
            lambda: capture.record(0),
            lambda: list(capture.grep("")),
            lambda: list(capture.grep("x", block="nope")),
            lambda: list(capture.grep("x", form="nope")),
            lambda: capture.top(order="nope"),
            lambda: capture.stats("nope:1"),
            lambda: list(capture.blame("pc.ram:0x0", 0)),
            lambda: capture.extract(tmp_path / "x", form="nope"),
            lambda: capture.extract(tmp_path / "x", form="elf", block="pc.ram"),
            lambda: xbrletools.open(SAMPLE, dialect="nope"),
        ):
            with pytest.raises(xbrletools.XbrleError):
                ask()

    def test_extract_writes_what_the_command_writes(self, capture, capsys, tmp_path):
        manifest = capture.extract(tmp_path / "mine", at=2000)
        run(capsys, "extract", SAMPLE, "-o", tmp_path / "its", "--at", 2000)
        assert manifest == json.loads((tmp_path / "its" / "manifest.json").read_text()) | {"source": manifest["source"]}
        assert (tmp_path / "mine" / "pc.ram").read_bytes() == (tmp_path / "its" / "pc.ram").read_bytes()
        one = capture.extract(tmp_path / "one", block="pc.ram")
        assert one["unknown_bytes"] == 0 and (tmp_path / "one").stat().st_size == 8 << 20
        core = capture.extract(tmp_path / "core", form="elf")
        assert core["format"] == "elf" and (tmp_path / "core").read_bytes()[:4] == b"\x7fELF"
        with pytest.raises(xbrletools.XbrleError, match="exists and is not empty"):
            capture.extract(tmp_path / "one", block="pc.ram")


class TestThreads:
    def test_threads_that_share_a_capture_have_it_scanned_once(self):
        opened = xbrletools.open(SAMPLE)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: (opened.records.last_number, len(opened.records)), range(16)))
            images = list(threads.map(lambda n: opened.memory(at=n).pages.sum(), [500, 1000, 2000, 2557] * 4))
        assert set(found) == {(2557, 2594)}
        assert images == [xbrletools.open(SAMPLE).memory(at=n).pages.sum() for n in (500, 1000, 2000, 2557)] * 4


class TestOtherProcesses:
    def test_what_was_found_can_be_handed_on(self, capture):
        for value in (capture.verdict(), capture.records[5], next(capture.verify()), xbrletools.View.SENDER):
            assert pickle.loads(pickle.dumps(value)) == value
        stale = xbrletools.open(SAMPLES / "stale-base.bin").verdict()
        there = pickle.loads(pickle.dumps(stale))
        assert (there, repr(there)) == (stale, repr(stale))
        assert (there.wrong == stale.wrong).all() and len(stale.wrong) == 4
        image = pickle.loads(pickle.dumps(capture.memory()))
        assert (image["pc.ram"] == capture.memory()["pc.ram"]).all()

    def test_errors_arrive_as_they_were_raised(self, tmp_path):
        def raised(ask):
            with pytest.raises(xbrletools.XbrleError) as error:
                ask()
            return error.value

        for error in (
            raised(lambda: xbrletools.open(tmp_path / "none")),
            raised(lambda: xbrletools.open(SAMPLE).chosen("nope:1")),
            raised(lambda: xbrletools.open(SAMPLE).records[10**6]),
            xbrletools.XbrleError("bad", 16),
            TransportError("gone", absent=True),
        ):
            there = pickle.loads(pickle.dumps(error))
            assert (type(there), str(there), there.__dict__) == (type(error), str(error), error.__dict__)
            assert getattr(there, "filename", None) == getattr(error, "filename", None)

    def test_a_capture_says_that_it_is_opened_there_instead(self, capture):
        with pytest.raises(TypeError, match="give the other process its path"):
            pickle.dumps(capture)


class TestWrongUse:
    """What a person gives who guesses: an answer, or one line that says what to give."""

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            (lambda c: c.record("5"), "'str' object cannot be interpreted as an integer"),
            (lambda c: c.memory(at=5.5), "'float' object cannot be interpreted as an integer"),
            (lambda c: c.page("pc.ram", 1.5), "'float' object cannot be interpreted as an integer"),
            (lambda c: c.records["kind"], "rows are chosen by a number, a slice or an array, not by str"),
            (lambda c: c.records[[1, 2]], "not by list"),
            (lambda c: c.memory()[0], "a name is text or bytes, not int"),
            (lambda c: list(c.grep(5)), "a pattern is text, .* or bytes, not int"),
            (lambda c: list(c.grep("x", block=0)), "a name is text or bytes, not int"),
            (lambda c: list(c.diff(str(SAMPLE))), "the other is a capture, as xbrletools.open gives it, not str"),
            (lambda c: xbrletools.open(SAMPLE, channels="multifd.bin.1"), "channels are several: give a list"),
        ],
    )
    def test_a_value_of_another_type_is_refused_with_what_to_give(self, capture, ask, said):
        with pytest.raises(TypeError, match=said):
            ask(capture)

    @pytest.mark.parametrize(
        ("what", "options", "said"),
        [
            (None, {}, "NoneType cannot be opened: give a path, a URL, bytes or a file object"),
            (7, {}, "int cannot be opened"),
            (io.StringIO("QEVM"), {}, "gives text, not bytes: open it in binary mode"),
            ("a\0b", {}, "holds a NUL character"),
            (SAMPLE, {"offset": -1}, "offset -1 is negative"),
            (SAMPLE, {"page_size": 4096.0}, "pages of 4096.0 bytes"),
        ],
    )
    def test_what_cannot_be_opened_is_an_xbrle_error(self, what, options, said):
        with pytest.raises(xbrletools.XbrleError, match=said):
            _ = xbrletools.open(what, **options).records

    def test_names_of_blocks_are_text_or_bytes_everywhere(self, capture):
        image = capture.memory()
        assert list(image) == [b"pc.ram", b"pc.bios", b"pc.rom"]
        assert "pc.ram" in image and b"pc.rom" in image and "nope" not in image and 0 not in image
        assert [f.rule for f in capture.verify({"pc.ram": 1})] == [f.rule for f in capture.verify({b"pc.ram": 1})]
        assert [str(f) for f in capture.verify({"pc.ram": 1})] == [str(f) for f in capture.verify({b"pc.ram": 1})]
        by_text, by_bytes = (
            xbrletools.open(SAMPLES / "truncated.bin", salvage=True, blocks=[(name, 256 << 10)]).records.to_dict()
            for name in ("ram", b"ram")
        )
        assert {n: c.tolist() for n, c in by_text.items()} == {n: c.tolist() for n, c in by_bytes.items()}

    def test_an_address_may_be_a_number_in_the_main_block(self, capture):
        assert list(capture.blame(0x20B000, 8)) == list(capture.blame("pc.ram:0x20b000", 8))

    def test_rows_are_chosen_by_arrays_and_masks(self, capture):
        records = capture.records
        rows = capture.chosen("kind:xbrle pass:2-3")
        assert records[rows] == [records[row] for row in rows.tolist()]
        assert records[records.to_dict()["kind"] == "mem_size"] == [records[0]]
        with pytest.raises(NoRowError):
            _ = records[np.ones(3, bool)]

    def test_a_closed_capture_still_has_what_was_read(self):
        with xbrletools.open(SAMPLE) as opened:
            assert opened.records.last_number == 2557
        opened.close()
        assert opened.memory()["pc.ram"].any()

    def test_what_a_capture_gives_says_what_it_is(self, capture):
        assert repr(capture.sections) == f"<Sections: {len(capture.sections)}>"
        assert repr(capture.page("pc.ram", 0x20B000)) == "<PageHistory of page 0x20b000 of block 0: 14 records>"
        assert repr(capture.space) == "<PageSpace of 3 blocks: 2112 pages of 4096 bytes>"


class TestErrors:
    def test_a_file_that_is_not_there_is_a_file_not_found_error(self, tmp_path):
        missing = tmp_path / "none"
        with pytest.raises(FileNotFoundError) as error:
            xbrletools.open(missing)
        assert isinstance(error.value, NoFileError | xbrletools.XbrleError)
        assert str(error.value) == f"{missing}: No such file or directory"
        assert (error.value.filename, error.value.errno, error.value.offset) == (str(missing), 2, None)

    def test_a_file_that_may_not_be_read_is_an_xbrle_error_alone(self, tmp_path):
        with pytest.raises(xbrletools.XbrleError, match="is a directory") as error:
            xbrletools.open(tmp_path)
        assert not isinstance(error.value, FileNotFoundError)
