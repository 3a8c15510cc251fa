"""Load endpoints: list and read loads, and queue new ones for the workers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.load_queue import LIST, LoadOrder, get_load
from api.admin.load_targets import choose, find_loadable
from api.admin.parameters import PART_PARAMETERS, PLACE_PARAMETERS, admit_reader, read_part, read_place
from api.admin.queueing import answer_queued, read_asked
from api.database.rows import fetch_part
from api.http.addresses import address_of
from api.http.problems import Problem
from api.http.request_body import parse_object
from api.http.responses import NO_STORE, READ, answer_fresh_list
from catalog.storage.statuses import LOAD_STATUSES

router = APIRouter()
LOADS = "/operations/loads/"
LIST_PARAMETERS = (*PLACE_PARAMETERS, "status", *PART_PARAMETERS)


@router.api_route("/operations/loads", methods=READ)
async def get_loads(request: Request) -> Response:
    """The latest loads, newest first."""
    context = await admit_reader(request, LIST_PARAMETERS)
    status = choose(request.query_params.get("status"), "status", LOAD_STATUSES)
    facts = read_place(context, request) | {"status": status, "loads_url": address_of(context.settings, LOADS)}
    members, behind = await fetch_part(context.read_connections, LIST, facts, read_part(request))
    return answer_fresh_list(request, members, behind, context.settings)


@router.api_route("/operations/loads/{load}", methods=READ)
async def get_one_load(request: Request) -> Response:
    """Everything about one load."""
    context = await admit_reader(request)
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
