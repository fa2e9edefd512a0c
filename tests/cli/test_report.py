"""`xbrle report`, and its page in a browser."""

import base64
import hashlib
import json
import lzma

import numpy as np
import pytest

from tests.analysis.test_report import Parsed, hostile
from tests.browser import AXE, CHROMIUM, page_of
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import StreamBuilder, noise
from tests.tui.driving import drives
from xbrletools.analysis.about import summary
from xbrletools.analysis.report.html import CONTENTS

STREAM = SAMPLES / "posted-8m.bin"


def test_a_good_capture_gives_a_page_with_its_digest_and_exits_0(capsys, tmp_path):
    out = tmp_path / "out.html"
    assert run(capsys, "report", STREAM, "-o", out) == (0, "", "")
    page = out.read_text("utf-8")
    assert hashlib.sha256(STREAM.read_bytes()).hexdigest() in page
    assert "228" in page
    assert [p.name for p in tmp_path.iterdir()] == ["out.html"]


def test_a_compressed_capture_has_the_digests_of_both(capsys, tmp_path):
    packed = tmp_path / "s.xz"
    packed.write_bytes(lzma.compress(STREAM.read_bytes()))
    assert run(capsys, "report", packed, "-o", tmp_path / "out.html")[0] == 0
    page = (tmp_path / "out.html").read_text("utf-8")
    for data in (STREAM.read_bytes(), packed.read_bytes()):
        assert hashlib.sha256(data).hexdigest() in page


@pytest.mark.parametrize(
    "name",
    [
        "libvirt-11/libvirt11.3-sparse-16m.save",
        "qemu-7.2/pc16-postcopy-kvm.chan0.fwd.bin",
        "qemu-7.2/pc16-savevm-kvm.qcow2",
        "qemu-7.2/pc16-multifd-zstd-kvm.chan0.bin",
        "qemu-10/pc16-killed-mapped.bin",
        "qemu-2011-posted/dbg-block-ix.bin",
    ],
)
def test_it_says_of_the_capture_what_info_says(capsys, tmp_path, corpus, name):
    """The kind of wrapper, channels, what postcopy discarded, disks, bitmaps: it left all of them out."""
    path = tmp_path / "s.bin"
    path.write_bytes(corpus(name))
    others = [tmp_path / f"s.{i}" for i in (1, 2) if "multifd" in name]
    for i, other in enumerate(others, 1):
        other.write_bytes(corpus(name.replace("chan0", f"chan{i}")))
    channels = [word for other in others for word in ("--channel", other)]
    _, out, _ = run(capsys, "info", path, *channels, "--json")
    about = json.loads(out)
    said = summary(about, "")
    run(capsys, "report", path, *channels, "-o", tmp_path / "out.html")
    told = " ".join(" ".join(Parsed((tmp_path / "out.html").read_text("utf-8")).text).split())
    labels = {"inside", "channel", "container", "machine", "configuration", "mapped-ram", "commands", "discarded"}
    lines = [(label, value) for label, value in said if label in labels | {"disk", "VM description", "begins"}]
    assert len(lines) >= 2
    assert [line for line in lines if not (line[0] in told and " ".join(line[1].split()) in told)] == []


def test_a_damaged_capture_gives_what_can_be_had_and_exits_1(capsys, tmp_path):
    (tmp_path / "cut.bin").write_bytes(STREAM.read_bytes()[:100_000])
    status, out, err = run(capsys, "report", tmp_path / "cut.bin", "-o", tmp_path / "out.html")
    assert (status, out) == (1, "")
    assert err.startswith("xbrle: truncated at offset 0x")
    assert "Damaged at offset" in (tmp_path / "out.html").read_text("utf-8")


def test_an_error_in_a_whole_capture_exits_1(capsys, tmp_path):
    (tmp_path / "bad.bin").write_bytes(hostile())
    assert run(capsys, "report", tmp_path / "bad.bin", "-o", tmp_path / "out.html")[0] == 1


def test_blocks_that_no_guest_has_leave_the_rest_of_the_page_and_exit_1(capsys, tmp_path):
    claim = StreamBuilder({b"pc.ram": 1 << 50}).page(0, noise(1)).end().bytes()
    (tmp_path / "claim.bin").write_bytes(claim)
    assert run(capsys, "report", tmp_path / "claim.bin", "-o", tmp_path / "out.html")[0] == 1
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "claims 0x4000000000000 bytes, more than any guest has" in page


