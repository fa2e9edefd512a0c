"""volatility3 on captures, with the plugin folder and without."""

import importlib
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import PAGE, page, patterned, stream, zero
from tests.conftest import ROOT, SAMPLES
from tests.scan.test_channels import Packets, main_channel

PLUGINS = ROOT / "xbrletools" / "volatility"


def written(folder: Path, path: Path, *options: str, plugins: bool = True) -> bytes:
    """What volatility's layerwriter writes of a file."""
    pytest.importorskip("volatility3")
    options = (*(("-p", str(PLUGINS)) if plugins else ()), *options)
    (folder / "cache").mkdir(exist_ok=True)
    code = "import sys; sys.argv[0] = 'vol'; from volatility3.cli import main; main()"
    arguments = ["-q", "-o", str(folder), "--cache-path", str(folder / "cache"), *options, "-f", str(path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "layerwriter"], cwd=ROOT, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    (found,) = folder.glob("*.raw")
    data = found.read_bytes()
    found.unlink()
    return data


@pytest.mark.parametrize("name", ["xbzrle-16m", "posted-8m"])
def test_a_delta_stream_is_the_guests_memory_with_the_folder_and_not_without(name, tmp_path):
    truth = lzma.decompress((SAMPLES / f"{name}.truth.xz").read_bytes())
    assert written(tmp_path, SAMPLES / f"{name}.bin") == truth
    assert written(tmp_path, SAMPLES / f"{name}.bin", plugins=False) != truth


def test_a_packed_capture_is_opened_too(tmp_path):
    path = tmp_path / "s.bin.xz"
    path.write_bytes(lzma.compress((SAMPLES / "xbzrle-16m.bin").read_bytes()))
    assert written(tmp_path, path) == lzma.decompress((SAMPLES / "xbzrle-16m.truth.xz").read_bytes())


def test_channels_that_were_recorded_beside_a_capture_belong_to_it(tmp_path):
    channel = Packets().packet(0, [(PAGE, patterned(2))], sync=True).packet(1, sync=True).packet(2, sync=True)
    (tmp_path / "S").write_bytes(main_channel(zero(0, b"pc.ram")))
    (tmp_path / "S.1").write_bytes(channel.bytes())
    (tmp_path / "S.2").write_bytes(b"something else")
    assert written(tmp_path, tmp_path / "S")[: 2 * PAGE] == bytes(PAGE) + patterned(2)


def test_a_file_that_is_no_capture_is_left_to_volatility(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(patterned(3) * 16)
    assert written(tmp_path, path) == patterned(3) * 16


def test_nobody_knows_an_unsent_page_and_the_layer_does_not_either():
    pytest.importorskip("volatility3")
    from volatility3.framework import contexts, exceptions
    from volatility3.framework.layers import physical

    from xbrletools.volatility.captures import CaptureStacker

    context = contexts.Context()
    data = stream(page(0, patterned(1), b"pc.ram"), page(5 * PAGE, patterned(2)))
    context.add_layer(physical.BufferDataLayer(context, "base", "base", data))
    layer = CaptureStacker.stack(context, "base")
    assert layer.read(5 * PAGE, PAGE) == patterned(2)
    assert (layer.is_valid(PAGE - 1), layer.is_valid(PAGE), layer.is_valid(PAGE - 1, 2)) == (True, False, False)
    with pytest.raises(exceptions.InvalidAddressException):
        layer.read(PAGE, 1)
    assert layer.read(0, 6 * PAGE, pad=True) == patterned(1) + bytes(4 * PAGE) + patterned(2)


def test_layers_of_one_file_hold_its_memory_once(tmp_path):
    pytest.importorskip("volatility3")
    from volatility3.framework import contexts
    from volatility3.framework.layers import physical

    from xbrletools.volatility.captures import CaptureStacker

    path = tmp_path / "s"
    path.write_bytes(stream(page(0, patterned(1), b"pc.ram")))
    guests = []
    for _ in range(2):
        context = contexts.Context()
        context.config["base.location"] = path.as_uri()
        file = physical.FileLayer(context, "base", "base")
        context.add_layer(file)
        layer = CaptureStacker.stack(context, "base")
        guests.append(context.layers[layer.config["base_layer"]].guest)
        file.destroy()
    assert guests[0] is guests[1]


def test_without_volatility_the_folder_imports_and_defines_no_layer(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "volatility3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "volatility3", None)
    monkeypatch.delitem(sys.modules, "xbrletools.volatility.captures", raising=False)
    module = importlib.import_module("xbrletools.volatility.captures")
    assert not hasattr(module, "CaptureLayer")
    monkeypatch.delitem(sys.modules, "xbrletools.volatility.captures")


def test_real_xbzrle_is_the_truth(corpus, tmp_path):
    path = tmp_path / "s.bin"
    path.write_bytes(corpus("qemu-7.2/pc16-xbzrle-large-kvm.bin"))
    truth = corpus("qemu-7.2/pc16-xbzrle-large-kvm.truth")
    assert written(tmp_path, path) == truth
    assert written(tmp_path, path, plugins=False) != truth
