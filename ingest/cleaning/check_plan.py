"""Whether the SQL that a dataset's contract holds can run: tried in DuckDB on no record at all."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from catalog.model.dataset import Dataset, Property
from ingest.cleaning.engine import declare_columns, find_native
from ingest.cleaning.plan import compile_cleaning, needed_columns, reads_json
from ingest.cleaning.rule_sql import translate_pattern
from ingest.cleaning.transforms import TransformError, check_expression
from runtime.duckdb_connection import open_duckdb
from runtime.duckdb_quoting import quote_text


def check_cleaning(dataset: Dataset) -> list[str]:
    """What keeps the dataset's transforms and rules from running, one line each; none where all is well."""
    problems = []
    zones: dict[str, str | None] = {}
    with open_duckdb(optimizer="off") as engine:
        for prop in dataset.properties.values():
            if prop.transform:
                found = check_transform(engine, prop, is_json=reads_json(dataset))
                problems += [f"{prop.name}: transformLogic: {problem}" for problem in found]
            for path, part in walk_parts(prop, prop.name):
                problems += [f"{path}: {problem}" for problem in check_rules(engine, part, zones)]
        if not problems and dataset.input is not None:
            problems += check_statement(engine, dataset)
    return problems


def walk_parts(prop: Property, path: str) -> Iterator[tuple[str, Property]]:
    """The property and everything in it, each with the way to it."""
    yield path, prop
    for child in prop.children:
        yield from walk_parts(child, f"{path}.{child.name}")
    for part, step in ((prop.items, "[]"), *zip(prop.entries or (), (" (key)", ".*"), strict=False)):
        if part:
            yield from walk_parts(part, f"{path}{step}")


def check_rules(engine: duckdb.DuckDBPyConnection, prop: Property, zones: dict[str, str | None]) -> Iterator[str]:
    """What DuckDB has against a property's regular expression and its time zone; `zones` are those checked before."""
    for rule in prop.rules:
        if rule.name == "pattern" and (problem := check_pattern(engine, str(rule.argument))):
            yield f"pattern: {problem}"
    zone = prop.type.zone
    if zone not in zones:
        zones[zone] = check_zone(engine, zone)
    if problem := zones[zone]:
        yield f"defaultTimezone: {problem}"


def check_zone(engine: duckdb.DuckDBPyConnection, zone: str) -> str | None:
    """What DuckDB has against a time zone, or None."""
    try:
        engine.execute(f"SELECT timezone({quote_text(zone)}, TIMESTAMP '2000-01-01')")
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    return None


def check_transform(engine: duckdb.DuckDBPyConnection, prop: Property, *, is_json: bool) -> Iterator[str]:
    """What is wrong with an expression."""
    expression = prop.transform or ""
    try:
        check_expression(engine, expression, prop.raw_columns)
        engine.execute(f"SELECT TRY([({expression})]) FROM (SELECT {declare_columns(prop, is_json=is_json)}) LIMIT 0")
    except TransformError as error:
        yield str(error)
    except duckdb.Error as error:
        yield str(error).splitlines()[0]


def check_pattern(engine: duckdb.DuckDBPyConnection, pattern: str) -> str | None:
    """Why a regular expression cannot run in linear time, or None: RE2 refuses look-around and back-references."""
    try:
        # No parameter: with the first one, the driver imports pandas where that is installed.
        engine.execute(f"SELECT regexp_matches('', {quote_text(translate_pattern(pattern))})")
    except duckdb.Error as error:
        return f"{pattern!r} cannot run in linear time or is not a regular expression ({str(error).splitlines()[0]})"
    return None


def check_statement(engine: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str]:
    """What DuckDB has against the whole statement."""
    columns = tuple(needed_columns(dataset))
    plan = compile_cleaning(dataset, columns, find_native(dataset), is_json=reads_json(dataset))
    try:
        engine.execute(plan.statement.read_nothing())
        engine.execute("DROP TABLE judged")
    except duckdb.Error as error:
        return [str(error).splitlines()[0]]
    return []
