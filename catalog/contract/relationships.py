"""The relationships of a contract -> foreign keys, with a finding for each that leads nowhere."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from open_data_contract_standard.model import OpenDataContractStandard, Relationship, SchemaObject

from catalog.document.custom_properties import read_custom_properties
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlPath
from catalog.model.dataset import Dataset, ForeignKey

FULL_REFERENCE = re.compile(r"#?/?schema/(?P<object>[^/]+)/properties/(?P<property>[^/]+)")


def find_foreign_keys(
    part: SchemaObject, contract: OpenDataContractStandard, trail: YamlPath, findings: Findings
) -> Iterator[ForeignKey]:
    """The foreign keys of a dataset, its properties' and its own."""
    for index, child in enumerate(part.properties or []):
        for number, relationship in enumerate(child.relationships or []):
            path = (*trail, "properties", index, "relationships", number)
            yield from read_relationship(relationship, [child.name or ""], path, contract, findings)
    for number, relationship in enumerate(part.relationships or []):
        path = (*trail, "relationships", number)
        sources = relationship.from_ if isinstance(relationship.from_, list) else [relationship.from_ or ""]
        yield from read_relationship(relationship, [s.rpartition(".")[2] for s in sources], path, contract, findings)


def read_relationship(
    relationship: Relationship,
    sources: list[str],
    trail: YamlPath,
    contract: OpenDataContractStandard,
    findings: Findings,
) -> Iterator[ForeignKey]:
    """The foreign key of one relationship, where it is one."""
    if (relationship.type or "foreignKey") != "foreignKey":
        return
    targets = relationship.to if isinstance(relationship.to, list) else [relationship.to or ""]
    parts = [read_target(target, contract) for target in targets]
    if len(targets) != len(sources) or any(len(p) != 2 for p in parts) or len({p[0] for p in parts}) != 1:
        findings.warning((*trail, "to"), f"{relationship.to!r} is not of the form DATASET.PROPERTY: not applied")
        return
    custom = read_custom_properties(
        relationship.customProperties, (*trail, "customProperties"), findings, "relationship"
    )
    yield ForeignKey(
        properties=tuple(sources),
        dataset=parts[0][0],
        targets=tuple(p[1] for p in parts),
        enforced=custom.get("enforced", True) is not False,
    )


def read_target(target: str, contract: OpenDataContractStandard) -> tuple[str, ...]:
    """The dataset and the property that a reference names, by their names or by their ids; empty if it names none."""
    if match := FULL_REFERENCE.fullmatch(target):
        for part in contract.schema_ or []:
            if match["object"] in {part.id, part.name}:
                names = [p.name for p in part.properties or [] if match["property"] in {p.id, p.name}]
                return part.name or "", (names[0] if names else None) or match["property"]
        return match["object"], match["property"]
    if "/" in target or "#" in target:
        return ()
    dataset, _, name = target.rpartition(".")
    return (dataset, name) if dataset else ()


def check_foreign_keys(datasets: Mapping[str, Dataset], findings: Findings) -> None:
    """Errors for foreign keys that lead nowhere, or that compare what cannot be equal."""
    for number, dataset in enumerate(datasets.values()):
        for key in dataset.foreign_keys:
            for problem in dict.fromkeys(find_problems(dataset, key, datasets)):
                findings.error(("schema", number), f"foreign key of {dataset.name} to {key.dataset}: {problem}")


def find_problems(dataset: Dataset, key: ForeignKey, datasets: Mapping[str, Dataset]) -> Iterator[str]:
    """What is wrong with one foreign key."""
    parent = datasets.get(key.dataset)
    if parent is None:
        yield f"unknown dataset {key.dataset}{suggest(key.dataset, datasets)}"
        return
    for name, target in zip(key.properties, key.targets, strict=True):
        if name not in dataset.properties:
            yield f"{dataset.name} has no property {name}{suggest(name, dataset.properties)}"
        elif target not in parent.properties:
            yield f"unknown property {target}{suggest(target, parent.properties)}"


def suggest(name: str, known: Mapping[str, object]) -> str:
    """The closest of the known names, as the end of a message."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
