"""Where each property of a dataset comes from: raw columns, other datasets' properties, what the contract says. Pure.

Values are followed, not conditions: what a query only filters or joins by is no origin of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.schema import MappingSchema

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, Input, Property
from catalog.model.dependencies import find_read
from catalog.model.sources import BucketSource, DatabaseSource, HttpSource, ReplicationSource
from catalog.sql.query import rename_tables


@dataclass(frozen=True)
class Origin:
    """One thing that values come from, and what that in turn comes from."""

    kind: str  # "column" of raw records, "property" of a dataset, "records" of a dataset, "stated" in the contract
    place: str  # the raw data or the dataset that it belongs to; empty where the contract only names it
    name: str | None  # None where whole records count, not the values of one property
    origins: tuple[Origin, ...] = ()

    @property
    def shown(self) -> str:
        """The origin in one line."""
        if self.kind == "stated":
            return f"{self.name} (as the contract says)"
        if self.kind == "records":
            return f"records of {self.place}"
        return f"{self.place}.{self.name}" if self.kind == "property" else f"{self.name} of {self.place}"


@dataclass(frozen=True)
class PropertyLineage:
    """Where one property comes from, and the expression that makes it, if there is one."""

    name: str
    transform: str | None
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class Lineage:
    """Where a dataset comes from, property by property."""

    dataset: str
    source: str | None  # None: nothing feeds it
    query: str | None
    properties: tuple[PropertyLineage, ...]


class Origins:
    """What the properties of a catalog's datasets directly come from; each is looked for once."""

    def __init__(self, catalog: Catalog) -> None:
        self.known = {(dataset.schema, dataset.name): dataset for dataset in catalog.datasets()}
        self.by_address = {dataset.address: dataset for dataset in self.known.values()}
        self.found: dict[tuple[str, str], tuple[Origin, ...]] = {}

    def of(self, dataset: Dataset, prop: Property) -> tuple[Origin, ...]:
        """What a property comes from, without what that comes from."""
        key = (dataset.address, prop.name)
        if key not in self.found:
            self.found[key] = tuple(find_origins(self.known, dataset, prop))
        return self.found[key]

    def trace(self, dataset: Dataset, prop: Property) -> tuple[Origin, ...]:
        """What a property comes from, back to raw columns."""
        return tuple(replace(origin, origins=self.behind(origin)) for origin in self.of(dataset, prop))

    def behind(self, origin: Origin) -> tuple[Origin, ...]:
        """What an origin comes from."""
        if origin.kind != "property" or origin.name is None:
            return ()
        source = self.by_address[origin.place]
        return self.trace(source, source.properties[origin.name])


def trace_lineage(catalog: Catalog, dataset: Dataset) -> Lineage:
    """The lineage of a dataset, through every derived dataset back to raw columns."""
    origins = Origins(catalog)
    return Lineage(
        dataset=dataset.address,
        source=name_source(dataset.input),
        query=dataset.input.query if dataset.input else None,
        properties=tuple(
            PropertyLineage(prop.name, prop.transform, origins.trace(dataset, prop))
            for prop in dataset.properties.values()
        ),
    )


def find_origins(known: Mapping[tuple[str, str], Dataset], dataset: Dataset, prop: Property) -> Iterator[Origin]:
    """What a property directly comes from."""
    source = dataset.input
    if source is not None and source.query:
        for column in prop.raw_columns:
            yield from trace_column(known, dataset, column)
    elif source is not None:
        index = name_source(source) or ""
        yield from (Origin("column", index, column) for column in prop.raw_columns)
    yield from (Origin("stated", "", name) for name in prop.source_objects)


def trace_column(known: Mapping[tuple[str, str], Dataset], dataset: Dataset, column: str) -> Iterator[Origin]:
    """What a column of a query's result comes from; the records of all that is read where no value says."""
    reads = {read: find_read(dataset, read) for read in (dataset.input.reads if dataset.input else ())}
    tables = {f"t{number}": known[index] for number, index in enumerate(reads.values()) if index in known}
    names = {read: f"t{number}" for number, read in enumerate(reads)}
    found: dict[tuple[str, str], Origin] = {}
    # In one order: the parser's own changes from run to run.
    for table, name in sorted(find_leaves(dataset, column, tables, names)):
        source = tables.get(table)
        if source and name in source.properties:
            found.setdefault((source.address, name), Origin("property", source.address, name))
    yield from found.values()
    if not found:
        yield from (Origin("records", source.address, None) for source in tables.values())


def find_leaves(
    dataset: Dataset, column: str, tables: dict[str, Dataset], names: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """The (table, column) pairs that a column of the query's result is made of, through joins, CTEs and unions."""
    columns: dict[str, object] = {table: dict.fromkeys(source.properties, "text") for table, source in tables.items()}
    schema = MappingSchema(columns, dialect="postgres", normalize=False)
    try:
        query = rename_tables((dataset.input and dataset.input.query) or "", names)
        quoted = exp.to_identifier(column, quoted=True).sql("postgres")
        top = lineage(quoted, query, schema=schema, dialect="postgres")
    except (SqlglotError, ValueError, KeyError):
        return
    yield from read_leaves(top)


def read_leaves(top: Node) -> Iterator[tuple[str, str]]:
    """The columns of tables at the ends of a column's lineage."""
    for node in top.walk():
        if isinstance(node.expression, exp.Table) and not node.downstream:
            column = sqlglot.parse_one(node.name, dialect="postgres")
            if isinstance(column, exp.Column):
                yield node.expression.name, column.name


def name_source(source: Input | None) -> str | None:
    """What a person would call an input: a file, an address; variables stay as the contract writes them."""
    if source is None:
        return None
    match source.source:
        case HttpSource() | DatabaseSource() | ReplicationSource() as pulled:
            return pulled.address
        case BucketSource(bucket=bucket, folder=folder):
            return "s3://" + "/".join(part.strip("/") for part in (bucket, folder, source.path or "") if part)
    return {"events": "pushed records", "query": "query"}.get(source.kind) or source.path or source.kind


def to_json(traced: Lineage) -> dict[str, object]:
    """The lineage as JSON shows it."""
    return asdict(traced)
