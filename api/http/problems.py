"""Problem details (RFC 9457): the table of problem codes and their HTTP status."""

from __future__ import annotations

import difflib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api.http.addresses import problem_type, public_path
from api.http.request_trace import trace_id_of
from api.http.security_events import note_problem
from runtime.errors import BusyError, DatabaseUnavailableError, QueryTimeoutError, QueryTooExpensiveError
from runtime.json_types import JsonObject
from runtime.settings.settings import Settings
from runtime.telemetry import hide_keys

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True)
class ProblemKind:
    """What one code always means."""

    status: int
    title: str
    meaning: str


KINDS: dict[str, ProblemKind] = {
    "bad_request": ProblemKind(400, "Bad request", "The request cannot be read."),
    "invalid_json": ProblemKind(400, "Invalid JSON", "The body is no JSON, or is nested over 32 deep."),
    "invalid_idempotency_key": ProblemKind(
        400, "Invalid Idempotency-Key", "It is one quoted string of up to 255 printable characters."
    ),
    "key_in_url": ProblemKind(400, "Credential in the URL", "Keys and tokens belong in a header: URLs are logged."),
    "unauthorized": ProblemKind(401, "Credential needed", "No valid credential was sent for what is not open."),
    "insufficient_scope": ProblemKind(403, "Scope missing", "The credential is valid but lacks the scope."),
    "not_found": ProblemKind(404, "Not found", "There is nothing at this address for this caller."),
    "record_not_found": ProblemKind(404, "Record not found", "No record of this revision has this key."),
    "method_not_allowed": ProblemKind(405, "Method not allowed", "The Allow header lists what the address takes."),
    "not_acceptable": ProblemKind(406, "Not acceptable", "The Accept header wants no form that is offered here."),
    "request_timeout": ProblemKind(408, "Request too slow", "The request did not come whole in time."),
    "key_not_active": ProblemKind(409, "Key not active", "The key is over, or was rotated before."),
    "request_in_flight": ProblemKind(
        409, "Request in flight", "The first request with this Idempotency-Key is not answered yet: try again."
    ),
    "epoch_ended": ProblemKind(
        410,
        "Epoch ended",
        "The database was restored from a backup: revisions named before mean other records. Start again.",
    ),
    "revision_gone": ProblemKind(410, "Revision gone", "History no longer reaches this revision: start again."),
    "product_retired": ProblemKind(410, "Product retired", "The contract of this product is retired."),
    "body_too_large": ProblemKind(413, "Body too large", "The body is longer, or holds more, than is taken at once."),
    "uri_too_long": ProblemKind(414, "Address too long", "The address of the request is longer than is taken."),
    "unsupported_media_type": ProblemKind(
        415, "Unsupported media type", "The Accept-Post or Accept-Encoding header lists what is taken."
    ),
    "range_not_satisfiable": ProblemKind(
        416, "No such range", "The file is shorter than the range that was asked for."
    ),
    "unknown_parameter": ProblemKind(422, "Unknown parameter", "The dataset has no such parameter or property."),
    "duplicate_parameter": ProblemKind(422, "Doubled parameter", "A parameter that takes one value came twice."),
    "invalid_value": ProblemKind(422, "Invalid value", "A value is not of its parameter's type."),
    "invalid_text": ProblemKind(422, "Invalid text", "Text must be UTF-8 without NUL characters."),
    "invalid_number": ProblemKind(422, "Invalid number", "JSON has no NaN or Infinity, and no 1e400 fits a number."),
    "invalid_event": ProblemKind(422, "Invalid event", "A record is no JSON object, or breaks CloudEvents 1.0."),
    "idempotency_key_reused": ProblemKind(
        422, "Idempotency-Key reused", "The same Idempotency-Key came before with another body."
    ),
    "limit_out_of_range": ProblemKind(422, "Limit out of range", "`limit` is a whole number from 1 to 1000."),
    "query_too_complex": ProblemKind(422, "Query too complex", "Too many filters or values, or a long pattern."),
    "query_too_expensive": ProblemKind(
        422, "Query too expensive", "The query needs more temporary space than it may use: filter more."
    ),
    "invalid_cursor": ProblemKind(422, "Invalid cursor", "The cursor was not made for this query, or was changed."),
    "rate_limited": ProblemKind(429, "Too many requests", "The caller's rate limit is used up for now: wait."),
    "headers_too_large": ProblemKind(431, "Headers too large", "The headers are longer than is taken."),
    "internal_error": ProblemKind(500, "Internal error", "Something broke here; the trace id leads to it."),
    "not_implemented": ProblemKind(501, "Not implemented", "The method or transfer coding is known to nobody here."),
    "overloaded": ProblemKind(503, "Too busy", "The service holds all that it can for this caller: try again."),
    "unavailable": ProblemKind(503, "Unavailable", "The database cannot be reached at the moment: try again."),
    "query_timeout": ProblemKind(504, "Query timeout", "The query took too long: filter more, or sort by an index."),
    "version_not_supported": ProblemKind(505, "HTTP version not supported", "The service speaks HTTP/1.1 and 1.0."),
}


