"""API keys over HTTP: the caller's own key, and all keys for administrators."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.admin.key_store import (
    STATES,
    Once,
    Rotation,
    find_own_key,
    get_key,
    list_keys,
    make_key,
    revoke_key,
    rotate_key,
)
from api.admin.parameters import read_days
from api.auth.api_keys import KeyDraft, check_scopes, known_scopes, read_peppers
from api.auth.authenticator import Principal, refuse
from api.auth.permissions import require_scope
from api.context import Context, connected, context_of
from api.http.addresses import address_of
from api.http.problems import Problem, closest, parameter_problem
from api.http.request_body import member_problem, parse_object, read_json
from api.http.request_headers import read_idempotency_key
from api.http.responses import NO_STORE, READ, next_page, refuse_unknown
from api.observability.usage import read_usage
from runtime.json_types import Json, JsonObject
from runtime.settings.rate import parse_rate

router = APIRouter()
NAME_CHARACTERS = 200
SCOPES_MAXIMUM = 100
KEY_ID = re.compile(r"[0-9A-Za-z]{1,40}")
OVERLAP_SECONDS = 86_400
OVERLAP_MAXIMUM = 30 * 86_400


@router.api_route("/keys/self", methods=READ)
async def get_own_key(request: Request) -> Response:
    """What the caller's own credential may do."""
    context, principal = await known_caller(request)
    refuse_unknown(request)
    if principal.is_token:
        return JSONResponse({"data": {"subject": principal.id, "scopes": sorted(principal.scopes)}}, 200, NO_STORE)
    async with connected(context) as connection:
        facts = await find_own_key(connection, principal.id or "", context.settings.key_line_days)
    return JSONResponse({"data": facts}, 200, NO_STORE)


@router.api_route("/keys/self/usage", methods=READ)
async def get_own_usage(request: Request) -> Response:
    """What the caller asked for, by day, dataset and operation."""
    context, principal = await known_caller(request)
    refuse_unknown(request, ("from", "to"))
    first, last = read_days(request)
    async with connected(context) as connection:
        rows = await read_usage(connection, principal.id, first, last)
    return JSONResponse({"data": rows}, 200, NO_STORE)


@router.api_route("/keys/self/rotate", methods=["POST"])
async def rotate_own_key(request: Request) -> Response:
    """A new key in the place of the caller's own; it may do the same."""
    context, principal = await known_caller(request)
    if principal.is_token:
        raise Problem("not_found", "Only API keys can be rotated; a token is renewed by its issuer.")
    return await rotate(request, context, principal, principal.id or "")


@router.api_route("/keys", methods=READ)
async def get_keys(request: Request) -> Response:
    """All keys, newest first."""
    context, principal = await known_caller(request)
    require_scope(principal, "keys:admin")
    refuse_unknown(request, ("limit", "before", "state"))
    given = request.query_params
    state, before, limit = given.get("state", "all"), given.get("before"), given.get("limit", "100")
    if state not in STATES:
        raise parameter_problem("invalid_value", "state", "unknown state", STATES)
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= 1000):
        raise parameter_problem("limit_out_of_range", "limit", "must be an integer from 1 to 1000")
    if before is not None and not KEY_ID.fullmatch(before):
        raise parameter_problem("invalid_value", "before", "expected the id of a key")
    async with connected(context) as connection:
        keys, behind = await list_keys(connection, state, before, int(limit))
    next_url, link = next_page(request, behind, context.settings)
    return JSONResponse({"data": keys, "next": next_url}, 200, NO_STORE | link)


@router.api_route("/keys", methods=["POST"])
async def post_key(request: Request) -> Response:
    """201 and a new key, whose text is shown this once."""
    context, principal = await known_caller(request)
    require_scope(principal, "keys:admin")
    refuse_unknown(request)
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    body = await read_json(request)
    draft = read_draft(context, principal, parse_object(body, ("name", "scopes", "expires_at", "rate_limit")))
    once = Once(principal.id or "", "POST /keys", key, hashlib.sha256(body).hexdigest())
    async with connected(context) as connection:
        facts = await make_key(connection, read_peppers(context.settings), draft, once)
    return created(context, facts)


@router.api_route("/keys/{key_id}", methods=READ)
async def get_one_key(request: Request) -> Response:
    """One key, never its secret."""
    context, principal = await known_caller(request)
    require_scope(principal, "keys:admin")
    refuse_unknown(request)
    async with connected(context) as connection:
        facts = await get_key(connection, read_id(request))
    if facts is None:
        raise Problem("not_found", "The key does not exist.")
    return JSONResponse({"data": facts}, 200, NO_STORE)


@router.api_route("/keys/{key_id}/rotate", methods=["POST"])
async def post_rotation(request: Request) -> Response:
    """201 and the key that takes the place of another."""
    context, principal = await known_caller(request)
    require_scope(principal, "keys:admin")
    return await rotate(request, context, principal, read_id(request))


