"""What is not a migration stream is named, with what to do next, and exits with 2."""

import bz2
import gzip
import lzma

import pytest

import xbrletools
from tests.building import page, patterned, stream, zero
from tests.cli.run import run
from xbrletools.container.identify import foreign
from xbrletools.formats import lime, magics, multifd

_FILL = b"\x5a" * 5000


@pytest.mark.parametrize("known", [m for m in magics.MAGICS if m.magic != b"QCPR"], ids=lambda m: m.what)
def test_every_magic_is_named_with_what_to_do_next(known, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(_FILL[: known.offset] + known.magic + _FILL)
    status, out, err = run(capsys, "info", path)
    assert (status, out) == (2, "")
    assert f"not a QEMU migration stream: it {known.what}; {known.advice}" in err
    assert err.count("\n") == 1
    assert known.source


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\x16\x03\x01\x01\x8a" + _FILL, "is encrypted (a TLS record)"),
        (b"\x17\x03\x03\x40\x00" + _FILL, "is encrypted (a TLS record)"),
        (magics.FIRMWARE_VECTOR * 4 + bytes(4096), "seems to be raw memory of a PC"),
        (page(0x7000, patterned(1), b"pc.ram") + page(0x8000, patterned(2)), "channel of postcopy-preempt"),
        (page(0x7000, patterned(1), b"pc.ram"), "channel of postcopy-preempt"),
        (zero(0x7000, b"pc.ram") + page(0x8000, patterned(2)), "its first record is of pc.ram"),
        (
            multifd.Init.build({"magic": multifd.MAGIC, "version": 1, "uuid": bytes(16), "id": b"\3", "unused": b""}),
            "is multifd channel 3",
        ),
        (b"\0\2\0\4\0\0\0\1\0\1\0\4\0\0\0\0", "is the return path of a migration"),
    ],
)
def test_other_parts_of_a_migration_and_what_lies_beside_it_are_named(head, said):
    assert said in (foreign(head) or "")


@pytest.mark.parametrize(
    "head",
    [
        bytes(5000), _FILL, b"\x16\x03\x09\x01\x8a" + _FILL, b"\x16\x03\x01\0\0" + _FILL,
        page(0x7000, patterned(1), b"pc\x01ram") + page(0x8000, patterned(2)),
        page(0x7000, patterned(1), b"pc.ram") + b"\xff" * 8, b"",
    ],
)  # fmt: skip
def test_what_nothing_shows_is_not_named(head):
    assert foreign(head) is None


def test_no_magic_hides_another_or_a_stream():
    for known in magics.MAGICS:
        whole = b"\0" * known.offset + known.magic
        assert next(m for m in magics.MAGICS if whole[m.offset :].startswith(m.magic)) is known
        assert not known.magic.startswith(b"QEVM")


@pytest.mark.parametrize(("name", "said"), [("tls-head", "TLS record"), ("cprstate-11.1", "(QCPR)")])
def test_the_cases_are_named(name, said, corpus):
    with pytest.raises(xbrletools.XbrleError, match="not a QEMU migration stream") as caught:
        _ = xbrletools.open(corpus(f"cases/wrappers/{name}.bin")).records
    assert said in str(caught.value)


def test_what_the_tool_itself_exports_is_known():
    assert foreign(lime.Header.build({"start": 0, "end": 4095}) + bytes(4096)).startswith("is a LiME image")


@pytest.mark.parametrize(("outer", "command"), [(gzip, "zcat"), (bz2, "bzcat"), (lzma, "xzcat")])
def test_what_is_packed_twice_is_named_with_what_undoes_it(tmp_path, outer, command):
    name = outer.__name__.replace("bz2", "bzip2").replace("lzma", "xz")
    (tmp_path / "S").write_bytes(outer.compress(gzip.compress(stream())))
    with pytest.raises(xbrletools.XbrleError, match=f"packed twice, gzip inside {name}; .*: {command} S"):
        _ = xbrletools.open(tmp_path / "S").records
    _ = xbrletools.open(outer.decompress((tmp_path / "S").read_bytes())).records
