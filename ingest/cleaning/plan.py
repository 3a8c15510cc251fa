"""Compiles a contract into one SQL statement that trims, casts, derives and validates raw records. Pure.

The statement (DuckDB) reads the reader's records and makes the table `judged`: the line, every property's value, and
`reasons`, null for a good record, else a JSON array with one entry for each rule that the record breaks. Reasons are
built inside a CASE, which DuckDB evaluates for broken records only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from catalog.model.dataset import Dataset, Input
from ingest.cleaning.nested_sql import compile_parts, has_parts, join_lists, point_to
from ingest.cleaning.property_sql import compile_checks, compile_source, compile_value, write_result
from ingest.cleaning.raw_texts import choose_texts, clear_nulls, find_null_words, find_place
from ingest.cleaning.rule_sql import compile_reason, list_reasons
from ingest.cleaning.statement import INTERNAL_PREFIX, LINE, RECORD, CleaningStatement
from ingest.readers.record_writer import DELETED, JSON_COLUMN
from runtime.duckdb_quoting import quote_name, quote_text

__all__ = [
    "CleaningPlan",
    "compile_cleaning",
    "digest_cleaning",
    "needed_columns",
    "point_to",
    "quote_name",
    "quote_text",
]

WORD = "_decant_word"  # a raw text that may be a null word
MARK = "_decant_mark"  # whether a raw record is marked as deleted
# Transforms that give one of these types need no way through text; the guard keeps what Postgres can hold.
NATIVE_TYPES = {
    "SMALLINT": ("TINYINT", "SMALLINT"),
    "INTEGER": ("TINYINT", "SMALLINT", "INTEGER"),
    "BIGINT": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT"),
    "DOUBLE": ("DOUBLE",),
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE",),
    "TIMESTAMP": ("TIMESTAMP",),
    "TIMESTAMPTZ": ("TIMESTAMP WITH TIME ZONE",),
}


@dataclass(frozen=True)
class CleaningPlan:
    """How one dataset's raw records are cleaned: a statement around the place that they are read from.

    In `judged` the properties are v0, v1, … in the contract's order: their own names might clash with ours, or with
    one another, since DuckDB's names are not case-sensitive.
    """

    dataset: Dataset
    statement: CleaningStatement

    @property
    def width(self) -> int:
        """How many columns the raw records have."""
        return len(self.statement.columns)

    def read_judged(self, files: Iterable[tuple[str, int]]) -> str:
        """The statement that makes `judged` of records that were judged elsewhere, in Parquet files.

        To the lines of each file a number is added.
        """
        types = [prop.type.duckdb for prop in self.dataset.properties.values()]
        # Parquet has no type of its own for some of them.
        values = [f"CAST({value} AS {kind}) AS {value}" for value, kind in zip(self.values, types, strict=True)]
        columns = ["line + lines_before AS line", *values, *(["deleted"] if self.deletes else []), "reasons"]
        listed = list(files)
        names = ", ".join(quote_text(name) for name, _ in listed)
        added = ", ".join(f"({quote_text(name)}, {number}::BIGINT)" for name, number in listed)
        return (
            f"CREATE TABLE judged AS SELECT {', '.join(columns)} FROM read_parquet([{names}], filename = true)"
            f" JOIN (VALUES {added}) AS files(filename, lines_before) USING (filename)"
        )

    def value(self, name: str) -> str:
        """The column of `judged` that holds a property."""
        return f"v{list(self.dataset.properties).index(name)}"

    @property
    def values(self) -> list[str]:
        """The columns of `judged` that hold the properties, in the contract's order."""
        return [f"v{index}" for index in range(len(self.dataset.properties))]

    @property
    def deletes(self) -> bool:
        """Whether records may delete the record of their key: then `judged` has the column `deleted`."""
        return self.dataset.input is not None and self.dataset.input.deletions is not None

    @property
    def key(self) -> list[str]:
        """The columns of `judged` that hold the key."""
        return [self.value(name) for name in self.dataset.key]


