"""The filters of a dataset: spelled once, as components that each operation refers to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from api.openapi_parts.parts import EXPLODED, parameter
from api.query.parameters import KEPT_FREE, RESERVED
from catalog.model.dataset import Dataset
from catalog.types.filter_operators import EQUAL, OPERATORS
from runtime.json_types import JsonObject

PARAMETERS = "#/components/parameters/"


def filter_components(dataset: Dataset) -> dict[str, JsonObject]:
    """The filters by the names of their components, which are those of no other dataset."""
    found: dict[str, JsonObject] = {}
    used: Counter[str] = Counter()
    # A dot within a name is doubled, so that no two datasets have one prefix.
    prefix = [part.replace(".", "..") for part in (dataset.product, f"v{dataset.major}", dataset.name)]
    for each in filter_parameters(dataset):
        # A component's name has letters, digits and few signs; a property's may have any.
        words = re.findall(r"[A-Za-z0-9_]+", str(each["name"])) or ["filter"]
        plain = name = ".".join([*prefix, *words])
        while name in found:
            used[plain] += 1
            name = f"{plain}.{used[plain] + 1}"
        found[name] = each
    return found


def references(components: dict[str, JsonObject]) -> list[JsonObject]:
    """The parameters of an operation that takes all of these components."""
    return [{"$ref": f"{PARAMETERS}{name}"} for name in components]


def filter_parameters(dataset: Dataset) -> Iterator[JsonObject]:
    """One parameter for each property and operator."""
    for prop in dataset.properties.values():
        if prop.masked:
            continue  # shown, but not to be asked about
        plain = prop.name not in RESERVED and prop.name not in KEPT_FREE
        for operator in OPERATORS:
            if not operator.applies(prop.type):
                continue
            schema = operator.describe(prop.type, prop.examples)
            if operator is EQUAL and plain:
                yield parameter(prop.name, f"{prop.description} Equal to.".strip(), schema)
            described = parameter(f"{prop.name}[{operator.key}]", f"{prop.name}: {operator.help}.", schema)
            yield described | EXPLODED if operator.several else described
