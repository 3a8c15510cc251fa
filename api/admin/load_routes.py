"""Running and watching ingestion: the loads of the ledger, and new ones for the workers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.admin.load_queue import LoadFilter, LoadRequest, get_load, list_loads, queue_loads
from api.admin.load_targets import choose, find_loadable, find_products
from api.auth.permissions import require_scope
from api.context import context_of
from api.http.addresses import address_of
from api.http.problems import Problem
from api.http.query_string import read_count, read_number, refuse_parameters
from api.http.request_body import parse_object, read_json
from api.http.request_headers import read_idempotency_key
from catalog.storage.statuses import LOAD_STATUSES

router = APIRouter()
READ = ["GET", "HEAD"]
NO_STORE = {"Cache-Control": "no-store"}
LOADS = "/operations/loads/"
LIST_PARAMETERS = ("product", "major", "dataset", "status", "limit", "before")


@router.api_route("/operations/loads", methods=READ)
async def get_loads(request: Request) -> Response:
    """The latest loads, newest first."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_parameters(request, LIST_PARAMETERS)
    given = request.query_params
    products = find_products(context, given.get("product"), given.get("major"))
    wanted = LoadFilter(
        product=given.get("product"),
        major=int(given["major"]) if "major" in given else None,
        dataset=choose(given.get("dataset"), "dataset", [name for p in products for name in p.datasets]),
        status=choose(given.get("status"), "status", LOAD_STATUSES),
        before=read_number(request, "before", "invalid_cursor"),
        limit=read_count(request, "limit", 100, 1000, "limit_out_of_range"),
    )
    members, behind = await list_loads(context.lanes, wanted, address_of(context.settings, LOADS))
    next_url = None
    if behind is not None:
        following = request.url.include_query_params(before=behind)
        next_url = address_of(context.settings, f"{following.path}?{following.query}")
    body = b'{"data":[%b],"next":%b}' % (members, f'"{next_url}"'.encode() if next_url else b"null")
    link = {"Link": f'<{next_url}>; rel="next"'} if next_url else {}
    return Response(body, 200, NO_STORE | link, "application/json")


@router.api_route("/operations/loads/{load}", methods=READ)
async def get_one_load(request: Request) -> Response:
    """Everything about one load."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_parameters(request, ())
    text = request.path_params["load"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("not_found")
    found = await get_load(context.lanes, int(text), address_of(context.settings, LOADS))
    body = b'{"data":%b}' % found
    return Response(body, 200, NO_STORE, "application/json")


@router.api_route("/operations/loads", methods=["POST"])
async def post_loads(request: Request) -> Response:
    """202 and the loads, once they are queued."""
    context = context_of(request)
    principal = await context.authenticate(request)
    require_scope(principal, "ops:write")
    refuse_parameters(request, ())
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    body = await read_json(request)
    datasets = find_loadable(context, parse_object(body, ("product", "major", "dataset")))
    answer = await queue_loads(context.write_pool, LoadRequest(principal.id or "", datasets, key, body))
    loads = [load | {"url": address_of(context.settings, load["url"])} for load in answer["data"]]
    return JSONResponse({"data": loads}, 202, NO_STORE | {"Location": loads[0]["url"]})
