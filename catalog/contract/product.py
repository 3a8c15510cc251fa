"""A contract's model -> Product, with a finding for whatever cannot be used. Pure but for reading ${VARIABLES}."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject

from catalog.contract.names import check_names
from catalog.contract.notifications import build_channels
from catalog.contract.partitions import read_partitions
from catalog.contract.property import build_property, read_trim
from catalog.contract.quality import build_gates
from catalog.contract.relationships import check_foreign_keys, find_foreign_keys
from catalog.contract.roles import build_roles
from catalog.contract.service_levels import build_sla
from catalog.document.custom_properties import check_keys, read_custom_properties, read_grants, read_least, read_share
from catalog.document.findings import Findings, group_warnings
from catalog.document.yaml_document import Document, YamlMapping, YamlPath
from catalog.inputs.incremental import count_errors
from catalog.inputs.input import build_input
from catalog.inputs.permits import Permits
from catalog.model.dataset import CLASSIFIED, EXPANDED, Dataset, Product, Property, name_schema, shorten_name
from catalog.model.reserved_names import refuse_product, refuse_table
from catalog.model.semantic_version import SEMANTIC_VERSION
from runtime.errors import Finding
from runtime.settings.settings import Settings

DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
CONTRACT_PAGE = "contract"
DEFAULT_MAX_REJECTED = 0.10
# Pushed records come a few at a time, from many senders: a bad one must not hold up the others.
ANY_SHARE = 1.0
# The text search configurations that every PostgreSQL has.
# fmt: off
SEARCH_LANGUAGES = (
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "estonian", "finnish",
    "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali",
    "norwegian", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish",
    "yiddish",
)
# fmt: on
DEFAULT_MAX_DELETED = 0.50
# Postgres takes 1,600 columns; the table of history has four of Decant's own.
MOST_PROPERTIES = 1596


class Owner(NamedTuple):
    """The product that datasets belong to."""

    product: str
    major: int
    schema: str


def build_product(
    contract: OpenDataContractStandard, document: Document, sha256: str, settings: Settings
) -> tuple[Product, list[Finding]]:
    """The product of a contract, and what is wrong with it."""
    findings = Findings(document)
    owner = find_owner(contract, findings)
    permits = Permits(settings, owner.product)
    datasets = build_datasets(contract, owner, findings, permits)
    check_foreign_keys(datasets, findings)
    if not count_errors(findings):
        check_names(datasets, {part.name or "": i for i, part in enumerate(contract.schema_ or [])}, findings)
    sla = build_sla(contract, datasets, findings)
    if sla.latency_element is not None:
        name, prop = sla.latency_element
        datasets[name] = replace(datasets[name], freshness_property=prop)
    product = Product(
        id=owner.product,
        major=owner.major,
        version=contract.version or "",
        name=contract.name or owner.product,
        status=contract.status or "draft",
        schema=owner.schema,
        datasets=datasets,
        roles=build_roles(contract, owner.product, datasets, findings),
        sha256=sha256,
        file=document.file,
        source=document.text,
        dataset_lines={
            part.name: document.line_of(("schema", i)) for i, part in enumerate(contract.schema_ or []) if part.name
        },
        document=document.data,
        description=(contract.description.purpose or "") if contract.description else "",
        sla=sla,
        channels=build_channels(contract, owner.product, owner.major, permits, findings),
        grants=read_grants(
            read_custom_properties(contract.customProperties, ("customProperties",), findings, "contract"),
            ("customProperties",),
            findings,
        ),
    )
    return product, group_warnings(findings.found)


def find_owner(contract: OpenDataContractStandard, findings: Findings) -> Owner:
    """Whose the datasets are, by the contract's id and version."""
    version = contract.version or ""
    match = SEMANTIC_VERSION.fullmatch(version)
    if not match:
        findings.error(
            ("version",), f"{version!r} is not a semantic version such as 1.0.0 or 2.1.0-rc.1 (semver.org, 2.0.0)"
        )
    major = int(match[1]) if match else 0
    product_id = re.sub(r"[^A-Za-z0-9._-]+", "-", contract.id or "").strip("-")
    if not product_id:
        findings.error(("id",), "must contain a letter or a digit")
    schema = name_schema(product_id, major)
    if problem := refuse_product(product_id, schema):
        findings.error(("id",), problem)
    return Owner(product_id, major, schema)


def build_datasets(
    contract: OpenDataContractStandard, owner: Owner, findings: Findings, permits: Permits
) -> dict[str, Dataset]:
    """The datasets of a contract by name, each with tables of its own."""
    datasets: dict[str, Dataset] = {}
    tables: dict[str, str] = {}
    for index, part in enumerate(contract.schema_ or []):
        trail: YamlPath = ("schema", index)
        dataset = build_dataset(part, trail, owner, contract, findings, permits)
        if dataset is None:
            continue
        if dataset.name in datasets:
            findings.error((*trail, "name"), f"duplicate dataset {dataset.name!r}")
        for table in (dataset.table, shorten_name(f"{dataset.table}_history")):
            if table in tables:
                findings.error((*trail, "name"), f"its table {table!r} is also the table of {tables[table]!r}")
            tables[table] = dataset.name
        datasets[dataset.name] = dataset
    return datasets


