"""Batch-level quality rules: what they measure, and whether that is enough to publish.

Measured inside the publishing transaction, on exactly what consumers would see. Each statement runs alone, read-only,
with the rights of its product alone and inside a savepoint: a rule's SQL cannot end or change the publication that it
judges, and reads nothing that was not granted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from catalog.model.dataset import Dataset, Gate
from catalog.model.readable_datasets import Readings
from catalog.model.rule_query import find_properties, write_rule
from catalog.storage.dataset_tables import CatalogTables, DatasetTables
from catalog.storage.product_roles import become, find_usable_role
from catalog.types.property_types import PropertyType
from catalog.types.value_parsers import InvalidValueError
from runtime.postgres.driver_messages import describe_postgres
from runtime.postgres.sql_types import SqlExpression

GATE_TIMEOUT = "30s"
# Functions and types are PostgreSQL's own, and a backslash in a text is a backslash.
GATE_SETTINGS = {"search_path": "pg_catalog, pg_temp", "standard_conforming_strings": "on"}
# Its text is run without parameters: a percent sign and a backslash are literal.
DIALECT: sa.Dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
DIALECT._backslash_escapes = False  # type: ignore[attr-defined]
COMPARISONS = {
    "mustBe": "=",
    "mustNotBe": "≠",
    "mustBeGreaterThan": ">",
    "mustBeGreaterOrEqualTo": "≥",
    "mustBeLessThan": "<",
    "mustBeLessOrEqualTo": "≤",
    "mustBeBetween": "between",
    "mustNotBeBetween": "not between",
}


@dataclass(frozen=True)
class Measurement:
    """One rule as measured at one load."""

    rule: str
    measured: float | None
    bound: str
    passed: bool
    severity: str = "error"
    dimension: str | None = None
    error: str | None = None
    # The properties that it looked at, as (schema, dataset, property): callers that may see all of them see the rule.
    reads: tuple[tuple[str, str, str], ...] = ()

    @property
    def withholds(self) -> bool:
        """Whether this alone keeps the load from being published."""
        return not self.passed and self.severity == "error"

    def __str__(self) -> str:
        shown = "no value" if self.measured is None else f"{self.measured:g}"
        return f"{self.rule}: {self.error or f'measured {shown}, must be {self.bound}'}"


def must_withhold(measurements: Iterable[Measurement], *, anyway: bool) -> bool:
    """Whether a load is withheld: one gate that fails is enough, unless an owner publishes it anyway."""
    return not anyway and any(measurement.withholds for measurement in measurements)


@dataclass(frozen=True)
class BatchCounts:
    """What is counted of a batch before its gates are measured."""

    raw: int
    rejected: int
    before: int  # records of the current revision
    deleted: int
    may_be_empty: bool
    known_bad: bool  # rejected before: any share may be rejected again, and any number is enough


def check_counts(dataset: Dataset, counts: BatchCounts) -> list[Measurement]:
    """The rules that every dataset has: enough records, not too many rejected, not too many deleted."""
    found = []
    raw = counts.raw
    if not counts.known_bad and not (counts.may_be_empty and not raw):
        least = least_records(dataset)
        if dataset.min_records is not None:
            found.append(Measurement("minRecords", raw, f"≥ {least:,}", raw >= least))
        elif least:
            found.append(Measurement("raw records", raw, "> 0", raw > 0))
    if raw and not counts.known_bad:
        found.append(check_share("maxRejected", counts.rejected / raw, dataset.max_rejected))
    if counts.before:
        found.append(check_share("maxDeleted", counts.deleted / counts.before, dataset.max_deleted))
    return found


def least_records(dataset: Dataset) -> int:
    """How many raw records a batch must have: a snapshot of nothing would delete everything."""
    if dataset.min_records is not None:
        return dataset.min_records
    return 1 if dataset.input is None or dataset.input.mode == "snapshot" else 0


def check_share(rule: str, share: float, most: float) -> Measurement:
    """A share in percent, held against its maximum."""
    return Measurement(rule, round(share * 100, 4), f"≤ {most * 100:g} %", share <= most)


def measure_gates(connection: sa.Connection, catalog: CatalogTables, tables: DatasetTables) -> list[Measurement]:
    """Every gate of the contract, measured in its order."""
    dataset = tables.dataset
    if not dataset.gates:
        return []
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    role = find_usable_role(driver, dataset.schema, dataset.table)
    return [measure_gate(connection, catalog.readings, tables, gate, role) for gate in dataset.gates]


def measure_gate(
    connection: sa.Connection, readings: Readings, tables: DatasetTables, gate: Gate, role: str | None
) -> Measurement:
    """One gate, measured; a statement that fails is a gate that is not passed."""
    bound = f"{COMPARISONS[gate.operator]} {gate.bound}{' %' if gate.unit == 'percent' else ''}"
    facts: dict[str, Any] = {
        "rule": gate.name,
        "bound": bound,
        "severity": gate.severity,
        "dimension": gate.dimension,
    }
    try:
        facts["reads"] = tuple(sorted(find_properties(readings, tables.dataset, gate)))
        measured = run_in_savepoint(connection, compile_gate(readings, tables, gate), role)
    except (psycopg.Error, ValueError) as error:
        if lost_connection(connection):
            raise
        said = describe_postgres(error) if isinstance(error, psycopg.Error) else str(error).splitlines()[0]
        return Measurement(measured=None, passed=False, error=said, **facts)
    return Measurement(measured=measured, passed=compare(measured, gate.operator, gate.bound), **facts)


def lost_connection(connection: sa.Connection) -> bool:
    """Whether nothing more can be measured: that is no rule's fault."""
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return driver.closed


