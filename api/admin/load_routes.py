"""Load endpoints: list and read loads, and queue new ones for the workers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.load_queue import LoadFilter, LoadOrder, get_load, list_loads
from api.admin.load_targets import choose, find_loadable, find_products
from api.admin.queueing import answer_queued, read_asked
from api.auth.permissions import require_scope
from api.context import context_of
from api.http.addresses import address_of
from api.http.problems import Problem
from api.http.query_string import read_count, read_number, refuse_parameters
from api.http.request_body import parse_object
from api.http.responses import NO_STORE, READ, answer_fresh_list
from catalog.storage.statuses import LOAD_STATUSES

router = APIRouter()
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
    members, behind = await list_loads(context.read_connections, wanted, address_of(context.settings, LOADS))
    return answer_fresh_list(request, members, behind, context.settings)


@router.api_route("/operations/loads/{load}", methods=READ)
async def get_one_load(request: Request) -> Response:
    """Everything about one load."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_parameters(request, ())
    text = request.path_params["load"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("not_found")
    found = await get_load(context.read_connections, int(text), address_of(context.settings, LOADS))
    body = b'{"data":%b}' % found
    return Response(body, 200, NO_STORE, "application/json")


@router.api_route("/operations/loads", methods=["POST"])
async def post_loads(request: Request) -> Response:
    """202 and the loads, once they are queued."""
    context, by, key, body = await read_asked(request)
    datasets = find_loadable(context, parse_object(body, ("product", "major", "dataset")))
    return await answer_queued(context, LoadOrder(by, datasets, key, body))
