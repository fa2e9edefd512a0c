import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xbrletools
from tests.conftest import SAMPLES, corpus_names
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import main
from xbrletools.memory import replay
from xbrletools.memory.image import Image, State
from xbrletools.memory.replay import View, apply
from xbrletools.ram.walk import WORD


def changed(page: np.ndarray, *places: int) -> np.ndarray:
    new = page.copy()
    new[list(places)] ^= 0xA5
    return new


class TestAgainstTheTruth:
    @pytest.mark.parametrize(("name", "block"), [("posted-8m", "pc.ram"), ("xbzrle-16m", "pc.ram")])
    @pytest.mark.parametrize("view", View)
    def test_the_end_of_a_sample_is_the_sources_memory(self, name, block, view):
        truth = np.frombuffer(lzma.decompress((SAMPLES / f"{name}.truth.xz").read_bytes()), np.uint8)
        image = xbrletools.open(SAMPLES / f"{name}.bin").memory(view=view)
        assert (image[block].reshape(-1) == truth).all()
        assert image.known.all()

    @pytest.mark.parametrize("name", corpus_names("qemu-2011-posted", ".otherblocks.tar.xz"))
    def test_the_end_of_a_posted_capture_is_what_its_destination_had(self, name, corpus):
        capture = xbrletools.open(corpus(f"qemu-2011-posted/{name}.bin"))
        source = np.frombuffer(corpus(f"qemu-2011-posted/{name}.ram"), np.uint8)
        try:
            destination = np.frombuffer(corpus(f"qemu-2011-posted/{name}.dst-default.ram"), np.uint8)
        except FileNotFoundError:
            destination = source
        assert (capture.memory()["pc.ram"].reshape(-1) == destination).all()
        assert (capture.memory(view=View.SENDER)["pc.ram"].reshape(-1) == source).all()

    @pytest.mark.parametrize("name", corpus_names("qemu-2011-posted", ".otherblocks.tar.xz"))
    def test_the_other_blocks_are_right_too(self, name, corpus):
        import io
        import tarfile

        image = xbrletools.open(corpus(f"qemu-2011-posted/{name}.bin")).memory()
        with tarfile.open(fileobj=io.BytesIO(corpus(f"qemu-2011-posted/{name}.otherblocks.tar"))) as tar:
            members = tar.getmembers()
            assert members
            for member in members:
                truth = np.frombuffer(tar.extractfile(member).read(), np.uint8)
                block = member.name.rsplit("/", 1)[-1].replace("__", "/")
                assert (image[block].reshape(-1) == truth).all(), block

    @pytest.mark.parametrize("name", corpus_names("qemu-2010", ".ramspace.xz"))
    def test_the_end_of_a_capture_of_2010_is_the_sources_ram_addr_space(self, name, corpus):
        import json

        capture = xbrletools.open(corpus(f"qemu-2010/{name}.bin"))
        truth = np.frombuffer(corpus(f"qemu-2010/{name}.ramspace"), np.uint8)
        image = capture.memory()
        if capture.facts.ram_version == 3:
            assert (image["ram"].reshape(-1) == truth).all()
            return
        for block in json.loads(corpus(f"qemu-2010/{name}.json"))["blocks"]:
            start = block["ram_addr_offset"]
            assert (image[block["idstr"]].reshape(-1) == truth[start : start + block["length"]]).all(), block


class TestLayersAreTheRecordsInOrder:
    def test_every_moment_of_a_sample_equals_records_applied_one_by_one(self):
        capture = xbrletools.open(SAMPLES / "posted-8m.bin")
        records = capture.stream.payloads
        single = Image(capture.space)
        moments = np.linspace(1, len(capture.records.by_number), 12).astype(int).tolist()
        done = 0
        for record in moments:
            upto = capture.records.row(record) + 1
            for row in range(done, upto):
                apply(single, records.take(slice(row, row + 1)))
            done = upto
            image = capture.memory(at=record)
            assert (image.state == single.state).all()
            assert (image.pages == single.pages).all()

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("pdx"), st.integers(0, 3), st.integers(0, 255)), max_size=40))
    def test_any_mix_of_records_gives_what_they_say(self, steps):
        builder = StreamBuilder()
        memory: dict[int, np.ndarray] = {}
        for kind, page, value in steps:
            if kind == "p":
                memory[page] = noise(value)
                builder.page(page * PAGE, memory[page])
            elif kind == "d":
                memory[page] = np.full(PAGE, value, np.uint8)
                builder.dup(page * PAGE, value)
            elif page in memory:
                new = changed(memory[page], value, 4 * value + 1)
                builder.delta(page * PAGE, memory[page], new)
                memory[page] = new
        image = xbrletools.open(builder.bytes(), dialect="posted").memory()
        for page in range(4):
            assert (image.state[page] == State.RECOVERED) == (page in memory)
            if page in memory:
                assert (image.pages[page] == memory[page]).all()


