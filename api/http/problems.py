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
SHOWN_BY = "decant.shown_by"  # where a route keeps what shows its unexpected errors, if that is no problem document
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True)
class ProblemKind:
    """The status, title and meaning of a code."""

    status: int
    title: str
    meaning: str


KINDS: dict[str, ProblemKind] = {
    "bad_request": ProblemKind(400, "Bad request", "The request is malformed."),
    "invalid_json": ProblemKind(
        400, "Invalid JSON", "The body is not valid JSON, or is nested more than 32 levels deep."
    ),
    "invalid_idempotency_key": ProblemKind(
        400, "Invalid Idempotency-Key", "The value must be one quoted string of up to 255 printable characters."
    ),
    "key_in_url": ProblemKind(400, "Credential in the URL", "Send keys and tokens in a header: URLs are logged."),
    "unauthorized": ProblemKind(401, "Credential needed", "The resource needs a valid credential."),
    "insufficient_scope": ProblemKind(403, "Scope missing", "The credential is valid but lacks a required scope."),
    "cross_site_request": ProblemKind(
        403, "Form not from here", "Forms must be sent from a page of this service, within its session."
    ),
    "not_found": ProblemKind(404, "Not found", "The resource does not exist, or is not visible to this caller."),
    "record_not_found": ProblemKind(404, "Record not found", "No record of this revision has this key."),
    "method_not_allowed": ProblemKind(405, "Method not allowed", "The Allow header lists the allowed methods."),
    "not_acceptable": ProblemKind(
        406, "Not acceptable", "The Accept header names none of the media types offered here."
    ),
    "request_timeout": ProblemKind(408, "Request too slow", "The request was not received completely in time."),
    "key_not_active": ProblemKind(409, "Key not active", "The key is expired, revoked, or already rotated."),
    "subscription_limit": ProblemKind(
        409, "Too many subscriptions", "The key has as many subscriptions, or waiting replays, as are allowed."
    ),
    "request_in_flight": ProblemKind(
        409, "Request in flight", "The first request with this Idempotency-Key is still being processed: retry."
    ),
    "epoch_ended": ProblemKind(
        410,
        "Epoch ended",
        "The database was restored from a backup: earlier revision numbers are no longer valid. Start again.",
    ),
    "revision_gone": ProblemKind(410, "Revision gone", "The revision is older than the kept history: start again."),
    "product_retired": ProblemKind(410, "Product retired", "The contract of this product is retired."),
    "body_too_large": ProblemKind(413, "Body too large", "The body exceeds a limit on bytes, records or values."),
    "uri_too_long": ProblemKind(414, "URL too long", "The URL of the request exceeds the limit."),
    "unsupported_media_type": ProblemKind(
        415, "Unsupported media type", "The Accept-Post or Accept-Encoding header lists the supported types."
    ),
    "range_not_satisfiable": ProblemKind(
        416, "Range not satisfiable", "The requested range starts after the end of the file."
    ),
    "unknown_parameter": ProblemKind(422, "Unknown parameter", "The dataset has no such parameter or property."),
    "duplicate_parameter": ProblemKind(
        422, "Duplicate parameter", "A parameter that takes one value was sent twice."
    ),
    "invalid_value": ProblemKind(422, "Invalid value", "A value does not match its parameter's type."),
    "invalid_text": ProblemKind(422, "Invalid text", "Text must be UTF-8 without NUL characters."),
    "invalid_number": ProblemKind(
        422, "Invalid number", "Numbers must be finite: NaN, Infinity and 1e400 are rejected."
    ),
    "invalid_event": ProblemKind(422, "Invalid event", "A record is not a JSON object, or violates CloudEvents 1.0."),
    "idempotency_key_reused": ProblemKind(
        422, "Idempotency-Key reused", "This Idempotency-Key was used before with another body."
    ),
    "limit_out_of_range": ProblemKind(422, "Limit out of range", "`limit` must be an integer from 1 to 1000."),
    "query_too_complex": ProblemKind(
        422, "Query too complex", "The query has too many filters or values, or too long a pattern."
    ),
    "query_too_expensive": ProblemKind(
        422, "Query too expensive", "The query exceeds its limit of temporary space: add filters."
    ),
    "invalid_cursor": ProblemKind(422, "Invalid cursor", "The cursor belongs to another query, or was altered."),
    "rate_limited": ProblemKind(
        429, "Too many requests", "The caller exceeded its rate limit: retry after the time in Retry-After."
    ),
    "headers_too_large": ProblemKind(431, "Headers too large", "The headers exceed the size limit."),
    "internal_error": ProblemKind(
        500, "Internal error", "An unexpected error occurred; the trace id identifies it in the logs."
    ),
    "not_implemented": ProblemKind(501, "Not implemented", "The method or transfer coding is not supported."),
    "overloaded": ProblemKind(503, "Overloaded", "The service is at its limit of concurrent work: retry."),
    "unavailable": ProblemKind(503, "Unavailable", "The database is temporarily unavailable: retry."),
    "query_timeout": ProblemKind(
        504, "Query timeout", "The query exceeded its time limit: add filters, or sort by an indexed property."
    ),
    "version_not_supported": ProblemKind(505, "HTTP version not supported", "The service supports HTTP/1.1 and 1.0."),
}


