"""Answers that are not of one revision: what the ledger says now. Tagged by their bytes, never kept by others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from api.http.addresses import address_of
from api.http.conditional import matches
from api.http.negotiation import COMPRESSED_FROM_BYTES, JSON, MediaType, choose_coding, choose_media_type, encode_body
from api.http.problems import closest, parameter_problem
from api.http.query_string import split_query
from runtime.settings.settings import Settings

READ = ["GET", "HEAD"]  # the methods of a route that only reads
NO_STORE = {"Cache-Control": "no-store"}
PRIVATE = "private, no-cache"
VARY = "Authorization, X-API-Key, Accept, Accept-Encoding, Decant-Min-Revision"


def answer(
    request: Request,
    body: bytes,
    media_type: MediaType = JSON,
    headers: dict[str, str] | None = None,
    cache: str = PRIVATE,
) -> Response:
    """The answer, or 304 where the caller has these bytes; compressed where it asks for that and it is worth it."""
    coding = choose_coding(request.headers.get("accept-encoding", ""))
    if len(body) < COMPRESSED_FROM_BYTES:
        coding = "identity"
    tag = tag_of_bytes(body, media_type, coding)
    fields = {"ETag": tag, "Cache-Control": cache, "Vary": VARY} | (headers or {})
    requested = request.headers.get("if-none-match")
    if requested is not None and matches(requested, tag):
        return Response(None, 304, fields)
    if coding != "identity":
        fields["Content-Encoding"] = coding
        body = encode_body(body, coding)
    return Response(body, 200, fields, media_type.content_type)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body in its coding, with its tag."""

    tag: str
    coding: str
    body: bytes


def encode_answer(body: bytes, media_type: MediaType, coding: str) -> Encoded:
    """The body ready to leave; for what is kept, and for what is too large to be encoded on the event loop."""
    if len(body) < COMPRESSED_FROM_BYTES:
        coding = "identity"
    return Encoded(tag_of_bytes(body, media_type, coding), coding, encode_body(body, coding))


def answer_encoded(request: Request, encoded: Encoded, media_type: MediaType, headers: dict[str, str]) -> Response:
    """The same as `answer` gives."""
    fields = {"ETag": encoded.tag, "Cache-Control": PRIVATE, "Vary": VARY} | headers
    requested = request.headers.get("if-none-match")
    if requested is not None and matches(requested, encoded.tag):
        return Response(None, 304, fields)
    if encoded.coding != "identity":
        fields["Content-Encoding"] = encoded.coding
    return Response(encoded.body, 200, fields, media_type.content_type)


def tag_of_bytes(body: bytes, media_type: MediaType, coding: str) -> str:
    """The entity tag of an answer of which nothing is known but its bytes."""
    digest = hashlib.sha256(media_type.name.encode() + coding.encode())
    digest.update(body)
    return f'"{digest.hexdigest()[:32]}"'


def answer_json(
    request: Request, value: object, headers: dict[str, str] | None = None, cache: str = PRIVATE
) -> Response:
    """A value as JSON."""
    choose_media_type(request.headers.get("accept", ""), (JSON,))
    return answer(request, json.dumps(value, ensure_ascii=False).encode(), JSON, headers, cache)


def answer_members(
    request: Request, members: Iterable[object], more: dict[str, object], headers: dict[str, str] | None = None
) -> Response:
    """JSON whose `data` is a list, with more members after it; the same bytes as `answer_json` gives.

    Written member by member, in the caller's thread: no other thread runs while one value is written.
    """
    choose_media_type(request.headers.get("accept", ""), (JSON,))
    data = b", ".join(json.dumps(member, ensure_ascii=False).encode() for member in members)
    rest = json.dumps(more, ensure_ascii=False).encode()[1:-1]
    return answer(request, b'{"data": [%b]%b%b}' % (data, b", " if rest else b"", rest), JSON, headers)


def answer_list(
    request: Request, members: bytes, before: int | None, settings: Settings, revision: int | None = None
) -> Response:
    """A page of a list whose members are JSON already; the next one begins before the id `before`."""
    choose_media_type(request.headers.get("accept", ""), (JSON,))
    next_url, headers = next_page(request, before, settings)
    if revision is not None:
        headers["Decant-Revision"] = str(revision)
    return answer(request, write_page(members, next_url), JSON, headers)


def answer_fresh_list(request: Request, members: bytes, before: int | None, settings: Settings) -> Response:
    """The same of what nobody may keep, the caller included."""
    next_url, headers = next_page(request, before, settings)
    return answer_fresh(request, write_page(members, next_url), headers)


def answer_fresh(request: Request, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """JSON that nobody may keep; compressed where the caller asks for that and it is worth it."""
    fields = NO_STORE | {"Vary": "Accept-Encoding"} | (headers or {})
    coding = choose_coding(request.headers.get("accept-encoding", ""))
    if coding != "identity" and len(body) >= COMPRESSED_FROM_BYTES:
        body, fields = encode_body(body, coding), fields | {"Content-Encoding": coding}
    return Response(body, 200, fields, JSON.content_type)


def next_page(request: Request, before: int | str | None, settings: Settings) -> tuple[str | None, dict[str, str]]:
    """The address of the page before an id, and the header that names it; neither where there is none."""
    if before is None:
        return None, {}
    following = request.url.include_query_params(before=before)
    next_url = address_of(settings, f"{following.path}?{following.query}")
    return next_url, {"Link": f'<{next_url}>; rel="next"'}


def write_page(members: bytes, next_url: str | None) -> bytes:
    """A page of a list as JSON."""
    return b'{"data":[%b],"next":%b}' % (members, json.dumps(next_url).encode())


def refuse_unknown(request: Request, known: tuple[str, ...] = ()) -> None:
    """A problem for a query parameter that is unknown here, or repeated."""
    seen = set()
    for name, _ in split_query(request.scope["query_string"]):
        if name not in known:
            raise parameter_problem("unknown_parameter", name, "unknown parameter", closest(name, known))
        if name in seen:
            raise parameter_problem("duplicate_parameter", name, "is repeated")
        seen.add(name)
