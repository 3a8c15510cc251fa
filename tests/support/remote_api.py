"""An HTTP API on this machine that does what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]  # names in small letters
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered: `raw` bytes on the socket where the answer is no good HTTP."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class RemoteApi:
    """The running API: give it an `answer`."""

    url: str
    port: int
    answer: Callable[[Asked], Reply] = lambda asked: Reply(b"[]")
    asked: list[Asked] = field(default_factory=list)

    def play(self, *replies: Reply) -> None:
        """Answers with these, one after the other, and with the last one from then on."""
        left = list(replies)
        self.answer = lambda asked: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def run_remote_api(host: str = "127.0.0.1", secured: ssl.SSLContext | None = None) -> Iterator[RemoteApi]:
    """The API, on a free port, until the block ends; over TLS where it is `secured`, as `localhost`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): text for name, text in self.headers.items()}
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            api.asked.append(asked)
            reply = api.answer(asked)
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, text in reply.headers.items():
                self.send_header(name, text)
            if reply.status != 304:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if reply.status != 304:
                self.wfile.write(content)

        do_GET = do_POST = do_OPTIONS = reply  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Says nothing of a client that has gone."""

    server = Server((host, 0), Handler)
    url = f"http://{host}:{server.server_port}"
    if secured:
        server.socket = secured.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}"
    api = RemoteApi(url, server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
