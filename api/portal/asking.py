"""What a page asks: questions of the API's own routes, asked in process as the caller who asked for the page.

A page knows nothing that the API does not say: the same routes, views and problems answer. The caller is identified,
and counted, once for the page.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.identify import IDENTIFIED
from api.auth.sessions import Visitor
from api.context import Context, context_of
from api.http.addresses import origin_of
from api.http.header_fields import Field
from api.http.negotiation import JSON, MediaType
from api.http.paths import decode_path
from api.http.problems import KINDS, RAISED, Problem, problem_of
from api.http.server_timing import KEPT, Timings
from runtime.json_types import JsonObject

# Of the page's own request, and of no question.
OWN_FACTS = ("path_params", "endpoint", "route", "router")
QUESTIONS_AT_ONCE = 4  # of one page: its other callers have their turns too
PROBLEM_FIELDS = ("www-authenticate", "retry-after")
HIDDEN = frozenset({401, 403, 404})  # what is not there, and what is not for the caller, look alike
Parameters = list[tuple[str, str]]
UNSPOILED = "[]():*"  # as people write filters; a comma that is written separates


class Sending(NamedTuple):
    """How a request is sent, beside its address."""

    method: str = "GET"
    media_type: MediaType = JSON  # of the answer
    body: bytes = b""  # JSON
    once: str = ""  # the Idempotency-Key


GET = Sending()


@dataclass(frozen=True)
class Reply:
    """What the API answered."""

    address: str  # path and query of the question
    tag: str
    revision: int | None
    body: bytes
    is_told: bool = True  # not where the caller must not learn whether there is such a thing

    @cached_property
    def value(self) -> Any:
        """The answer as what its JSON says."""
        return orjson.loads(self.body)

    @property
    def data(self) -> Any:
        """The member that holds what was asked for; `not_found` where a contract answers in a dataset's place."""
        if "data" not in self.value:
            raise Problem("not_found")
        return self.value["data"]


class Asking:
    """The questions of one page."""

    def __init__(self, request: Request, visitor: Visitor) -> None:
        self.request = request
        self.context: Context = context_of(request)
        self.visitor = visitor
        self.principal = visitor.principal
        self.replies: list[Reply] = []
        self.turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    @property
    def origin(self) -> str:
        """What the service's addresses begin with, as whoever asked reaches it."""
        return origin_of(self.request)

    def fill(self, path: str) -> str:
        """A path of the API with the parts of the page's own address in it, as they stand in addresses."""
        return path.format_map({name: quote(part, safe="") for name, part in self.request.path_params.items()})

    async def get(self, path: str, *parameters: tuple[str, str]) -> Reply:
        """The answer to a question; Problem where there is none."""
        return await self.get_raw(path, write_query(list(parameters)))

    async def get_raw(self, path: str, query: str) -> Reply:
        """The same, of a query string as it stands in an address: an encoded comma is not one that separates."""
        try:
            reply = await self.send(path, query)
        except Problem as problem:
            # What a page says of a problem is part of it, as an answer is.
            shown = f"{problem.code} {problem.detail}"
            is_told = KINDS[problem.code].status not in HIDDEN
            self.replies.append(Reply(write_address(path, query), shown, None, b"null", is_told))
            raise
        self.replies.append(reply)
        return reply

    async def get_as(self, path: str, media_type: MediaType) -> Reply:
        """The answer to a question in another form than JSON; Problem where there is none."""
        reply = await self.send(path, "", Sending(media_type=media_type))
        self.replies.append(reply)
        return reply

    async def find(self, path: str, *parameters: tuple[str, str]) -> Reply | None:
        """The same; None where there is nothing to be found, or nothing yet."""
        try:
            return await self.get(path, *parameters)
        except Problem as problem:
            if KINDS[problem.code].status not in {404, 410}:
                raise
            return None

    async def post(self, path: str, document: JsonObject, once: str = "") -> Reply:
        """The answer to a request that changes something; the same `once` is answered as it was the first time."""
        return await self.send(path, "", Sending("POST", body=orjson.dumps(document), once=once))

    async def patch(self, path: str, document: JsonObject) -> Reply:
        """The answer to a request that changes some members of something."""
        return await self.send(path, "", Sending("PATCH", body=orjson.dumps(document)))

    async def delete(self, path: str) -> None:
        """Asks for something to be taken away."""
        await self.send(path, "", Sending("DELETE"))

    async def send(self, path: str, query: str, sending: Sending = GET) -> Reply:
        """Sends a request through the service's routes; its path is as it stands in an address."""
        scope: dict[str, Any] = {name: value for name, value in self.request.scope.items() if name not in OWN_FACTS}
        scope |= {
            "method": sending.method,
            "path": decode_path(path.encode()),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": list(fields_of(sending)),
            IDENTIFIED: self.principal,
            KEPT: Timings(),
        }
        answer = Answer(sending.body)
        async with self.turns:
            await route(self.request.app.router, scope, answer.receive, answer.send)
        content = b"".join(answer.chunks)
        if answer.status >= 300:
            raise problem_in(content, answer.headers)
        revision = answer.headers.get("decant-revision", "")
        # What nobody may keep has no tag of its own.
        tag = answer.headers.get("etag") or hashlib.blake2b(content, digest_size=16).hexdigest()
        return Reply(write_address(path, query), tag, int(revision) if revision else None, content)


class Answer:
    """Gives the body of a request, and takes the messages of its answer."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []

    async def receive(self) -> Message:
        """The whole body."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Takes a message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.chunks.append(message.get("body", b""))


def fields_of(sending: Sending) -> Iterator[Field]:
    """The headers of a request."""
    yield b"accept", sending.media_type.bare_type.encode()
    if sending.body:
        yield b"content-type", JSON.bare_type.encode()
        yield b"content-length", str(len(sending.body)).encode()
    if sending.once:
        yield b"idempotency-key", f'"{sending.once}"'.encode()


def write_query(parameters: Parameters) -> str:
    """Parameters as a query string that people can read."""
    return urlencode(parameters, safe=UNSPOILED)


def write_address(path: str, query: str) -> str:
    """Path and query of a question."""
    return path + (f"?{query}" if query else "")


def problem_in(content: bytes, headers: Mapping[str, str]) -> Problem:
    """The problem that the API's answer is; its headers have names in lower case."""
    problem = orjson.loads(content)
    kept = {name.title(): value for name, value in headers.items() if name in PROBLEM_FIELDS}
    return Problem(problem["code"], problem.get("detail"), errors=problem.get("errors"), headers=kept)


async def route(router: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Has the service's routes answer; what other layers would make a problem is one here already."""
    try:
        await router(scope, receive, send)
    except RAISED as error:
        raise problem_of(error) from error
    except HTTPException as error:
        raise Problem("not_found") from error
