"""The way of every form: prove that a page of ours sent it, act through the API, lead on.

A form says in `back` which page it stands on: there a visitor returns who has to sign in first, or again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.http.paths import decode_path
from api.http.problems import KINDS, Problem
from api.portal.asking import OWN_FACTS, Asking
from api.portal.content import Content, Elsewhere
from api.portal.guard import identify_visitor
from api.portal.page import answer_once
from api.portal.signing_in.form import Form, check_token, local_path, read_form
from api.portal.signing_in.refused import REFUSED, Refused

Act = Callable[[Asking, Form], Awaitable[Content]]
CORRECTABLE = frozenset({404, 409, 422})  # problems that stand beside the form, to be corrected there


class Action(NamedTuple):
    """What a form does: its route, and what acts on its fields: it leads elsewhere, or returns what is shown once."""

    name: str  # as it is counted
    path: str
    act: Act
    needs_session: bool = True
    needs_fresh: bool = False  # whether the visitor must have signed in a moment ago


async def answer_action(request: Request, action: Action, pages: Sequence[Route]) -> Response:
    """The page after a form."""
    visitor = await identify_visitor(request)
    form = await read_form(request)
    if action.needs_session:
        back = local_path(form.get("back"))
        if visitor.session is None:
            raise Elsewhere(sign_in_path(back))
        check_token(request, visitor.session, form)
        if action.needs_fresh and not visitor.session.is_fresh:
            raise Elsewhere(sign_in_path(back, again=True))
    asking = Asking(request, visitor)
    try:
        return await answer_once(request, asking, await action.act(asking, form))
    except Problem as problem:
        if KINDS[problem.code].status not in CORRECTABLE:
            raise
        return await show_again(request, Refused(problem, form), pages)


async def show_again(request: Request, refused: Refused, pages: Sequence[Route]) -> Response:
    """The page that a refused form stands on, with what was wrong and what was typed."""
    path, _, query = local_path(refused.form.get("back")).partition("?")
    raw = path.encode("ascii")
    scope = {name: value for name, value in request.scope.items() if name not in OWN_FACTS}
    scope |= {"method": "GET", "path": decode_path(raw), "raw_path": raw, "query_string": query.encode("ascii")}
    for route in pages:
        match, more = route.matches(scope)
        if match is Match.FULL:
            endpoint: Any = route.endpoint
            response: Response = await endpoint.respond(Request(scope | dict(more) | {REFUSED: refused}))
            return response
    raise refused.problem


def sign_in_path(back: str, *, again: bool = False) -> str:
    """The page for signing in, which leads back to another; `again` says that this is asked of who has signed in."""
    fields = {"next": back} | ({"again": "1"} if again else {})
    return f"/sign-in?{urlencode(fields)}"
