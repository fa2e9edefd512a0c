"""`top --symbols` on a real Linux guest: whose the pages are that its processes, its files and its kernel kept writing.

Needs drgn, the corpus, and the guest's vmlinux, which `.ci/fetch-vmlinux 6.1.0-50-cloud-amd64` fetches.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from xbrletools.analysis.owners import FREE, owners_of
from xbrletools.errors import XbrleError
from xbrletools.physical.infer import map_of

RELEASE = "6.1.0-50-cloud-amd64"
FOLDER = os.environ.get("XBRLE_VMLINUX") or Path.home() / ".cache" / "xbrletools" / "vmlinux"
VMLINUX = Path(FOLDER) / f"vmlinux-{RELEASE}"


@pytest.fixture(scope="module")
def linux(tmp_path_factory):
    """The capture of the Linux guest, as a file."""
    import lzma

    from tests.conftest import CORPUS

    pytest.importorskip("drgn")
    packed = CORPUS / "linux-guest" / "keep-xbzrle-192m.bin.xz"
    if not packed.exists() or not VMLINUX.exists():
        pytest.skip(f"needs {packed} and {VMLINUX}: .ci/fetch-vmlinux {RELEASE}")
    path = tmp_path_factory.mktemp("linux") / "S"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


def test_the_busiest_owners_are_the_stress_process_then_the_counter_then_tmpfs(linux, capsys):
    status, out, err = run(capsys, "top", linux, "--symbols", VMLINUX, "--json")
    assert (status, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    owners = [o["owner"] for o in found]
    stress = next(i for i, o in enumerate(owners) if o["name"] == "stress-ng-vm [run]")
    counter = next(i for i, o in enumerate(owners) if o["name"] == "python3 /counter.py")
    tmpfs = next(i for i, o in enumerate(owners) if o["kind"] == "file")
    assert (stress, counter) == (0, 1)
    assert counter < tmpfs
    assert owners[tmpfs] == {"kind": "file", "name": "tmpfs (page cache)", "what": "app.db", "pid": None}
    assert {o["kind"] for o in owners} >= {"process", "file", "slab", "kernel"}
    assert owners[stress]["pid"] == 108
    assert [o["resent_bytes"] for o in found] == sorted((o["resent_bytes"] for o in found), reverse=True)


def test_owners_add_up_to_the_pages_that_were_sent_again(linux, capsys):
    _, out, _ = run(capsys, "top", linux, "--symbols", VMLINUX, "--json")
    owned = [json.loads(line) for line in out.splitlines()]
    _, out, _ = run(capsys, "top", linux, "--json")
    pages = [o for o in map(json.loads, out.splitlines()) if o["resends"]]
    assert sum(o["pages"] for o in owned) == len(pages)
    assert sum(o["resends"] for o in owned) == sum(o["resends"] for o in pages)
    assert sum(o["resent_bytes"] for o in owned) == sum(o["resent_bytes"] for o in pages)


def test_the_table_keeps_to_80_columns(linux, capsys):
    for by in ("owner", "page"):
        status, out, _ = run(capsys, "top", linux, "--symbols", VMLINUX, "--by", by)
        assert status == 0
        assert max(map(len, out.splitlines())) <= 80
        assert "stress-ng-vm" in out


def test_pages_that_the_guest_does_not_use_are_free_and_those_of_its_text_are_the_kernels(linux):
    stream = xbrletools.open(linux).stream
    block = next(i for i, b in enumerate(stream.blocks) if b.name == b"pc.ram")
    count = stream.blocks[block].length // stream.page_size
    address = np.arange(count) * stream.page_size
    found = owners_of(stream, map_of(stream), str(VMLINUX), np.full(count, block), address)
    assert found.notes == ()
    kinds = np.array([o.kind for o in found.owners])[found.index]
    names = np.array([f"{o.name} {o.what}" for o in found.owners])[found.index]
    free = found.index == found.owners.index(FREE)
    image = xbrletools.open(linux).memory()
    pages = image.pages[image.space.slice(block)]
    assert np.count_nonzero(free) > 10_000
    assert not pages[free].any()  # the guest runs with init_on_free=1
    assert (names == "kernel text").sum() > 2000
    assert np.count_nonzero(kinds == "unknown") == 0


def test_a_vmlinux_of_another_kernel_is_refused(linux, tmp_path):
    stream = xbrletools.open(linux).stream
    where, nothing = map_of(stream), np.empty(0, np.int64)
    for path, said in (
        (str(linux), "not the guest's kernel"),
        ("/bin/ls", "6.1.0-50"),
        (str(tmp_path / "no"), "No such"),
    ):
        with pytest.raises(XbrleError, match=said):
            owners_of(stream, where, path, nothing, nothing)