class Problem(Exception):  # noqa: N818 - the field's word for an error answer
    """An error that a client can cause; becomes the documented answer."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: list[JsonObject] | None = None,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        self.code = code
        self.detail = detail or KINDS[code].meaning
        self.errors = errors
        self.headers = headers or {}
        self.reason = reason  # for the log alone: what was wrong with a credential
        super().__init__(f"{code}: {self.detail}")

    def __reduce__(self) -> tuple[object, ...]:
        """How it comes back from another process."""
        make = partial(Problem, errors=self.errors, headers=self.headers, reason=self.reason)
        return make, (self.code, self.detail)


def parameter_problem(code: str, parameter: str, message: str, allowed: Iterable[str] = ()) -> Problem:
    """A problem with one query parameter; `allowed` names what could have stood there."""
    error: JsonObject = {"parameter": parameter, "message": message}
    if allowed := list(allowed):
        error["allowed"] = allowed
    return Problem(code, f"{parameter}: {message}", errors=[error])


def closest(name: str, known: Iterable[str]) -> list[str]:
    """The names that `name` may have been meant to be, best first."""
    names = list(known)
    folded = {candidate.lower(): candidate for candidate in names}
    return [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)]


def write_problem(settings: Settings, problem: Problem, path: str, trace_id: str) -> bytes:
    """The body of a problem with what was asked for at a path of the service."""
    kind = KINDS[problem.code]
    body: JsonObject = {
        "type": problem_type(settings, problem.code),
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": hide_keys(public_path(settings, path)),
        "code": problem.code,
        "trace_id": trace_id,
    }
    if problem.errors:
        body["errors"] = problem.errors
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def render_problem(request: Request, problem: Problem) -> Response:
    """The answer that a problem becomes."""
    kind = KINDS[problem.code]
    headers = {"Cache-Control": "no-store", **problem.headers}
    if kind.status in {409, 503, 504}:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    note_problem(request, problem.code, problem.reason)
    content = write_problem(request.app.state.settings, problem, request.url.path, trace_id_of(request.scope))
    return Response(content, kind.status, headers, MEDIA_TYPE)


def render_unexpected(request: Request) -> Response:
    """The answer where something broke."""
    # uvicorn ends the connection of whatever broke: callers are told, so as not to ask on it again.
    return render_problem(request, Problem("internal_error", headers={"Connection": "close"}))


def allowed_methods(request: Request) -> set[str]:
    """What the address takes, of all routes that lead there."""
    methods = {"OPTIONS"}
    included = (getattr(route, "original_router", None) for route in request.app.router.routes)
    routes = [route for router in included if router is not None for route in router.routes]
    found = [
        route for route in (*request.app.router.routes, *routes) if route.matches(request.scope)[0] is not Match.NONE
    ]
    # What a route names outright is no other's example: `/keys/self` is no key's id.
    outright = [route for route in found if "{" not in getattr(route, "path", "{")]
    for route in outright or found:
        methods |= getattr(route, "methods", None) or set()
    return methods


def explain_unavailable(error: DatabaseUnavailableError) -> Problem:
    """The problem of what cannot be had now; what is busy is said, what the database said is not."""
    return Problem("unavailable", str(error) if isinstance(error, BusyError) else None)


def install_problems(app: FastAPI, guard_unrouted_path: Callable[[Request], Awaitable[None]]) -> None:
    """Makes every error of the service a problem, the framework's own too.

    `guard_unrouted_path` may raise another problem for a request that no route takes.
    """

    @app.exception_handler(Problem)
    async def own(request: Request, error: Problem) -> Response:
        return render_problem(request, error)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        problem = Problem(code, headers={k.title(): v for k, v in (error.headers or {}).items()})
        try:
            await guard_unrouted_path(request)
        except Problem as checked:
            problem = checked
        except DatabaseUnavailableError as unavailable:
            problem = explain_unavailable(unavailable)
        if problem.code == "method_not_allowed":
            problem.headers["Allow"] = ", ".join(sorted(allowed_methods(request)))
            if request.method == "OPTIONS":
                return Response(None, 204, {"Allow": problem.headers["Allow"]})
        return render_problem(request, problem)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, _error: RequestValidationError) -> Response:
        return render_problem(request, Problem("bad_request"))

    @app.exception_handler(DatabaseUnavailableError)
    async def unavailable(request: Request, error: DatabaseUnavailableError) -> Response:
        return render_problem(request, explain_unavailable(error))

    @app.exception_handler(QueryTooExpensiveError)
    async def expensive(request: Request, _error: QueryTooExpensiveError) -> Response:
        return render_problem(request, Problem("query_too_expensive"))

    @app.exception_handler(QueryTimeoutError)
    async def timeout(request: Request, _error: QueryTimeoutError) -> Response:
        return render_problem(request, Problem("query_timeout"))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error: Exception) -> Response:
        return render_unexpected(request)
