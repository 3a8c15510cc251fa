"""Runs the cleaning statement over a cut batch in DuckDB. Another engine would go here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalog.dataset import Dataset, Property
from catalog.settings import Settings
from ingest.clean import (
    NATIVE_TYPES,
    CleaningPlan,
    compile_cleaning,
    needed_columns,
    quote_name,
    quote_text,
    reads_json,
)
from ingest.errors import CleaningError
from ingest.readers.sink import JSON_COLUMN, CutBatch

# Fixed within a statement, but not from one load to the next: the same bytes would end differently.
UNSTEADY_WORDS = frozenset(
    {"AGE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"}
)


@dataclass(frozen=True)
class CleanBatch:
    """A cleaned batch, as files that COPY takes."""

    accepted_file: Path  # the contract's columns, then _revision, _load, _line
    rejected_file: Path  # line, key, raw text (empty), reasons, candidate
    accepted: int
    rejected: int
    duplicates: int


@contextmanager
def open_engine(settings: Settings, folder: Path, *, careful: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection that sees nothing but `folder`, and cannot be told otherwise.

    A `careful` one computes what expressions share in each of them: otherwise DuckDB takes it out of them, and out
    of the TRY that keeps an error to its record.
    """
    connection = duckdb.connect(
        config={
            "threads": settings.duckdb_threads,
            "memory_limit": settings.duckdb_memory,
            "temp_directory": str(folder / "spill"),
            "preserve_insertion_order": False,
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        if careful:
            connection.execute("SET disabled_optimizers = 'common_subexpressions'")
        connection.execute(f"SET allowed_directories = [{quote_text(str(folder))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def clean_batch(
    plan: CleaningPlan, cut: CutBatch, folder: Path, settings: Settings, *, revision: int, load_id: int
) -> CleanBatch:
    """The batch's good records and its rejected ones; CleaningError where the statement cannot run."""
    try:
        return run_cleaning(plan, cut, folder, settings, revision=revision, load_id=load_id)
    except duckdb.Error:
        # A value that fails a transform may have failed all of it; a third slower, it fails its own record.
        try:
            return run_cleaning(plan, cut, folder, settings, revision=revision, load_id=load_id, careful=True)
        except duckdb.Error as error:
            raise CleaningError(f"DuckDB: {str(error).splitlines()[0]}") from error


def run_cleaning(
    plan: CleaningPlan,
    cut: CutBatch,
    folder: Path,
    settings: Settings,
    *,
    revision: int,
    load_id: int,
    careful: bool = False,
) -> CleanBatch:
    """One run of the statement, and what it found in files."""
    accepted_file, rejected_file = folder / "accepted.csv", folder / "rejected.csv"
    statement = plan.read_from(str(cut.records), null_mark=uuid.uuid4().hex)
    with open_engine(settings, folder, careful=careful) as engine:
        engine.execute(statement)
        judged, rejected = count(engine, "SELECT count(*), count(reasons) FROM judged")
        if judged != cut.raw - cut.malformed_count:
            raise CleaningError(f"{cut.raw - cut.malformed_count} records were cut, but {judged} were read.")
        keys = ", ".join(plan.key)
        (distinct,) = count(
            engine, f"SELECT count(*) FROM (SELECT DISTINCT {keys} FROM judged WHERE reasons IS NULL)"
        )
        duplicates = judged - rejected - distinct
        newest = f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {newest_first(plan)}) = 1"
        engine.execute(
            f"COPY (SELECT {', '.join(plan.values)}, {revision}, {load_id}, line FROM judged"
            f" WHERE reasons IS NULL{newest if duplicates else ''} ORDER BY {keys})"
            f" TO {quote_text(str(accepted_file))} (FORMAT csv, HEADER false)"
        )
        engine.execute(
            f"COPY (SELECT line, {key_text(plan)}, NULL, reasons, {candidate(plan)} FROM judged"
            f" WHERE reasons IS NOT NULL) TO {quote_text(str(rejected_file))} (FORMAT csv, HEADER false)"
        )
    return CleanBatch(accepted_file, rejected_file, distinct, rejected, duplicates)


def find_native(dataset: Dataset) -> frozenset[str]:
    """The names of the properties whose transform gives a value of the property's type as it is."""
    found = set()
    with duckdb.connect() as engine:
        for prop in dataset.properties.values():
            if prop.transform and prop.type.duckdb in NATIVE_TYPES:
                columns = declare_columns(prop, is_json=reads_json(dataset))
                described = engine.execute(f"DESCRIBE SELECT ({prop.transform}) FROM (SELECT {columns})").fetchone()
                if described and described[1] in NATIVE_TYPES[prop.type.duckdb]:
                    found.add(prop.name)
    return frozenset(found)


def declare_columns(prop: Property, *, is_json: bool) -> str:
    """What a transform may read, of the right types and without any record."""
    types = {JSON_COLUMN: "JSON"} if is_json else {}
    return ", ".join(f"NULL::{types.get(n, 'VARCHAR')} AS {quote_name(n)}" for n in prop.raw_columns) or "1"


def count(engine: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    """The one row of numbers that a query gives."""
    row = engine.execute(query).fetchone()
    return tuple(int(value) for value in row or ())


def newest_first(plan: CleaningPlan) -> str:
    """The order in which the first of several records with one key is the newest."""
    chosen = plan.dataset.input.order_by if plan.dataset.input else None
    order = f"{plan.value(chosen)} DESC NULLS LAST, " if chosen else ""
    return f"{order}line DESC"


def key_text(plan: CleaningPlan) -> str:
    """SQL for a record's key as text, its parts joined by commas; null where a part is missing."""
    return " || ',' || ".join(f"CAST({column} AS VARCHAR)" for column in plan.key)


def candidate(plan: CleaningPlan) -> str:
    """SQL for the values of a rejected record that Postgres still has to judge: its foreign keys."""
    properties = plan.dataset.properties
    names = dict.fromkeys(name for key in plan.dataset.foreign_keys if key.enforced for name in key.properties)
    if not names:
        return "NULL"
    pairs = ", ".join(f"{quote_text(properties[n].column)}, CAST({plan.value(n)} AS VARCHAR)" for n in names)
    return f"json_object({pairs})"


def check_cleaning(dataset: Dataset) -> list[str]:
    """What keeps the dataset's transforms and rules from running, one line each; none where all is well."""
    problems = []
    with duckdb.connect() as engine:
        unsteady = {
            str(row[0]).upper()
            for row in engine.execute(
                "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability NOT IN ('CONSISTENT')"
                " AND function_type IN ('scalar', 'macro')"
            ).fetchall()
        } - {"ERROR"}
        for prop in dataset.properties.values():
            if prop.transform:
                found = check_transform(engine, prop, unsteady, is_json=reads_json(dataset))
                problems += [f"{prop.name}: transformLogic: {problem}" for problem in found]
            for rule in prop.rules:
                if rule.name == "pattern" and (problem := check_pattern(engine, str(rule.argument))):
                    problems.append(f"{prop.name}: pattern: {problem}")
        if not problems:
            problems += check_statement(engine, dataset)
    return problems


def check_transform(
    engine: duckdb.DuckDBPyConnection, prop: Property, unsteady: set[str], *, is_json: bool
) -> Iterator[str]:
    """What DuckDB has against an expression."""
    for word in sorted(find_calls(prop.transform or "") & (unsteady | UNSTEADY_WORDS)):
        yield f"{word.lower()} gives another value at each load; use raw columns only"
        return
    try:
        engine.execute(
            f"SELECT TRY([({prop.transform})]) FROM (SELECT {declare_columns(prop, is_json=is_json)}) LIMIT 0"
        )
    except duckdb.Error as error:
        yield str(error).splitlines()[0]


def find_calls(expression: str) -> set[str]:
    """The functions that a SQL expression calls, and its keywords for the time, in capitals."""
    bare = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", " ", expression)
    called = {word.upper() for word in re.findall(r"([A-Za-z_][A-Za-z0-9_]*)\s*\(", bare)}
    words = {word.upper() for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", bare)}
    return called | (words & UNSTEADY_WORDS)


def check_pattern(engine: duckdb.DuckDBPyConnection, pattern: str) -> str | None:
    """Why a regular expression cannot run in linear time, or None: RE2 refuses look-around and back-references."""
    try:
        engine.execute("SELECT regexp_matches('', ?)", [pattern])
    except duckdb.Error as error:
        return f"{pattern!r} cannot run in linear time or is no regular expression ({str(error).splitlines()[0]})"
    return None


def check_statement(engine: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str]:
    """What DuckDB has against the whole statement, tried on no record."""
    columns = tuple(needed_columns(dataset))
    plan = compile_cleaning(dataset, columns, find_native(dataset), is_json=reads_json(dataset))
    try:
        engine.execute(plan.read_nothing())
        engine.execute("DROP TABLE judged")
    except duckdb.Error as error:
        return [str(error).splitlines()[0]]
    return []
