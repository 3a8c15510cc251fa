"""Pagination: reads cursors and builds the address of the next page."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from api.http.problems import Problem, parameter_problem
from api.http.query_string import decode_part
from api.query.cursor import Cursor, InvalidCursorError, decode_cursor, encode_cursor, longest_cursor
from api.query.question import Target
from api.query.view import View
from catalog.model.dataset import Dataset
from runtime.json_types import Json

LINK_LIMIT_BYTES = 3000  # proxies keep 4 KB for all headers of an answer
CURSOR = "cursor"


def open_cursor(view: View, text: str, digest: str) -> Cursor:
    """The cursor, if it is ours and belongs to this query."""
    try:
        return decode_cursor(text, view.views.secret, digest)
    except InvalidCursorError as error:
        raise parameter_problem("invalid_cursor", CURSOR, str(error)) from None


def next_page(
    view: View, target: Target, epoch: str, revisions: Sequence[int], digest: str, position: Sequence[Json]
) -> str:
    """The address of the page that comes after a place; it repeats every parameter of the address but the cursor."""
    token = encode_cursor(Cursor(epoch, tuple(revisions), digest, tuple(position)), view.views.secret)
    return f"{target.path}?{without_cursor(target.query_string)}{CURSOR}={token}"


def check_room(view: View, target: Target, datasets: int = 1, sorted_by: int = 0) -> None:
    """Nothing comes back where the address leaves room for any cursor: no `next` is given that would be refused."""
    limit = view.views.url_limit
    longest = longest_next(view, target, datasets, sorted_by) - len(target.path) + len(urlsplit(target.path).path)
    if longest > limit:
        raise Problem(
            "uri_too_long",
            f"The URL of the next page, with its cursor, can have {longest} bytes; the limit is {limit}:"
            f" shorten the query by {longest - limit} bytes.",
        )


def check_link(view: View, target: Target, datasets: int, sorted_by: int) -> None:
    """Nothing comes back where the address of any next page fits into a header, where CSV and NDJSON have it."""
    longest = longest_next(view, target, datasets, sorted_by)
    if longest > LINK_LIMIT_BYTES:
        raise Problem(
            "uri_too_long",
            f"This format names the next page in a header of up to {LINK_LIMIT_BYTES} bytes, and its URL can have"
            f" {longest}: request JSON or an export.",
        )


def longest_next(view: View, target: Target, datasets: int, sorted_by: int) -> int:
    """The most characters that the address of a next page has."""
    query = without_cursor(target.query_string)
    cursor = longest_cursor(datasets, sorted_by, text_parts(view.dataset))
    return len(target.path) + len(query) + len(f"?{CURSOR}=") + cursor


def check_position_found(placed: bytes | None) -> None:
    """Nothing comes back where the record of a cursor was found in its revision."""
    if placed != b"t":
        raise Problem("revision_gone", "The record at the position of the cursor is no longer kept: start again.")


def text_parts(dataset: Dataset) -> tuple[bool, ...]:
    """Which parts of a dataset's key are texts, and may be long."""
    return tuple(dataset.properties[name].type.family == "text" for name in dataset.key)


def without_cursor(query_string: bytes) -> str:
    """The raw query string with every parameter but the cursor, ready for one more; safe in a Link header."""
    kept = [part for part in query_string.split(b"&") if part and decode_part(part.partition(b"=")[0]) != CURSOR]
    text = b"&".join(kept)
    return quote(text, safe="=&%[]+,:*-._~!$'()/?@") + ("&" if text else "")
