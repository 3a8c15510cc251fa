"""What is not there: a page for browsers, problem details for everybody else."""

from __future__ import annotations

from contextlib import suppress

from fastapi import Request
from starlette.responses import Response

from api.http.negotiation import JSON, MediaType, rate_media_type, read_preferences
from api.http.problems import KINDS, RAISED, Problem, render_problem
from api.portal.guard import identify_visitor, show_problem

HTML = MediaType("html", "text/html")
# These never read a cookie, and answer every caller in the same form.
ALWAYS_JSON = frozenset({"data", "keys", "operations", "openapi"})


async def show_missing(request: Request, problem: Problem) -> Response:
    """The problem, as a page where a browser has followed an address that leads nowhere."""
    if KINDS[problem.code].status != 404 or not wants_page(request):
        return render_problem(request, problem)
    with suppress(Problem, *RAISED):  # what is missing is missing for everybody, whoever they are
        await identify_visitor(request)
    response = show_problem(request, problem)
    response.headers["Vary"] = "Accept, Cookie"
    return response


def wants_page(request: Request) -> bool:
    """Whether a page is liked better than JSON, at an address where there can be one."""
    if request.method not in {"GET", "HEAD"} or request.url.path.split("/")[1] in ALWAYS_JSON:
        return False
    preferences = read_preferences(request.headers.get("accept", ""))
    return bool(preferences) and rate_media_type(HTML, preferences) > rate_media_type(JSON, preferences)