def test_two_captures_that_differ_give_one_page_and_exit_1(capsys, tmp_path):
    other, out = SAMPLES / "xbzrle-16m.bin", tmp_path / "out.html"
    assert run(capsys, "report", STREAM, other, "-o", out) == (1, "", "")
    page = out.read_text("utf-8")
    for path in (STREAM, other):
        assert path.name in page
        assert hashlib.sha256(path.read_bytes()).hexdigest() in page
    assert run(capsys, "report", STREAM, STREAM, "-o", out, "--force") == (0, "", "")


@pytest.mark.parametrize("options", [("--to-channel", "x"), ("--to-snapshot", "x")])
def test_options_for_a_second_capture_need_one(capsys, tmp_path, options):
    status, _, err = run(capsys, "report", STREAM, "-o", tmp_path / "out.html", *options)
    assert (status, "need S2" in err) == (2, True)


def test_neither_of_two_captures_is_replaced(capsys, tmp_path):
    path = tmp_path / "s.bin"
    path.write_bytes(STREAM.read_bytes())
    assert run(capsys, "report", STREAM, path, "-o", path, "--force")[0] == 2
    assert path.read_bytes() == STREAM.read_bytes()


def test_a_second_capture_that_cannot_be_read_leaves_no_page_and_exits_2(capsys, tmp_path):
    (tmp_path / "text").write_text("hello, world")
    status, out, err = run(capsys, "report", STREAM, tmp_path / "text", "-o", tmp_path / "out.html")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out.html").exists()


def test_what_is_no_capture_leaves_no_page_and_exits_2(capsys, tmp_path):
    (tmp_path / "text").write_text("hello, world")
    status, out, err = run(capsys, "report", tmp_path / "text", "-o", tmp_path / "out.html")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out.html").exists()


def test_the_capture_itself_is_never_replaced(capsys, tmp_path):
    path = tmp_path / "s.bin"
    path.write_bytes(STREAM.read_bytes())
    (tmp_path / "link").symlink_to(path)
    for out in (path, tmp_path / "link"):
        assert run(capsys, "report", path, "-o", out)[0] == 2
    assert path.read_bytes() == STREAM.read_bytes()


# -- in a browser -----------------------------------------------------------------------------------------------------

browses = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, so nothing can render the page")


@pytest.fixture
def stale(capsys, tmp_path, corpus):
    """The report of a capture whose pages went wrong, as an address."""
    (tmp_path / "stale.bin").write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    run(capsys, "report", tmp_path / "stale.bin", "-o", tmp_path / "out.html")
    return (tmp_path / "out.html").as_uri()


@pytest.fixture
def sound(capsys, tmp_path):
    """The report of a sample, as an address."""
    assert run(capsys, "report", STREAM, "-o", tmp_path / "out.html")[0] == 0
    return (tmp_path / "out.html").as_uri()


def colours(png) -> set[str]:
    """Every colour of a PNG file."""
    from matplotlib.image import imread

    pixels = (imread(png)[..., :3] * 255).round().astype(np.uint32)
    values = np.unique(pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2])
    return {f"#{v:06x}" for v in values.tolist()}


@browses
@drives
async def test_a_browser_draws_bars_and_maps_in_light_and_in_dark(sound, tmp_path):
    async with page_of(sound) as page:
        await page.loaded()
        for scheme, there in (
            ("light", {"#fbfaf7", "#2f7cc9", "#0b7057", "#8b94a3", "#192c65"}),  # back, page, delta, dup, most sent
            ("dark", {"#10131a", "#4f97e0", "#6fd8b0", "#7a879e", "#bff5e4"}),
        ):
            await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            await page.picture(tmp_path / "out.png")
            assert there <= colours(tmp_path / "out.png")


@browses
@drives
async def test_a_browser_finds_nothing_to_run_and_asks_for_nothing(capsys, tmp_path):
    source, out = tmp_path / "s.bin", tmp_path / "out.html"
    source.write_bytes(hostile())
    run(capsys, "report", source, "-o", out)
    async with page_of(out.as_uri()) as page:
        await page.loaded()
        assert await page.run("document.querySelectorAll('script, img, iframe, link, object').length") == 0
        assert "<script>alert(1)</script>" in await page.run("document.body.innerText")
        assert await page.run("document.querySelectorAll('h2').length") == len(CONTENTS)
        assert (page.hosts(), page.complaints) == (set(), [])


@browses
@drives
async def test_at_400_pixels_only_the_tables_scroll_and_the_page_is_not_a_scroll(stale):
    async with page_of(stale) as page:
        await page.resize(400, 900)
        await page.loaded()
        assert await page.run("document.documentElement.scrollWidth") == 400
        assert await page.run("document.documentElement.scrollHeight") < 11_000  # it was 21,960
        wider = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.wide, pre, svg')"
        assert await page.run(f"{wider} && e.getBoundingClientRect().right > 400).length") == 0


