"""The trace of a request: one for its header, its problem, its line of the log and what broke."""

from __future__ import annotations

from starlette.types import Scope

from runtime.telemetry import traceresponse

TRACE = "decant.trace"  # where a request keeps it


def request_trace(scope: Scope) -> str:
    """The request's traceresponse. It is kept: without tracing, each one that is made is another."""
    known: str | None = scope.get(TRACE)
    if known is None:
        known = scope[TRACE] = traceresponse()
    return known


def trace_id_of(scope: Scope) -> str:
    """The id in it, 32 hexadecimal digits."""
    return request_trace(scope)[3:35]
