"""What is not there: a page for browsers, problem details for everybody else."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.auth.sessions import Visitor
from api.http.negotiation import JSON, MediaType, rate_media_type, read_preferences
from api.http.problems import KINDS, RAISED, Problem, render_problem
from api.portal.page import identify_visitor, show_problem

HTML = MediaType("html", "text/html")
# These never read a cookie, and answer every caller in the same form.
ALWAYS_JSON = frozenset({"data", "keys", "operations", "openapi"})


async def show_missing(request: Request, problem: Problem) -> Response:
    """The problem, as a page where a browser has followed an address that leads nowhere."""
    if KINDS[problem.code].status != 404 or not wants_page(request):
        return render_problem(request, problem)
    response = show_problem(request, problem, await find_visitor(request))
    response.headers["Vary"] = "Accept, Cookie"
    return response


def wants_page(request: Request) -> bool:
    """Whether a page is liked better than JSON, at an address where there can be one."""
    if request.method not in {"GET", "HEAD"} or request.url.path.split("/")[1] in ALWAYS_JSON:
        return False
    preferences = read_preferences(request.headers.get("accept", ""))
    return bool(preferences) and rate_media_type(HTML, preferences) > rate_media_type(JSON, preferences)


async def find_visitor(request: Request) -> Visitor | None:
    """Who asks; None where that cannot be told: what is missing is missing for everybody."""
    try:
        return await identify_visitor(request)
    except (Problem, *RAISED):
        return None
