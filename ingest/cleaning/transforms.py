"""The SQL of transforms, held against what an expression over raw columns may be made of.

DuckDB's own parser tells what an expression is: what is judged here is what runs later. Everything that is not listed
is refused: functions that look at files, settings, the server or the time, subqueries, and whatever comes with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from catalog.model.dataset import Dataset
from ingest.cleaning.transform_functions import FUNCTIONS
from ingest.errors import CleaningError
from runtime.duckdb_quoting import quote_text

OWN_PREFIX = "_decant"
CLASSES = frozenset(
    [
        "COLUMN_REF",
        "CONSTANT",
        "FUNCTION",
        "OPERATOR",
        "COMPARISON",
        "CONJUNCTION",
        "CASE",
        "CAST",
        "BETWEEN",
        "LAMBDA",
        "COLLATE",
    ]
)
NAMED_TYPES = frozenset(["json", "enum"])  # what the parser leaves to be looked up
# Words that DuckDB reads as calls where no column has their name.
TIMESTAMP_WORDS = frozenset(["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"])
SERVER_WORDS = frozenset(
    ["user", "current_user", "session_user", "current_role", "current_catalog", "current_schema", "current_database"]
)
EMPTY_PARTS = ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify", "modifiers")


class TransformError(ValueError):
    """An expression is none that can be run here; the message says why."""


def check_expression(engine: duckdb.DuckDBPyConnection, expression: str, columns: tuple[str, ...]) -> None:
    """TransformError for what is more than an expression over these raw columns."""
    if "\0" in expression:
        raise TransformError("contains a NUL character")
    # As it stands among others later, and by itself: what closes a bracket that it did not open is no expression.
    parts = [read_expression(engine, text) for text in (f"SELECT ({expression})", f"SELECT {expression}")]
    if parts[0] != parts[1]:
        raise TransformError("must be one expression")
    known = {name.lower() for name in columns}
    for part in walk(parts[0]):
        check_part(part, known)


def read_expression(engine: duckdb.DuckDBPyConnection, statement: str) -> object:
    """The one expression that a SELECT gives, as DuckDB reads it."""
    # No parameter: with the first one, the driver imports pandas where that is installed.
    row = engine.execute(f"SELECT json_serialize_sql({quote_text(statement)})").fetchone()
    read: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if read["error"]:
        raise TransformError(f"is not a DuckDB expression: {first_line(read.get('error_message'))}")
    nodes = [part["node"] for part in read["statements"]]
    plain = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and nodes[0]["from_table"]["type"] == "EMPTY"
    if not plain or nodes[0]["cte_map"]["map"] or any(nodes[0].get(name) for name in EMPTY_PARTS):
        raise TransformError("must be an expression over the raw columns: no SELECT, no table, no statement")
    if len(nodes[0]["select_list"]) != 1:
        raise TransformError("must be one expression")
    return drop_places(nodes[0]["select_list"][0])


def first_line(message: object) -> str:
    """The first line of what DuckDB says."""
    return next(iter(str(message or "").splitlines()), "")


def drop_places(part: object) -> object:
    """A tree without the positions of its parts in the text."""
    if isinstance(part, dict):
        return {key: drop_places(value) for key, value in part.items() if key != "query_location"}
    return [drop_places(value) for value in part] if isinstance(part, list) else part


def walk(part: object) -> Iterator[dict[str, object]]:
    """Every node of a tree."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(inner)


def check_part(part: dict[str, Any], columns: set[str]) -> None:
    """TransformError for a node that is not known to be harmless."""
    kind = part.get("class")
    if kind is not None and kind not in CLASSES:
        raise TransformError(
            f"{kind.replace('_', ' ').lower()}: must be an expression over the raw columns: no SELECT, no *"
        )
    if kind == "FUNCTION":
        check_call(part)
    elif kind == "COLUMN_REF":
        name = str(part["column_names"][0]).lower()
        if name.startswith(OWN_PREFIX):
            raise TransformError(f"{name}: names that start with '{OWN_PREFIX}' are Decant's own")
        if name in TIMESTAMP_WORDS and name not in columns:
            raise TransformError(f"{name} has another value at each load; use raw columns only")
        if name in SERVER_WORDS and name not in columns:
            raise TransformError(f"{name} reads the server, not raw columns")
    info = part.get("type_info") if "id" in part else None
    if isinstance(info, dict) and info.get("type") == "UNBOUND_TYPE_INFO":
        name = str(info.get("name"))
        if name.lower() not in NAMED_TYPES or info.get("schema") or info.get("catalog"):
            raise TransformError(f"{name} is not a type that contracts may use")


def check_call(part: dict[str, Any]) -> None:
    """TransformError for a function that is not on the list."""
    name = str(part["function_name"]).lower()
    if str(part.get("schema") or "").lower().startswith(OWN_PREFIX):
        raise TransformError(f"{part['schema']}: names that start with '{OWN_PREFIX}' are Decant's own")
    if name == "age" and len(part.get("children") or []) == 1 and not part.get("schema"):
        raise TransformError("age of one timestamp has another value at each load: use age(a, b)")
    if name not in FUNCTIONS:
        raise TransformError(
            f"{name} is not among the functions that contracts may call: its value varies by load, or"
            f" depends on more than raw columns"
        )


def require_plain(engine: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """CleaningError for a dataset whose transforms may not be run: nobody has to have linted its contract."""
    for prop in dataset.properties.values():
        if prop.transform:
            try:
                check_expression(engine, prop.transform, prop.raw_columns)
            except TransformError as error:
                raise CleaningError(f"{prop.name}: transformLogic: {error}") from error
