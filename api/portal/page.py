"""The way of every page: ask, tag, render, answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from fastapi import Request
from starlette.responses import Response

from api.database.answer_cache import Finished
from api.datasets.resources import dataset_resources
from api.http.addresses import asked_address
from api.http.conditional import build_digest, matches
from api.http.negotiation import COMPRESSED_FROM_BYTES, choose_coding, encode_body
from api.http.security_events import note_problem
from api.portal.asking import Asking
from api.portal.content import Content, Elsewhere
from api.portal.guard import CONTENT_TYPE, HEADERS, VARY, identify_visitor
from api.portal.rendering import render
from api.portal.reports.folder import reports_of
from api.portal.signing_in.issuers import renewal_path
from api.portal.signing_in.refused import REFUSED, Refused

OPEN = "public, max-age=60"
PRIVATE = "private, no-cache"

Build = Callable[[Asking], Awaitable[Content]]


class Page(NamedTuple):
    """One page: its route, and what builds it."""

    name: str  # as it is counted
    path: str
    build: Build


async def answer_page(request: Request, build: Build) -> Response:
    """The page; 304 where the visitor has it."""
    refused: Refused | None = request.scope.get(REFUSED)
    visitor = await identify_visitor(request)
    if refused is None and (path := renewal_path(request, visitor)):
        raise Elsewhere(path)
    asking = Asking(request, visitor)
    content = await build(asking)
    if refused is not None:
        content = replace(content, problem=refused.problem)
    return await answer_content(request, asking, content)


async def answer_content(request: Request, asking: Asking, content: Content) -> Response:
    """A built page, as it is kept; 304 where the visitor has it."""
    if content.status != 200 or not content.is_kept or asking.visitor.past is not None:
        return await answer_once(request, asking, content)
    coding = choose_coding(request.headers.get("accept-encoding", ""))
    tag = tag_of(request, asking, content, coding)
    is_open = asking.principal.id is None and not {"authorization", "cookie"} & set(request.headers)
    headers = HEADERS | {"ETag": tag, "Cache-Control": OPEN if is_open else PRIVATE, "Vary": VARY}
    known = request.headers.get("if-none-match")
    if known is not None and matches(known, tag):
        return Response(None, 304, headers)

    def finish() -> Finished:
        body = render(request, content, asking.replies)
        if coding != "identity" and len(body) >= COMPRESSED_FROM_BYTES:
            packed = encode_body(body, coding, thorough=True)
            return Finished(tag, ((b"content-encoding", coding.encode()),), packed, 0)
        return Finished(tag, (), body, 0)

    async def make() -> Finished:
        # In a thread: a page of many datasets takes its time, and others are answered meanwhile.
        return await asyncio.to_thread(finish)

    cache = dataset_resources(request).cache
    finished = cache.get(tag) or await cache.make(tag, make)
    headers |= {name.decode(): value.decode() for name, value in finished.headers}
    return Response(finished.body, 200, headers, CONTENT_TYPE)


async def answer_once(request: Request, asking: Asking, content: Content) -> Response:
    """A page that nobody keeps: a part is missing, it has a form of a session, or it says that one is over."""
    if content.problem is not None:
        note_problem(request, content.problem.code, content.problem.reason)

    def make() -> Response:
        body = render(request, content, asking.replies)
        coding = choose_coding(request.headers.get("accept-encoding", ""))
        headers = HEADERS | {"Cache-Control": "no-store", "Vary": VARY}
        if coding != "identity" and len(body) >= COMPRESSED_FROM_BYTES:
            body, headers = encode_body(body, coding), headers | {"Content-Encoding": coding}
        return Response(body, content.status, headers, CONTENT_TYPE)

    return await asyncio.to_thread(make)


def tag_of(request: Request, asking: Asking, content: Content, coding: str) -> str:
    """The entity tag of a page: its address, the build, who is signed in, and the answers that it shows."""
    digest = hashlib.blake2b(build_digest(), digest_size=16)
    facts = [content.template, content.title, asked_address(request), coding]
    session = asking.visitor.session
    facts += [str(session.visited_at) if session is not None else "", *sorted(asking.principal.scopes), asking.origin]
    facts += [content.version, str(reports_of(request).is_empty())]  # the navigation leads to reports
    for reply in sorted(asking.replies, key=lambda reply: reply.address):  # they come in any order
        facts += [reply.address, reply.tag]
    digest.update("\0".join(facts).encode())
    return f'"{digest.hexdigest()}"'
