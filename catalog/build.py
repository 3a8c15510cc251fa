"""A contract's model -> Product, with a finding for whatever cannot be used. Pure but for reading ${VARIABLES}."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from open_data_contract_standard.model import (
    CustomProperty,
    OpenDataContractStandard,
    Relationship,
    SchemaObject,
    SchemaProperty,
)

from catalog.build_input import build_input
from catalog.build_property import build_property
from catalog.build_quality import build_gates
from catalog.build_sla import build_sla
from catalog.dataset import Dataset, ForeignKey, Product, Property, name_schema, shorten_name
from catalog.document import Document, Findings, Trail
from catalog.errors import Finding
from catalog.settings import Settings

CUSTOM_PROPERTIES = (
    "input",
    "enforced",
    "indexed",
    "searchable",
    "maxRejected",
    "maxDeleted",
    "unknownColumns",
    "masking",
    "anonymous",
    "rows",
    "rateLimit",
)
DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
DEFAULT_MAX_REJECTED = 0.10
# Pushed records come a few at a time, from many senders: a bad one must not hold up the others.
DEFAULT_MAX_REJECTED_EVENTS = 1.0
DEFAULT_MAX_DELETED = 0.50


def build_product(
    contract: OpenDataContractStandard, document: Document, sha256: str, settings: Settings
) -> tuple[Product, list[Finding]]:
    """The product of a contract, and what is wrong with it."""
    findings = Findings(document)
    version = contract.version or ""
    match = re.match(r"v?(\d+)(\.|$)", version)
    if not match:
        findings.error(("version",), f"{version!r} is not a semantic version such as 1.0.0")
    major = int(match[1]) if match else 0
    product_id = re.sub(r"[^A-Za-z0-9._-]+", "-", contract.id or "").strip("-")
    if not product_id:
        findings.error(("id",), "must hold a letter or a digit")
    schema = name_schema(product_id, major)
    datasets: dict[str, Dataset] = {}
    tables: dict[str, str] = {}
    for index, part in enumerate(contract.schema_ or []):
        trail: Trail = ("schema", index)
        dataset = build_dataset(part, trail, (product_id, major, schema), contract, findings, settings)
        if dataset is None:
            continue
        if dataset.name in datasets:
            findings.error((*trail, "name"), f"there is another dataset {dataset.name!r}")
        for table in (dataset.table, shorten_name(f"{dataset.table}_history")):
            if table in tables:
                findings.error((*trail, "name"), f"its table {table!r} is also that of {tables[table]!r}")
            tables[table] = dataset.name
        datasets[dataset.name] = dataset
    check_foreign_keys(datasets, findings)
    note_customs(contract, findings)
    return (
        Product(
            id=product_id,
            major=major,
            version=version,
            name=contract.name or product_id,
            status=contract.status or "draft",
            schema=schema,
            datasets=datasets,
            anonymous=is_anonymous(contract, product_id),
            sha256=sha256,
            file=document.file,
            source=document.text,
            dataset_lines={
                part.name: document.line_of(("schema", i))
                for i, part in enumerate(contract.schema_ or [])
                if part.name
            },
            document=document.data,
            description=(contract.description.purpose or "") if contract.description else "",
            sla=build_sla(contract, datasets, findings),
        ),
        findings.found,
    )


def build_dataset(
    part: SchemaObject,
    trail: Trail,
    owner: tuple[str, int, str],
    contract: OpenDataContractStandard,
    findings: Findings,
    settings: Settings,
) -> Dataset | None:
    """One dataset, or None where not even its name can be used."""
    name = part.name or ""
    if not DATASET_NAME.fullmatch(name):
        findings.error(
            (*trail, "name"),
            f"{name!r} must start with a letter and hold only letters, digits, '_', '.', '-'",
        )
        return None
    table = shorten_name(part.physicalName or name)
    if table.startswith("_"):
        findings.error((*trail, "physicalName"), "names that start with '_' are Decant's own")
    custom = read_customs(part.customProperties, (*trail, "customProperties"), findings)
    properties: dict[str, Property] = {}
    columns: dict[str, str] = {}
    for index, child in enumerate(part.properties or []):
        place = (*trail, "properties", index)
        marks = read_customs(child.customProperties, (*place, "customProperties"), findings)
        check_keys(child, place, findings)
        built = build_property(child, place, marks, findings)
        if built is None:
            continue
        if built.name in properties or built.column in columns:
            findings.error((*place, "name"), f"there is another property {built.name!r}")
        properties[built.name] = built
        columns[built.column] = built.name
    key = find_key(part, properties, trail, findings)
    product, major, schema = owner
    source = build_input(custom.get("input"), (*trail, "customProperties"), contract, properties, findings, settings)
    most = DEFAULT_MAX_REJECTED_EVENTS if source and source.kind == "events" else DEFAULT_MAX_REJECTED
    return Dataset(
        product=product,
        major=major,
        schema=schema,
        name=name,
        table=table,
        title=part.businessName or name,
        description=(part.description or "").strip(),
        properties=properties,
        key=key,
        foreign_keys=tuple(find_foreign_keys(part, trail, findings)),
        input=source,
        gates=tuple(build_gates(part, trail, properties, findings)),
        max_rejected=read_share(custom.get("maxRejected"), most, "maxRejected", trail, findings),
        max_deleted=read_share(custom.get("maxDeleted"), DEFAULT_MAX_DELETED, "maxDeleted", trail, findings),
        reject_unknown_columns=custom.get("unknownColumns") == "reject",
    )


def check_keys(part: SchemaProperty, trail: Trail, findings: Findings) -> None:
    """Errors for keys that a property does not have: the standard's schema lets them pass."""
    raw: Any = findings.document.data
    for step in trail:
        raw = raw[step]
    known = set(type(part).model_fields)
    for key in raw:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            findings.error(trail, f"a property has no {str(key)!r}{hint}")


