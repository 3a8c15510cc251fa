"""Shared parts of the operations that queue loads: request parsing and response."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import Request
from starlette.responses import JSONResponse, Response

from api.admin.load_queue import LoadOrder, queue_loads
from api.auth.permissions import require_scope
from api.context import Context, context_of
from api.http.addresses import address_of
from api.http.request_body import read_json
from api.http.request_headers import read_idempotency_key
from api.http.responses import NO_STORE, refuse_unknown


class Asked(NamedTuple):
    """A request of somebody who may queue loads."""

    context: Context
    by: str  # the id of the key, or of the token's holder
    key: str | None  # the Idempotency-Key
    body: bytes


async def read_asked(request: Request) -> Asked:
    """The request; a problem for callers without the right, and for an invalid request."""
    context = context_of(request)
    principal = await context.authenticate(request)
    require_scope(principal, "ops:write")
    refuse_unknown(request)
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    return Asked(context, principal.id or "", key, await read_json(request))


async def answer_queued(context: Context, wanted: LoadOrder) -> Response:
    """202, and where the loads can be watched."""
    answer = await queue_loads(context.write_pool, wanted)
    loads = [load | {"url": address_of(context.settings, load["url"])} for load in answer["data"]]
    return JSONResponse({"data": loads}, 202, NO_STORE | {"Location": loads[0]["url"]})
