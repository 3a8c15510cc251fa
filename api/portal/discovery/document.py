"""One document: its address, its media type, and what builds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fastapi import Request
from starlette.responses import Response

from api.auth.sessions import Visitor
from api.context import context_of
from api.http.negotiation import MediaType
from api.http.responses import answer, refuse_unknown
from api.portal.asking import Asking

OPEN = "public, max-age=300"


class Document(NamedTuple):
    """One document."""

    name: str  # as it is counted
    path: str
    media_type: MediaType
    build: Callable[[Asking], Awaitable[bytes]]


async def answer_document(request: Request, document: Document) -> Response:
    """The document as anybody may read it: a credential shows no more."""
    context = context_of(request)
    await context.authenticate(request)
    refuse_unknown(request)
    body = await document.build(Asking(request, Visitor(context.callers.authenticator.anonymous)))
    # In a thread, as whatever is made of the whole catalogue: it may be megabytes that are compressed.
    return await asyncio.to_thread(answer, request, body, document.media_type, cache=OPEN)
