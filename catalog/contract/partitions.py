"""The number of partitions of a dataset's tables, by its contract."""

from __future__ import annotations

from collections.abc import Mapping

from open_data_contract_standard.model import SchemaObject

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.model.dataset import Property

FEWEST, MOST = 2, 16  # every page by key opens one index for each


def read_partitions(
    part: SchemaObject,
    custom: YamlMapping,
    key: tuple[str, ...],
    properties: Mapping[str, Property],
    trail: YamlPath,
    findings: Findings,
) -> int | None:
    """How many partitions the tables of a dataset have; None where they are in one piece.

    A warning where the first property of the key has too few values to fill them.
    """
    value = custom.get("partitions")
    if value is None:
        return None
    trail = find_place(part, trail)
    if not isinstance(value, int) or isinstance(value, bool) or not FEWEST <= value <= MOST:
        findings.error(trail, f"partitions: {value!r} is not an integer from {FEWEST} to {MOST}")
        return None
    first = properties.get(key[0]) if key else None
    number = None if first is None else count_values(first)
    if first is not None and number is not None and number < value:
        findings.warning(
            trail,
            f"partitions: {first.name!r}, the first property of the key, has {number} values at most, so"
            f" {value - number} of {value} partitions stay empty. Begin the key with a property of many values",
        )
    return value


def count_values(prop: Property) -> int | None:
    """How many values a property has at most; None where nothing says so."""
    if prop.type.name == "boolean":
        return 2
    return len(prop.enum) or None


def find_place(part: SchemaObject, trail: YamlPath) -> YamlPath:
    """Where the contract says so."""
    for index, custom in enumerate(part.customProperties or []):
        if custom.property == "partitions":
            return (*trail, "customProperties", index, "value")
    return (*trail, "customProperties")
