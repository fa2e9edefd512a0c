"""A web server on loopback for one object, which fails as a test says."""

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Store:
    """Objects by path, and how the next GETs fail: a list of words, first come first served."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.etags = True
        self.version = 0
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    store: Store

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        store, path = self.store, self.path.partition("?")[0]
        store.asked.append(f"{self.command} {path}")
        if self.headers.get("Authorization"):
            store.asked.append("with a password")
        data = store.objects.get(path)
        fault = store.faults.pop(0) if with_body and store.faults else ""
        if path == "/forbidden":
            return self._head(403, None)
        if data is None:
            return self._head(404, None)
        if fault == "error":
            return self._head(503, None)
        sent = data
        begin, end = 0, len(data)
        wanted = self.headers.get("Range")
        if wanted:
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(low), min(end, int(high) + 1 if high else end)
            sent = data[begin:end]
        self._head(206 if wanted else 200, None if fault == "no length" else len(sent), data)
        if not with_body:
            return None
        if fault in ("reset", "short"):
            sent = sent[: len(sent) // 2]
        with suppress(OSError):
            self.wfile.write(sent)
            self.wfile.flush()
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if fault == "changes":
            store.version += 1
        return None

    def _head(self, status: int, length: int | None, data: bytes | None = None) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if data is not None and self.store.etags:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}-{self.store.version}"')
        if self.path.partition("?")[0].endswith(".gz"):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Connection", "close")
        self.end_headers()


@contextmanager
def serving() -> Iterator[Store]:
    """A server, and what it has."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        store.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
