"""Webhooks over HTTP: the subscriptions of the caller's key, what was sent to them, and what is sent again."""

from __future__ import annotations

import hashlib
import re

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.admin.key_routes import known_caller
from api.admin.key_store import Once
from api.admin.subscription_body import change_draft, draft_of, read_draft, read_since
from api.admin.subscription_store import (
    By,
    ask_replay,
    ask_test,
    change_subscription,
    delete_subscription,
    get_subscription,
    list_deliveries,
    list_subscriptions,
    make_once,
    rewind,
    rotate_secret,
)
from api.auth.authenticator import Principal
from api.context import Context, connected
from api.http.addresses import address_of
from api.http.problems import Problem
from api.http.query_string import read_count, read_number
from api.http.request_body import member_problem, parse_object, read_json
from api.http.request_headers import read_idempotency_key
from api.http.responses import NO_STORE, READ, next_page, refuse_unknown
from runtime.settings.secret import read_secret

router = APIRouter()
MADE_OF = ("product", "major", "datasets", "kinds", "address")
CHANGED = ("datasets", "kinds", "address", "active")
SUBSCRIPTION_ID = re.compile(r"[0-9a-f]{16}")
MESSAGE_ID = re.compile(r"[0-9a-f-]{36}")


@router.api_route("/subscriptions", methods=READ)
async def get_subscriptions(request: Request) -> Response:
    """The caller's subscriptions, newest first."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request)
    async with connected(context) as connection:
        return JSONResponse({"data": await list_subscriptions(connection, by)}, 200, NO_STORE)


@router.api_route("/subscriptions", methods=["POST"])
async def post_subscription(request: Request) -> Response:
    """201 and a new subscription with its secret, which is shown this once."""
    context, by, principal = await known_owner(request)
    refuse_unknown(request)
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    body = await read_json(request)
    draft = read_draft(context.catalog, context.settings, principal, parse_object(body, MADE_OF))
    once = Once(by.owner or "", "POST /subscriptions", key, hashlib.sha256(body).hexdigest())
    secret, limit = read_secret(context.settings), context.settings.subscriptions_limit
    async with connected(context) as connection:
        facts = await make_once(connection, secret, draft, by, limit, once)
    location = address_of(context.settings, f"/subscriptions/{facts['id']}")
    return JSONResponse({"data": facts}, 201, NO_STORE | {"Location": location})


@router.api_route("/subscriptions/{subscription}", methods=READ)
async def get_one_subscription(request: Request) -> Response:
    """One of the caller's subscriptions, never its secret."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request)
    async with connected(context) as connection:
        return JSONResponse({"data": await get_subscription(connection, by, read_id(request))}, 200, NO_STORE)


@router.api_route("/subscriptions/{subscription}", methods=["PATCH"])
async def patch_subscription(request: Request) -> Response:
    """The subscription with what the body changes."""
    context, by, principal = await known_owner(request)
    refuse_unknown(request)
    asked = parse_object(await read_json(request), CHANGED)
    async with connected(context) as connection:
        facts = await get_subscription(connection, by, read_id(request))
        active = asked.get("active", facts["state"] != "disabled")
        if type(active) is not bool:
            raise member_problem("active", "must be true or false")
        draft = draft_of(facts)
        # Who may no longer know what it tells of can still end it.
        if active or set(asked) != {"active"}:
            draft = change_draft(context.catalog, context.settings, principal, draft, asked)
        changed = await change_subscription(connection, by, facts["id"], draft, active=active)
    return JSONResponse({"data": changed}, 200, NO_STORE)


@router.api_route("/subscriptions/{subscription}", methods=["DELETE"])
async def remove_subscription(request: Request) -> Response:
    """204 once the subscription and its log are gone."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request)
    async with connected(context) as connection:
        await delete_subscription(connection, by, read_id(request))
    return Response(None, 204, NO_STORE)


@router.api_route("/subscriptions/{subscription}/rotate", methods=["POST"])
async def post_secret(request: Request) -> Response:
    """The subscription with a new secret, which is shown this once."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request)
    async with connected(context) as connection:
        facts = await rotate_secret(connection, read_secret(context.settings), by, read_id(request))
    return JSONResponse({"data": facts}, 200, NO_STORE)


@router.api_route("/subscriptions/{subscription}/test", methods=["POST"])
async def post_test(request: Request) -> Response:
    """202 once a worker is to send a test event."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request)
    async with connected(context) as connection:
        await ask_test(connection, by, read_id(request))
    return accepted(context, request)


@router.api_route("/subscriptions/{subscription}/replays", methods=["POST"])
async def post_replay(request: Request) -> Response:
    """202 once one event, or everything since a moment, is to be sent again."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request)
    asked = parse_object(await read_json(request), ("id", "since"))
    if len(asked) != 1:
        raise Problem("invalid_value", "The body must have one of the members id and since.")
    async with connected(context) as connection:
        if "since" in asked:
            await rewind(connection, by, read_id(request), read_since(asked["since"]))
        else:
            message = asked["id"]
            if not isinstance(message, str) or not MESSAGE_ID.fullmatch(message):
                raise member_problem("id", "must be the id of an event that was sent")
            await ask_replay(connection, by, read_id(request), message)
    return accepted(context, request)


@router.api_route("/subscriptions/{subscription}/deliveries", methods=READ)
async def get_deliveries(request: Request) -> Response:
    """What was sent to a subscription, newest first."""
    context, by, _ = await known_owner(request)
    refuse_unknown(request, ("limit", "before"))
    limit = read_count(request, "limit", 100, 1000, "limit_out_of_range")
    before = read_number(request, "before", "invalid_cursor")
    async with connected(context) as connection:
        rows, behind = await list_deliveries(connection, by, read_id(request), before, limit)
    next_url, link = next_page(request, behind, context.settings)
    return JSONResponse({"data": rows, "next": next_url}, 200, NO_STORE | link)


async def known_owner(request: Request) -> tuple[Context, By, Principal]:
    """The service and the key that asks: only keys own subscriptions."""
    context, principal = await known_caller(request)
    if principal.is_token:
        raise Problem("not_found", "Only API keys own subscriptions: what a token may do ends with it.")
    return context, By(principal.id or "", principal.client), principal


def read_id(request: Request) -> str:
    """The id of the subscription that an address names."""
    subscription: str = request.path_params["subscription"]
    if not SUBSCRIPTION_ID.fullmatch(subscription):
        raise Problem("not_found", "The subscription does not exist.")
    return subscription


def accepted(context: Context, request: Request) -> Response:
    """202, and where the outcome will be found."""
    location = address_of(context.settings, f"/subscriptions/{read_id(request)}/deliveries")
    return JSONResponse({"data": {"deliveries": location}}, 202, NO_STORE | {"Location": location})
