"""Counts, times and traces each request."""

from __future__ import annotations

from time import perf_counter

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.identify import FIELDS
from api.auth.permissions import find_known_product
from api.http.paths import decode_path
from api.http.problems import render_unexpected
from api.http.request_trace import request_trace, trace_id_of
from api.http.security_events import PRINCIPAL, PROBLEM
from api.http.server_timing import KEPT, Timings
from api.observability.access_log import AccessLog
from api.observability.metrics import NO_SNIFFING, UNKNOWN, is_public, observe
from api.observability.usage import ANONYMOUS


class Counting:
    """Counts what passes through an application, errors as well; tells callers how they stand and what it took."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, and counts."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if b"%" in scope["raw_path"]:
            scope["path"] = decode_path(scope["raw_path"])
        timings = scope[KEPT] = Timings()
        status = 500
        size = 0
        started = False
        trace = request_trace(scope)

        async def watch(message: Message) -> None:
            nonlocal status, size, started
            if message["type"] == "http.response.start":
                started = True
                status = message["status"]
                fields = message["headers"]
                # A public answer carries no header of a single request: a cache would repeat it with every answer.
                if not is_public(fields):
                    fields = [*fields, (b"server-timing", timings.header()), (b"traceresponse", trace.encode())]
                message["headers"] = [*fields, NO_SNIFFING, *scope.get(FIELDS, ())]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            error.add_note(f"trace {trace_id_of(scope)}")
            if not started:
                # Answered here, where it gets the headers of every answer and is counted; the server logs the error.
                await render_unexpected(Request(scope))(scope, receive, watch)
            raise
        finally:
            endpoint = scope.get("endpoint")
            kind = str(getattr(endpoint, "name", None) or getattr(endpoint, "__name__", UNKNOWN))
            seconds = perf_counter() - timings.started
            observe(kind, status, seconds)
            self.note(scope, kind, status, size)
            access_log: AccessLog | None = scope["app"].state.access_log
            if access_log is not None:
                access_log.note(scope, kind, status, size, seconds, trace)

    def note(self, scope: Scope, kind: str, status: int, size: int) -> None:
        """Adds the request to what its principal has used; who asks for health has none."""
        principal = scope.get(PRINCIPAL)
        if principal is None:
            return
        context = scope["app"].state.context
        path_parameters = scope.get("path_params") or {}
        known = find_known_product(
            context.catalog, path_parameters.get("product", ""), path_parameters.get("major", "")
        )
        # Names only of what exists: strangers invent others.
        dataset = (
            path_parameters.get("dataset", "")
            if known is not None and path_parameters.get("dataset") in known.datasets
            else ""
        )
        where = (known.id, known.major, dataset) if known is not None else ("", 0, "")
        context.usage.note((principal.id or ANONYMOUS, *where, kind), status, size, scope.get(PROBLEM))
