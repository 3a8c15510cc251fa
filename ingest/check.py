"""Whether the SQL that a dataset's contract holds can run: tried in DuckDB on no record at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from catalog.dataset import Dataset, Property
from ingest.clean import compile_cleaning, needed_columns, reads_json
from ingest.engine import declare_columns, find_native
from ingest.rules import quote_text, translate_pattern

# Fixed within a statement, but not from one load to the next: the same bytes would end differently.
UNSTEADY_WORDS = frozenset(
    {"AGE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"}
)


def check_cleaning(dataset: Dataset) -> list[str]:
    """What keeps the dataset's transforms and rules from running, one line each; none where all is well."""
    problems = []
    with duckdb.connect() as engine:
        has_transforms = any(prop.transform for prop in dataset.properties.values())
        unsteady = find_unsteady(engine) if has_transforms else frozenset()
        for prop in dataset.properties.values():
            if prop.transform:
                found = check_transform(engine, prop, unsteady, is_json=reads_json(dataset))
                problems += [f"{prop.name}: transformLogic: {problem}" for problem in found]
            for path, part in walk_parts(prop, prop.name):
                problems += [f"{path}: {problem}" for problem in check_rules(engine, part)]
        if not problems and dataset.input is not None:
            problems += check_statement(engine, dataset)
    return problems


def find_unsteady(engine: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The functions, in capitals, that give another value each time."""
    named = engine.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability NOT IN ('CONSISTENT')"
        " AND function_type IN ('scalar', 'macro')"
    ).fetchall()
    return frozenset(str(name).upper() for (name,) in named) - {"ERROR"} | UNSTEADY_WORDS


def walk_parts(prop: Property, path: str) -> Iterator[tuple[str, Property]]:
    """The property and everything in it, each with the way to it."""
    yield path, prop
    for child in prop.children:
        yield from walk_parts(child, f"{path}.{child.name}")
    for part, step in ((prop.items, "[]"), *zip(prop.entries or (), (" (key)", ".*"), strict=False)):
        if part:
            yield from walk_parts(part, f"{path}{step}")


def check_rules(engine: duckdb.DuckDBPyConnection, prop: Property) -> Iterator[str]:
    """What DuckDB has against a property's regular expression and its time zone."""
    for rule in prop.rules:
        if rule.name == "pattern" and (problem := check_pattern(engine, str(rule.argument))):
            yield f"pattern: {problem}"
    try:
        engine.execute(f"SELECT timezone({quote_text(prop.type.zone)}, TIMESTAMP '2000-01-01')")
    except duckdb.Error as error:
        yield f"defaultTimezone: {str(error).splitlines()[0]}"


def check_transform(
    engine: duckdb.DuckDBPyConnection, prop: Property, unsteady: frozenset[str], *, is_json: bool
) -> Iterator[str]:
    """What DuckDB has against an expression."""
    expression = prop.transform or ""
    columns = {name.upper() for name in prop.raw_columns}
    if words := sorted(find_calls(engine, expression, columns) & unsteady):
        yield f"{', '.join(words).lower()} gives another value at each load; use raw columns only"
        return
    try:
        engine.execute(f"SELECT TRY([({expression})]) FROM (SELECT {declare_columns(prop, is_json=is_json)}) LIMIT 0")
    except duckdb.Error as error:
        yield str(error).splitlines()[0]


def find_calls(engine: duckdb.DuckDBPyConnection, expression: str, columns: set[str]) -> set[str]:
    """The functions that an expression calls, and its words that are no columns, in capitals; as DuckDB reads it."""
    row = engine.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression})"]).fetchone()
    found: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            found.update(str(part[key]).upper() for key in ("function_name",) if key in part)
            if part.get("class") == "COLUMN_REF":
                found.update({str(part["column_names"][0]).upper()} - columns)
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(json.loads(row[0]) if row else {})
    return found


def check_pattern(engine: duckdb.DuckDBPyConnection, pattern: str) -> str | None:
    """Why a regular expression cannot run in linear time, or None: RE2 refuses look-around and back-references."""
    try:
        engine.execute("SELECT regexp_matches('', ?)", [translate_pattern(pattern)])
    except duckdb.Error as error:
        return f"{pattern!r} cannot run in linear time or is no regular expression ({str(error).splitlines()[0]})"
    return None


def check_statement(engine: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str]:
    """What DuckDB has against the whole statement."""
    columns = tuple(needed_columns(dataset))
    plan = compile_cleaning(dataset, columns, find_native(dataset), is_json=reads_json(dataset))
    try:
        engine.execute(plan.read_nothing())
        engine.execute("DROP TABLE judged")
    except duckdb.Error as error:
        return [str(error).splitlines()[0]]
    return []