class TestWhatIsNotKnown:
    def test_a_page_that_no_record_gave_is_unknown(self):
        image = xbrletools.open(StreamBuilder().page(0, noise(1)).bytes()).memory()
        assert image.known.tolist() == [True, False, False, False]

    def test_a_delta_over_an_unknown_page_makes_nothing_known(self):
        a = noise(1)
        stream = StreamBuilder().page(0, a).delta(0, a, changed(a, 5)).delta(PAGE, a, changed(a, 9)).bytes()
        image = xbrletools.open(stream).memory()
        assert image.state[1] == State.UNKNOWN
        assert not image.pages[1].any()

    def test_a_delta_of_new_bytes_over_an_unknown_page_makes_those_known(self):
        a = noise(1)
        b = changed(a, 9, 10, 4000)
        stream = StreamBuilder(dialect="xbzrle").page(0, a).delta(0, a, changed(a, 5)).delta(PAGE, a, b).bytes()
        image = xbrletools.open(stream).memory()
        assert np.flatnonzero(image.known_bytes(1)).tolist() == [9, 10, 4000]
        assert (image.pages[1][[9, 10, 4000]] == b[[9, 10, 4000]]).all()

    def test_a_page_whose_delta_does_not_decode_is_unknown_until_it_is_sent_again(self):
        a = noise(1)
        builder = StreamBuilder().page(0, a).page(PAGE, a).delta(PAGE, a, changed(a, 5)).raw_delta(0, b"\xff\x01", a)
        assert xbrletools.open(builder.bytes()).memory().state[:2].tolist() == [State.UNKNOWN, State.RECOVERED]
        healed = xbrletools.open(builder.page(0, a).bytes()).memory()
        assert (healed.pages[0] == a).all()
        assert healed.known[:2].all()


class TestViews:
    def test_a_delta_after_a_dup_page_uses_a_base_the_receiver_lost(self):
        a = noise(1)
        b = changed(a, 7)
        stream = StreamBuilder().page(0, a).part().dup(0, 9).delta(0, a, b).bytes()
        capture = xbrletools.open(stream)
        receiver = np.full(PAGE, 9, np.uint8) ^ a ^ b
        assert (capture.memory().pages[0] == receiver).all()
        assert (capture.memory(view=View.SENDER).pages[0] == b).all()

    def test_a_dup_page_that_comes_last_is_what_both_ends_have(self):
        a = noise(1)
        stream = StreamBuilder().page(0, a).part().delta(0, a, changed(a, 7)).dup(0, 9).bytes()
        capture = xbrletools.open(stream)
        for view in View:
            assert (capture.memory(view=view).pages[0] == 9).all()

    def test_where_dup_pages_are_cached_both_views_are_one(self):
        a, nine = noise(1), np.full(PAGE, 9, np.uint8)
        new = changed(nine, 7)
        stream = StreamBuilder(dialect="m115", blocks={b"ram": 4 * PAGE}).page(0, a).part().dup(0, 9)
        capture = xbrletools.open(stream.delta(0, nine, new).bytes(), dialect="m115")
        for view in View:
            assert (capture.memory(view=view).pages[0] == new).all()


def test_a_record_beyond_its_block_touches_nothing():
    stream = StreamBuilder({b"pc.ram": 2 * PAGE}).page(0, noise(1)).page(5 * PAGE, noise(2)).bytes()
    image = xbrletools.open(stream).memory()
    assert len(image.pages) == 2
    assert image.known.tolist() == [True, False]


def test_asking_for_a_record_that_is_not_there_says_how_many_there_are():
    with pytest.raises(xbrletools.XbrleError, match="1 to 1"):
        xbrletools.open(StreamBuilder().page(0, noise(1)).bytes()).memory(at=2)


class TestManyRecordsAtATime:
    @pytest.mark.parametrize("view", View)
    @pytest.mark.parametrize("chunk", [1, 7, 100])
    def test_memory_is_the_same_however_many_records_are_sorted_at_once(self, chunk, view, monkeypatch):
        capture = xbrletools.open(SAMPLES / "posted-8m.bin")
        records = capture.stream.payloads.take(slice(-900, None))
        expected, found = Image(capture.space), Image(capture.space)
        replay.replay(expected, records, view)
        monkeypatch.setattr(replay, "CHUNK", chunk)
        replay.replay(found, records, view)
        assert (found.pages == expected.pages).all()
        assert (found.state == expected.state).all()

    @pytest.mark.parametrize("order", [[*range(20)], [*range(19, -1, -1)], [0, 5, *range(6, 20), 1, 2, 3, 4]])
    def test_pages_that_follow_each_other_in_the_stream_go_where_their_addresses_say(self, order):
        builder = StreamBuilder({b"pc.ram": 20 * PAGE})
        for page in order:
            builder.page(page * PAGE, noise(page))
        pages = xbrletools.open(builder.bytes()).memory()["pc.ram"]
        assert all((pages[page] == noise(page)).all() for page in order)


@pytest.mark.usefixtures("loops")
def test_records_right_before_the_one_block_s_length_are_of_that_block() -> None:
    stream = StreamBuilder({b"ram": 8 * PAGE}, dialect="m115")
    word = bytes(stream.out[-8:])
    del stream.out[-8:]
    for i in range(4):
        stream.dup(i * PAGE, 65 + i)
    stream.out += word
    capture = xbrletools.open(stream.dup(4 * PAGE, 90).end().bytes(), dialect="m115", endian="little")
    records = capture.records
    assert set(records.columns.block[records.is_page].tolist()) == {0}
    assert "continue-without-block" not in {f.rule for f in capture.verify()}
    assert capture.memory().pages[:5, 0].tolist() == [65, 66, 67, 68, 90]


def test_a_delta_that_is_cut_before_it_shows_a_dialect_makes_its_page_unknown(tmp_path, capsys):
    old, new = noise(1), noise(2)
    stream = StreamBuilder(flags=3).page(0, old).page(PAGE, old).part()
    start = len(stream.out)
    data = stream.delta(0, old, new).bytes()[: start + WORD + 3]
    (tmp_path / "S").write_bytes(data)
    capture = xbrletools.open(data)
    assert capture.dialect is None
    assert capture.memory().known.tolist() == [False, True, False, False]
    for command in (["log", "--end", "receiver"], ["page", "pc.ram:0x0"]):
        assert main([command[0], str(tmp_path / "S"), *command[1:]]) in (0, 1)
    assert "internal" not in capsys.readouterr().err
