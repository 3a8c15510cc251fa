"""The key part of a record's path."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from api.http.problems import Problem
from api.query.view import View
from catalog.model import record_key as catalog_keys
from catalog.types.property_types import InvalidValueError
from runtime.json_types import Json


def read_key_part(raw_path: bytes) -> str:
    """What an address has behind `/data/{product}/v{major}/{dataset}/records/`, still encoded."""
    return raw_path.split(b"/", 6)[6].decode("ascii", "replace")


def parse_key(view: View, raw: str) -> list[Json]:
    """The values of a raw key: its parts joined by commas; a comma that is percent-encoded belongs to its part."""
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw.split(",")]
    except UnicodeDecodeError:
        raise Problem("invalid_text", "The key is not UTF-8.") from None
    if any("\0" in part for part in parts):
        raise Problem("invalid_text", "The key contains a NUL character.")
    try:
        return catalog_keys.parse_key(view.dataset, parts)
    except InvalidValueError as error:
        raise Problem("record_not_found", f"{error}.") from None