def run_in_savepoint(connection: sa.Connection, statement: str, role: str | None = None) -> float | None:
    """The one number that a statement gives, run read-only in a savepoint of its own, with a role's rights alone."""
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    with driver.cursor() as cursor:
        cursor.execute("SAVEPOINT gate")
        try:
            cursor.execute("SET LOCAL transaction_read_only = on")
            become(cursor, role, {**GATE_SETTINGS, "statement_timeout": GATE_TIMEOUT})
            # Prepared on purpose: the extended protocol takes one statement only, so no `; COMMIT` slips in.
            # In brackets too, where only a query is valid: no COMMIT by itself.
            query = f"SELECT * FROM ({statement.strip().rstrip(';')}\n) AS measured"
            cursor.execute(query.encode(), prepare=True)
            rows = cursor.fetchmany(2)
        finally:
            if not driver.closed:
                cursor.execute("ROLLBACK TO SAVEPOINT gate")
                cursor.execute("RELEASE SAVEPOINT gate")
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ValueError("the rule's query must return one row with one number")
    return read_number(rows[0][0])


def read_number(value: object) -> float | None:
    """What a rule measured; true counts as 1. ValueError for anything that no bound can be held against."""
    if value is None:
        return None
    if not isinstance(value, int | float | Decimal):
        raise ValueError(f"the rule's query must return a number, not a {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"the rule's query returned {number}, which cannot be compared")
    return number


def compile_gate(readings: Readings, tables: DatasetTables, gate: Gate) -> str:
    """The gate's statement in Postgres SQL."""
    if gate.kind == "sql":
        return write_rule(readings, tables.dataset, gate)
    current = tables.current
    counted = count_metric(tables, gate)
    # Of no records at all, none are bad.
    share = sa.func.coalesce(100.0 * counted / sa.func.nullif(sa.func.count(), 0), 0)
    statement = sa.select(counted if gate.unit == "rows" else share).select_from(current)
    return str(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))


def count_metric(tables: DatasetTables, gate: Gate) -> SqlExpression:
    """The number of records that a library metric speaks of."""
    current = tables.current
    if gate.metric == "rowCount":
        return sa.func.count()
    properties = [tables.dataset.properties[name] for name in gate.arguments.get("properties") or [gate.property]]
    columns = [current.c[prop.column] for prop in properties]
    column, kind = columns[0], properties[0].type
    text: sa.ColumnElement[str] = sa.cast(column, sa.Text)
    match gate.metric:
        case "nullValues":
            broken: sa.ColumnElement[bool] = column.is_(None)
        case "missingValues":
            # A null is always missing, whatever else means it.
            words = [str(word) for word in gate.arguments.get("missingValues", [""]) if word is not None]
            broken = sa.or_(column.is_(None), text.in_(words))
        case "duplicateValues":
            present = sa.and_(*(c.is_not(None) for c in columns))
            return sa.func.count().filter(present) - sa.func.count(sa.distinct(sa.tuple_(*columns))).filter(present)
        case "invalidValues" if gate.arguments.get("validValues"):
            valid = [write_value(kind, value) for value in gate.arguments["validValues"]]
            broken = column.not_in([sa.cast(sa.literal(value), column.type) for value in valid if value is not None])
            if gate.arguments.get("pattern"):
                broken = sa.or_(broken, text.regexp_match(gate.arguments["pattern"]).is_(False))
        case _:
            broken = text.regexp_match(gate.arguments["pattern"]).is_(False)
    return sa.func.count().filter(broken)


def write_value(kind: PropertyType, value: object) -> str | None:
    """An allowed value as Postgres reads it; None for null, and where no record can ever have it."""
    if value is None:
        return None
    if kind.postgres == "jsonb":
        return json.dumps(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        kind.parse(text)
    except InvalidValueError:
        return None
    return text


def compare(measured: float | None, operator: str, bound: object) -> bool:
    """Whether a measurement keeps its bound; `mustBeBetween` includes both ends."""
    if measured is None:
        return False
    low, high = map(float, bound if isinstance(bound, list) else (bound, bound))
    match operator:
        case "mustNotBe" | "mustNotBeBetween":
            return not low <= measured <= high
        case "mustBeGreaterThan":
            return measured > low
        case "mustBeGreaterOrEqualTo":
            return measured >= low
        case "mustBeLessThan":
            return measured < high
        case "mustBeLessOrEqualTo":
            return measured <= high
    return low <= measured <= high
