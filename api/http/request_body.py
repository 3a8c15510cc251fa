"""Bodies of requests as JSON objects of known members."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fastapi import Request

from api.http.body_memory import read_body
from api.http.json_text import JsonText
from api.http.problems import Problem
from runtime.json_types import JsonObject

BODY_LIMIT_BYTES = 65_536


async def read_json(request: Request) -> bytes:
    """A short JSON body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("unsupported_media_type", headers={"Accept-Post": "application/json"})
    return await read_body(request, BODY_LIMIT_BYTES)


def member_problem(name: str, message: str) -> Problem:
    """A problem with one member of the body."""
    return Problem("invalid_value", f"{name}: {message}", errors=[{"pointer": f"/{name}", "message": message}])


def parse_object(body: bytes, known: Sequence[str]) -> JsonObject:
    """The members of a JSON object; a problem names what does not belong there."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem("invalid_text", f"The body is not UTF-8 (byte {error.start + 1}).") from None
    JsonText(text).read_whole()  # for its problems: depth, numbers and texts are held to the rules of pushed records
    found = json.loads(text)
    if not isinstance(found, dict):
        raise Problem("invalid_value", "The body must be a JSON object.")
    for name in found:
        if name not in known:
            message = f"unknown member; known members: {', '.join(known)}"
            raise Problem("invalid_value", f"{name}: {message}", errors=[{"pointer": f"/{name}", "message": message}])
    return found