def find_key(
    part: SchemaObject, properties: dict[str, Property], trail: Trail, findings: Findings
) -> tuple[str, ...]:
    """The names of the key's properties in their order; an error where there is none or one cannot be a key."""
    keyed = [(p.primaryKeyPosition or 0, i, p) for i, p in enumerate(part.properties or []) if p.primaryKey]
    if not keyed:
        findings.error(trail, "has no primaryKey: a record must be findable by its key. Mark one or more properties")
    for _, index, child in keyed:
        place = (*trail, "properties", index)
        built = properties.get(child.name or "")
        if built is None:
            continue
        if child.classification in {"confidential", "restricted"}:
            findings.error(
                (*place, "classification"),
                "a key property cannot be classified: the key is part of every address",
            )
        if not built.type.ordered:
            findings.error((*place, "logicalType"), f"a {built.type.name} cannot be a key")
    ordered = [child for _, _, child in sorted(keyed, key=lambda item: item[:2])]
    return tuple(child.name or "" for child in ordered if child.name in properties)


def find_foreign_keys(part: SchemaObject, trail: Trail, findings: Findings) -> Iterable[ForeignKey]:
    """The foreign keys of a dataset, its properties' and its own."""
    for index, child in enumerate(part.properties or []):
        for number, relationship in enumerate(child.relationships or []):
            place = (*trail, "properties", index, "relationships", number)
            yield from read_relationship(relationship, [child.name or ""], place, findings)
    for number, relationship in enumerate(part.relationships or []):
        place = (*trail, "relationships", number)
        sources = relationship.from_ if isinstance(relationship.from_, list) else [relationship.from_ or ""]
        yield from read_relationship(relationship, [s.rpartition(".")[2] for s in sources], place, findings)


def read_relationship(
    relationship: Relationship, sources: list[str], trail: Trail, findings: Findings
) -> Iterable[ForeignKey]:
    """The foreign key of one relationship, where it is one."""
    if (relationship.type or "foreignKey") != "foreignKey":
        return
    targets = relationship.to if isinstance(relationship.to, list) else [relationship.to or ""]
    parts = [target.split("/")[1::2] if "/" in target else target.rsplit(".", 1) for target in targets]
    if len(targets) != len(sources) or any(len(p) != 2 for p in parts) or len({p[0] for p in parts}) != 1:
        findings.warning(
            (*trail, "to"), f"{relationship.to!r} is not DATASET.PROPERTY of this contract: not followed"
        )
        return
    custom = read_customs(relationship.customProperties, (*trail, "customProperties"), findings)
    yield ForeignKey(
        properties=tuple(sources),
        dataset=parts[0][0],
        targets=tuple(p[1] for p in parts),
        enforced=custom.get("enforced", True) is not False,
    )


def check_foreign_keys(datasets: dict[str, Dataset], findings: Findings) -> None:
    """Errors for foreign keys that lead nowhere."""
    for number, dataset in enumerate(datasets.values()):
        for key in dataset.foreign_keys:
            parent = datasets.get(key.dataset)
            missing = [t for t in key.targets if parent is None or t not in parent.properties]
            missing += [p for p in key.properties if p not in dataset.properties]
            if missing:
                message = f"foreign key of {dataset.name} to {key.dataset}: there is no {', '.join(missing)}"
                findings.error(("schema", number), message)


def read_customs(customs: list[CustomProperty] | None, trail: Trail, findings: Findings) -> dict[str, Any]:
    """The custom properties by name; a warning for a name that nearly is one of ours."""
    values: dict[str, Any] = {}
    for index, custom in enumerate(customs or []):
        name = custom.property or ""
        close = [known for known in CUSTOM_PROPERTIES if known.lower() == name.lower() and known != name]
        if close:
            findings.warning((*trail, index, "property"), f"{name!r} means nothing here; did you mean {close[0]!r}?")
        values[name] = custom.value
    return values


def read_share(value: Any, default: float, name: str, trail: Trail, findings: Findings) -> float:
    """A share from 0 to 1, written as a number of percent or as '10 %'."""
    if value is None:
        return default
    text = str(value).strip().removesuffix("%").strip()
    try:
        share = float(text) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        findings.error((*trail, "customProperties"), f"{name}: {value!r} is not a percentage from 0 to 100")
        return default
    return share


def is_anonymous(contract: OpenDataContractStandard, product_id: str) -> bool:
    """Whether a role opens reading to anyone."""
    for role in contract.roles or []:
        custom = {c.property: c.value for c in role.customProperties or []}
        if role.access == "read" and custom.get("anonymous") is True and custom.get("rows") is None:
            return True
    return False


def note_customs(contract: OpenDataContractStandard, findings: Findings) -> None:
    """Warnings for what the contract asks of access that is not applied yet; nothing is opened by mistake."""
    for index, role in enumerate(contract.roles or []):
        if any(c.property == "rows" for c in role.customProperties or []):
            findings.warning(("roles", index), "rows: not applied yet; the role gives no access")
