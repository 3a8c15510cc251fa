"""Where the values of a sample's nested records lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.cleaning.plan import point_to, quote_text
from ingest.cleaning.raw_texts import trim
from ingest.cleaning.statement import RECORD
from ingest.readers.record_writer import JSON_COLUMN

NESTING_LIMIT = 3  # deeper objects stay objects
WIDTH_LIMIT = 60  # an object with more keys than this is rather a map


@dataclass(frozen=True)
class Source:
    """Where a property's text comes from: a column, or a path into a JSON object."""

    path: tuple[str, ...]
    text: str  # SQL over the table `sample`
    nested: bool = False
    array: bool = False
    object: bool = False
    kept: str | None = None  # SQL for the text with the blanks around it, where a load keeps them in texts


def walk(structure: dict[str, object], path: tuple[str, ...], *, typed: bool) -> Iterator[Source]:
    """The leaves of a structure of JSON objects; `typed` ones keep the blanks around their texts."""
    for key, kind in structure.items():
        place = (*path, key)
        text = f"json_extract_string({RECORD}, {quote_text(''.join(map(point_to, place)))})"
        nested = bool(path) or key == JSON_COLUMN or key.lower().startswith("_decant") or key == ""
        plain = not re.search(r"[\"'\\]", "".join(place))
        if nested and not plain:
            continue
        if not isinstance(kind, dict):
            kept = text if typed and not nested else None
            bare = text if nested else trim(text)
            yield Source(place, bare, nested=nested, array=isinstance(kind, list), kept=kept)
        elif len(place) < NESTING_LIMIT and 0 < len(kind) <= WIDTH_LIMIT and not any(map(is_odd, kind)):
            yield from walk(kind, place, typed=typed)
        else:
            yield Source(place, text, nested=nested, object=True)


def is_odd(key: str) -> bool:
    """Whether a key cannot be written into a path."""
    return not key or bool(re.search(r"[\"'\\]", key))
