"""Security events: refused attempts, logged one line each and counted.

A line is a constant message with facts. Text that callers choose is never among the facts, and secrets never are.
"""

from __future__ import annotations

import logging
from typing import Any

from prometheus_client import Counter
from starlette.requests import Request

from api.http.client_address import client_address
from runtime.logs import log

PRINCIPAL = "decant.principal"  # where a request keeps who is calling
PROBLEM = "decant.problem"  # where it keeps the code of the problem that answers it
# Problems that are events, and what they are called then; `unauthorized` is one where a credential was sent.
OF_PROBLEMS = {
    "insufficient_scope": "scope_refused",
    "rate_limited": "rate_limited",
    "key_in_url": "credential_in_url",
    "cross_site_request": "cross_site_request",
}
LOG = logging.getLogger("decant.security")
EVENTS = Counter("decant_security_events", "Security events.", ("event",))


def note_event(event: str, **facts: Any) -> None:
    """Counts an event, and writes it down."""
    EVENTS.labels(event).inc()
    log(LOG, event, logging.WARNING, **facts)


def note_problem(request: Request, code: str, reason: str | None) -> None:
    """Keeps the code for what is counted, and notes the event that the problem is, if it is one.

    `reason` says what was wrong with the credential.
    """
    request.scope[PROBLEM] = code
    event = OF_PROBLEMS.get(code) or ("authentication_failed" if code == "unauthorized" and reason else None)
    if event is None:
        return
    principal = request.scope.get(PRINCIPAL)
    note_event(event, reason=reason, address=caller_address(request), principal=principal and principal.id)


def caller_address(request: Request) -> str:
    """Where the request came from, by what trusted proxies say."""
    context = getattr(request.app.state, "context", None)
    return client_address(request.scope, context.callers.trusted if context is not None else ())
