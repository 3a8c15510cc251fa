"""Products, datasets and properties: frozen values made from a contract. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog.model.file_formats import find_format
from catalog.model.input_kinds import InputKind, find_input_kind
from catalog.model.notifications import Channel
from catalog.model.roles import Role
from catalog.model.service_levels import Sla
from catalog.model.sources import (
    BucketSource,
    DatabaseSource,
    HttpSource,
    Incremental,
    ReplicationSource,
    StreamSource,
)
from catalog.types.property_types import PropertyType
from runtime.json_types import Json

POSTGRES_NAME_BYTES = 63
CLASSIFIED = ("confidential", "restricted")  # what takes a scope of its own to be seen
EXPANDED = "expanded"  # the member of a record that holds the records which it refers to


@dataclass(frozen=True)
class Rule:
    """One record-level rule of a property: `name` is what a rejected record's reason is called."""

    name: str
    argument: Any = None


@dataclass(frozen=True)
class ForeignKey:
    """A reference from `properties` of this dataset to the key `targets` of `dataset`, in the same product."""

    properties: tuple[str, ...]
    dataset: str
    targets: tuple[str, ...]
    enforced: bool


@dataclass(frozen=True)
class Gate:
    """One batch-level quality rule: a library metric or a statement, and the bound that it must keep."""

    name: str
    kind: str  # "metric" or "sql"
    metric: str | None
    query: str | None
    property: str | None
    operator: str  # an ODCS comparison: mustBe, mustBeGreaterThan, …
    bound: object
    unit: str  # "rows" or "percent"
    severity: str  # "error" withholds the load, "warning" only reports
    dimension: str | None
    description: str | None
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class FileFormat:
    """How bytes are parsed into raw records."""

    format: str = "csv"  # one of FORMATS, or one of Decant's own
    delimiter: str = ","
    encoding: str = "utf-8"
    columns: tuple[str, ...] | None = None  # of a file that has no header
    records: str | None = None  # json: the path to the records, such as $.features[*]
    record_key: str | None = None  # json: what the key of each record is called, where they lie in an object
    sheet: str | None = None  # xlsx: the sheet's name; the first that is shown where left out
    quoted: bool = True  # csv: whether double quotes around a field are structure; in TSV they are text

    @property
    def is_json(self) -> bool:
        """Whether each raw record is one JSON object."""
        spec = find_format(self.format)
        return spec is not None and spec.is_json

    @property
    def is_typed(self) -> bool:
        """Whether the source itself says what is a text."""
        spec = find_format(self.format)
        return spec is not None and spec.is_typed


@dataclass(frozen=True)
class Deletions:
    """Which raw records delete the record of their key, in mode upsert."""

    property: str | None = None  # whose value says so
    values: tuple[str, ...] = ()  # the values that do, as text; any value where there are none
    marked: bool = False  # whether a mark of the raw record says so: of a message without a value, or of a row


@dataclass(frozen=True)
class Input:
    """Where a dataset's raw data comes from."""

    kind: str  # one of INPUT_KINDS
    mode: str  # "snapshot", "upsert" or "append"
    file_format: FileFormat = FileFormat()
    null_values: tuple[str, ...] = ("",)
    order_by: str | None = None
    root: str | None = None  # file: the server's folder, variables filled in
    path: str | None = None  # file, bucket: below the root; may hold * and ?
    source: HttpSource | DatabaseSource | BucketSource | StreamSource | ReplicationSource | None = None
    incremental: Incremental | None = None  # http, database: how news only are asked for
    watch: bool = False  # file, bucket: whether a worker looks for news by itself
    deletions: Deletions | None = None
    query: str | None = None
    reads: tuple[str, ...] = ()  # what the query reads, as "dataset" or "schema.dataset": find_read

    @property
    def fed(self) -> InputKind:
        """How it is fed."""
        return find_input_kind(self.kind)

    @property
    def is_typed(self) -> bool:
        """Whether the source itself says what is a text; a query's result is CSV only on its way."""
        return self.fed.derived or self.file_format.is_typed


@dataclass(frozen=True)
class Property:
    """One column of a dataset."""

    name: str
    column: str
    type: PropertyType
    logical_type: str
    required: bool
    unique: bool
    rules: tuple[Rule, ...]
    description: str
    examples: tuple[Json, ...]
    classification: str
    transform: str | None
    raw_columns: tuple[str, ...]  # what it reads of the raw record
    indexed: bool
    options: Mapping[str, Any]
    enum: tuple[Json, ...] = ()
    deprecated: bool = False
    masking: str = "omit"  # what callers without its scope see: nothing, or "null" in its place
    masked: bool = False  # only in views: shown, but always as null
    searchable: bool = False  # whether a text search looks into it
    # What the contract says of it; `classification` is also what it inherits from the properties that it is made of.
    declared: str = "internal"
    declassified: str | None = None  # why it inherits nothing
    trimmed: bool | None = None  # whether blanks around its raw columns are dropped; None: keeps_blanks
    source_objects: tuple[str, ...] = ()  # what the contract says that it comes from
    # What an object or an array holds; its parts have names and rules, but no column of their own.
    children: tuple[Property, ...] = ()
    items: Property | None = None
    entries: tuple[Property, Property] | None = None  # key and value of a map


