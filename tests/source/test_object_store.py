"""Captures in an S3 store on loopback, as moto plays one."""

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import xbrletools
from tests.arriving import even, written
from tests.cli.run import run
from tests.conftest import CORPUS, SAMPLES
from xbrletools.errors import TransportError
from xbrletools.source import remote

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed (extra s3)")
pytest.importorskip("moto", reason="moto is not installed (extra test)")

WAIT = 60  # seconds until the store must be there


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a store, a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, **quiet) as server:
        try:
            end = time.monotonic() + WAIT
            while time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture
def store(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store's file system, with an empty bucket ``captures``."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XBRLE_REMOTE_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    found = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    if found.exists("captures"):
        found.rm("captures", recursive=True)
    found.mkdir("captures")
    return found


def test_a_capture_is_fetched_once(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(str(SAMPLES / "posted-8m.bin"), "captures/s.bin")
    fetched = []
    real = remote._fetch
    monkeypatch.setattr(remote, "_fetch", lambda *a: (fetched.append(a[1]), real(*a))[1])
    for _ in range(3):
        with xbrletools.open("s3://captures/s.bin") as opened:
            assert opened.records.last_number == 2557
    assert len(fetched) == 1


def test_a_changed_object_is_fetched_anew(store: Any) -> None:
    for sample in ("posted-8m.bin", "posted-little-default.bin"):
        store.put(str(SAMPLES / sample), "captures/s.bin")
        with xbrletools.open("s3://captures/s.bin") as opened:
            assert bytes(opened.source.view) == (SAMPLES / sample).read_bytes()


def test_what_is_not_there_is_said_and_not_taken_for_a_capture(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("s3://captures/none.bin", "s3://elsewhere/none.bin"):
        status, out, err = run(capsys, "verify", url, "--json")
        assert (status, out, err) == (2, "", f"xbrle: {url}: there is no such object. Look at its name\n")


def test_a_store_that_is_gone_is_an_error_to_try_again(
    store: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(TransportError, match="try again"):
            xbrletools.open("s3://captures/s.bin")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_connection_that_breaks_in_the_middle_is_an_error_and_the_second_try_succeeds(
    store: Any, endpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.put(str(SAMPLES / "posted-8m.bin"), "captures/s.bin")
    with breaking(endpoint) as (address, breaks):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            breaks[0] = 1000  # s3fs goes on by itself a few times
            status, out, err = run(capsys, "verify", "s3://captures/s.bin", "--json")
            assert (status, out, err.count("\n")) == (2, "", 1) and "ry again" in err
            assert breaks[0] < 1000
            assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
            breaks[0] = 0
            assert run(capsys, "verify", "s3://captures/s.bin", "--json")[0] == 0
        finally:
            s3fs.S3FileSystem.clear_instance_cache()


@contextmanager
def breaking(endpoint: str) -> Iterator[tuple[str, list[int]]]:
    """A way to the store that drops the next so many connections after their first few KB."""
    breaks, host = [0], endpoint.removeprefix("http://")

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            name, _, port = host.partition(":")
            with socket.create_connection((name, int(port))) as there:
                threading.Thread(target=self.copy, args=(self.request, there, None), daemon=True).start()
                self.copy(there, self.request, 1 << 12)

        @staticmethod
        def copy(source: socket.socket, to: socket.socket, most: int | None) -> None:
            came = 0
            with suppress(OSError):
                while piece := source.recv(1 << 14):
                    to.sendall(piece)
                    came += len(piece)
                    if most is not None and came > most and breaks[0]:
                        breaks[0] -= 1
                        break
            for one in (source, to):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Way) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", breaks
        finally:
            server.shutdown()


def test_channels_lie_beside_a_capture_there_as_here(
    store: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = CORPUS / "cases" / "multifd"
    if not folder.is_dir():
        pytest.skip("the corpus of real captures is absent")
    for n in range(3):
        data = (folder / f"multifd-sync-10.0.chan{n}.bin").read_bytes()
        for name in (f"m.chan{n}.bin", "s.bin" if n == 0 else f"s.bin.{n}"):
            (tmp_path / name).write_bytes(data)
            store.put(str(tmp_path / name), f"captures/{name}")
    for name in ("m.chan0.bin", "s.bin"):
        here = run(capsys, "info", tmp_path / name, "--json")
        there = run(capsys, "info", f"s3://captures/{name}", "--json")
        assert here[0] == there[0] == 0
        assert there[1].replace("s3://captures/", f"{tmp_path}/") == here[1]
        first = "m.chan1.bin" if "chan0" in name else "s.bin.1"
        assert f"reading the channels s3://captures/{first}, " in there[2]
    store.rm("captures/s.bin.2")
    assert run(capsys, "info", "s3://captures/s.bin")[0] == 1
    assert not os.path.lexists("s3:")


def test_times_lie_beside_a_capture_there_as_here(
    store: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    (tmp_path / "s.bin").write_bytes(data)
    written(tmp_path / "s.bin", data, even(data))
    for name in ("s.bin", "s.bin.times"):
        store.put(str(tmp_path / name), f"captures/{name}")
    here = run(capsys, "info", tmp_path / "s.bin", "--json")
    there = run(capsys, "info", "s3://captures/s.bin", "--json")
    assert '"clock"' in here[1] or '"arrival": {' in here[1]
    assert there[1].replace("s3://captures/", f"{tmp_path}/") == here[1]
