"""One HTTP connection: request order, timeouts, refusal, and flow control towards its reader.

The content of a request is the task of `api/wire/bounded_protocol.py`; what all connections share, of
`api/wire/connections.py`.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import TimerHandle
from collections.abc import Callable
from functools import cached_property
from typing import Any

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.security_events import note_event
from api.wire.connections import TURNED_AWAY_AT_ONCE, Connections
from api.wire.cycle import COUNTED_FROM_BYTES, Cycle
from api.wire.refusal import render_refusal
from runtime.settings.settings import Settings

IDLE, HEADERS, BODY = range(3)  # what of a request is on its way
LINGER_SECONDS = 1.0  # for the answer to arrive before the connection is torn down
# Bytes that the system takes for a reader before it has sent those it has; 0 where the system has no such limit.
UNSENT_BYTES = 1 if hasattr(socket, "TCP_NOTSENT_LOWAT") else 0
# What another parser could read in another way.
AMBIGUOUS = frozenset({"bad_request", "not_implemented", "version_not_supported"})


class ServiceConfig(uvicorn.Config):
    """uvicorn's configuration, with the limits that its connections are held to."""

    limits: Settings

    @cached_property
    def held(self) -> Connections:
        """The connections of this process."""
        return Connections(self.limits, asyncio.get_running_loop())


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, config: ServiceConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.limits = config.limits
        self.held = config.held
        self.url = b""
        self.stage = IDLE
        self.handed_on = False  # whether the application has the request whose body is coming
        self.reading_stopped = False  # whether what still comes is dropped
        self.running: Cycle | None = None  # the request that is being answered, or was last
        self.waits_to_go_on = False  # whether the next one begins when the reader has taken what it has
        self.on_shutdown: Callable[[], None] | None = None  # of the answer that stays open
        self.shuts_down = False
        self.timer: TimerHandle | None = None
        self.timed = IDLE  # what the timer is for
        self.turned_away = False  # whether it was rejected at once, and the rejection is being sent
        self.address = self.caller = ""
        self.sent = 0  # bytes of bodies that were written
        self.taken = 0  # of them, those that the reader had when it was last looked at
        self.stalled_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request, where there is room for the connection."""
        super().connection_made(transport)
        if self.held.admit(self):
            self.watch()
            return
        self.reading_stopped = True
        note_event("connection_refused", address=self.address)
        if self.held.turned_away >= TURNED_AWAY_AT_ONCE:
            transport.abort()
        else:
            self.held.turned_away += 1
            self.turned_away = True
            self.finish(render_refusal(self.limits, "overloaded", b""))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what was waited for."""
        self.unwatch()
        self.held.leave(self)
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Begins to answer a request."""
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def take_turn(self, cycle: Cycle) -> None:
        """Answers a request when those before it are answered."""
        self.cycle = cycle
        if self.running is None or (self.running.response_complete and not self.waits_to_go_on):
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_response_complete(self) -> None:
        """Begins with the next request, once the reader has taken enough of this answer."""
        self.waits_to_go_on = bool(self.pipeline) and self.flow.write_paused
        if not self.waits_to_go_on:
            super().on_response_complete()
            if self.timeout_keep_alive_task is not None:
                self.held.idle[self] = None

    def resume_writing(self) -> None:
        """The reader has taken what was written."""
        super().resume_writing()
        if self.waits_to_go_on:
            self.on_response_complete()

    def may_send(self, scope: Scope, length: int) -> bool:
        """Whether an answer of this length may be sent; else a short refusal is sent in its place."""
        if self.held.may_send(self, scope, length):
            return True
        note_event("answer_refused", address=self.address, bytes=length)
        cycle = self.running
        if cycle is not None:
            cycle.response_started = cycle.response_complete = True
            cycle.keep_alive = False
        self.reading_stopped = True
        self.finish(render_refusal(self.limits, "overloaded", scope["raw_path"]))
        return False

    def note_sent(self, scope: Scope, size: int) -> None:
        """Counts what was written for the reader."""
        self.sent += size
        if size >= COUNTED_FROM_BYTES and self.transport.get_write_buffer_size():
            self.held.note_pending(self, scope)

    def hold_open(self, on_shutdown: Callable[[], None]) -> None:
        """Lets nothing be written before the reader has taken what was; the service's shutdown calls the function.

        The system's own buffer would keep a reader's backlog of many minutes.
        """
        self.on_shutdown = on_shutdown
        if self.shuts_down:
            self.loop.call_soon(self.end_open)
        self.transport.set_write_buffer_limits(high=0)
        peer = self.transport.get_extra_info("socket")
        if peer is not None and UNSENT_BYTES:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def cut(self) -> None:
        """Ends the connection at once, with what its reader has not taken."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Lets the answer end, as the service does; one that stays open gets a moment for its last words."""
        super().shutdown()
        self.shuts_down = True
        self.end_open()

    def end_open(self) -> None:
        """Ends an answer that stays open."""
        if self.on_shutdown is not None:
            self.on_shutdown()
            self.loop.call_later(LINGER_SECONDS, self.cut)

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing happens here until its client does something."""
        return self.stage != IDLE or self.running is None or self.running.response_complete

    def watch(self) -> None:
        """Waits no longer than the limit for what is not complete; a piece more does not buy more time."""
        stage = self.stage
        if stage == IDLE:
            answering = self.running is not None
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

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self.refuse("bad_request")

    def refuse(self, code: str) -> None:
        """Answers with a problem where nothing was answered yet, and ends the connection."""
        self.unwatch()
        self.reading_stopped = True
        if self.transport.is_closing():
            return
        if code in AMBIGUOUS:
            note_event("request_refused", code=code, address=self.address)
        if self.handed_on and self.pipeline:
            self.pipeline.popleft()  # it still waits for its turn
            self.handed_on = False
        last = self.pipeline[0][0] if self.pipeline else self.running
        busy = last is not None and not last.response_complete
        if last is not None and busy:
            if not self.handed_on:
                # Requests before this one are being answered: nothing may stand in the place of their answers.
                last.keep_alive = False
                return
            if last.response_started:
                last.keep_alive = False
                self.transport.close()
                return
            last.disconnected = True
            last.message_event.set()
        # What was answered before its body had come gets no second answer: it would be taken for the next one's.
        self.finish(render_refusal(self.limits, code, self.url) if busy or not self.handed_on else b"")

    def linger(self) -> None:
        """Ends the connection behind its last answer, while bytes still come that nobody will read."""
        self.reading_stopped = True
        self.unwatch()
        self._unset_keepalive_if_required()
        self.held.idle.pop(self, None)
        self.finish(b"")

    def finish(self, last_words: bytes) -> None:
        """Ends the connection when its client has had the time to read the last answer."""
        if last_words:
            self.transport.write(last_words)
        if self.transport.can_write_eof():
            # Closed at once with bytes unread, the connection would be reset, and the answer lost with it.
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()
