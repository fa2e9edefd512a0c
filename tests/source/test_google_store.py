"""Captures in gs://, against a store on loopback that answers the few questions which reading asks."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
from xbrletools.errors import TransportError

os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # gcsfs looks when it is imported
gcsfs = pytest.importorskip("gcsfs", reason="gcsfs is not installed (extra gs)")
retry = pytest.importorskip("gcsfs.retry")

SAMPLE = (SAMPLES / "posted-8m.bin").read_bytes()


class _Handler(BaseHTTPRequestHandler):
    """Objects of one bucket by name, what was asked, and how many of the next downloads break in the middle."""

    objects: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    breaking: ClassVar[int] = 0

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        _, _, name = path.path.partition("/b/captures/o")
        name = unquote(name.removeprefix("/"))
        is_download = path.path.startswith("/download/") or "media" in parse_qs(path.query).get("alt", [])
        type(self).asked.append("download" if is_download else "state")
        data = self.objects.get(name)
        if not name:
            return self._say(200, {"kind": "storage#objects", "items": []})
        if data is None:
            return self._say(404, {"error": {"code": 404, "message": f"No such object: captures/{name}"}})
        if is_download:
            return self._send(data)
        return self._say(
            200,
            {
                "kind": "storage#object",
                "bucket": "captures",
                "name": name,
                "size": str(len(data)),
                "generation": str(hash(data) & 0xFFFF),
                "etag": "x",
                "updated": "2026-11-26T00:00:00Z",
                "timeCreated": "2026-11-26T00:00:00Z",
                "mediaLink": f"http://{self.headers['Host']}/download/storage/v1/b/captures/o/{name}?alt=media",
            },
        )

    def _say(self, status: int, about: dict[str, Any]) -> None:
        text = json.dumps(about).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _send(self, data: bytes) -> None:
        begin, end = 0, len(data)
        wanted = self.headers.get("Range")
        if wanted:
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(low), min(end, int(high) + 1 if high else end)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(end - begin))
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.end_headers()
        if type(self).breaking:
            type(self).breaking -= 1
            self.wfile.write(data[begin : (begin + end) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[begin:end])


class _Server(ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:
        pass  # a client that went away


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Handler]]:
    """The store with one capture, and a cache of its own."""
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_address[1]}",
        "FSSPEC_GS_TOKEN": "anon",
        "XBRLE_REMOTE_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)

    async def at_once(_: float) -> None:
        """Waits that gcsfs makes between its tries, of which there are minutes."""

    monkeypatch.setattr(retry, "asyncio", SimpleNamespace(sleep=at_once))
    _Handler.objects, _Handler.asked, _Handler.breaking = {"night/s.bin": SAMPLE}, [], 0
    gcsfs.GCSFileSystem.clear_instance_cache()
    try:
        yield _Handler
    finally:
        gcsfs.GCSFileSystem.clear_instance_cache()
        server.shutdown()
        server.server_close()


def test_a_capture_is_read_as_a_file_is_and_fetched_once(
    store: type[_Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    here = run(capsys, "verify", SAMPLES / "posted-8m.bin", "--json")
    assert run(capsys, "verify", "gs://captures/night/s.bin", "--json") == here
    assert store.asked.count("download") == 1
    assert run(capsys, "verify", "gs://captures/night/s.bin", "--json") == here
    assert store.asked.count("download") == 1


def test_a_changed_object_is_fetched_anew(store: type[_Handler]) -> None:
    for sample in ("posted-8m.bin", "posted-little-default.bin"):
        store.objects["night/s.bin"] = (SAMPLES / sample).read_bytes()
        with xbrletools.open("gs://captures/night/s.bin") as opened:
            assert bytes(opened.source.view) == store.objects["night/s.bin"]


def test_what_is_not_there_is_said(store: type[_Handler], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "info", "gs://captures/none.bin")
    assert (status, out, err) == (2, "", "xbrle: gs://captures/none.bin: there is no such object. Look at its name\n")


def test_a_connection_that_breaks_is_never_damage_of_the_capture(
    store: type[_Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    store.breaking = 1  # gcsfs tries again by itself
    with xbrletools.open("gs://captures/night/s.bin", cache=False) as opened:
        assert opened.data.tobytes() == SAMPLE
    store.breaking = 1000
    status, out, err = run(capsys, "verify", "gs://captures/night/s.bin", "--json")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "ry again" in err and "HTTP 400" not in err
    store.breaking = 0
    assert run(capsys, "verify", "gs://captures/night/s.bin", "--json")[0] == 0


def test_a_store_that_is_gone_is_an_error_to_try_again(store: type[_Handler], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    gcsfs.GCSFileSystem.clear_instance_cache()
    with pytest.raises(TransportError, match="try again"):
        xbrletools.open("gs://captures/night/s.bin")
