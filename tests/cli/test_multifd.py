"""Commands that look into memory, on the channels of a real multifd migration."""

import json
import random

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from xbrletools.source.opening import Input

CHANNELS = {"none": 2, "zlib": 3, "zstd": 2}


@pytest.fixture(params=CHANNELS)
def multifd(request, corpus, tmp_path):
    """The words that name a capture and its channels on a command line, the opened capture, and its truth."""
    name = f"qemu-7.2/pc16-multifd-{request.param}-kvm"
    corpus(f"{name}.json")  # skips where there is no corpus
    paths = []
    for number in range(CHANNELS[request.param] + 1):
        paths.append(tmp_path / f"chan{number}.bin")
        paths[-1].write_bytes(corpus(f"{name}.chan{number}.bin"))
    main, *others = map(str, paths)
    words = [main, *(w for o in others for w in ("--channel", o))]
    return words, xbrletools.open(Input(main, tuple(others))), corpus(f"{name}.truth")


def test_extract_gives_the_guests_memory(multifd, tmp_path, capsys):
    words, _, truth = multifd
    assert run(capsys, "extract", *words, "--block", "pc.ram", "-o", tmp_path / "ram")[0] == 0
    assert (tmp_path / "ram").read_bytes() == truth


def test_page_blame_and_grep_agree_with_memory(multifd, capsys):
    words, capture, truth = multifd
    columns = capture.records.columns
    of_channels = np.flatnonzero(columns.offset >= np.uint64(capture.records.main_size))
    assert len(of_channels)
    image = capture.memory()
    for row in random.Random(1).sample(of_channels.tolist(), 5):
        block, address = int(columns.block[row]), int(columns.address[row])
        name = capture.blocks[block].name.decode()
        story = capture.page(name, address)
        assert (story.at().data == image[name][address // 4096]).all()
        numbers = [v.record for v in story.versions()]
        assert numbers == sorted(numbers)
        status, out, _ = run(capsys, "blame", *words, f"{name}:{address:#x}+4K", "--json")
        assert status == 0
        assert json.loads(out)["record"] == numbers[-1]
    at = next(a for a in range(0, len(truth), 4096) if len(set(truth[a : a + 16])) > 8)
    status, out, _ = run(capsys, "grep", *words, "--hex", truth[at : at + 16].hex(), "--all", "--json")
    assert status == 0
    assert at in [json.loads(line)["offset"] for line in out.splitlines()]


def test_salvage_reads_the_channels_too(multifd, capsys):
    words, capture, _ = multifd
    status, out, _ = run(capsys, "salvage", *words, "--json")
    assert status == 0
    told = json.loads(out)
    assert (told["records"], told["gaps"]) == (len(capture.records.by_number), [])
    assert told["pages_recovered"] == int(capture.memory().known.sum())


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_after_a_cut_in_a_channel_no_recovered_byte_is_wrong(broken, corpus):
    parts = [corpus(f"qemu-7.2/pc16-multifd-none-kvm.chan{i}.bin") for i in range(3)]
    truth = np.frombuffer(corpus("qemu-7.2/pc16-multifd-none-kvm.truth"), np.uint8).reshape(-1, 4096)
    chance = random.Random(broken)
    for _ in range(4):
        damaged = list(parts)
        at = chance.randrange(200, len(parts[broken]) - 30000)
        damaged[broken] = parts[broken][:at] + parts[broken][at + chance.choice((9, 5000, 1 << 30)) :]
        capture = xbrletools.open(damaged[0], salvage=True, channels=damaged[1:])
        image = capture.memory()
        ram = image.space.slice(image.space.index("pc.ram"))
        assert (image.pages[ram] == truth)[image.recovered[ram]].all()
        assert capture.gaps or capture.doubts or not image.recovered.all()


def test_diff_gives_each_capture_its_own_channels(multifd, capsys):
    main, *channels = multifd[0]
    others = ["--to-channel" if word == "--channel" else word for word in channels]
    assert run(capsys, "diff", main, main, *channels, *others)[:2] == (0, "nothing differs\n")
    status, out, _ = run(capsys, "diff", main, main, *channels)
    assert status == 1
    assert "unknown in the second" in out.splitlines()[-1]
