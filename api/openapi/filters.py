"""The filters of a dataset: spelled once, as components that each operation refers to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from api.openapi.parts import EXPLODED, parameter
from api.query.operators import describe_operators
from api.query.parameters import KEPT_FREE, RESERVED
from catalog.model.dataset import Dataset

PARAMETERS = "#/components/parameters/"


def filter_components(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The filters by the names of their components, which are those of no other dataset."""
    found: dict[str, dict[str, Any]] = {}
    used: Counter[str] = Counter()
    # A dot within a name is doubled, so that no two datasets have one prefix.
    prefix = [part.replace(".", "..") for part in (dataset.product, f"v{dataset.major}", dataset.name)]
    for each in filter_parameters(dataset):
        # A component's name has letters, digits and few signs; a property's may have any.
        words = re.findall(r"[A-Za-z0-9_]+", each["name"]) or ["filter"]
        plain = name = ".".join([*prefix, *words])
        while name in found:
            used[plain] += 1
            name = f"{plain}.{used[plain] + 1}"
        found[name] = each
    return found


def references(components: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The parameters of an operation that takes all of these components."""
    return [{"$ref": f"{PARAMETERS}{name}"} for name in components]


def filter_parameters(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """One parameter for each property and operator."""
    meanings = describe_operators()
    for prop in dataset.properties.values():
        if prop.masked:
            continue  # shown, but not to be asked about
        value = {k: v for k, v in prop.type.json_schema.items() if k != "pattern" or prop.type.json_as_text}
        examples = {"examples": [prop.examples[0]]} if prop.examples else {}
        plain = prop.name not in RESERVED and prop.name not in KEPT_FREE
        for operator in prop.type.operators:
            if operator == "eq" and plain:
                yield parameter(prop.name, f"{prop.description} Equal to.".strip(), value | examples)
            name = f"{prop.name}[{operator}]"
            says = f"{prop.name}: {meanings[operator]}."
            if operator == "null":
                yield parameter(name, says, {"type": "boolean"})
            elif operator == "in":
                several = {"type": "array", "items": value, "maxItems": 200}
                if prop.examples:
                    several["examples"] = [list(prop.examples[:2])]
                yield parameter(name, says, several) | EXPLODED
            elif operator in {"like", "ilike"}:
                pattern = {"examples": [f"{str(prop.examples[0])[:1]}*"]} if prop.examples else {}
                yield parameter(name, says, {"type": "string", "maxLength": 128} | pattern)
            elif operator == "has":
                yield parameter(name, says, prop.type.item.json_schema if prop.type.item else {"type": "string"})
            else:
                yield parameter(name, says, value | examples)
