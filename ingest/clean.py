"""A dataset's contract -> one SQL statement that trims, casts, derives and judges raw records. Pure.

The statement (DuckDB) reads the reader's records and makes the table `judged`: the line, every property's value, and
`reasons`, null for a good record, else a JSON array with one entry for each rule that the record breaks. Reasons are
built inside a CASE, which DuckDB evaluates for broken records only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from catalog.dataset import Dataset, Property, Rule

RECORDS = "{records}"  # stands for where the raw records are read from in the compiled statement
SHOWN_VALUE_CHARACTERS = 200
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
GUARDS = {
    "DOUBLE": "isfinite({value})",
    "DATE": "{value} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
    "TIMESTAMP": "{value} >= TIMESTAMP '0001-01-01' AND {value} < TIMESTAMP '10000-01-01'",
    "TIMESTAMPTZ": "{value} >= TIMESTAMPTZ '0001-01-01 00:00:00+00'"
    " AND {value} < TIMESTAMPTZ '10000-01-01 00:00:00+00'",
}


@dataclass(frozen=True)
class Check:
    """One rule in SQL: `broken` is true where `value` breaks it."""

    property: str
    rule: str
    broken: str
    value: str
    message: str


@dataclass(frozen=True)
class CleaningPlan:
    """How one dataset's raw records are cleaned."""

    dataset: Dataset
    columns_read: tuple[str, ...]  # what the raw columns are called, in their order
    delimiter: str
    statement: str
    key: tuple[str, ...]  # columns
    order_by: str | None  # the column that says which of two records with one key is the newer

    def read_from(self, records: str, null_mark: str) -> str:
        """The statement over the reader's file; `null_mark` is a text that no field holds."""
        declared = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in self.columns_read)
        return self.statement.replace(
            RECORDS,
            f"read_csv({quote_text(records)}, columns = {{'_line': 'BIGINT', {declared}}}, auto_detect = false,"
            f" header = false, delim = {quote_text(self.delimiter)}, quote = '\"', escape = '\"',"
            f" nullstr = {quote_text(null_mark)}, strict_mode = true, new_line = '\\n', max_line_size = 4000000)",
        )

    def read_nothing(self) -> str:
        """The statement over no record at all: what is wrong with it shows all the same."""
        columns = "".join(f", NULL::VARCHAR AS {quote_name(name)}" for name in self.columns_read)
        return self.statement.replace(RECORDS, f"(SELECT NULL::BIGINT AS _line{columns} LIMIT 0)")

    @property
    def columns(self) -> list[str]:
        """The columns of `judged` that go to Postgres, in the contract's order."""
        return [prop.column for prop in self.dataset.properties.values()]


def compile_cleaning(dataset: Dataset, header: tuple[str, ...], native: frozenset[str] = frozenset()) -> CleaningPlan:
    """The plan for raw records with these columns.

    `native` names the properties whose transform gives a value of the right type as it is; the result is the same
    without it, only slower.
    """
    source = dataset.input
    delimiter = source.delimiter if source and source.kind == "file" else ","
    nulls = source.null_values if source and source.kind == "file" else ("",)
    properties = list(dataset.properties.values())
    needed = {name for prop in properties for name in prop.raw_columns}
    # Columns that nothing reads get names that cannot clash: DuckDB's are not case-sensitive.
    names = [name if name in needed else f"_unread_{index}" for index, name in enumerate(header)]
    read = [quote_name(name) for name in names if name in needed]
    trimmed = ", ".join(f"trim({name}, ' \t') AS {name}" for name in read)
    texts = ", ".join(f"{clear_nulls(name, nulls)} AS {name}" for name in read)
    checks = list(compile_checks(properties, native))
    broken = "\n    OR ".join(f"({check.broken}) IS TRUE" for check in checks) or "FALSE"
    reasons = ",\n    ".join(compile_reason(check) for check in checks) or "NULL"
    statement = f"""CREATE TABLE judged AS
WITH trimmed AS (
  SELECT _line, {trimmed}
  FROM {RECORDS}
), raw AS (
  SELECT _line, {texts}
  FROM trimmed
), texts AS (
  SELECT _line,
    {", ".join(compile_text(index, prop) for index, prop in enumerate(properties))}
  FROM raw
), typed AS (
  SELECT *,
    {", ".join(compile_value(index, prop, native) for index, prop in enumerate(properties))}
  FROM texts
), judged AS (
  SELECT *, ({broken}) AS broken
  FROM typed
)
SELECT _line,
  {", ".join(f"v{index} AS {quote_name(prop.column)}" for index, prop in enumerate(properties))},
  CASE WHEN broken THEN to_json(list_filter([
    {reasons}], lambda reason: reason IS NOT NULL))::VARCHAR END AS reasons
FROM judged"""
    return CleaningPlan(
        dataset=dataset,
        columns_read=tuple(names),
        delimiter=delimiter,
        statement=statement,
        key=tuple(dataset.properties[name].column for name in dataset.key),
        order_by=dataset.properties[source.order_by].column if source and source.order_by else None,
    )


def needed_columns(dataset: Dataset) -> list[str]:
    """The raw columns that the dataset's properties read."""
    return list(dict.fromkeys(name for prop in dataset.properties.values() for name in prop.raw_columns))