@browses
@drives
async def test_no_name_makes_the_page_wider_than_its_window(capsys, tmp_path, corpus):
    """The names of channels did, on a phone."""
    main, channel, bad = tmp_path / "s.bin", tmp_path / ("x" * 240 + ".bin"), tmp_path / "bad.bin"
    main.write_bytes(corpus("qemu-7.2/pc16-multifd-zstd-kvm.chan0.bin"))
    channel.write_bytes(corpus("qemu-7.2/pc16-multifd-zstd-kvm.chan1.bin"))
    bad.write_bytes(hostile())
    pages = [tmp_path / f"{i}.html" for i in range(3)]
    run(capsys, "report", main, "--channel", channel, "-o", pages[0])
    run(capsys, "report", bad, "-o", pages[1])
    run(capsys, "report", bad, main, "--to-channel", channel, "-o", pages[2])
    for out in pages:
        async with page_of(out.as_uri()) as page:
            for width in (400, 1280):
                await page.resize(width, 900)
                await page.loaded()
                await page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert await page.run("document.documentElement.scrollWidth") == width, out


@browses
@drives
async def test_the_contents_lead_to_each_part(sound):
    async with page_of(sound) as page:
        await page.loaded()
        links = "[...document.querySelectorAll('nav a')]"
        found = await page.run(f"{links}.map(a => document.querySelector(a.getAttribute('href')).innerText)")
        assert found == [title for _, title in CONTENTS]


@browses
@drives
async def test_on_paper_all_that_is_folded_shows_and_it_is_light(stale, tmp_path):
    async with page_of(stale) as page:
        await page.loaded()
        dark = {"name": "prefers-color-scheme", "value": "dark"}
        await page.call("Emulation.setEmulatedMedia", media="print", features=[dark])
        assert await page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert await page.run("document.querySelector('details .chain').checkVisibility({contentVisibilityAuto: true})")
        short, last = "table:not(:has(tbody tr:nth-child(9)))", "table.sections tbody tr:last-child"
        assert await page.run(f"getComputedStyle(document.querySelector('{short}')).breakInside") == "avoid"
        assert await page.run(f"getComputedStyle(document.querySelector('{last}')).breakBefore") == "avoid"
        await page.call("Emulation.setEmulatedMedia", media="")
        assert not await page.run("document.querySelector('details .chain').checkVisibility()")
        pdf = (await page.call("Page.printToPDF", printBackground=True))["result"]["data"]
        assert base64.b64decode(pdf).startswith(b"%PDF-")


@browses
@drives
async def test_at_400_pixels_names_of_blocks_and_addresses_stay_in_a_line(capsys, tmp_path, corpus):
    """pc.ram was "pc.ra" above "m", and 0x200000 "0x20000" above "0"."""
    paths, out = [tmp_path / f"{i}.bin" for i in range(2)], tmp_path / "out.html"
    for path, name in zip(paths, ("dbg-mixed-16m", "def-mixed-16m"), strict=True):
        path.write_bytes(corpus(f"qemu-2011-posted/{name}.bin"))
    run(capsys, "report", *paths, "-o", out)
    async with page_of(out.as_uri()) as page:
        await page.resize(400, 900)
        await page.loaded()
        names = (
            "[...document.querySelectorAll('td:first-child > code')].filter(c => c.textContent.startsWith('pc.ram'))"
        )
        heights = await page.run(f"{names}.map(c => c.getClientRects().length)")
        assert len(heights) > 20
        assert set(heights) == {1}


@browses
@pytest.mark.skipif(not AXE.is_file(), reason=f"axe-core is not at {AXE}; .ci/install-tools puts it there")
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@drives
async def test_axe_core_finds_no_serious_fault(stale, width, scheme):
    async with page_of(stale) as page:
        await page.resize(width, 900)
        await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await page.loaded()
        await page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert await page.faults() == []


@browses
@pytest.mark.skipif(not AXE.is_file(), reason=f"axe-core is not at {AXE}; .ci/install-tools puts it there")
@drives
async def test_axe_core_finds_no_serious_fault_in_the_page_about_two_captures(capsys, tmp_path):
    out = tmp_path / "out.html"
    run(capsys, "report", STREAM, SAMPLES / "xbzrle-16m.bin", "-o", out)
    async with page_of(out.as_uri()) as page:
        for width in (400, 1280):
            await page.resize(width, 900)
            await page.loaded()
            assert await page.run("document.documentElement.scrollWidth") == width
            assert await page.faults() == []
