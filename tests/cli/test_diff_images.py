"""`xbrle diff` of a capture and an image of memory: what its user sees, on samples, real captures and wrong files."""

import json
import lzma
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from tests.export import cores
from tests.posted import PAGE, page, stream
from tests.source.test_dumps import core, limes
from xbrletools.text import shown

SAMPLE = SAMPLES / "posted-8m.bin"
A = bytes(range(256)) * 16


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.raw"
    path.write_bytes(lzma.decompress((SAMPLES / "posted-8m.truth.xz").read_bytes()))
    return path


def last_records(capture: xbrletools.Capture, at: int | None = None) -> dict[tuple[str, int], int]:
    """The last record of each page, up to record ``at``."""
    table, found = capture.records, {}
    for row in table.by_number.tolist():
        number = int(table.number[row])
        if at is None or number <= at:
            name = shown(capture.blocks[int(table.columns.block[row])].name)
            found[name, int(table.columns.address[row])] = number
    return found


def changed(path: Path, pages: int, seed: int = 1) -> dict[int, list[int]]:
    """Change bytes in so many pages of a raw file. Returns the places in each page."""
    data, chance = bytearray(path.read_bytes()), random.Random(seed)
    places = {}
    for number in chance.sample(range(len(data) // PAGE), pages):
        places[number * PAGE] = sorted(chance.sample(range(PAGE), chance.randint(1, 5)))
        for place in places[number * PAGE]:
            data[number * PAGE + place] ^= chance.randint(1, 255)
    path.write_bytes(data)
    return places


def test_the_truth_of_a_sample_is_equal_in_one_line(capsys, truth):
    for sides in ((SAMPLE, truth), (truth, SAMPLE), (SAMPLE, SAMPLES / "posted-8m.truth.xz")):
        status, out, err = run(capsys, "diff", *sides)
        assert (status, out, err) == (0, "every page that is known is equal: 2048 pages\n", "")
        assert run(capsys, "diff", *sides, "--json")[:2] == (0, "")


@pytest.mark.parametrize("turned", [False, True])
def test_30_changed_pages_are_named_with_the_records_that_last_wrote_them(capsys, truth, turned):
    places = changed(truth, 30)
    capture = xbrletools.open(SAMPLE)
    records, table = last_records(capture), capture.records
    sides = (truth, SAMPLE) if turned else (SAMPLE, truth)
    status, out, err = run(capsys, "diff", *sides, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [f["page"] for f in found] == sorted(places)
    for f in found:
        assert (f["type"], f["block"], f["record"]) == ("page", "pc.ram", records["pc.ram", f["page"]])
        row = table.row(f["record"])
        assert (f["offset"], f["pass"]) == (int(table.columns.offset[row]), int(table.pass_[row]))
        assert [start + i for start, length, _ in f["ranges"] for i in range(length)] == places[f["page"]]
        assert f["bytes"] == len(places[f["page"]])
    count = sum(map(len, places.values()))
    conclusion = f"30 pages of pc.ram differ, by {count} bytes; 2018 pages equal"
    assert err == f"xbrle: {conclusion}\n"
    status, out, err = run(capsys, "diff", *sides)
    lines = out.splitlines()
    assert (status, err, lines[0]) == (1, "", conclusion)
    assert len(lines) == 1 + 2 * 30
    first = found[0]
    where = f"record {first['record']} (pass {first['pass']}, {first['kind']}, offset {first['offset']:#x})"
    assert lines[1] == f"pc.ram:{first['page']:#x}  {where}"
    place = first["page"] + first["ranges"][0][0]
    mine, theirs = capture.memory()["pc.ram"].reshape(-1)[place], truth.read_bytes()[place]
    assert f" {first['ranges'][0][0]:#x}+" in lines[2]
    assert f": {mine:02x}" in lines[2] and f"| {theirs:02x}" in lines[2]


def test_the_moment_and_the_view_are_those_of_the_capture(capsys, tmp_path):
    for moment in (["--at", 2100], ["--at-pass", 2], ["--view", "sender"], []):
        raw = tmp_path / "ram"
        assert run(capsys, "extract", SAMPLE, "--block", "pc.ram", "-o", raw, "--force", *moment)[0] == 0
        assert run(capsys, "diff", SAMPLE, raw, *moment)[:2] == (0, "every page that is known is equal: 2048 pages\n")
    assert run(capsys, "diff", SAMPLE, raw, "--at", 2126)[0] == 1
    capture = xbrletools.open(SAMPLE)
    records = last_records(capture, 2126)
    out = run(capsys, "diff", SAMPLE, raw, "--at", 2126, "--json")[1]
    for f in map(json.loads, out.splitlines()):
        assert f["record"] == records["pc.ram", f["page"]] <= 2126


@pytest.mark.parametrize("form", ["elf", "lime", "raw"])
def test_what_extract_writes_by_address_is_equal_and_a_changed_byte_is_found_at_its_address(
    corpus, capsys, tmp_path, form
):
    (tmp_path / "s").write_bytes(corpus("qemu-7.2/pc16-xbzrle-large-kvm.bin"))
    image = tmp_path / "image"
    assert run(capsys, "extract", tmp_path / "s", "--space", "physical", "--format", form, "-o", image)[0] == 0
    status, out, err = run(capsys, "diff", tmp_path / "s", image)
    assert (status, out.count("\n")) == (0, 1)
    assert "every page that is known is equal" in out
    assert "guest-physical map from CMOS" in err
    with image.open("r+b") as file:
        begin = {"elf": lambda: cores.read(image).loads[0][1], "lime": lambda: 32, "raw": lambda: 0}[form]()
        file.seek(begin + 0xC0345)
        byte = file.read(1)
        file.seek(begin + 0xC0345)
        file.write(bytes([byte[0] ^ 1]))
    status, out, _ = run(capsys, "diff", tmp_path / "s", image, "--json")
    [found] = map(json.loads, out.splitlines())
    assert (status, found["address"], found["page"], found["block"]) == (1, 0xC0000, 0xC0000, "pc.ram")
    assert found["ranges"] == [[0x345, 1, "value"]]
    assert f"pc.ram:{0xC0000:#x} at address {0xC0000:#x}  record" in run(capsys, "diff", image, tmp_path / "s")[1]


def unwrapped(out: str) -> list[str]:
    """The lines of a text that was wrapped, with an indent, at the width of a page."""
    return out.replace("\n    ", " ").splitlines()


def test_a_folder_that_extract_wrote_is_compared_block_by_block(capsys, tmp_path):
    folder = tmp_path / "f"
    assert run(capsys, "extract", SAMPLE, "-o", folder)[0] == 0
    blocks = {b["name"]: b for b in json.loads((folder / "manifest.json").read_text())["blocks"]}
    pages = sum(b["length"] for b in blocks.values()) // PAGE
    status, out, _ = run(capsys, "diff", SAMPLE, folder)
    assert (status, out) == (0, f"every page that is known is equal: {pages} pages\n")
    raw = bytearray((folder / "pc.bios").read_bytes())
    raw[PAGE + 7] ^= 8
    (folder / "pc.bios").write_bytes(raw)
    status, out, _ = run(capsys, "diff", SAMPLE, folder, "--json")
    [found] = map(json.loads, out.splitlines())
    assert (status, found["block"], found["page"], found["ranges"]) == (1, "pc.bios", PAGE, [[7, 1, "value"]])
    assert run(capsys, "diff", SAMPLE, folder, "--block", "pc.ram")[0] == 0
    (folder / "pc.rom").unlink()
    status, out, _ = run(capsys, "diff", SAMPLE, folder, "--block", "pc.ram")
    assert status == 1 and "block pc.rom: " in "".join(unwrapped(out))


def test_pages_that_are_unknown_are_counted_and_are_neither_equal_nor_different(capsys, tmp_path):
    (tmp_path / "s").write_bytes(stream([page(0, A), page(2 * PAGE, A)]))
    (tmp_path / "raw").write_bytes((A + bytes(PAGE)) * 4)
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "raw")
    assert (status, out) == (1, "every page that is known is equal: 2 pages; 6 pages unknown in the capture\n")
    assert run(capsys, "diff", tmp_path / "s", tmp_path / "raw", "--json")[:2] == (1, "")


def test_what_the_image_does_not_know_is_not_compared_either(capsys, tmp_path):
    (tmp_path / "part").write_bytes(stream([page(0, A), page(2 * PAGE, A)]))
    (tmp_path / "whole").write_bytes(stream([page(i * PAGE, A) for i in range(8)]))
    assert run(capsys, "extract", tmp_path / "part", "--block", "pc.ram", "-o", tmp_path / "raw")[0] == 1
    status, out, _ = run(capsys, "diff", tmp_path / "whole", tmp_path / "raw")
    assert status == 1
    assert unwrapped(out) == [f"every page that is known is equal: 2 pages; 6 pages unknown in {tmp_path / 'raw'}"]
    (tmp_path / "raw.json").unlink()  # without it, nothing shows that its zeros are not memory
    assert run(capsys, "diff", tmp_path / "whole", tmp_path / "raw")[1].startswith("6 pages of pc.ram differ")


def test_an_image_of_another_size_is_compared_as_far_as_both_go_and_the_rest_is_said(capsys, truth):
    whole = truth.read_bytes()
    for data, said in (
        (whole[:-100], f"pc.ram:0x7fff9c: 0x64 bytes are not compared: {truth} does not have these bytes"),
        (whole + b"more", f"pc.ram:0x800000 of {truth}: 0x4 bytes are not compared: the block has 0x800000 bytes"),
    ):
        truth.write_bytes(data)
        status, out, _ = run(capsys, "diff", SAMPLE, truth)
        first, second = unwrapped(out)
        assert (status, second[: len(said)]) == (1, said)
        assert first.startswith("every page that is known is equal: 2048 pages; 0x")
        [found] = map(json.loads, run(capsys, "diff", SAMPLE, truth, "--json")[1].splitlines())
        assert (found["type"], found["length"]) == ("uncompared", 100 if len(data) < len(whole) else 4)


def test_a_part_of_memory_is_compared_where_it_lies(capsys, truth):
    data = truth.read_bytes()
    truth.write_bytes(data[0x201000:0x203800])
    status, out, _ = run(capsys, "diff", SAMPLE, truth, "--image-at", "0x201000")
    assert (status, out.splitlines()[0][:45]) == (1, "every page that is known is equal: 3 pages; 0")
    assert run(capsys, "diff", SAMPLE, truth)[1].startswith("3 pages of pc.ram differ")


def test_a_raw_image_of_another_block_is_hinted_at_and_taken_with_block(capsys, tmp_path):
    assert run(capsys, "extract", SAMPLE, "--block", "pc.bios", "-o", tmp_path / "bios")[0] == 0
    assert run(capsys, "diff", SAMPLE, tmp_path / "bios")[0] == 0  # its sidecar says what it is
    (tmp_path / "bios.json").unlink()
    status, _, err = run(capsys, "diff", SAMPLE, tmp_path / "bios")
    assert status == 1 and "as long as pc.bios; to compare that: --block pc.bios" in err
    status, out, err = run(capsys, "diff", SAMPLE, tmp_path / "bios", "--block", "pc.bios")
    assert (status, out, err) == (0, "every page that is known is equal: 32 pages\n", "")


def test_a_guest_s_own_map_counts_for_an_image_by_address(capsys, tmp_path):
    (tmp_path / "s").write_bytes(stream([page(i * PAGE, bytes([i]) * PAGE) for i in range(8)]))
    raw = b"".join(bytes([i]) * PAGE for i in (4, 5, 6, 7, 0, 1, 2, 3))
    (tmp_path / "core").write_bytes(core((0, 8 * PAGE, 0)) + raw)
    (tmp_path / "map").write_text("0 0x4000 pc.ram 0x4000\n0x4000 0x4000 pc.ram 0\n")
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "core", "--map", tmp_path / "map")
    assert (status, out) == (0, "every page that is known is equal: 8 pages\n")
    (tmp_path / "raw").write_bytes(raw)
    words = ["diff", tmp_path / "s", tmp_path / "raw", "--space", "physical", "--map", tmp_path / "map"]
    assert run(capsys, *words)[0] == 0
    assert run(capsys, *words[:3])[0] == 1
    status, _, err = run(capsys, "diff", tmp_path / "s", tmp_path / "core")
    assert status == 1 and "guest-physical map from rules of i440fx" in err


def test_the_pages_that_are_shown_can_be_limited(capsys, truth):
    changed(truth, 9)
    status, out, err = run(capsys, "diff", SAMPLE, truth, "--limit", 4, "--json")
    assert (status, len(out.splitlines())) == (1, 4)
    assert "5 more pages differ (--limit)" in err
    assert len(run(capsys, "diff", SAMPLE, truth, "--limit", 4)[1].splitlines()) == 9


def test_a_truncated_capture_is_never_equal(capsys, tmp_path, truth):
    (tmp_path / "cut").write_bytes(SAMPLE.read_bytes()[:-200_000])
    status, out, err = run(capsys, "diff", tmp_path / "cut", truth)
    assert status == 1 and "truncated" in err and out


def test_a_headless_capture_can_be_compared_with_salvage(capsys, tmp_path, truth):
    data = SAMPLE.read_bytes()
    (tmp_path / "headless").write_bytes(data[3000:])
    words = ["--salvage", "--blocks", "pc.ram=8M,pc.bios=128K,pc.rom=128K,vga.vram=8M"]
    for sides in ((tmp_path / "headless", truth), (truth, tmp_path / "headless")):
        status, out, _ = run(capsys, "diff", *sides, *words)
        assert status == 1
        assert "differ" not in out.splitlines()[0] and "unknown in the capture" in out.splitlines()[0]


def test_a_cut_image_is_compared_as_far_as_it_goes(capsys, tmp_path):
    (tmp_path / "s").write_bytes(stream([page(i * PAGE, A) for i in range(8)]))
    raw = core((0, 8 * PAGE, 0)) + A * 8
    (tmp_path / "core").write_bytes(raw[: -PAGE // 2])
    (tmp_path / "map").write_text("0 0x8000 pc.ram 0\n")
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "core", "--map", tmp_path / "map")
    lines = unwrapped(out)
    assert status == 1
    assert lines[0] == "every page that is known is equal: 8 pages; 0x800 bytes without counterpart"
    assert lines[1].startswith("pc.ram:0x7800 at address 0x7800: 0x800 bytes are not compared")
    assert "it ends before 0x800 of the bytes" in lines[2]
    (tmp_path / "l").write_bytes(limes((0, A * 8)) + b"EMiL")
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "l", "--map", tmp_path / "map")
    assert status == 1 and "it ends inside a LiME header" in "".join(unwrapped(out))


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("kdump", b"KDUMP   " + bytes(9000), "is a kdump of an unknown layout"),
        ("diskdump", b"DISKDUMP" + bytes(9000), "dump the guest as ELF"),
        ("flat", b"makedumpfile\0" + bytes(9000), "is damaged at 0x1000: a piece belongs at 0x0"),
        ("avml", b"AVML" + bytes(9000), "convert it to LiME with avml-convert"),
        ("zip", b"PK\x03\x04" + bytes(9000), "is a zip archive"),
        ("empty", b"", "is empty"),
        ("exe", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0" + bytes(200), "ELF file of"),
        ("elf", b"\x7fELF", "ELF file of an unknown class"),
        ("lime", b"EMiL" + bytes(100), "holds no memory"),
    ],
)
def test_what_is_not_an_image_is_one_line_and_exit_2(capsys, tmp_path, name, raw, reason):
    (tmp_path / name).write_bytes(raw)
    for sides in ((SAMPLE, tmp_path / name), (tmp_path / name, SAMPLE)):
        status, out, err = run(capsys, "diff", *sides)
        assert (status, out) == (2, "")
        assert reason in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_folder_without_manifest_and_what_may_not_be_read_are_one_line_and_exit_2(capsys, tmp_path):
    (tmp_path / "d").mkdir()
    for sides in ((SAMPLE, tmp_path / "d"), (tmp_path / "d", SAMPLE)):
        status, out, err = run(capsys, "diff", *sides)
        assert (status, out) == (2, "") and "a directory without manifest.json" in err
    status, _, err = run(capsys, "diff", SAMPLE, tmp_path / "nowhere")
    assert status == 2 and "No such file" in err
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert run(capsys, "diff", SAMPLE, tmp_path / "loop")[0] == 2
    (tmp_path / "secret").write_bytes(bytes(100))
    (tmp_path / "secret").chmod(0)
    if os.geteuid():
        status, _, err = run(capsys, "diff", SAMPLE, tmp_path / "secret")
        assert status == 2 and "Permission denied" in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--to", 5], "--to cannot be used with an image"),
        (["--to-pass", 5], "--to-pass cannot be used with an image"),
        (["--to-view", "sender"], "--to-view cannot be used with an image"),
        (["--to-channel", "x"], "--to-channel cannot be used with an image"),
        (["--only", "devices"], "does not have devices"),
        (["--pass", 1], "--pass compares S with itself"),
        (["--map", "x"], "--map is for guest-physical addresses"),
        (["--block", "nowhere"], "there is no RAM block nowhere"),
        (["--image-at", "17E"], "invalid size"),
        (["--at-pass", 99], "there is no pass 99"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(capsys, truth, words, reason):
    status, out, err = run(capsys, "diff", SAMPLE, truth, *words)
    assert (status, out) == (2, "")
    assert reason in err


def test_options_of_images_are_refused_without_one(capsys, truth, tmp_path):
    for words in (["--space", "block"], ["--image-at", 0], ["--map", "x"]):
        assert "an image of memory is needed" in run(capsys, "diff", SAMPLE, SAMPLE, *words)[2]
        assert f"{words[0]} cannot be used without S2" in run(capsys, "diff", SAMPLE, "--at", 1, *words)[2]
    folder = tmp_path / "f"
    run(capsys, "extract", SAMPLE, "-o", folder)
    for words in (["--space", "physical"], ["--image-at", 1]):
        status, _, err = run(capsys, "diff", SAMPLE, folder, *words)
        assert status == 2 and "are for raw images" in err
    status, _, err = run(capsys, "diff", SAMPLE, SAMPLE, "--as", "raw")
    assert status == 2 and "--as raw is for a file whose first bytes do not show" in err
    status, _, err = run(capsys, "diff", truth, truth)
    assert status == 2 and "neither" in err and "cmp -l" in err


def test_a_raw_image_that_holds_a_stream_is_a_capture_unless_it_is_said_not_to_be(capsys, tmp_path):
    inner = stream([page(0, A)])
    raw = (bytes(PAGE) + inner).ljust(8 * PAGE, b"\0")
    (tmp_path / "s").write_bytes(stream([page(i * PAGE, raw[i * PAGE : (i + 1) * PAGE]) for i in range(8)]))
    (tmp_path / "raw").write_bytes(raw)
    assert run(capsys, "diff", tmp_path / "s", tmp_path / "raw")[0] == 1
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "raw", "--as", "raw")
    assert (status, out) == (0, "every page that is known is equal: 8 pages\n")
    (tmp_path / "noise").write_bytes(random.Random(1).randbytes(9000))
    assert run(capsys, "diff", tmp_path / "s", tmp_path / "noise")[0] == 1
    status, _, err = run(capsys, "diff", tmp_path / "s", tmp_path / "noise", "--as", "capture")
    assert status == 2 and "not a QEMU migration stream" in err
    status, _, err = run(capsys, "diff", SAMPLE, SAMPLE, "--as", "capture")
    assert status == 2 and "--as capture is for a file whose first bytes do not show" in err


