"""One request and its answer: what uvicorn's own does not do for HTTP/1.0, Expect, slow readers and small answers."""

from __future__ import annotations

import re
import socket
import struct
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from api.http.header_fields import Fields

COUNTED_FROM_BYTES = 16_384  # what is shorter, the system takes, or the sweep finds
JOINED_TO_BYTES = 65_536  # the longest body that is copied behind its head: two writes cost more than the copy
NO_BODY = frozenset({204, 304})
# Names are tokens, as ASGI has them in lower case, and nothing in a value ends its line.
HEADERS = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9a-z]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")


class Sender(Protocol):
    """What an answer asks of its connection; uvicorn's type of a scope is not Starlette's."""

    def note_sent(self, scope: Any, size: int) -> None:
        """Counts bytes of a body that were written."""

    def may_send(self, scope: Any, length: int) -> bool:
        """Whether a body of this length may be sent."""

    def linger(self) -> None:
        """Ends the connection once its reader has the answer."""


def render_head(status: int, fields: Fields) -> bytes:
    """The head of an answer; RuntimeError for a field that would be another line, or none."""
    lines = [name + b": " + value + b"\r\n" for name, value in fields]
    text = b"".join(lines)
    if HEADERS.fullmatch(text) is None or text.count(b"\n") != len(lines):
        raise RuntimeError("A header of the answer is not valid.")
    return STATUS_LINE[status] + text + b"\r\n"


class Cycle(RequestResponseCycle):
    """Sends an answer as its connection can take it."""

    connection: Sender  # that it belongs to
    until_close = False  # whether the end of the connection is the end of the body
    lingers = False  # whether the connection ends with the answer, though the body is still coming
    turned_away = False  # whether a short refusal replaces the answer
    head = b""  # that waits for the body

    async def run_asgi(self, app: Any) -> None:
        """Answers; where the end of the connection is the end of the body, one that is cut off is reset."""
        await super().run_asgi(app)
        if self.until_close and not self.response_complete and not self.disconnected:
            if (peer := self.transport.get_extra_info("socket")) is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    async def send(self, message: Any) -> None:
        """Sends a piece of the answer."""
        if self.turned_away:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            if not self.disconnected:
                self.start(message["status"], [*self.default_headers, *message["headers"]])
            return
        body = message.get("body", b"")
        size = len(body)
        if self.until_close:
            self.expected_content_length = size  # no length was announced: any body is right
        if self.head:
            self.expected_content_length += len(self.head)
            message = {**message, "body": self.head + body}
            self.head = b""
        await super().send(message)
        self.connection.note_sent(self.scope, size)
        if self.lingers and self.response_complete:
            self.connection.linger()

    def start(self, status: int, fields: Fields) -> None:
        """Decides how the answer is sent; writes its head, or keeps it for a short body, which follows at once."""
        by_name = dict(fields)
        has_body = self.scope["method"] != "HEAD" and status not in NO_BODY
        length = int(by_name[b"content-length"]) if b"content-length" in by_name else None
        if has_body and length is not None and length >= COUNTED_FROM_BYTES:
            self.turned_away = not self.connection.may_send(self.scope, length)
            if self.turned_away:
                return
        unframed = has_body and length is None
        # All of it is set anew: where a head is refused, the next one is that of the error.
        self.until_close = unframed and self.scope["http_version"] == "1.0"  # which does not know chunks
        self.chunked_encoding = unframed and not self.until_close
        self.expected_content_length = length or 0
        if self.chunked_encoding:
            fields.append((b"transfer-encoding", b"chunked"))
        options = by_name.get(b"connection")
        closes = options is not None and b"close" in [each.strip() for each in options.lower().split(b",")]
        if self.waiting_for_100_continue or closes:
            # Whether a body that was never asked for still comes, only its sender knows.
            self.keep_alive = self.waiting_for_100_continue = False
        if not (self.keep_alive or closes):
            fields.append((b"connection", b"close"))
        head = render_head(status, fields)
        self.response_started = True
        if has_body and length is not None and length <= JOINED_TO_BYTES:
            self.head = head
        else:
            self.transport.write(head)
        if self.more_body and not self.keep_alive:
            self.lingers = self.keep_alive = True  # closed with bytes unread, the answer would be lost
