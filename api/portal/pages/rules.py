"""What a contract says of a property, in a few words each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.portal.rendering import write_count

LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {}",
    "maxLength": "at most {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "multipleOf": "a multiple of {}",
    "pattern": "matches {}",
    "format": "format {}",
}
COUNTED = {"minLength": "character", "maxLength": "character", "minItems": "item", "maxItems": "item"}
SHOWN_CHARACTERS = 60


def rules_of(prop: dict[str, Any]) -> Iterator[str]:
    """The rules of a property, as its contract has them."""
    if prop.get("primaryKey"):
        yield "key"
    if prop.get("required") and not prop.get("primaryKey"):
        yield "required"
    if prop.get("unique"):
        yield "unique"
    for name, value in (prop.get("logicalTypeOptions") or {}).items():
        if name in LIMITS:
            is_count = name in COUNTED and type(value) is int
            yield shorten(LIMITS[name].format(write_count(value, COUNTED[name]) if is_count else value))
    for custom in prop.get("customProperties") or []:
        if custom.get("property") == "enum" and isinstance(custom.get("value"), list):
            yield shorten("one of " + ", ".join(map(str, custom["value"])))


def shorten(text: str) -> str:
    """A text that fits into a row."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def property_documents(contract: dict[str, Any], dataset: str) -> dict[str, dict[str, Any]]:
    """What a contract says of each property of a dataset, by name."""
    for part in contract.get("schema") or []:
        if part.get("name") == dataset:
            return {prop["name"]: prop for prop in part.get("properties") or [] if prop.get("name")}
    return {}
