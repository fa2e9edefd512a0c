"""Internal snapshots of qcow2 images: maps that lie, and the forms that clusters have."""

import contextlib
import json
import struct
import zlib

import numpy as np
import pytest
import zstandard

import xbrletools
from tests.building import page, patterned, stream
from tests.cli.run import run
from xbrletools.formats import qcow2

BITS = 16
CLUSTER = 1 << BITS
STREAM = stream(
    *(page(i << 12, patterned(i), None if i else b"pc.ram") for i in range(40)), blocks=((b"pc.ram", 40 << 12),)
)


def _compressed(cluster: bytes, zstd: bool) -> bytes:
    if zstd:
        return zstandard.ZstdCompressor().compress(cluster)
    packer = zlib.compressobj(wbits=-12)
    return packer.compress(cluster) + packer.flush()


def image(
    state: bytes = STREAM,
    features: int = 0,
    packed: str | None = None,
    data_file: bytes = b"",
    backing: bool = False,
    again: bool = False,
    hole: int = 0,
) -> tuple[bytes, bytes]:
    """An image with one snapshot, and its data file. ``packed`` compresses every second cluster.

    ``again``: the map points at the first cluster twice. ``hole`` is the bytes between the first cluster and the rest.
    """
    out, data = bytearray(2 * CLUSTER), bytearray(CLUSTER)
    extended = bool(features & qcow2.INCOMPATIBLE_EXTENDED_L2)
    per_table = CLUSTER // (16 if extended else 8)

    def put(content: bytes, where: bytearray) -> int:
        where.extend(bytes(-len(where) % CLUSTER))
        at = len(where)
        where.extend(content)
        return at

    pieces = [state[i : i + CLUSTER] for i in range(0, len(state), CLUSTER)]
    entries: dict[int, tuple[int, int]] = {}
    for i, piece in enumerate(pieces):
        place = i + (hole // CLUSTER if i else 0)
        if packed and i % 2:
            content = _compressed(piece.ljust(CLUSTER, b"\0"), packed == "zstd")
            out.extend(bytes(-len(out) % 512 + 100))  # not at a sector's beginning
            at = len(out)
            out.extend(content)
            out.extend(b"\xee" * 600)
            bits = qcow2.compressed_offset_bits(BITS)
            sectors = (at % 512 + len(content) - 1) // 512
            entries[place] = (qcow2.COMPRESSED | sectors << bits | at, 0)
        else:
            at = put(piece, data if data_file else out)
            stored = sum(1 << s for s in range(32) if any(piece[s * 2048 : (s + 1) * 2048]))
            entries[place] = (at | qcow2.COPIED, (0xFFFFFFFF ^ stored) << 32 | stored)
    if again:
        entries[len(pieces)] = entries[0]
    tables = {}
    for number in sorted({p // per_table for p in entries}):
        table = bytearray(CLUSTER)
        for place, (entry, subclusters) in entries.items():
            if place // per_table == number:
                struct.pack_into(">QQ" if extended else ">Q", table, place % per_table * (16 if extended else 8),
                                 *((entry, subclusters) if extended else (entry,)))  # fmt: skip
        tables[number] = put(bytes(table), out)
    first = 1  # the disk has one byte
    l1_size = first + max(tables) + 1
    l1 = put(struct.pack(f">{l1_size}Q", *[0] * first, *(tables.get(i, 0) for i in range(max(tables) + 1))), out)
    size = hole + len(state) + (CLUSTER if again else 0)
    snapshot = {
        "l1_table_offset": l1, "l1_size": l1_size, "id_length": 1, "name_length": 4, "date_seconds": 0,
        "date_nanoseconds": 0, "vm_clock": 0, "vm_state_size": 0, "extra_length": 16,
        "extra": {"vm_state_size": size, "disk_size": 1}, "rest": b"", "id": b"1", "name": b"snap",
    }  # fmt: skip
    at = put(qcow2.Snapshot.build(snapshot), out)
    header = {
        "version": 3, "backing_file_offset": 512 if backing else 0, "backing_file_size": 9 if backing else 0,
        "cluster_bits": BITS, "size": 1, "crypt_method": 0, "l1_size": 0, "l1_table_offset": 0,
        "refcount_table_offset": 0, "refcount_table_clusters": 0, "snapshots": 1, "snapshots_offset": at,
        "incompatible_features": features,
    }  # fmt: skip
    rest = {"compatible_features": 0, "autoclear_features": 0, "refcount_order": 4, "header_length": 112}
    compression = {"compression": int(packed == "zstd")}
    built = (qcow2.Header.build(header) + qcow2.HeaderRest.build(rest | compression)).ljust(112, b"\0")
    built += qcow2.ExtensionHead.build({"type": 0x6803F857, "length": 3}) + bytes(8)  # another one, padded
    if data_file:
        built += qcow2.ExtensionHead.build({"type": qcow2.EXTENSION_DATA_FILE, "length": len(data_file)}) + data_file
    out[: len(built)] = built
    return bytes(out), bytes(data)


@pytest.mark.parametrize("features", [0, qcow2.INCOMPATIBLE_EXTENDED_L2])
@pytest.mark.parametrize("packed", [None, "deflate", "zstd"])
def test_the_state_comes_out_whatever_form_its_clusters_have(features, packed):
    features |= qcow2.INCOMPATIBLE_COMPRESSION if packed == "zstd" else 0
    capture = xbrletools.open(image(features=features, packed=packed)[0])
    assert capture.data.tobytes() == STREAM
    assert capture.problems == ()


def test_clusters_in_another_file_are_read_from_beside_the_image(tmp_path, capsys):
    whole, data = image(features=qcow2.INCOMPATIBLE_DATA_FILE, data_file=b"disk.raw")
    path = tmp_path / "disk.qcow2"
    path.write_bytes(whole)
    assert "disk.raw: No such file or directory; the clusters of" in run(capsys, "info", path)[2]
    (tmp_path / "disk.raw").write_bytes(data)
    assert xbrletools.open(path).data.tobytes() == STREAM
    status, _, err = run(capsys, "transcode", path, "-o", tmp_path / "disk.raw", "--force")
    assert status == 2
    assert "disk.raw: is being read" in err
    assert (tmp_path / "disk.raw").read_bytes() == data
    (tmp_path / "disk.raw").rename(tmp_path / "elsewhere")
    (tmp_path / "disk.raw").symlink_to(tmp_path / "elsewhere")
    assert run(capsys, "info", path)[0] == 2


@pytest.mark.parametrize("name", [b"../disk.raw", b"/etc/passwd", b"..", b"a/b"])
def test_a_data_file_outside_the_images_folder_is_not_opened(name, tmp_path, capsys):
    path = tmp_path / "disk.qcow2"
    path.write_bytes(image(features=qcow2.INCOMPATIBLE_DATA_FILE, data_file=name)[0])
    status, _, err = run(capsys, "info", path)
    assert status == 2
    assert "is not opened" in err


def test_what_is_named_by_an_unknown_feature_or_is_encrypted_is_refused():
    with pytest.raises(xbrletools.XbrleError, match="features that are not known"):
        xbrletools.open(image(features=1 << 9)[0])


def test_a_backing_file_is_said_not_to_matter(tmp_path, capsys):
    path = tmp_path / "disk.qcow2"
    path.write_bytes(image(backing=True)[0])
    assert "its backing file does not matter for VM state" in " ".join(run(capsys, "info", path)[1].split())
    assert json.loads(run(capsys, "info", path, "--json")[1])["wrapping"]["backed"]


def test_a_map_that_points_at_one_cluster_twice_ends_the_state_there():
    capture = xbrletools.open(image(again=True)[0])
    assert "points twice at the cluster" in capture.problems[-1].message
    assert capture.memory().known[:40].all()


def test_a_state_with_more_holes_than_a_sender_leaves_ends_before_them():
    capture = xbrletools.open(image(hole=1 << 30)[0])
    assert capture.source.size <= CLUSTER
    assert any("holes of" in p.message for p in capture.problems)


@pytest.mark.parametrize("name", ["q_overlap", "q_sparse1T"])
def test_an_image_that_would_fill_the_disk_is_damage(name, corpus, tmp_path, capsys):
    path = tmp_path / "disk.qcow2"
    path.write_bytes(corpus(f"cases/bombs/{name}.qcow2"))
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    assert status == 1
    assert "the image's map points twice at" in err
    assert sum(f.stat().st_blocks for f in (tmp_path / "out").iterdir()) * 512 < 16 << 20


def test_the_last_snapshot_with_state_is_taken_and_one_without_says_how_to_write_one():
    data = bytearray(image()[0])
    at = data.index(b"1snap") - 16
    data[at : at + 8] = bytes(8)
    with pytest.raises(
        xbrletools.XbrleError, match=r"snap \(id 1\), are of the disk alone. QEMU writes one with: savevm"
    ):
        xbrletools.open(bytes(data))


def test_bytes_of_any_kind_in_the_tables_are_one_error_or_damage():
    whole = bytearray(image(packed="zstd", features=qcow2.INCOMPATIBLE_COMPRESSION)[0])
    chance = np.random.default_rng(5)
    for _ in range(150):
        data = bytearray(whole)
        for at in chance.integers(0, len(data), 40).tolist() + chance.integers(0, 112, 1).tolist():
            data[at] = int(chance.integers(0, 256))
        with contextlib.suppress(xbrletools.XbrleError):
            xbrletools.open(bytes(data)).source.close()