def build_dataset(
    part: SchemaObject,
    trail: YamlPath,
    owner: Owner,
    contract: OpenDataContractStandard,
    findings: Findings,
    permits: Permits,
) -> Dataset | None:
    """One dataset, or None where not even its name can be used."""
    table = find_table(part, trail, findings)
    if table is None:
        return None
    name = part.name or ""
    custom = read_custom_properties(part.customProperties, (*trail, "customProperties"), findings, "dataset")
    trimmed = read_trim(custom, trail, findings)
    default: YamlMapping = {} if trimmed is None else {"trim": trimmed}
    properties = build_properties(part, trail, findings, default, is_fed=custom.get("input") is not None)
    key = find_key(part, properties, trail, findings)
    foreign_keys = tuple(find_foreign_keys(part, contract, trail, findings))
    if foreign_keys and EXPANDED in properties:
        findings.warning((*trail, "name"), f"a property is named {EXPANDED!r}, so `expand=` is not available")
    source = build_input(custom.get("input"), (*trail, "customProperties"), contract, properties, findings, permits)
    # What comes one by one is not held up by its neighbours, unless the owner says so.
    continuous = source is not None and source.fed.continuous
    most_rejected = ANY_SHARE if continuous else DEFAULT_MAX_REJECTED
    most_deleted = ANY_SHARE if continuous else DEFAULT_MAX_DELETED
    return Dataset(
        product=owner.product,
        major=owner.major,
        schema=owner.schema,
        name=name,
        table=table,
        title=part.businessName or name,
        description=(part.description or "").strip(),
        properties=properties,
        key=key,
        foreign_keys=foreign_keys,
        input=source,
        gates=tuple(build_gates(part, trail, properties, findings, is_fed=custom.get("input") is not None)),
        max_rejected=read_share(custom.get("maxRejected"), most_rejected, "maxRejected", trail, findings),
        max_deleted=read_share(custom.get("maxDeleted"), most_deleted, "maxDeleted", trail, findings),
        reject_unknown_columns=custom.get("unknownColumns") == "reject",
        min_records=read_least(custom.get("minRecords"), trail, findings),
        searched=tuple(prop.name for prop in properties.values() if prop.searchable),
        search_language=read_language(custom, trail, findings),
        partitions=read_partitions(part, custom, key, properties, trail, findings),
    )


def find_table(part: SchemaObject, trail: YamlPath, findings: Findings) -> str | None:
    """The name of a dataset's table; None where the dataset's own name cannot be used."""
    name = part.name or ""
    if not DATASET_NAME.fullmatch(name):
        findings.error(
            (*trail, "name"),
            f"{name!r} must start with a letter and contain only letters, digits, '_', '.', '-'",
        )
        return None
    if name == CONTRACT_PAGE:
        findings.error((*trail, "name"), f"{name!r} is reserved: it is the address of the contract itself")
    table = shorten_name(part.physicalName or name)
    if problem := refuse_table(table):
        findings.error((*trail, "physicalName" if part.physicalName else "name"), problem)
    return table


def read_language(custom: YamlMapping, trail: YamlPath, findings: Findings) -> str:
    """The text search configuration of a dataset; `simple`, which leaves words as they are, where none is named."""
    language = custom.get("searchLanguage", "simple")
    if language not in SEARCH_LANGUAGES:
        known = ", ".join(SEARCH_LANGUAGES)
        findings.error((*trail, "customProperties"), f"searchLanguage: {language!r} is not one of {known}")
        return "simple"
    return str(language)


def build_properties(
    part: SchemaObject, trail: YamlPath, findings: Findings, default: YamlMapping, *, is_fed: bool
) -> dict[str, Property]:
    """The properties of a dataset by name; transforms only where there is an input that they could read.

    `default` holds custom properties that the dataset says for all of them.
    """
    properties: dict[str, Property] = {}
    columns: dict[str, str] = {}
    for index, child in enumerate(part.properties or []):
        path = (*trail, "properties", index)
        own_custom_properties = read_custom_properties(
            child.customProperties, (*path, "customProperties"), findings, "property"
        )
        check_keys(child, path, findings)
        if child.transformLogic and not is_fed:
            findings.warning((*path, "transformLogic"), "not applied: the dataset has no input")
            child = child.model_copy(update={"transformLogic": None})
        built = build_property(child, path, default | own_custom_properties, findings)
        if built is None:
            continue
        if built.name in properties or built.column in columns:
            findings.error((*path, "name"), f"duplicate property {built.name!r}")
        properties[built.name] = built
        columns[built.column] = built.name
    if len(properties) > MOST_PROPERTIES:
        findings.error(
            (*trail, "properties"),
            f"has {len(properties):,} properties; a table of Postgres holds {MOST_PROPERTIES:,}: split the dataset",
        )
    return properties


def find_key(
    part: SchemaObject, properties: dict[str, Property], trail: YamlPath, findings: Findings
) -> tuple[str, ...]:
    """The names of the key's properties in their order; an error where there is none or one cannot be a key."""
    keyed = [(p.primaryKeyPosition or 0, i, p) for i, p in enumerate(part.properties or []) if p.primaryKey]
    if not keyed:
        findings.error(trail, "has no primaryKey: set primaryKey on one or more properties")
    for _, index, child in keyed:
        path = (*trail, "properties", index)
        built = properties.get(child.name or "")
        if built is None:
            continue
        if built.classification in CLASSIFIED:
            findings.error(
                (*path, "classification"),
                "a key property cannot be classified: the key is part of URLs",
            )
        if not built.type.ordered:
            findings.error((*path, "logicalType"), f"a {built.type.name} cannot be a key")
    ordered = [child for _, _, child in sorted(keyed, key=lambda item: item[:2])]
    return tuple(child.name or "" for child in ordered if child.name in properties)