@router.api_route("/keys/{key_id}", methods=["DELETE"])
async def delete_key(request: Request) -> Response:
    """204 once the key and its line are revoked; they are refused everywhere within five seconds."""
    context, principal = await known_caller(request)
    require_scope(principal, "keys:admin")
    refuse_unknown(request, ("only",))
    key_id = read_id(request)
    only = request.query_params.get("only", "false")
    if only not in {"true", "false"}:
        raise parameter_problem("invalid_value", "only", "must be true or false", ("true", "false"))
    once = Once(principal.id or "", "DELETE /keys", None, "")
    async with connected(context) as connection:
        revoked = await revoke_key(connection, key_id, once, only=only == "true")
    for ended in revoked:
        context.callers.authenticator.keys.forget(ended)
    return Response(None, 204, NO_STORE)


async def rotate(request: Request, context: Context, principal: Principal, key_id: str) -> Response:
    """Rotates a key as the body says; an empty body says nothing."""
    refuse_unknown(request)
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    asked = parse_object(await read_json(request), ("overlap_seconds", "expires_at")) if has_body else {}
    overlap = asked.get("overlap_seconds", OVERLAP_SECONDS)
    if type(overlap) is not int or not 0 <= overlap <= OVERLAP_MAXIMUM:
        raise member_problem("overlap_seconds", f"must be an integer from 0 to {OVERLAP_MAXIMUM:,}")
    once = Once(principal.id or "", "POST /keys/rotate", None, "")
    async with connected(context) as connection:
        rotation = Rotation(
            key_id,
            timedelta(seconds=overlap),
            read_timestamp("expires_at", asked.get("expires_at")),
            context.settings.key_line_days,
        )
        facts = await rotate_key(connection, read_peppers(context.settings), rotation, once)
    context.callers.authenticator.keys.forget(key_id)
    return created(context, facts)


async def known_caller(request: Request) -> tuple[Context, Principal]:
    """The service and who is calling; `unauthorized` without a credential."""
    context = context_of(request)
    principal = await context.authenticate(request)
    if principal.id is None:
        raise refuse(sent=False)
    return context, principal


def created(context: Context, facts: dict[str, object]) -> Response:
    """201 with a new key."""
    location = address_of(context.settings, f"/keys/{facts['id']}")
    return JSONResponse({"data": facts}, 201, NO_STORE | {"Location": location})


def read_id(request: Request) -> str:
    """The id of the key that an address names."""
    key_id: str = request.path_params["key_id"]
    if not KEY_ID.fullmatch(key_id):
        raise Problem("not_found", "The key does not exist.")
    return key_id


def read_draft(context: Context, principal: Principal, asked: JsonObject) -> KeyDraft:
    """The key that a body asks for."""
    name, scopes, rate = asked.get("name"), asked.get("scopes"), asked.get("rate_limit")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= NAME_CHARACTERS or not name.isprintable():
        raise member_problem("name", f"must have 1 to {NAME_CHARACTERS} printable characters")
    if not isinstance(scopes, list) or not 0 < len(scopes) <= SCOPES_MAXIMUM:
        raise member_problem("scopes", f"must be a list of 1 to {SCOPES_MAXIMUM} scopes")
    known = known_scopes(context.catalog)
    for scope in scopes:
        if not isinstance(scope, str) or scope not in known:
            near = closest(scope, known) if isinstance(scope, str) else []
            unknown: JsonObject = {"pointer": "/scopes", "message": "unknown scope"}
            if near:
                unknown["allowed"] = near
            raise Problem("invalid_value", f"scopes: unknown scope {json.dumps(scope)[:200]}", errors=[unknown])
    if rate is not None:
        try:
            parse_rate(str(rate))
        except ValueError as error:
            raise member_problem("rate_limit", str(error)) from None
    check_scopes(scopes)
    expires_at = read_timestamp("expires_at", asked.get("expires_at"))
    return KeyDraft(
        name.strip(), tuple(dict.fromkeys(scopes)), expires_at, None if rate is None else str(rate), principal.id
    )


def read_timestamp(name: str, value: Json) -> datetime | None:
    """A moment that is still to come, None where there is none."""
    if value is None:
        return None
    try:
        timestamp = datetime.fromisoformat(value) if isinstance(value, str) else None
        # The last hours of the year 9999 are in no year of UTC that Python knows.
        timestamp = timestamp.astimezone(UTC) if timestamp is not None and timestamp.tzinfo else None
    except (ValueError, OverflowError):
        timestamp = None
    if timestamp is None or timestamp <= datetime.now(UTC):
        raise member_problem(name, "must be a future time such as 2030-01-31T00:00:00Z")
    return timestamp
