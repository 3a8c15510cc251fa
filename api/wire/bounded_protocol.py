"""HTTP/1.1 with limits: on addresses, headers, bodies, and on how slowly they may come; and without two meanings.

uvicorn's own protocol has none. Headers and bodies are counted as they arrive, so that nothing over a limit is ever
held; whoever is over one gets a problem, and the connection ends. What could be read in two ways is refused likewise.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from api.http.header_fields import Fields
from api.http.open_answer import LINE
from api.wire.connection import BODY, HEADERS, IDLE, Connection, ServiceConfig
from api.wire.cycle import Cycle
from api.wire.framing import WATCHED, check_head, find_foreign_targets, read_target

__all__ = ["BoundedProtocol", "ServiceConfig"]

PIPELINE_LIMIT = 32  # requests that may wait behind the one that is being answered
OVERHEAD_BYTES = 8  # that a chunk may cost for each byte of a body, beside what headers may have
EVENTS = b"/events"


class BoundedProtocol(Connection):
    """Reads the requests of one connection."""

    def __init__(self, config: ServiceConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.head_limit = self.limits.header_limit_bytes + self.limits.url_limit_bytes
        self.unfinished = 0  # bytes of a head that is not complete
        self.seen = b""  # the bytes since the beginning of an incomplete head
        self.foreign = frozenset[bytes]()  # targets in it that may be meant for another protocol
        self.head = 0  # bytes of the headers that were read
        self.body_left = 0
        self.overhead = 0  # bytes of a body's chunks that are not the body's
        self.watched: Fields = []  # the headers that framing depends on
        self.refusal: str | None = None  # the code of what is wrong with the request that is coming

    def data_received(self, data: bytes) -> None:
        """Takes what has come; what comes behind a refusal, or behind an upgrade, is dropped."""
        if self.reading_stopped:
            return
        self.held.idle.pop(self, None)
        if self.stage == BODY:
            self.overhead += len(data)
        seen = self.seen + data if self.seen else data
        self.foreign = find_foreign_targets(seen)
        self.feed(data)
        if self.reading_stopped:
            return
        self.seen = seen[-self.head_limit - len(data) :] if self.stage == HEADERS else b""
        if self.stage == self.timed == IDLE and self.refusal is None and not self.cycle.response_complete:
            return  # a whole request, as most are: it is being answered
        if self.stage == HEADERS:
            # What the parser keeps of a header whose end has not come is known to nobody but it.
            self.unfinished += len(data)
            if self.unfinished > self.head_limit:
                self.refusal = self.refusal or "headers_too_large"
        elif self.stage == BODY and self.overhead > self.limits.header_limit_bytes:
            self.refusal = self.refusal or "body_too_large"
        if self.refusal is not None:
            self.refuse(self.refusal)
        else:
            self.watch()

    def feed(self, data: bytes) -> None:
        """Parses what has come."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No other protocol is spoken here, and what comes now may be of one: it is never read as a request.
            self.reading_stopped = self.refusal is None
        except httptools.HttpParserError:
            self.refuse(self.refusal or "bad_request")

    def on_message_begin(self) -> None:
        """A request begins; none behind one that is refused."""
        if self.refusal is not None:
            return
        super().on_message_begin()
        self.stage = HEADERS
        self.handed_on = False
        self.head = self.unfinished = self.overhead = 0
        self.watched = []
        self.body_left = self.limits.body_limit_bytes

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        if self.refusal is not None:
            return
        if len(self.url) + len(url) > self.limits.url_limit_bytes:
            self.refusal = "uri_too_long"
            return
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; or a trailer, which is counted and dropped (RFC 9110, 6.5.1)."""
        self.head += len(name) + len(value) + 4  # with ": " and the line's end
        if self.head > self.limits.header_limit_bytes:
            self.refusal = self.refusal or "headers_too_large"
        if self.refusal is not None or self.stage == BODY:
            return
        # As uvicorn does it, without a call more for each header.
        name = name.lower()
        self.headers.append((name, value))
        if name in WATCHED:
            self.watched.append((name, value))
            if name == b"content-length" and (digits := value.strip()).isdigit():
                self.body_left = self.limit_of_body()
                if len(digits) > 18 or int(digits) > self.body_left:
                    self.refusal = "body_too_large"
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """All headers are there: the request is handed on, unless it is refused."""
        self.stage = BODY
        if self.refusal is None:
            self.body_left = self.limit_of_body()
            self.hand_on()

    def hand_on(self) -> None:
        """Gives the request to the application, in its turn."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        upgrades = self.parser.should_upgrade()
        code = check_head(method, version, self.watched, upgrades=upgrades)
        target = read_target(method, self.url, self.watched) if code is None else None
        if target is None or self.url in self.foreign or len(self.pipeline) >= PIPELINE_LIMIT:
            self.refusal = code or "bad_request"
            return
        self.handed_on = True
        path = target[0].decode("ascii")
        self.scope |= {
            "method": method.decode("ascii"),
            "http_version": version,
            "path": unquote(path) if "%" in path else path,
            "raw_path": target[0],
            "query_string": target[1],
        }
        cast("dict[str, Any]", self.scope)[LINE] = self
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=version == "1.1" and not upgrades and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        cycle.connection = self
        self.take_turn(cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.refusal is not None:
            return
        self.body_left -= len(body)
        self.overhead -= OVERHEAD_BYTES * len(body)
        if self.body_left < 0:
            self.refusal = "body_too_large"
        elif not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            self.cycle.message_event.set()

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
