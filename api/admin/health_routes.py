"""Health endpoints: liveness, readiness, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from api.admin.readiness import find_obstacle
from api.auth.permissions import require_scope
from api.context import context_of
from api.http.addresses import address_of
from api.http.problems import Problem
from api.metadata.dataset_status import read_dataset_statuses
from api.observability.exposition import LEDGER, LOADS, render_metrics
from runtime.postgres.database import translate_error

router = APIRouter()
SECURITY_TXT_DAYS = 180  # RFC 9116 wants less than a year
READY_TIMEOUT_SECONDS = 2.0


@router.api_route("/livez", methods=["GET", "HEAD"])
async def livez() -> Response:
    """200 while the process responds."""
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> Response:
    """200 when requests can be served: the database answers, and has what the contracts of this process need."""
    context = context_of(request)
    problem = None
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS), context.read_connections.connection() as connection:
            problem = await find_obstacle(connection, context.catalog, context.views)
    except Exception:
        # Whatever it is, this process cannot serve; the cause is in the log of the database.
        problem = "the database cannot be reached"
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if problem else {})
    body = {"status": "unavailable", "reason": problem} if problem else {"status": "ok"}
    return JSONResponse(body, 503 if problem else 200, headers)


@router.api_route("/.well-known/security.txt", methods=["GET", "HEAD"], include_in_schema=False)
async def security_txt(request: Request) -> Response:
    """The contact for security reports (RFC 9116), where one is set."""
    settings = context_of(request).settings
    if not settings.security_contact:
        raise Problem("not_found")
    expires = (datetime.now(UTC) + timedelta(days=SECURITY_TXT_DAYS)).strftime("%Y-%m-%dT00:00:00Z")
    lines = [f"Contact: {settings.security_contact}", f"Expires: {expires}"]
    if settings.public_url:
        lines.append(f"Canonical: {address_of(settings, '/.well-known/security.txt')}")
    body = "".join(f"{line}\r\n" for line in lines)
    return Response(body, 200, {"Cache-Control": "public, max-age=3600"}, "text/plain; charset=utf-8")


@router.api_route("/metrics", methods=["GET", "HEAD"])
async def metrics(request: Request) -> Response:
    """What is counted, for Prometheus."""
    context = context_of(request)
    if not context.settings.metrics_open:
        require_scope(await context.authenticate(request), "ops:read")
    try:
        async with context.read_connections.connection() as connection:
            datasets = await (await connection.execute(LEDGER.encode())).fetchall()
            loads = await (await connection.execute(LOADS.encode())).fetchall()
    except Exception as error:
        raise translate_error(error) from error
    statuses = await read_dataset_statuses(context.read_connections, context.catalog)

    def render() -> bytes:
        fresh = {
            (dataset.product, dataset.major, dataset.name): statuses[dataset.address].freshness
            for dataset in context.catalog.datasets()
            if dataset.address in statuses
        }
        return render_metrics([as_text(row) for row in datasets], [as_text(row) for row in loads], fresh)

    # In a thread: the figures of thousands of datasets take their time, and others are answered meanwhile.
    body = await asyncio.to_thread(render)
    return Response(body, 200, {"Cache-Control": "no-store"}, CONTENT_TYPE_LATEST)


def as_text(row: Sequence[object]) -> list[object]:
    """A row whose texts the read connections leave as bytes."""
    return [value.decode() if isinstance(value, bytes) else value for value in row]
