"""The parameters that questions about a dataset share."""

from __future__ import annotations

from collections.abc import Iterator

from api.openapi_parts.parts import EXPLODED, list_parameter, parameter
from api.query.parameters import COUNTS, LIMIT_DEFAULT, LIMIT_MAXIMUM
from catalog.model.dataset import Dataset, links_of
from catalog.types.filter_operators import PATTERN_MAXIMUM_CHARACTERS
from runtime.json_types import JsonObject


def page_parameters(dataset: Dataset) -> Iterator[JsonObject]:
    """The parameters that every dataset's page has."""
    usable = [p for p in dataset.properties.values() if not p.masked and p.name not in dataset.key]
    some = [p.name for p in usable][:2] or list(dataset.key)
    # Objects and arrays have no order, and no name may be repeated.
    sorted_by = [*[p.name for p in usable if p.type.ordered][:1], *dataset.key][:2]
    limit: JsonObject = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAXIMUM, "default": LIMIT_DEFAULT}
    yield parameter("limit", "Records per page.", limit)
    yield list_parameter(
        "sort",
        "Properties; a leading `-` sorts descending. Nulls are last in both directions.",
        [f"-{sorted_by[0]}", *sorted_by[1:]],
    )
    yield properties_parameter([dataset.key[0], *some])
    yield parameter(
        "cursor",
        "The position of a walk: taken from `next`, valid for the same query.",
        {"type": "string", "minLength": 1},
    )
    yield at_parameter()
    yield epoch_parameter()
    yield parameter(
        "count",
        "Adds a total: `exact` counts up to 100,000 records, `estimated` counts fewer and then"
        " estimates from a sample.",
        {"type": "string", "enum": list(COUNTS)},
    )
    yield from expand_parameter(dataset)
    if dataset.searched:
        description = f"Words to search for in {', '.join(dataset.searched)}, with the syntax of web search engines."
        yield parameter("q", description, {"type": "string", "maxLength": PATTERN_MAXIMUM_CHARACTERS})


def properties_parameter(example: list[str]) -> JsonObject:
    """`properties`, which chooses what is shown."""
    return list_parameter("properties", "Only these properties.", example)


def expand_parameter(dataset: Dataset) -> Iterator[JsonObject]:
    """`expand`, where there is anything to embed."""
    links = list(links_of(dataset))
    if links:
        several: JsonObject = {"type": "array", "items": {"type": "string", "enum": links}, "examples": [links[:2]]}
        yield parameter("expand", "Related records to embed, as `expanded`.", several) | EXPLODED


def at_parameter() -> JsonObject:
    """`at`, which reads an older revision."""
    return parameter(
        "at",
        "An older revision: its number, or a time (RFC 3339) at which it was current.",
        {"type": "string", "examples": ["1"]},
    )


def epoch_parameter() -> JsonObject:
    """`epoch`, which protects the revisions that a caller names."""
    return parameter(
        "epoch",
        "The `Decant-Epoch` of the named revision: 410 if the database was restored since then.",
        {"type": "string", "pattern": "^[0-9a-f]{8}$", "examples": ["5d41402a"]},
    )


def key_parameter(dataset: Dataset) -> JsonObject:
    """The record's key as the last part of the path."""
    description = f"The record's {', '.join(dataset.key)}."
    if len(dataset.key) > 1:
        description += " Its parts are separated by commas; a comma within a part is encoded as %2C."
    keyed = [dataset.properties[name] for name in dataset.key]
    example = ",".join(str(prop.examples[0]) for prop in keyed if prop.examples)
    schema = {"type": "string"} | ({"examples": [example]} if all(prop.examples for prop in keyed) else {})
    return {"name": "key", "in": "path", "required": True, "description": description, "schema": schema}
