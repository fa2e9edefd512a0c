"""Channels, mapped-ram and postcopy written as one plain stream, and any stream as a mapped-ram file."""

import json
import lzma

import numpy as np
import pytest

import xbrletools
from tests.building import EOS, PAGE, command, footer, page, part, patterned, stream, zero
from tests.cli.run import run
from tests.conftest import CORPUS
from tests.scan.test_mapped_captures import Truth, finished
from tests.scan.test_mapped_ram import BLOCKS, CONTENT, content, mapped_file
from xbrletools.formats import mapped_ram, qevm
from xbrletools.formats.qevm import SectionType
from xbrletools.memory.replay import View

Number = qevm.Command
OLD = "qemu-7.2"


def anew(capsys, folder, data: bytes, *options: object, status: int = 0) -> tuple[xbrletools.Capture, str]:
    """What transcode makes of ``data``, and what it says."""
    (folder / "S").write_bytes(data)
    found, _, err = run(capsys, "transcode", folder / "S", "-o", folder / "T", *options)
    assert found == status, err
    return xbrletools.open(folder / "T", cache=False), err


def devices(capture: xbrletools.Capture) -> list[tuple[bytes, bytes]]:
    """The device sections and their bytes."""
    full = [s for s in capture.sections if s.type is SectionType.FULL]
    return [(s.owner.idstr, capture.data[s.data : s.end].tobytes()) for s in full]


def same_memory(one: xbrletools.Capture, other: xbrletools.Capture) -> bool:
    before, after = one.memory(view=View.SENDER), other.memory()
    return all((before[b.name] == after[b.name]).all() for b in one.blocks) and bool(after.known.all())


class TestFromMappedRam:
    @pytest.mark.parametrize("options", [(), ("--policy", "none"), ("--to", "posted")])
    def test_its_pages_and_its_zeros_become_records(self, options, capsys, tmp_path):
        capture, _ = anew(capsys, tmp_path, mapped_file(), *options)
        assert not capture.facts.mapped_ram
        assert capture.facts.capabilities == ()
        assert capture.records.counts() == {"mem_size": 1, "page": 4, "dup": 45, "eos": 2}
        image = capture.memory()
        assert image.known.all()
        for name, pages in BLOCKS.items():
            assert image[name].tobytes() == b"".join(content(CONTENT.get((name, i))) for i in range(pages))
        assert list(capture.verify()) == []

    def test_what_was_left_out_stays_out_and_addresses_stay(self, capsys, tmp_path):
        capture, _ = anew(capsys, tmp_path, mapped_file(left_out=(b"pc.ram",), address=0xC0000))
        assert [b.address for b in capture.blocks] == [0xC0000] * 2
        assert not capture.memory()[b"pc.ram"].any()
        assert capture.memory().recovered_count == BLOCKS[b"vga.vram"]

    def test_without_its_end_only_marked_pages_are_written(self, capsys, tmp_path):
        capture, err = anew(capsys, tmp_path, mapped_file(end=b""), status=1)
        assert "unknown, not zero" in err
        assert capture.records.counts()["page"] == len(CONTENT)
        assert "dup" not in capture.records.counts()

    def test_page_sizes_of_blocks_go_with_postcopy(self, capsys, tmp_path):
        capture, _ = anew(capsys, tmp_path, mapped_file(page_size_=1 << 21))
        assert {b.page_size for b in capture.blocks} == {None}
        assert capture.memory().known.all()

    @pytest.mark.parametrize("name", finished)
    def test_a_real_file_leaves_the_source_s_memory(self, name, corpus, capsys, tmp_path):
        truth = Truth(name) if CORPUS.is_dir() else None
        data = corpus(f"{name}.bin")
        capture, _ = anew(capsys, tmp_path, data, "--policy", "none")
        assert capture.problems == ()
        assert truth is not None and len(truth.wrong_pages(capture.memory()[truth.main])) == 0
        source = xbrletools.open(data)
        assert same_memory(source, capture)
        assert devices(capture) == devices(source)
        assert b"mapped-ram" not in capture.facts.capabilities


