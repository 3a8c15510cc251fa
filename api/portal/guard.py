"""The way of every request for a page: who asks is found once, and whatever goes wrong is shown as a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.auth.identify import VISITOR
from api.auth.sessions import Visitor
from api.context import context_of
from api.http.addresses import public_path
from api.http.problems import KINDS, RAISED, SHOWN_BY, Problem, problem_of, render_problem
from api.portal.content import Content, Elsewhere
from api.portal.rendering import render
from api.portal.signing_in.cookie import session_cookie

# No other host, no inline script or style, no frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",  # no window of another site holds one of ours
    "Cross-Origin-Resource-Policy": "same-origin",
}
VARY = "Cookie, Authorization, X-API-Key, Accept-Encoding"
CONTENT_TYPE = "text/html; charset=utf-8"
FOUND, SEE_OTHER = 302, 303

Respond = Callable[[Request], Awaitable[Response]]


def guard(respond: Respond) -> Respond:
    """The same, where problems are shown as pages, and what stands elsewhere is led to."""

    async def guarded(request: Request) -> Response:
        request.scope[SHOWN_BY] = show_problem  # unexpected errors too
        try:
            response = await respond(request)
        except Elsewhere as elsewhere:
            response = lead(request, elsewhere, SEE_OTHER if request.method == "POST" else FOUND)
        except Problem as problem:
            response = show_problem(request, problem)
        except RAISED as error:
            response = show_problem(request, problem_of(error))
        clear_past(request, response)
        return response

    return guarded


def clear_past(request: Request, response: Response) -> None:
    """Has the browser forget the cookie of a session that is over, once a page has said so."""
    visitor: Visitor | None = request.scope.get(VISITOR)
    is_shown = request.headers.get("sec-fetch-mode", "navigate") == "navigate"  # a script shows no whole page
    if visitor is None or visitor.principal.id is not None or response.status_code in {FOUND, SEE_OTHER}:
        return
    if not is_shown and visitor.past is not None:
        return
    cookie = session_cookie(request)
    if cookie is not None and cookie.read(request):
        cookie.clear(response)


async def identify_visitor(request: Request) -> Visitor:
    """Who asks for a page: by a credential in a header, else by the session of a cookie, which only pages read."""
    cookie = session_cookie(request)
    text = cookie.read(request) if cookie is not None else None
    return await context_of(request).callers.identify_visitor(request.scope, request.headers, text)


def lead(request: Request, elsewhere: Elsewhere, status: int) -> Response:
    """Leads to another page; its session begins or ends on the way."""
    path = public_path(context_of(request).settings, elsewhere.path)
    response = RedirectResponse(path, status, HEADERS | {"Vary": VARY, "Cache-Control": "no-store"})
    cookie = session_cookie(request)
    if cookie is not None and elsewhere.opened is not None:
        cookie.write(response, elsewhere.opened)
    elif cookie is not None and elsewhere.ends_session:
        cookie.clear(response)
        # Pages that were kept are private. No cookies and no storage: those of other services would go too.
        response.headers["Clear-Site-Data"] = '"cache"'
    return response


def show_problem(request: Request, problem: Problem) -> Response:
    """A problem as a page."""
    noted = render_problem(request, problem)  # the log, the status and the headers are those of every problem
    kind = KINDS[problem.code]
    content = Content("problem.html", kind.title, {"kind": kind, "problem": problem}, indexed=False)
    headers = {name: value for name, value in noted.headers.items() if name not in {"content-length", "content-type"}}
    return Response(render(request, content, []), noted.status_code, HEADERS | headers, CONTENT_TYPE)
