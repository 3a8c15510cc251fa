"""The API's own answers for who is signed in: the links of a page lead here, since the API itself reads no cookie.

`/session/data/…` answers as `/data/…` does to the session's principal: same routes, views and limits. Only what is
read, and ends, is sent on. Problems are shown as pages.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from api.auth.identify import IDENTIFIED
from api.context import context_of
from api.http.addresses import address_of
from api.http.header_fields import Fields
from api.http.paths import decode_path
from api.http.problems import RAISED, Problem
from api.http.responses import READ
from api.portal.asking import OWN_FACTS, problem_in, route
from api.portal.guard import HEADERS, VARY, guard, identify_visitor
from api.portal.page import PRIVATE
from api.portal.session_path import PREFIX

# The second names the product, so that its limits hold, and the first the dataset, so that usage is counted for it.
PATHS = (
    f"{PREFIX}/data/{{product}}/v{{major}}/{{dataset}}/{{rest:path}}",
    f"{PREFIX}/data/{{product}}/v{{major}}/{{rest:path}}",
    f"{PREFIX}/{{rest:path}}",
)
READABLE = frozenset({"data", "keys", "openapi", "openapi.json", "operations", "subscriptions"})
# A stream of events outlives the session that it was opened by.
ENDLESS = "/follow"
OWN_FIELDS = {b"cache-control": PRIVATE.encode(), b"vary": VARY.encode()} | {
    name.lower().encode(): value.encode() for name, value in HEADERS.items()
}


class CutOffError(Exception):
    """An answer failed after it had begun: the connection ends, so that nobody takes it for whole."""


class Sent(Response):
    """An answer that has left already."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends nothing."""


class Relay:
    """Sends on the messages of an answer; keeps back those of a problem."""

    def __init__(self, request: Request, send: Send) -> None:
        self.base = address_of(context_of(request).settings, "")
        self.send_on = send
        self.begun = False
        self.refused: Message | None = None
        self.chunks: list[bytes] = []

    async def send(self, message: Message) -> None:
        """Takes a message."""
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                self.refused = message
                return
            self.begun = True
            message = {**message, "headers": self.mark(message["headers"])}
        elif self.refused is not None:
            self.chunks.append(message.get("body", b""))
            return
        await self.send_on(message)

    def mark(self, fields: Fields) -> Fields:
        """The headers of an answer that is a visitor's own; a redirect stays among these addresses."""
        kept = [(name, value) for name, value in fields if name.lower() not in OWN_FIELDS]
        return [(name, self.keep_here(value) if name == b"location" else value) for name, value in kept] + list(
            OWN_FIELDS.items()
        )

    def keep_here(self, location: bytes) -> bytes:
        """The address of an answer, where the session opens it."""
        return (self.base + PREFIX + location.decode().removeprefix(self.base)).encode()

    def problem(self) -> Problem | None:
        """The problem that the answer is, if it is one."""
        if self.refused is None:
            return None
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in self.refused["headers"]}
        return problem_in(b"".join(self.chunks), headers)


class AnswerBySession:
    """Answers a request by sending it through the API's routes as the visitor."""

    name = "portal API answer"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

        async def respond(request: Request) -> Response:
            visitor = await identify_visitor(request)
            relay = Relay(request, send)
            try:
                inner = {**api_scope(scope), IDENTIFIED: visitor.principal}
                await route(request.app.router, inner, receive, relay.send)
            except (Problem, *RAISED) as error:
                if relay.begun:
                    raise CutOffError from error
                raise
            if (problem := relay.problem()) is not None:
                raise problem
            return Sent()

        response = await guard(respond)(Request(scope, receive))
        await response(scope, receive, send)


def api_scope(scope: Scope) -> Scope:
    """The request as the API is asked, without its cookie; Problem where it is none of the API's that end."""
    raw_path = scope["raw_path"].removeprefix(PREFIX.encode())
    path = decode_path(raw_path)
    if path.split("/")[1] not in READABLE or path.endswith(ENDLESS):
        raise Problem("not_found")
    inner: dict[str, Any] = {name: value for name, value in scope.items() if name not in OWN_FACTS}
    return inner | {
        "path": path,
        "raw_path": raw_path,
        "headers": [(name, value) for name, value in scope["headers"] if name != b"cookie"],
    }


ROUTES = [Route(path, AnswerBySession(), methods=READ, name=AnswerBySession.name) for path in PATHS]