class TestToMappedRam:
    def test_every_page_stands_at_its_place(self, capsys, tmp_path):
        data = stream(page(0, patterned(1), b"pc.ram"), zero(PAGE), page(2 * PAGE, patterned(2)), page(0, patterned(3)))
        source = xbrletools.open(data)
        count = len(source.space)
        known = [page(i * PAGE, patterned(i + 9)) for i in range(3, count)]
        source = xbrletools.open(
            stream(page(0, patterned(3), b"pc.ram"), zero(PAGE), page(2 * PAGE, patterned(2)), *known)
        )
        capture, _ = anew(capsys, tmp_path, source.data.tobytes(), "--to", "mapped-ram")
        assert capture.problems == ()
        assert capture.facts.mapped_ram and capture.facts.complete
        assert mapped_ram.CAPABILITY in capture.facts.capabilities
        assert capture.records.counts() == {"mem_size": 1, "page": count - 1, "eos": 2}
        assert all(m.pages % mapped_ram.ALIGNMENT == 0 for m in capture.facts.mapped)
        assert same_memory(source, capture)

    def test_what_was_never_sent_is_said(self, capsys, tmp_path):
        data = stream(page(0, patterned(1), b"pc.ram"))
        unknown = len(xbrletools.open(data).space) - 1
        _, err = anew(capsys, tmp_path, data, "--to", "mapped-ram", status=1)
        assert f"{unknown} pages are unknown; the file gives them as zeros" in err

    def test_there_and_back_is_the_same_memory(self, capsys, tmp_path):
        source = xbrletools.open(mapped_file(left_out=(b"pc.ram",), address=0))
        again, _ = anew(capsys, tmp_path, mapped_file(left_out=(b"pc.ram",), address=0), "--to", "mapped-ram")
        assert again.facts.mapped[0].pages is None
        assert again.memory().recovered_count == source.memory().recovered_count

    @pytest.mark.parametrize("options", [("--policy", "none"), ("--keep-advice",), ("--ram-version", "4")])
    def test_it_stands_alone(self, options, capsys, tmp_path):
        anew_status, _, err = run(
            capsys, "transcode", "samples/xbzrle-16m.bin", "--to", "mapped-ram", *options, "-o", tmp_path / "T"
        )
        assert anew_status == 2
        assert "cannot be used with --to mapped-ram" in err

    def test_a_stream_of_2011_is_refused(self, capsys, tmp_path):
        status, _, err = run(capsys, "transcode", "samples/posted-8m.bin", "--to", "mapped-ram", "-o", tmp_path / "T")
        assert status == 2
        assert "QEMU 2.4 or later" in err
        assert not (tmp_path / "T").exists()

    def test_the_file_is_sparse(self, capsys, tmp_path):
        capture, _ = anew(capsys, tmp_path, mapped_file(fill=b"\0"), "--to", "mapped-ram")
        file = tmp_path / "T"
        assert file.stat().st_size == len(capture.data)
        assert file.stat().st_blocks * 512 < file.stat().st_size

    @pytest.mark.parametrize("name", ["pc16-compress-kvm", "aarch64-virt26-1kpage-plain-tcg", "pc16-ignoreshared-kvm"])
    def test_a_real_capture_reads_back(self, name, corpus, capsys, tmp_path):
        data = corpus(f"{OLD}/{name}.bin")
        source = xbrletools.open(data)
        shared = "ignoreshared" in name
        capture, _ = anew(capsys, tmp_path, data, "--to", "mapped-ram")
        assert [p.rule for p in capture.problems] == ["ram-elsewhere"] * shared
        assert devices(capture) == devices(source)
        assert capture.memory().recovered_count == source.memory().recovered_count
        assert shared or same_memory(source, capture)
        left_out = [m.block for m in capture.facts.mapped if m.pages is None]
        assert bool(left_out) == shared


def channels_of(folder, name: str) -> list[object]:
    """The main channel's file and the options for the others."""
    out: list[object] = []
    for i, path in enumerate(sorted((CORPUS / OLD).glob(f"{name}.chan*.bin.xz"))):
        (folder / f"C{i}").write_bytes(lzma.decompress(path.read_bytes()))
        out += ["--channel", folder / f"C{i}"] if i else [folder / "C0"]
    return out


