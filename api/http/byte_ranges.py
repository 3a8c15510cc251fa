"""Which of the ranges that a request asks for count (RFC 9110, 14). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.types import Scope

UNIT = "bytes="
SET_LIMIT_CHARACTERS = 4000
BEGUN = re.compile(r"\s*0*(\d+)\s*-\s*\d*\s*")
NO_END = re.compile(r"\s*-\s*0+\s*")  # the last 0 bytes
LONGEST_NUMBER = 18


def keep_ranges(scope: Scope, headers: Mapping[str, str], size: int) -> Scope:
    """The request without ranges that do not count: of a set, those that lie beyond the file's `size` in bytes.

    Where all of them do, the set stays, for its refusal.
    """
    requested = headers.get("range")
    if requested is None:
        return scope
    fields = [pair for pair in scope["headers"] if pair[0] != b"range"]
    # Ranges are defined for GET alone, and a unit that nobody knows is none.
    if scope["method"] != "GET" or not requested.lower().startswith(UNIT):
        return {**scope, "headers": fields}
    parts = requested[len(UNIT) :].split(",") if len(requested) <= SET_LIMIT_CHARACTERS else []
    kept = [part for part in parts if not lies_beyond(part, size)]
    if not kept or len(kept) == len(parts):
        return scope
    return {**scope, "headers": [*fields, (b"range", (UNIT + ",".join(kept)).encode("latin-1"))]}


def lies_beyond(part: str, size: int) -> bool:
    """Whether one range of a set has no byte of the file."""
    begun = BEGUN.fullmatch(part)
    if begun is None:
        return NO_END.fullmatch(part) is not None
    return len(begun[1]) > LONGEST_NUMBER or int(begun[1]) >= size
