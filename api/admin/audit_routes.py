"""The audit log and usage figures over HTTP, for operators."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.admin.parameters import PART_PARAMETERS, admit_reader, read_days, read_part
from api.context import connected
from api.database.rows import fetch_part, timestamp
from api.http.responses import NO_STORE, READ, answer_list
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
    context = await admit_reader(request, ("principal", "operation", *PART_PARAMETERS))
    facts = {name: request.query_params.get(name) for name in ("principal", "operation")}
    members, behind = await fetch_part(context.read_connections, LIST, facts, read_part(request))
    return answer_list(request, members, behind, context.settings)


@router.api_route("/operations/usage", methods=READ)
async def get_usage(request: Request) -> Response:
    """Usage of all callers by day, dataset and operation."""
    context = await admit_reader(request, ("principal", "from", "to"))
    first, last = read_days(request)
    async with connected(context) as connection:
        rows = await read_usage(connection, request.query_params.get("principal"), first, last)
    return JSONResponse({"data": rows}, 200, NO_STORE)
