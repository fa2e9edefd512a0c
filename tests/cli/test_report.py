"""`xbrle report`, and its page in a browser."""

import hashlib
import lzma
import os
import shutil
import subprocess

import numpy as np
import pytest

from tests.analysis.test_report import hostile
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import StreamBuilder, noise

STREAM = SAMPLES / "posted-8m.bin"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


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
    assert "could not be verified: the blocks claim 0x4000000000000 bytes" in page
    assert "1,125,899,906,842,624" in page


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


def browse(page, tmp_path, *options: str) -> bytes:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed, so nothing can render the page")
    profile = tmp_path / "profile"
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(profile), "XDG_CACHE_HOME": str(profile)}
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, env={**os.environ, **home}).stdout


def colours(png) -> set[str]:
    """Every colour of a PNG file."""
    from matplotlib.image import imread

    pixels = (imread(png)[..., :3] * 255).round().astype(np.uint32)
    values = np.unique(pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2])
    return {f"#{v:06x}" for v in values.tolist()}


def test_a_browser_draws_bars_and_maps(capsys, tmp_path):
    page = tmp_path / "out.html"
    assert run(capsys, "report", STREAM, "-o", page)[0] == 0
    png = tmp_path / "out.png"
    browse(page, tmp_path, "--window-size=1180,3600", f"--screenshot={png}")
    assert {"#fcfcfb", "#2a78d6", "#e59700", "#8fa3ad", "#0d3a70"} <= colours(png)  # back, page, delta, dup, most sent


def test_a_browser_finds_nothing_to_run_in_hostile_names(capsys, tmp_path):
    source, page = tmp_path / "s.bin", tmp_path / "out.html"
    source.write_bytes(hostile())
    run(capsys, "report", source, "-o", page)
    seen = browse(page, tmp_path, "--dump-dom").decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in seen
    assert not any(element in seen for element in ("<script", "<img", "<iframe"))
    assert seen.count("<h2>") == page.read_text("utf-8").count("<h2>") == 7


def test_the_page_prints(capsys, tmp_path):
    page, pdf = tmp_path / "out.html", tmp_path / "out.pdf"
    assert run(capsys, "report", STREAM, "-o", page)[0] == 0
    browse(page, tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert pdf.read_bytes().startswith(b"%PDF-")
