"""Today's captures written anew, as XBZRLE and without deltas."""

import pytest

import xbrletools
from tests.building import PAGE, page, patterned, stream
from tests.memory.test_truth import FOLDER, PLAIN
from tests.scan.test_mapped_ram import mapped_file
from tests.scan.test_today import _discard
from xbrletools.cli import main
from xbrletools.verify.rules import Severity

FORMS = {"xbzrle": ("--to", "xbzrle", "--policy", "xbzrle"), "plain": ("--policy", "none"), "default": ()}
FILES = [f"{name}.bin" for name in PLAIN] + [f"labdom-{n}.save" for n in ("raw", "gzip", "bzip2")]
FILES += ["pc16-savevm-kvm.qcow2", "pc16-ignoreshared-kvm.bin"]


def anew(folder, data: bytes, form: str, status: int = 0) -> xbrletools.Capture:
    """The capture that transcode makes of ``data``."""
    (folder / "S").write_bytes(data)
    (folder / "T").unlink(missing_ok=True)
    assert main(["transcode", str(folder / "S"), "-o", str(folder / "T"), *FORMS[form]]) == status
    return xbrletools.open(folder / "T")


def changed(seed: int) -> bytes:
    """The patterned page of ``seed`` with one byte changed."""
    return patterned(seed)[:100] + b"\xee" + patterned(seed)[101:]


@pytest.mark.parametrize("form", FORMS)
def test_after_a_discard_no_page_is_a_delta_or_left_out_as_unchanged(form, tmp_path):
    """The destination has forgotten the base. QEMU sends whole pages once postcopy began."""
    data = stream(
        page(0, patterned(1), b"pc.ram"),
        page(PAGE, patterned(2)),
        page(0, changed(1)),
        page(PAGE, patterned(2)),
        page(0, patterned(1)),
        page(PAGE, patterned(2)),
        _discard(0, 2),
        page(0, patterned(1)),
        page(PAGE, patterned(2)),
    )
    capture = anew(tmp_path, data, form, status=1)  # no destination takes a discard without postcopy's advice
    image = capture.memory()
    assert image.known[:2].all()
    assert image["pc.ram"][:2].tobytes() == patterned(1) + patterned(2)
    kinds = {"xbzrle": {"page": 6, "xbzrle": 1}, "plain": {"page": 8}, "default": {"page": 6, "xbzrle": 1}}
    assert {k: n for k, n in capture.records.counts().items() if k not in ("mem_size", "eos")} == kinds[form]


def test_a_mapped_ram_file_is_not_blanked(tmp_path, capsys):
    (tmp_path / "S").write_bytes(mapped_file())
    assert main(["transcode", str(tmp_path / "S"), "-o", str(tmp_path / "T"), "--redact", "block=pc.ram"]) == 2
    assert "mapped-ram" in capsys.readouterr().err
    assert not (tmp_path / "T").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_real_capture_written_anew_leaves_the_same_memory(name, corpus, tmp_path):
    data = corpus(f"{FOLDER}/{name}")
    before = xbrletools.open(data).memory()
    for form in ("xbzrle", "plain"):
        capture = anew(tmp_path, data, form)
        after = capture.memory()
        assert (after.pages == before.pages).all()
        assert (after.state == before.state).all()
        assert [f for f in capture.verify() if f.severity is Severity.ERROR] == []
        assert capture.facts.complete
        if form == "plain":
            assert not {"xbzrle", "compressed"} & capture.records.counts().keys()


@pytest.mark.parametrize("form", FORMS)
def test_pages_of_preempt_s_channel_are_written_too(form, corpus, tmp_path):
    name = "qemu-10/pc16-postcopy-preempt-run"
    (tmp_path / "S.1").write_bytes(corpus(f"{name}.chan1.fwd.bin"))
    written = anew(tmp_path, corpus(f"{name}.chan0.fwd.bin"), form)
    image = xbrletools.open(tmp_path / "S", channels=[tmp_path / "S.1"]).memory()
    assert image.known.all()
    assert written.memory().known.all()
    assert (written.memory().pages[:] == image.pages[:]).all()