@dataclass(frozen=True)
class Dataset:
    """One table: its properties in the contract's order, its key, its input and its gates."""

    product: str
    major: int
    schema: str
    name: str
    table: str
    title: str
    description: str
    properties: Mapping[str, Property]
    key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    input: Input | None
    gates: tuple[Gate, ...]
    max_rejected: float  # a share, 0 to 1
    max_deleted: float  # a share, 0 to 1
    reject_unknown_columns: bool
    min_records: int | None = None  # raw records that a batch must have; None: one, in a snapshot
    searched: tuple[str, ...] = ()  # the properties that a text search looks into
    freshness_property: str | None = None  # whose newest moment says how fresh the dataset is
    search_language: str = "simple"  # the text search configuration that splits and stems their words
    partitions: int | None = None  # into which the records are spread by the first property of the key

    @property
    def address(self) -> str:
        """PRODUCT@MAJOR.DATASET, as the command line takes it."""
        return f"{self.product}@{self.major}.{self.name}"

    @property
    def place(self) -> dict[str, object]:
        """What finds the dataset in the ledger."""
        return {"product": self.product, "major": self.major, "dataset": self.name}

    @property
    def path(self) -> str:
        """The dataset's base path in the API."""
        return f"/data/{self.product}/v{self.major}/{self.name}"


@dataclass(frozen=True)
class Product:
    """What one contract declares."""

    id: str
    major: int
    version: str
    name: str
    status: str
    schema: str
    datasets: Mapping[str, Dataset]
    roles: tuple[Role, ...]
    sha256: str
    file: Path
    source: str  # the contract's text
    document: Mapping[str, Any] = field(repr=False, default_factory=dict)
    dataset_lines: Mapping[str, int] = field(repr=False, default_factory=dict)  # where each dataset begins
    description: str = ""
    sla: Sla = field(default_factory=Sla)
    channels: tuple[Channel, ...] = ()  # that are told of incidents
    grants: tuple[str, ...] = ()  # the products, as `id` or `id@major`, whose SQL may read this one's datasets

    @cached_property
    def anonymous(self) -> bool:
        """Whether anybody may read, be it some records only."""
        return any(role.anonymous for role in self.roles)


def keeps_blanks(dataset: Dataset, prop: Property) -> bool:
    """Whether blanks around the property's raw texts are part of them: as the contract says, else as its source does.

    In delimited text and in workbooks they come from whoever wrote them down. Where the source knows texts from all
    else, one is kept as it is; around a number or a date that is written as a text they still mean nothing.
    """
    if prop.trimmed is not None:
        return not prop.trimmed
    typed = dataset.input is not None and dataset.input.is_typed
    return typed and (prop.transform is not None or prop.type.family == "text")


def links_of(dataset: Dataset) -> dict[str, ForeignKey]:
    """The foreign keys by the names that readers know: the property's, or the dataset's where several lead there.

    None where a property has the name under which related records would stand.
    """
    named: dict[str, ForeignKey] = {}
    if EXPANDED in dataset.properties:
        return named
    for key in dataset.foreign_keys:
        named.setdefault(key.properties[0] if len(key.properties) == 1 else key.dataset, key)
    return named


def name_schema(product: str, major: int) -> str:
    """The Postgres schema of a product: its slugged id, `_v` and the major; over 63 bytes cut, with a hash."""
    slug = re.sub(r"[^a-z0-9]+", "_", product.lower()).strip("_") or "product"
    return shorten_name(f"{slug}_v{major}")


def shorten_name(name: str) -> str:
    """A name that Postgres will not cut: over 63 bytes, its end becomes a hash of the whole."""
    if len(name.encode()) <= POSTGRES_NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[: POSTGRES_NAME_BYTES - 9].decode(errors="ignore") + "_" + digest


def file_format_of(dataset: Dataset) -> FileFormat:
    """How the dataset's raw records are parsed."""
    return dataset.input.file_format if dataset.input is not None else FileFormat()


def takes_events(dataset: Dataset) -> bool:
    """Whether records are pushed to a dataset."""
    return dataset.input is not None and dataset.input.fed.pushed


def comes_continuously(dataset: Dataset) -> bool:
    """Whether records come to a dataset one by one, each with its own outcome."""
    return dataset.input is not None and dataset.input.fed.continuous


def is_derived(dataset: Dataset) -> bool:
    """Whether a dataset is a query over others."""
    return dataset.input is not None and dataset.input.fed.derived