def compile_cleaning(
    dataset: Dataset, header: tuple[str, ...], native: frozenset[str] = frozenset(), *, is_json: bool = False
) -> CleaningPlan:
    """The plan for raw records with these columns; with `is_json`, for JSON objects, whose keys are the columns.

    `native` names the properties whose transform gives a value of the right type as it is; the result is the same
    without it, only slower.
    """
    properties = list(dataset.properties.values())
    raw = compile_raw(dataset, header, is_json=is_json)
    casts = [
        f"{write_result(prop, f'x{index}[1]')} AS t{index}"
        for index, prop in enumerate(properties)
        if prop.transform and prop.name not in native
    ]
    tried, values = zip(
        *(compile_value(i, prop, native, is_json=is_json) for i, prop in enumerate(properties)), strict=True
    )
    checks = list(compile_checks(properties, native, raw.worded))
    nested = {f"r{i}": compile_parts(prop, f"t{i}", f"v{i}") for i, prop in enumerate(properties) if has_parts(prop)}
    parts = "".join(f", {found} AS {name}" for name, found in nested.items())
    broken = [f"({check.broken}) IS TRUE" for check in checks] + [f"coalesce(len({name}), 0) > 0" for name in nested]
    reasons = join_lists([list_reasons(compile_reason(check) for check in checks), *nested])
    any_broken = " OR ".join(broken) or "FALSE"
    deleted = compile_deleted(dataset, is_json=is_json)
    if deleted is not None:
        # Of a record that deletes its key, only the key is judged.
        of_key = [check for check in checks if check.property in dataset.key]
        key_broken = " OR ".join(f"({check.broken}) IS TRUE" for check in of_key) or "FALSE"
        any_broken = f"CASE WHEN deleted THEN ({key_broken}) ELSE ({any_broken}) END"
        key_reasons = join_lists([list_reasons(compile_reason(check) for check in of_key)])
        reasons = f"CASE WHEN deleted THEN {key_reasons} ELSE {reasons} END"
        parts += f", {deleted} AS deleted"
    return CleaningPlan(
        dataset=dataset,
        statement=CleaningStatement(
            columns=raw.columns,
            is_json=is_json,
            delimiter=dataset.input.file_format.delimiter if dataset.input else ",",
            before=f"CREATE TABLE judged AS\nWITH trimmed AS (\n  SELECT {raw.trimmed}\n  FROM ",
            after=f"""
), raw AS (
  SELECT {raw.cleared} FROM trimmed
), derived AS (
  SELECT {LINE} AS line, {", ".join(raw.texts)}
  FROM (SELECT {raw.named} FROM raw) AS named
), texts AS (
  SELECT {", ".join(["*", *casts])} FROM derived
), tried AS (
  SELECT *, {", ".join(tried)} FROM texts
), typed AS (
  SELECT *, {", ".join(values)} FROM tried
), looked_into AS (
  SELECT *{parts} FROM typed
), checked AS (
  SELECT *, ({any_broken}) AS broken FROM looked_into
)
SELECT line, {", ".join(f"v{index}" for index in range(len(properties)))},{" deleted," if deleted else ""}
  CASE WHEN broken THEN to_json({reasons})::VARCHAR END AS reasons
FROM checked""",
        ),
    )


def compile_deleted(dataset: Dataset, *, is_json: bool) -> str | None:
    """DuckDB SQL that is true where a record deletes the record of its key; None where none does."""
    deletions = dataset.input.deletions if dataset.input else None
    if deletions is None:
        return None
    conditions = [f"{MARK} = 'true'"] if deletions.marked and is_json else []
    if deletions.property is not None:
        value = f"v{list(dataset.properties).index(deletions.property)}"
        listed = ", ".join(map(quote_text, deletions.values))
        conditions.append(f"CAST({value} AS VARCHAR) IN ({listed})" if listed else f"{value} IS NOT NULL")
    return f"(({' OR '.join(conditions) or 'FALSE'}) IS TRUE)"


@dataclass(frozen=True)
class RawColumns:
    """DuckDB SQL for the columns of raw records, step by step, before anything is made of them."""

    columns: tuple[str, ...]  # of the raw records, or the keys of JSON objects
    trimmed: str
    cleared: str  # null words made null
    named: str  # under their own names, which only transforms see
    texts: list[str]  # one for each property, and the null words of some
    worded: frozenset[int]  # the properties whose null words are kept


