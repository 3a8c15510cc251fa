"""Push endpoints: accept records, and report their outcome. Two routes serve every dataset."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.auth.permissions import find_watched_dataset, find_writable_dataset
from api.context import context_of
from api.http.addresses import address_of
from api.http.body_memory import read_body
from api.http.problems import Problem
from api.http.query_string import read_count
from api.http.request_headers import read_idempotency_key
from api.http.responses import NO_STORE, READ, refuse_unknown
from api.push.event_body import read_media_type
from api.push.event_store import Push
from api.push.intake import intake_of
from api.push.receipts import describe_receipt
from catalog.model.dataset import Dataset, takes_events

router = APIRouter()
PAGE_DEFAULT = 100
PAGE_MAXIMUM = 1000


@router.api_route("/data/{product}/v{major}/{dataset}/events", methods=["POST"])
async def push_events(request: Request) -> Response:
    """202 and a receipt, once the records are on disk."""
    context = context_of(request)
    principal = await context.authenticate(request)
    parts = request.path_params
    dataset = find_writable_dataset(context.catalog, principal, parts["product"], parts["major"], parts["dataset"])
    refuse_unknown(request)
    require_pushed(dataset)
    media_type = read_media_type(request.headers.get("content-type", ""), request.headers.items())
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    intake = intake_of(request)
    with intake.bodies.hold() as held:
        body = await read_body(request, context.settings.events_limit_bytes, held)
        async with intake.turn(len(body)):
            records, digest = await intake.parser.parse(media_type, body)
            del body
            held.take(max(len(records.text) - held.size, 0))
            answer = await intake.events.keep(Push(dataset, principal.client or "", records, key, digest))
    location = address_of(context.settings, answer["status_url"])
    return JSONResponse(answer | {"status_url": location}, 202, {"Location": location, **NO_STORE})


@router.api_route("/data/{product}/v{major}/{dataset}/receipts/{receipt}", methods=READ)
async def get_receipt(request: Request) -> Response:
    """What became of the records of one push."""
    context = context_of(request)
    principal = await context.authenticate(request)
    parts = request.path_params
    dataset = find_watched_dataset(context.catalog, principal, parts["product"], parts["major"], parts["dataset"])
    refuse_unknown(request, ("limit", "after"))
    limit = read_count(request, "limit", PAGE_DEFAULT, PAGE_MAXIMUM, "limit_out_of_range")
    after = read_count(request, "after", 0, 2**31 - 1, "invalid_value")
    try:
        receipt_id = uuid.UUID(parts["receipt"])
    except ValueError:
        raise Problem("not_found") from None
    whose = None if "ops:read" in principal.scopes else principal.client
    described = await describe_receipt(
        context.read_connections, context.views.tables.of(dataset), receipt_id, whose, after=after, limit=limit
    )
    base = address_of(context.settings, f"{dataset.path}/receipts/{receipt_id}")
    next_url = None if described.next is None else f"{base}?limit={limit}&after={described.next}"
    headers = NO_STORE | ({"Link": f'<{next_url}>; rel="next"'} if next_url else {})
    return JSONResponse({"data": described.data, "next": next_url}, 200, headers)


def require_pushed(dataset: Dataset) -> None:
    """`not_found` for a dataset that is fed in another way."""
    if not takes_events(dataset):
        raise Problem(
            "not_found", f"{dataset.name} does not accept pushed records: its contract does not set `events: true`."
        )
