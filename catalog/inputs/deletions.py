"""The key `deletes` of an input -> Deletions: which raw records delete the record of their key."""

from __future__ import annotations

from dataclasses import replace

from catalog.document.findings import Findings
from catalog.document.names import is_one_of
from catalog.document.yaml_document import YamlNode, YamlPath
from catalog.model.dataset import Deletions, Input, Property
from catalog.model.file_formats import find_format

TOMBSTONES = "tombstones"
COMPARED_TYPES = ("string", "integer", "boolean")  # whose values can be listed in `equals`


def build_deletions(
    value: YamlNode, mode: str, properties: dict[str, Property], trail: YamlPath, findings: Findings
) -> Deletions | None:
    """What the contract says of deletions; None where it says nothing, or nothing that can be used."""
    if value is None:
        return None
    if mode != "upsert":
        findings.error(trail, "input.deletes: needs mode upsert: a snapshot deletes what it lacks, append nothing")
        return None
    if value == TOMBSTONES:
        return Deletions(marked=True)
    if not isinstance(value, dict) or not is_one_of(value.get("property"), properties):
        findings.error(
            trail,
            f"input.deletes: must be {TOMBSTONES}, or a mapping such as"
            " {property: status, equals: deleted} with a property of the dataset",
        )
        return None
    for key in value:
        if key not in {"property", "equals"}:
            findings.error(trail, f"input.deletes.{key}: unknown; known are property, equals")
            return None
    name = str(value["property"])
    values = read_values(value.get("equals"), properties[name], trail, findings)
    return None if values is None else Deletions(name, values)


def read_values(value: YamlNode, prop: Property, trail: YamlPath, findings: Findings) -> tuple[str, ...] | None:
    """The values that mean a deletion, as text; none where any value does, None where they cannot be used."""
    if value is None:
        return ()
    listed = value if isinstance(value, list) else [value]
    texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in listed]
    if not listed or not all(isinstance(item, str | int | bool) for item in listed):
        findings.error(trail, "input.deletes.equals: must be a value, or a list of values")
        return None
    if prop.logical_type not in COMPARED_TYPES:
        findings.error(
            trail,
            f"input.deletes.equals: {prop.name} is of type {prop.logical_type}; without `equals`, any value"
            " means a deletion",
        )
        return None
    return tuple(texts)


def check_deletions(source: Input, trail: YamlPath, findings: Findings) -> Input | None:
    """The input with the deletions that its format says by itself; None where they cannot be had."""
    spec = find_format(source.file_format.format)
    deletions = source.deletions
    if spec is not None and spec.deletes:
        if source.mode != "upsert":
            findings.error(trail, f"input.format: {spec.name} says what is deleted, and so needs mode upsert")
            return None
        found = deletions or Deletions()
        return replace(source, deletions=Deletions(found.property, found.values, marked=True))
    if source.kind == "replication":
        # The database itself says which rows are deleted; a property may say so too.
        found = deletions or Deletions()
        return replace(source, deletions=Deletions(found.property, found.values, marked=True))
    if deletions is None:
        return source
    if deletions.property is None and not source.fed.streamed:
        findings.error(trail, f"input.deletes: only a stream has {TOMBSTONES}; name a property instead")
        return None
    if source.fed.streamed and source.file_format.is_json:
        # A message without a value deletes wherever deletions are wanted at all.
        return replace(source, deletions=Deletions(deletions.property, deletions.values, marked=True))
    if deletions.property is None:
        findings.error(trail, f"input.deletes: {TOMBSTONES} need a format of JSON")
        return None
    return source
