"""The audit log and usage figures over HTTP, for operators."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.admin.parameters import read_days
from api.auth.permissions import require_scope
from api.context import connected, context_of
from api.database.rows import fetch, split_page, timestamp
from api.http.problems import Problem
from api.http.query_string import read_count, read_number
from api.http.responses import NO_STORE, READ, answer_list, refuse_unknown
from api.observability.usage import read_usage

router = APIRouter()
LIST = f"""
SELECT id, json_build_object('id', id, 'at', {timestamp("at")}, 'principal', principal, 'operation', operation,
  'product', product, 'dataset', dataset, 'records', records, 'facts', facts)::text
FROM decant.audit_log
WHERE (%(principal)s::text IS NULL OR principal = %(principal)s)
  AND (%(operation)s::text IS NULL OR operation = %(operation)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s
"""


@router.api_route("/operations/audit", methods=READ)
async def get_audit(request: Request) -> Response:
    """What was done, the latest first: keys made, loads asked for, gates overruled, records erased."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_unknown(request, ("principal", "operation", "limit", "before"))
    given = request.query_params
    if any("\0" in given.get(name, "") for name in ("principal", "operation")):
        raise Problem("invalid_text")
    limit = read_count(request, "limit", 100, 1000, "limit_out_of_range")
    facts = {
        "principal": given.get("principal"),
        "operation": given.get("operation"),
        "before": read_number(request, "before", "invalid_cursor"),
        "limit": limit + 1,
    }
    members, behind = split_page(await fetch(context.read_connections, LIST, facts), limit)
    return answer_list(request, members, behind, context.settings)


@router.api_route("/operations/usage", methods=READ)
async def get_usage(request: Request) -> Response:
    """Usage of all callers by day, dataset and operation."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_unknown(request, ("principal", "from", "to"))
    principal = request.query_params.get("principal")
    if "\0" in (principal or ""):
        raise Problem("invalid_text")
    first, last = read_days(request)
    async with connected(context) as connection:
        rows = await read_usage(connection, principal, first, last)
    return JSONResponse({"data": rows}, 200, NO_STORE)