def test_an_image_can_come_through_a_fifo_and_a_capture_through_standard_input(tmp_path, truth):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(truth.read_bytes()))
    writer.start()
    command = [sys.executable, "-m", "xbrletools", "diff", "-", str(fifo)]
    with SAMPLE.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)
    writer.join()
    assert (done.returncode, done.stdout) == (0, "every page that is known is equal: 2048 pages\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "truth_name"),
    [
        ("qemu-7.2/pc16-xbzrle-large-kvm.bin", "qemu-7.2/pc16-xbzrle-large-kvm.truth"),
        ("qemu-7.2/aarch64-virt26-1kpage-plain-tcg.bin", "qemu-7.2/aarch64-virt26-1kpage-plain-tcg.truth"),
        ("qemu-7.2/labdom-gzip.save", "qemu-7.2/labdom-gzip.truth"),
        ("libvirt-11/libvirt11.3-sparse-16m.save", "libvirt-11/libvirt11.3-sparse-16m.truth"),
        ("qemu-2011-posted/dbg-vga-x.bin", "qemu-2011-posted/dbg-vga-x.ram"),
    ],
)
def test_real_captures_are_equal_to_the_source_s_memory(corpus, capsys, tmp_path, name, truth_name):
    (tmp_path / "s").write_bytes(corpus(name))
    (tmp_path / "raw").write_bytes(corpus(truth_name))
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "raw")
    pages = (tmp_path / "raw").stat().st_size // xbrletools.open(tmp_path / "s").page_size
    assert (status, out) == (0, f"every page that is known is equal: {pages} pages\n")


