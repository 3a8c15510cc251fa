"""The SQL of a quality rule: what it reads, and the statement that measures it. Pure.

A rule names tables and columns as they are in the database; it sees the columns of properties, and no others.
"""

from __future__ import annotations

from sqlglot import expressions as exp

from catalog.model.dataset import Dataset, Gate, Property
from catalog.model.readable_datasets import Readings, Source
from catalog.model.rule_text import fill_placeholders, fill_rule
from catalog.sql.data_flow import trace_query
from catalog.sql.query import QueryTextError, TableRead, find_tables, parse_query, select_columns, write_query

PropertyRead = tuple[str, str, str]  # (schema, dataset, property)


def write_rule(readings: Readings, dataset: Dataset, gate: Gate) -> str:
    """The statement that measures a rule; ValueError where it may not be run."""

    def make(table: TableRead) -> exp.Subquery:
        source = find_source(readings, dataset, table)
        columns = {prop.column: prop.column for prop in list_properties(source)}
        return select_columns(source.dataset.schema, source.dataset.table, columns)

    return write_query(parse_query(fill_rule(dataset, gate), deterministic=False), make)


def find_source(readings: Readings, dataset: Dataset, table: TableRead) -> Source:
    """What a table of a rule means; ValueError where it may not be read."""
    found = readings.find(dataset, table.schema, table.name, physical=True)
    if found is None:
        raise QueryTextError(f"unknown dataset {table.read!r}")
    return found


def list_properties(source: Source) -> list[Property]:
    """The properties that may be read of a source."""
    return [source.dataset.properties[name] for name in source.properties]


def find_properties(readings: Readings, dataset: Dataset, gate: Gate) -> frozenset[PropertyRead]:
    """Every property that a rule looks at; ValueError where that is unknown.

    A rule that counts the records of a dataset reads none of its properties, but the dataset: (schema, dataset, "").
    """
    if gate.kind != "sql":
        names = gate.arguments.get("properties") or ([gate.property] if gate.property else [])
        return frozenset({(dataset.schema, dataset.name, name) for name in ["", *names]})
    return find_read_properties(readings, dataset, gate.query or "", gate.property)


def find_read_properties(
    readings: Readings, dataset: Dataset, query: str, prop: str | None
) -> frozenset[PropertyRead]:
    """Every property that a rule's SQL looks at; ValueError where that is unknown."""
    key = (dataset.schema, dataset.name, query, prop)
    if key not in readings.rules:
        readings.rules[key] = trace_rule(readings, dataset, query, prop)
    return readings.rules[key]


def trace_rule(readings: Readings, dataset: Dataset, query: str, prop: str | None) -> frozenset[PropertyRead]:
    """The same, looked up anew."""
    named_by = dataset.properties.get(prop or "")
    column = named_by.column if named_by else None
    try:
        filled = fill_placeholders(query, dataset.schema, dataset.table, column)
    except KeyError as error:
        raise QueryTextError(f"{error} is not known") from error
    tree = parse_query(filled, deterministic=False)
    sources = {table.read: find_source(readings, dataset, table) for table in find_tables(tree)}
    named = {read: {prop.column: prop.name for prop in list_properties(source)} for read, source in sources.items()}
    touched = trace_query(tree, {read: list(columns) for read, columns in named.items()}).touched
    found = {(source.dataset.schema, source.dataset.name, "") for source in sources.values()}
    for read, column in touched:
        found.add((sources[read].dataset.schema, sources[read].dataset.name, named[read][column]))
    return frozenset(found)
