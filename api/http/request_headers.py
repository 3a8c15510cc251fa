"""Header fields that several endpoints read: lists, revisions, idempotency keys."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