def digest_cleaning(dataset: Dataset) -> str:
    """The SHA-256 of all that decides a load's outcome, and of nothing else: words may change freely."""
    facts: dict[str, Any] = {
        "statement": compile_cleaning(dataset, tuple(sorted(needed_columns(dataset)))).statement,
        "key": dataset.key,
        # Where the files lie decides nothing about what they say.
        "input": asdict(dataset.input) | {"root": None, "path": None} if dataset.input else None,
        "unique": [prop.name for prop in dataset.properties.values() if prop.unique],
        "foreign_keys": [asdict(key) for key in dataset.foreign_keys if key.enforced],
        "gates": [{**asdict(gate), "description": None} for gate in dataset.gates],
        "shares": [dataset.max_rejected, dataset.max_deleted, dataset.reject_unknown_columns],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def clear_nulls(column: str, nulls: tuple[str, ...]) -> str:
    """A trimmed raw column, null where it is one of the null tokens."""
    for token in nulls:
        column = f"nullif({column}, {quote_text(token)})"
    return column


def compile_text(index: int, prop: Property) -> str:
    """`t` is the property's text, and with a transform `x` is null where the expression failed."""
    if prop.transform is None:
        return f"{quote_name(prop.raw_columns[0])} AS t{index}"
    # TRY gives null on an error; the list around it keeps a null result apart from that.
    return f"TRY([({prop.transform})]) AS x{index}, CAST(x{index}[1] AS VARCHAR) AS t{index}"


def compile_value(index: int, prop: Property, native: frozenset[str]) -> str:
    """`v` is the property's value: null where the text is null, or is no value of the type."""
    kind = prop.type
    text, result = f"t{index}", f"x{index}[1]"
    if prop.name in native:
        guard = GUARDS.get(kind.duckdb, "TRUE").replace("{value}", result)
        return f"CASE WHEN {guard} THEN CAST({result} AS {kind.duckdb}) END AS v{index}"
    if kind.lexical == "TRUE":
        return f"{kind.cast_text(text)} AS v{index}"
    return f"CASE WHEN {kind.is_lexical(text)} THEN {kind.cast_text(text)} END AS v{index}"


def compile_checks(properties: list[Property], native: frozenset[str]) -> Iterator[Check]:
    """Every record-level rule of every property."""
    for index, prop in enumerate(properties):
        text, value = f"t{index}", f"v{index}"
        # Where no text is needed, none is made.
        missing = f"x{index}[1] IS NULL" if prop.name in native else f"{text} IS NULL"
        if prop.transform:
            message = f"the expression failed: {prop.transform[:200]}"
            yield Check(prop.name, "transform", f"x{index} IS NULL", "NULL", message)
            if prop.required:
                missed = f"x{index} IS NOT NULL AND {missing}"
                yield Check(prop.name, "required", missed, "NULL", "a value is required")
        elif prop.required:
            yield Check(prop.name, "required", missing, "NULL", "a value is required")
        rule = "invalid_text" if prop.type.name == "string" else "type"
        unread = f"NOT ({missing}) AND {value} IS NULL"
        yield Check(prop.name, rule, unread, text, f"expected {prop.type.expected}")
        for extra in prop.rules:
            yield Check(prop.name, extra.name, compile_rule(extra, prop, value), text, say_rule(extra))


def compile_rule(rule: Rule, prop: Property, value: str) -> str:
    """SQL that is true where a value breaks the rule; null values break none."""
    argument = rule.argument
    match rule.name:
        case "pattern":
            return f"NOT regexp_matches({value}, {quote_text(argument)})"
        case "minLength":
            return f"length({value}) < {int(argument)}"
        case "maxLength":
            return f"length({value}) > {int(argument)}"
        case "minimum":
            return f"{value} < {literal(argument, prop)}"
        case "maximum":
            return f"{value} > {literal(argument, prop)}"
        case "exclusiveMinimum":
            return f"{value} <= {literal(argument, prop)}"
        case "exclusiveMaximum":
            return f"{value} >= {literal(argument, prop)}"
        case "multipleOf" if prop.type.name == "number":
            step = float(argument)
            return f"abs({value} / {step!r} - round({value} / {step!r})) > 1e-9"
        case "multipleOf":
            return f"{value} % {literal(argument, prop)} <> 0"
        case "enum":
            return f"{value} NOT IN ({', '.join(literal(item, prop) for item in argument)})"
        case "minItems":
            return f"json_array_length({value}) < {int(argument)}"
        case "maxItems":
            return f"json_array_length({value}) > {int(argument)}"
        case "uniqueItems" if argument:
            return f"len(list_distinct(from_json({value}, '[\"JSON\"]'))) < json_array_length({value})"
    return "FALSE"


def literal(argument: Any, prop: Property) -> str:
    """A contract's value as a SQL literal of the property's type."""
    if isinstance(argument, bool):
        return "TRUE" if argument else "FALSE"
    if isinstance(argument, int | float) and prop.type.name in {"integer", "smallint", "number", "numeric"}:
        return repr(argument) if math.isfinite(argument) else "NULL"
    return f"CAST({quote_text(str(argument))} AS {prop.type.duckdb})"


def say_rule(rule: Rule) -> str:
    """What a person is told about a broken rule."""
    match rule.name:
        case "enum":
            return "must be one of " + ", ".join(str(item) for item in rule.argument[:20])
        case "pattern":
            return f"must match {rule.argument}"
        case "uniqueItems":
            return "items must differ"
    return f"{rule.name} is {rule.argument}"


def compile_reason(check: Check) -> str:
    """SQL for the reason that a broken check leaves, null where it is kept."""
    return (
        f"CASE WHEN {check.broken} THEN json_object('property', {quote_text(check.property)},"
        f" 'rule', {quote_text(check.rule)}, 'value', left({check.value}, {SHOWN_VALUE_CHARACTERS}),"
        f" 'message', {quote_text(check.message)}) END"
    )


def quote_name(name: str) -> str:
    """A DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"
