"""Header fields that several endpoints read: lists, revisions, idempotency keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from starlette.types import Scope

from api.http.problems import Problem

KEY_TEXT = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
BARE_KEY = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~:/=-]{1,255}")


def read_idempotency_key(values: Sequence[str]) -> str | None:
    """The Idempotency-Key of a request: a quoted string, as the draft has it; a bare word means the same.

    None where there is none.
    """
    if not values:
        return None
    text = values[0].strip()
    quoted = KEY_TEXT.fullmatch(text)
    if len(values) > 1 or not (quoted or BARE_KEY.fullmatch(text)):
        raise Problem("invalid_idempotency_key")
    return re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else text


LEAST_REVISION = "decant-min-revision"
LISTS = frozenset({"accept", "accept-encoding", "if-none-match"})  # several lines are one (RFC 9110, 5.3)


def read_fields(scope: Scope) -> dict[str, str]:
    """The headers of a request by their names in small letters; of several with one name the first, or their list."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name not in fields:
            fields[name] = value
        elif name in LISTS:
            fields[name] += f", {value}"
    return fields


def read_least_revision(headers: Mapping[str, str]) -> int:
    """The oldest revision that the caller wants, 0 where it does not say."""
    text = headers.get(LEAST_REVISION)
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("invalid_value", "Decant-Min-Revision: expected a revision such as 42.")
    return int(text)
