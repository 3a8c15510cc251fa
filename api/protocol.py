"""HTTP/1.1 with limits: on addresses, headers, bodies, and on how slowly they may come.

uvicorn's own protocol has none. Headers and bodies are counted as they arrive, so that nothing over a limit is ever
held; whoever is over one gets a problem, and the connection ends.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import KINDS, MEDIA_TYPE, Problem, write_problem
from catalog.settings import Settings

IDLE, HEADERS, BODY = range(3)  # what of a request is on its way
LINGER_SECONDS = 1.0  # for the answer to arrive before the connection is torn down
EVENTS = b"/events"
REASONS = {400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large", 414: "URI Too Long"}


class ServiceConfig(uvicorn.Config):
    """uvicorn's configuration, with the limits that its connections are held to."""

    limits: Settings


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, config: ServiceConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.limits = config.limits
        self.url = b""
        self.stage = IDLE
        self.handed_on = False  # whether the application has the request whose body is coming
        self.unfinished = 0  # bytes of a head that is not complete
        self.head = 0  # bytes of the headers that were read
        self.body_left = 0
        self.refused = False
        self.refusal: str | None = None  # the code of what is wrong with the request that is coming
        self.timer: TimerHandle | None = None
        self.timed = IDLE  # what the timer is for

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what was waited for."""
        self.unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what has come; what comes behind a refusal is dropped."""
        if self.refused:
            return
        super().data_received(data)
        if self.refused:
            return
        if self.stage == self.timed == IDLE and self.refusal is None and not self.cycle.response_complete:
            return  # a whole request, as most are: it is being answered
        if self.stage == HEADERS:
            # What the parser keeps of a header whose end has not come is known to nobody but it.
            self.unfinished += len(data)
            if self.unfinished > self.limits.header_limit_bytes + self.limits.url_limit_bytes:
                self.refusal = self.refusal or "headers_too_large"
        if self.refusal is not None:
            self.refuse(self.refusal)
        else:
            self.watch()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.stage = HEADERS
        self.handed_on = False
        self.head = self.unfinished = 0
        self.body_left = self.limits.body_limit_bytes

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        if len(self.url) + len(url) > self.limits.url_limit_bytes:
            self.refusal = self.refusal or "uri_too_long"
            return
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.head += len(name) + len(value) + 4  # with ": " and the line's end
        if self.head > self.limits.header_limit_bytes:
            self.refusal = self.refusal or "headers_too_large"
        if self.refusal is not None:
            return
        # As uvicorn does it, without a call more for each header.
        name = name.lower()
        self.headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"content-length" and value.isdigit():
            self.body_left = self.limit_of_body()
            if len(value) > 18 or int(value) > self.body_left:
                self.refusal = "body_too_large"

    def on_headers_complete(self) -> None:
        """All headers are there: the request is handed on, unless it is refused."""
        self.stage = BODY
        if self.refusal is None:
            self.body_left = self.limit_of_body()
            self.handed_on = True
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.refusal is not None:
            return
        self.body_left -= len(body)
        if self.body_left < 0:
            self.refusal = "body_too_large"
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self.stage = IDLE
        self.handed_on = False
        if self.refusal is None:
            super().on_message_complete()

    def limit_of_body(self) -> int:
        """How long the body of this request may be."""
        path = self.url.partition(b"?")[0]
        return self.limits.events_limit_bytes if path.endswith(EVENTS) else self.limits.body_limit_bytes

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self.refuse("bad_request")

    def watch(self) -> None:
        """Waits no longer than the limit for what is not complete; a piece more does not buy more time."""
        stage = self.stage
        if stage == IDLE:
            answering = self.cycle is not None
            if answering:
                # Between requests uvicorn waits; but for empty lines, which begin nothing, it would wait for ever.
                waits = self.cycle.response_complete and self.timeout_keep_alive_task is None
                stage = HEADERS if waits else IDLE
            else:
                stage = HEADERS
        if stage == self.timed:
            return
        self.unwatch()
        if stage != IDLE:
            limits = self.limits
            seconds = limits.header_timeout_seconds if stage == HEADERS else limits.body_timeout_seconds
            self.timed = stage
            self.timer = self.loop.call_later(seconds, self.refuse, "request_timeout")

    def unwatch(self) -> None:
        """Stops waiting."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.timed = IDLE

    def refuse(self, code: str) -> None:
        """Answers with a problem where nothing was answered yet, and ends the connection."""
        self.unwatch()
        self.refused = True
        if self.transport.is_closing():
            return
        cycle = self.cycle
        busy = cycle is not None and not cycle.response_complete
        if busy and (cycle.response_started or self.stage == HEADERS):
            # An answer is on its way, to this request or to the one before: nothing may stand in the middle of it.
            cycle.keep_alive = False
            if cycle.response_started and self.stage == BODY:
                self.transport.close()
            return
        if busy:
            cycle.disconnected = True
            cycle.message_event.set()
        if busy or not self.handed_on:
            self.transport.write(render_refusal(code, self.url))
        # Otherwise it was answered before its body had come: a second answer would be taken for the next one's.
        if self.transport.can_write_eof():
            # Closed at once with bytes unread, the connection would be reset, and the answer lost with it.
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()


def render_refusal(code: str, url: bytes) -> bytes:
    """A whole HTTP answer with a problem."""
    path = url.partition(b"?")[0].decode("ascii", "replace")[:1000] if url else ""
    status = KINDS[code].status
    content = write_problem(Problem(code), path or "/")
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, KINDS[code].title)}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(content)}",
        "cache-control: no-store",
        "connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + content