def test_the_pages_that_the_posted_sender_corrupted_are_those_that_differ_from_the_source(corpus, capsys, tmp_path):
    (tmp_path / "s").write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    (tmp_path / "source").write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.ram"))
    (tmp_path / "destination").write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.dst-default.ram"))
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "source")
    assert (status, out[:27]) == (1, "32 pages of pc.ram differ, ")
    assert run(capsys, "diff", tmp_path / "s", tmp_path / "source", "--view", "sender")[0] == 0
    assert run(capsys, "diff", tmp_path / "s", tmp_path / "destination")[0] == 0


def test_addresses_up_to_the_last_one_are_compared(capsys, tmp_path):
    top = (1 << 64) - 8 * PAGE
    (tmp_path / "s").write_bytes(stream([page(i * PAGE, A) for i in range(8)]))
    (tmp_path / "core").write_bytes(core((top, 8 * PAGE, 0)) + A * 7 + A[:-1] + b"x")
    (tmp_path / "map").write_text(f"{top:#x} 0x8000 pc.ram 0\n")
    about = {"file": "core", "format": "elf", "space": "physical", "unknown": [{"start": 0, "length": 9}]}
    for end in (1 << 62, (1 << 63) - 1):
        about["map"] = [{"start": 0, "length": end, "block": "pc.ram"}]
        (tmp_path / "core.json").write_text(json.dumps(about))
        status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "core", "--map", tmp_path / "map", "--json")
        [found] = map(json.loads, out.splitlines())
        assert (status, found["page"], found["address"]) == (1, 7 * PAGE, top + 7 * PAGE)