@pytest.mark.parametrize("to", ["xbzrle", "mapped-ram"])
@pytest.mark.parametrize("packed", ["none", "zlib", "zstd"])
def test_channels_become_one_stream(packed, to, corpus, capsys, tmp_path):
    name = f"pc16-multifd-{packed}-kvm"
    truth = np.frombuffer(corpus(f"{OLD}/{name}.truth"), np.uint8).reshape(-1, PAGE)
    main, *more = channels_of(tmp_path, name)
    status, _, err = run(capsys, "transcode", main, *more, "--to", to, "-o", tmp_path / "T")
    assert (status, err) == (0, "")
    capture = xbrletools.open(tmp_path / "T", cache=False)
    assert capture.problems == ()
    assert (capture.memory()["pc.ram"] == truth).all()
    assert "flush" not in capture.records.counts()
    assert devices(capture) == devices(xbrletools.open(main))


class TestPostcopy:
    def source(self, corpus) -> tuple[bytes, np.ndarray]:
        truth = np.frombuffer(corpus(f"{OLD}/pc16-postcopy-kvm.truth"), np.uint8).reshape(-1, PAGE)
        return corpus(f"{OLD}/pc16-postcopy-kvm.chan0.fwd.bin"), truth

    @pytest.mark.parametrize("to", ["xbzrle", "mapped-ram"])
    def test_nothing_of_it_stays_and_the_devices_come_last(self, to, corpus, capsys, tmp_path):
        data, truth = self.source(corpus)
        capture, err = anew(capsys, tmp_path, data, "--to", to)
        assert "10 commands left out: open_return_path, ping, postcopy_advise" in err
        assert capture.problems == () and capture.facts.complete
        assert len(capture.facts.commands) == 0
        assert (capture.memory()["pc.ram"] == truth).all()
        assert devices(capture) == devices(xbrletools.open(data))
        end = next(s.offset for s in capture.sections if s.type is SectionType.END)
        assert all(s.offset > end for s in capture.sections if s.type is SectionType.FULL)

    def test_its_advice_can_stay(self, corpus, capsys, tmp_path):
        data, truth = self.source(corpus)
        capture, err = anew(capsys, tmp_path, data, "--keep-advice")
        assert "7 commands left out" in err
        assert [c.name for c in capture.facts.commands] == ["open_return_path", "ping", "postcopy_advise"]
        assert (capture.memory()["pc.ram"] == truth).all()

    def test_advice_of_dirty_bitmaps_stays_since_any_destination_takes_it(self, capsys, tmp_path):
        advised = command(Number.POSTCOPY_ADVISE) + command(Number.PING, bytes(4))
        data = stream(page(0, patterned(1), b"pc.ram"), EOS + footer() + advised + part())
        capture, err = anew(capsys, tmp_path, data, status=1)  # a PING without a return path is refused
        assert [c.name for c in capture.facts.commands] == ["postcopy_advise"]
        assert "1 command left out: ping" in err


def test_a_manifest_of_both_is_the_same(corpus, capsys, tmp_path):
    """From one channel to mapped-ram to a plain stream: extract gives the same digests."""
    (tmp_path / "A").write_bytes(corpus("qemu-10/pc16-mapped.bin"))
    assert run(capsys, "transcode", tmp_path / "A", "--to", "xbzrle", "-o", tmp_path / "B")[0] == 0
    assert run(capsys, "transcode", tmp_path / "B", "--to", "mapped-ram", "-o", tmp_path / "C")[0] == 0
    digests = []
    for name in "ABC":
        assert run(capsys, "extract", tmp_path / name, "-o", tmp_path / f"{name}.d")[0] == 0
        manifest = json.loads((tmp_path / f"{name}.d" / "manifest.json").read_text())
        digests.append([b["sha256"] for b in manifest["blocks"]])
    assert digests[0] == digests[1] == digests[2]