def compile_raw(dataset: Dataset, header: tuple[str, ...], *, is_json: bool) -> RawColumns:
    """The columns of the raw records that the dataset's properties read."""
    nulls = dataset.input.null_values if dataset.input else ("",)
    properties = list(dataset.properties.values())
    needed = needed_columns(dataset)
    keys = tuple(name for name in needed if name != JSON_COLUMN) if is_json else None
    columns = header if keys is None else keys
    places = {name: f"{INTERNAL_PREFIX}{index}" for index, name in enumerate(columns) if name in needed}
    own = [LINE] if keys is None else [LINE, RECORD]
    texts_at = choose_texts(dataset, places)
    words = find_null_words(dataset, places, texts_at, nulls)
    cleared = [
        *own,
        *(f"{clear_nulls(place, nulls)} AS {place}" for place in texts_at),
        *(f"{place} AS {WORD}{index}" for index, place in words.items()),
    ]
    texts = [
        compile_source(index, prop, find_place(dataset, prop, places, texts_at))
        for index, prop in enumerate(properties)
    ]
    shown = {name: place for prop in properties if prop.transform for name, place in pick(places, prop.raw_columns)}
    if keys is not None:
        shown[JSON_COLUMN] = f"CAST({RECORD} AS JSON)"
    if DELETED in places and keys is not None:
        texts.append(f"{places[DELETED]} AS {MARK}")
    return RawColumns(
        columns=columns,
        trimmed=", ".join([*own, *(f"{text} AS {place}" for place, text in texts_at.items())]),
        cleared=", ".join(cleared),
        named=", ".join(["raw.*", *(f"{place} AS {quote_name(name)}" for name, place in shown.items())]),
        texts=[*texts, *(f"{WORD}{index} AS w{index}" for index in words)],
        worded=frozenset(words),
    )


def pick(places: dict[str, str], names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The places of these raw columns; names in a transform are not case-sensitive, as in DuckDB."""
    folded = {name.lower(): (name, place) for name, place in places.items()}
    return [
        (name, places[name]) if name in places else folded[name.lower()]
        for name in names
        if name in places or name.lower() in folded
    ]


def needed_columns(dataset: Dataset) -> list[str]:
    """The raw columns that the dataset's properties read, and the mark of deletion where there is one."""
    names = dict.fromkeys(name for prop in dataset.properties.values() for name in prop.raw_columns)
    source = dataset.input
    if source is not None and source.deletions is not None and source.deletions.marked and reads_json(dataset):
        names[DELETED] = None
    return list(names)


def reads_json(dataset: Dataset) -> bool:
    """Whether the dataset's raw records are JSON objects."""
    return dataset.input is not None and dataset.input.file_format.is_json


def digest_cleaning(dataset: Dataset) -> str:
    """The SHA-256 of all that decides a load's outcome, and of nothing else: words may change freely."""
    facts: dict[str, object] = {
        "statement": compile_cleaning(
            dataset, tuple(sorted(needed_columns(dataset))), is_json=reads_json(dataset)
        ).statement.read_nothing(),
        "columns": [(prop.column, prop.raw_columns) for prop in dataset.properties.values()],
        "key": dataset.key,
        "input": describe_input(dataset.input) if dataset.input else None,
        "unique": [prop.name for prop in dataset.properties.values() if prop.unique],
        "foreign_keys": [asdict(key) for key in dataset.foreign_keys if key.enforced],
        "gates": [{**asdict(gate), "description": None} for gate in dataset.gates],
        "shares": [dataset.max_rejected, dataset.max_deleted, dataset.reject_unknown_columns],
    }
    if dataset.min_records is not None:
        facts["least"] = dataset.min_records
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def describe_input(source: Input) -> dict[str, object]:
    """What of an input decides about its records: where they lie does not, and secrets are none of it."""
    deletions = {"deletions": asdict(source.deletions)} if source.deletions else {}
    return deletions | {
        "kind": source.kind,
        "mode": source.mode,
        "form": asdict(source.file_format),
        "order_by": source.order_by,
        "query": source.query,
    }
