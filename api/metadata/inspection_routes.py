"""Inspection endpoints of a dataset: profile, quality results, loads, lineage, record provenance."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.auth.authenticator import Principal
from api.auth.permissions import find_dataset, require_scope
from api.auth.rule_access import RuleAccess, pick_rules
from api.context import Context, context_of
from api.database.rows import Part
from api.datasets.endpoint import Endpoint
from api.datasets.records import Record
from api.http.problems import Problem, parameter_problem
from api.http.responses import READ, answer_json, answer_list, refuse_unknown
from api.metadata.lineage import LineageOfCaller, lineages_of
from api.metadata.load_history import list_loads, list_profiles, list_quality, read_profile
from api.metadata.provenance import provenance_of, read_provenance
from api.query.record_key import parse_key, read_key_part
from api.query.view import View
from catalog.storage.statuses import LOAD_STATUSES

router = APIRouter()
DATASET = "/data/{product}/v{major}/{dataset}"
PAGE = ("limit", "before")
LIMIT_DEFAULT = 100
LIMIT_MAXIMUM = 1000
ID_DIGITS = 18
SUFFIX = b"/provenance"


@router.api_route(f"{DATASET}/profile", methods=READ)
async def get_profile(request: Request) -> Response:
    """The figures of each property that the caller sees."""
    context, _, view = await find_whole(request)
    refuse_unknown(request)
    found = await read_profile(context.read_connections, view.dataset)
    if found is None:
        raise Problem("not_found", "The dataset has no profile yet: a profile is made after a publication.")
    members = pick_properties(view, found["properties"])
    head = {name: found[name] for name in ("revision", "record_count", "made_at")}
    return answer_json(request, {"data": members, **head}, {"Decant-Revision": str(found["revision"])})


@router.api_route(f"{DATASET}/profile/history", methods=READ)
async def get_profile_history(request: Request) -> Response:
    """A few figures of each property that the caller sees, of the revisions that were profiled last."""
    context, _, view = await find_whole(request)
    refuse_unknown(request, PAGE)
    part = read_part(request, "expected a revision such as 42")
    pick = partial(pick_properties, view)
    members, behind = await list_profiles(context.read_connections, view.dataset, pick, part)
    return answer_list(request, members, behind, context.settings)


@router.api_route(f"{DATASET}/quality", methods=READ)
async def get_quality(request: Request) -> Response:
    """What the rules measured at each load, newest first."""
    context, principal, view = await find_whole(request)
    refuse_unknown(request, PAGE)
    part = read_part(request)
    access = RuleAccess(context.catalog, principal, view.dataset, view.closed)
    pick = partial(pick_rules, access)
    members, behind = await list_quality(context.read_connections, view.dataset, pick, part)
    return answer_list(request, members, behind, context.settings)


@router.api_route(f"{DATASET}/loads", methods=READ)
async def get_loads(request: Request) -> Response:
    """What was tried, newest first."""
    context, _, view = await find_whole(request)
    refuse_unknown(request, (*PAGE, "status"))
    part = read_part(request)
    status = request.query_params.get("status")
    if status is not None and status not in LOAD_STATUSES:
        raise parameter_problem("invalid_value", "status", "unknown status", LOAD_STATUSES)
    members, behind = await list_loads(context.read_connections, view.dataset, status, part)
    return answer_list(request, members, behind, context.settings)


@router.api_route(f"{DATASET}/lineage", methods=READ)
async def get_lineage(request: Request) -> Response:
    """What each property comes from, and what uses it; it counts nothing, so who sees some records has it too."""
    context, principal, view = await find_view(request)
    refuse_unknown(request)
    lineages = lineages_of(request)
    await lineages.prepare(view.dataset)
    return answer_json(request, {"data": LineageOfCaller(context, lineages, principal, view).describe()})


class ProvenanceEndpoint:
    """Answers where one record came from; for operators."""

    name = "provenance"  # as it is counted

    def __init__(self) -> None:
        self.record = Endpoint(Record())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request. A key may end in an encoded `/provenance`: that is a question for the record."""
        if not scope["raw_path"].endswith(SUFFIX):
            await self.record(scope, receive, send)
            return
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """The answer."""
        _, principal, view = await find_view(request)
        require_scope(principal, "ops:read")
        refuse_unknown(request)
        key = read_key_part(request.scope["raw_path"].removesuffix(SUFFIX))
        found = await read_provenance(provenance_of(request), view, parse_key(view, key))
        return answer_json(request, {"data": found}, {"Decant-Revision": str(found["read_at_revision"])})


# Before the route of a record, whose key would be taken to end in it.
PROVENANCE = Route(
    DATASET + "/records/{key:path}/provenance", cast(Any, ProvenanceEndpoint()), methods=READ, name="provenance"
)


async def find_view(request: Request) -> tuple[Context, Principal, View]:
    """The dataset of an address as the caller sees it."""
    context = context_of(request)
    principal = await context.authenticate(request)
    parts = request.path_params
    dataset, access = find_dataset(context.catalog, principal, parts["product"], parts["major"], parts["dataset"])
    return context, principal, context.views.of(dataset, access)


async def find_whole(request: Request) -> tuple[Context, Principal, View]:
    """The same, for what is made over all records: it does not exist for callers that see only some."""
    context, principal, view = await find_view(request)
    if view.row_filtered:
        raise Problem("not_found")
    return context, principal, view


def pick_properties(view: View, figures: list[Any]) -> list[Any]:
    """The figures of the properties whose values the caller sees."""
    seen = [member for member in figures if member["property"] in view.properties]
    return [member for member in seen if member["property"] not in view.closed]


def read_part(request: Request, expected: str = "expected the id of a load such as 42") -> Part:
    """Before which load, or other number, a list begins, and how many it holds."""
    given = request.query_params
    before, limit = given.get("before"), given.get("limit", str(LIMIT_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= LIMIT_MAXIMUM):
        message = f"must be an integer from 1 to {LIMIT_MAXIMUM}"
        raise parameter_problem("limit_out_of_range", "limit", message)
    if before is not None and not (before.isascii() and before.isdigit() and len(before) <= ID_DIGITS):
        raise parameter_problem("invalid_value", "before", expected)
    return Part(None if before is None else int(before), int(limit))
