"""One request and its answer: what uvicorn's own does not do for HTTP/1.0, Expect, slow readers and small answers."""

from __future__ import annotations

import socket
import struct
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

COUNTED_FROM_BYTES = 16_384  # what is shorter, the system takes, or the sweep finds
JOINED_TO_BYTES = 65_536  # the longest body that is copied behind its head: two writes cost more than the copy
NO_BODY = frozenset({204, 304})


class Sender(Protocol):
    """What an answer asks of its connection; uvicorn's type of a scope is not Starlette's."""

    def note_sent(self, scope: Any, size: int) -> None:
        """Counts bytes of a body that were written."""

    def may_send(self, scope: Any, length: int) -> bool:
        """Whether a body of this length may be sent."""

    def linger(self) -> None:
        """Ends the connection once its reader has the answer."""


class HeldHead:
    """Stands in for a transport while uvicorn writes the head of an answer, which leaves with the body."""

    head = b""

    def write(self, head: bytes) -> None:
        """Keeps the head."""
        self.head = head


class Cycle(RequestResponseCycle):
    """Sends an answer as its connection can take it."""

    connection: Sender  # that it belongs to
    until_close = False  # whether the end of the connection is the end of the body
    lingers = False  # whether the connection ends with the answer, though the body is still coming
    turned_away = False  # whether a short refusal replaces the answer
    joins = False  # whether the head leaves in one write with the body
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
        if message["type"] == "http.response.start":
            if self.response_started or self.disconnected or self.begin(message):
                await self.send_head(message)
                if self.more_body and not self.keep_alive:
                    self.lingers = self.keep_alive = True  # closed with bytes unread, the answer would be lost
            return
        size = len(message.get("body", b""))
        if self.until_close:
            self.expected_content_length = size  # no length was announced: any body is right
        if self.head:
            self.expected_content_length += len(self.head)
            message = {**message, "body": self.head + message.get("body", b"")}
            self.head = b""
        await super().send(message)
        self.connection.note_sent(self.scope, size)
        if self.lingers and self.response_complete:
            self.connection.linger()

    async def send_head(self, message: Any) -> None:
        """Sends the head of an answer, or keeps it for a short body, which follows at once."""
        if not self.joins:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()  # here, since nobody else may meet what stands in for the transport
        transport, held = self.transport, HeldHead()
        self.transport = cast(Any, held)
        try:
            await super().send(message)
        finally:
            self.transport = transport
        self.head = held.head

    def begin(self, message: Any) -> bool:
        """Decides how the answer is sent; False where a short refusal was sent in its place."""
        has_body = self.scope["method"] != "HEAD" and message["status"] not in NO_BODY
        length = None
        for name, value in message["headers"]:
            if name == b"content-length":
                length = int(value)
                break
        if has_body and length is None and self.scope["http_version"] == "1.0":
            self.until_close = True
            self.chunked_encoding = False  # which HTTP/1.0 does not know
        elif has_body and length is not None and length >= COUNTED_FROM_BYTES:
            self.turned_away = not self.connection.may_send(self.scope, length)
        self.joins = has_body and length is not None and length <= JOINED_TO_BYTES
        if self.waiting_for_100_continue:
            # The body was never asked for: whether it still comes, only its sender knows.
            self.keep_alive = False
        return not self.turned_away