class Problem(Exception):  # noqa: N818 - the field's word for an error answer
    """An error that a client can cause; rendered as problem details."""

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
        self.reason = reason  # why a credential was rejected; only for the log
        super().__init__(f"{code}: {self.detail}")

    def __reduce__(self) -> tuple[object, ...]:
        """Supports pickling, for problems raised in another process."""
        make = partial(Problem, errors=self.errors, headers=self.headers, reason=self.reason)
        return make, (self.code, self.detail)


def parameter_problem(code: str, parameter: str, message: str, allowed: Iterable[str] = ()) -> Problem:
    """A problem with one query parameter; `allowed` lists the accepted values."""
    error: JsonObject = {"parameter": parameter, "message": message}
    if allowed := list(allowed):
        error["allowed"] = allowed
    return Problem(code, f"{parameter}: {message}", errors=[error])


def closest(name: str, known: Iterable[str]) -> list[str]:
    """The known names closest to `name`, best first."""
    names = list(known)
    folded = {candidate.lower(): candidate for candidate in names}
    return [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)]


def write_problem(settings: Settings, problem: Problem, path: str, trace_id: str) -> bytes:
    """The body of a problem for a request to a path of the service."""
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
    """The response for a problem."""
    kind = KINDS[problem.code]
    headers = {"Cache-Control": "no-store", **problem.headers}
    if kind.status in {409, 503, 504}:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    note_problem(request, problem.code, problem.reason)
    content = write_problem(request.app.state.settings, problem, request.url.path, trace_id_of(request.scope))
    return Response(content, kind.status, headers, MEDIA_TYPE)


def render_unexpected(request: Request) -> Response:
    """The response for an unexpected error, as the route shows problems."""
    # uvicorn closes the connection after an unexpected error: the response tells callers not to reuse it.
    problem = Problem("internal_error", headers={"Connection": "close"})
    show: Callable[[Request, Problem], Response] = request.scope.get(SHOWN_BY, render_problem)
    try:
        return show(request, problem)
    except Exception:  # what failed may be what shows it
        return render_problem(request, problem)


def allowed_methods(request: Request) -> set[str]:
    """The methods of all routes that match the path."""
    methods = {"OPTIONS"}
    included = (getattr(route, "original_router", None) for route in request.app.router.routes)
    routes = [route for router in included if router is not None for route in router.routes]
    found = [
        route for route in (*request.app.router.routes, *routes) if route.matches(request.scope)[0] is not Match.NONE
    ]
    # A literal path takes precedence over a template: `/keys/self` is no key's id.
    outright = [route for route in found if "{" not in getattr(route, "path", "{")]
    for route in outright or found:
        methods |= getattr(route, "methods", None) or set()
    return methods


def explain_unavailable(error: DatabaseUnavailableError) -> Problem:
    """The problem for an unavailable database; only the message of a BusyError is shown to callers."""
    return Problem("unavailable", str(error) if isinstance(error, BusyError) else None)


def problem_of(error: Exception) -> Problem:
    """The problem of an error that a read ends with: RAISED has those that there are."""
    if isinstance(error, DatabaseUnavailableError):
        return explain_unavailable(error)
    return Problem("query_timeout" if isinstance(error, QueryTimeoutError) else "query_too_expensive")


RAISED = (DatabaseUnavailableError, QueryTooExpensiveError, QueryTimeoutError)


def install_problems(
    app: FastAPI,
    guard_unrouted_path: Callable[[Request], Awaitable[None]],
    show: Callable[[Request, Problem], Awaitable[Response]],
) -> None:
    """Renders every error of the service as a problem, errors of the framework included.

    `guard_unrouted_path` may raise another problem for a request that no route takes; `show` renders a problem as
    whoever asks can read it.
    """

    @app.exception_handler(Problem)
    async def own(request: Request, error: Problem) -> Response:
        return await show(request, error)

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
        return await show(request, problem)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, _error: RequestValidationError) -> Response:
        return render_problem(request, Problem("bad_request"))

    async def ended(request: Request, error: Exception) -> Response:
        return render_problem(request, problem_of(error))

    for raised in RAISED:
        app.add_exception_handler(raised, ended)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error: Exception) -> Response:
        return render_unexpected(request)
