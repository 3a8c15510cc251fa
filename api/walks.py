"""Walks over pages: where a cursor stands, and the address of the next page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from api.cursor import Cursor, InvalidCursorError, decode_cursor, encode_cursor
from api.problems import parameter_problem
from api.questions import Target
from api.views import View


def open_cursor(view: View, text: str, digest: str) -> Cursor:
    """The cursor, if it is ours and belongs to this query."""
    try:
        return decode_cursor(text, view.views.secret, digest)
    except InvalidCursorError as error:
        raise parameter_problem("invalid_cursor", "cursor", str(error)) from None


def next_page(view: View, target: Target, epoch: str, revisions: Sequence[int], digest: str, last: bytes) -> str:
    """The address of the page that comes after `last`, the JSON of a row's order values.

    It repeats every parameter of the address but the cursor.
    """
    token = encode_cursor(Cursor(epoch, tuple(revisions), digest, tuple(json.loads(last))), view.views.secret)
    return f"{target.path}?{without_cursor(target.query_string)}cursor={token}"


def without_cursor(query_string: bytes) -> str:
    """The raw query string with every parameter but the cursor, ready for one more; safe in a Link header."""
    kept = [part for part in query_string.split(b"&") if part and not part.startswith(b"cursor=")]
    text = b"&".join(kept)
    return quote(text, safe="=&%[]+,:*-._~!$'()/?@") + ("&" if text else "")
