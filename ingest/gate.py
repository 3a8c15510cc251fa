"""Batch-level quality rules: what they measure, and whether that is enough to publish.

Measured inside the publishing transaction, on exactly what consumers would see. Each statement runs alone, read-only
and inside a savepoint: a rule's SQL cannot end or change the publication that it judges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from catalog.dataset import Dataset, Gate
from catalog.tables import DatasetTables

GATE_TIMEOUT = "30s"
DIALECT: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
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

    @property
    def withholds(self) -> bool:
        """Whether this alone keeps the load from being published."""
        return not self.passed and self.severity == "error"

    def __str__(self) -> str:
        shown = "no value" if self.measured is None else f"{self.measured:g}"
        return f"{self.rule}: {self.error or f'measured {shown}, must be {self.bound}'}"


def judge_counts(
    dataset: Dataset,
    *,
    raw: int,
    rejected: int,
    before: int,
    deleted: int,
    may_be_empty: bool,
    known_bad: bool = False,
) -> list[Measurement]:
    """The rules that every dataset has: no empty batch, not too many rejected, not too many deleted.

    Of records that were rejected before, any share may be rejected again: `known_bad`.
    """
    found = [] if may_be_empty else [Measurement("raw records", raw, "> 0", raw > 0)]
    if raw and not known_bad:
        found.append(judge_share("maxRejected", rejected / raw, dataset.max_rejected))
    if before:
        found.append(judge_share("maxDeleted", deleted / before, dataset.max_deleted))
    return found


def judge_share(rule: str, share: float, most: float) -> Measurement:
    """A share in percent, held against its maximum."""
    return Measurement(rule, round(share * 100, 4), f"≤ {most * 100:g} %", share <= most)


def measure_gates(connection: sa.Connection, tables: DatasetTables) -> list[Measurement]:
    """Every gate of the contract, measured in its order."""
    return [measure_gate(connection, tables, gate) for gate in tables.dataset.gates]


def measure_gate(connection: sa.Connection, tables: DatasetTables, gate: Gate) -> Measurement:
    """One gate, measured; a statement that fails is a gate that is not passed."""
    bound = f"{COMPARISONS[gate.operator]} {gate.bound}{' %' if gate.unit == 'percent' else ''}"
    facts: dict[str, Any] = {
        "rule": gate.name,
        "bound": bound,
        "severity": gate.severity,
        "dimension": gate.dimension,
    }
    try:
        measured = run_alone(connection, compile_gate(tables, gate))
    except (psycopg.Error, ValueError) as error:
        return Measurement(measured=None, passed=False, error=str(error).splitlines()[0], **facts)
    return Measurement(measured=measured, passed=compare(measured, gate.operator, gate.bound), **facts)


def run_alone(connection: sa.Connection, statement: str) -> float | None:
    """The one number that a statement gives, run read-only in a savepoint of its own."""
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    with driver.cursor() as cursor:
        cursor.execute("SAVEPOINT gate")
        try:
            cursor.execute("SET LOCAL transaction_read_only = on")
            cursor.execute(f"SET LOCAL statement_timeout = '{GATE_TIMEOUT}'")
            # Prepared on purpose: the extended protocol takes one statement only, so no `; COMMIT` slips in.
            cursor.execute(statement.encode(), prepare=True)
            rows = cursor.fetchmany(2)
        finally:
            cursor.execute("ROLLBACK TO SAVEPOINT gate")
            cursor.execute("RELEASE SAVEPOINT gate")
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ValueError("the rule's query must give one row with one number")
    return None if rows[0][0] is None else float(rows[0][0])


def compile_gate(tables: DatasetTables, gate: Gate) -> str:
    """The gate's statement in Postgres SQL."""
    current = tables.current
    if gate.kind == "sql":
        names = {"object": f'"{current.schema}"."{current.name}"', "property": ""}
        if gate.property:
            names["property"] = '"' + tables.dataset.properties[gate.property].column.replace('"', '""') + '"'
        return re.sub(r"\$?\{(object|property)\}", lambda match: names[match[1]], gate.query or "")
    total = sa.func.count()
    counted = count_metric(tables, gate)
    value = counted if gate.unit == "rows" else 100.0 * counted / sa.func.nullif(total, 0)
    statement = sa.select(value).select_from(current)
    return str(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))


def count_metric(tables: DatasetTables, gate: Gate) -> sa.ColumnElement[Any]:
    """The number of records that a library metric speaks of."""
    current = tables.current
    if gate.metric == "rowCount":
        return sa.func.count()
    names = [gate.property] if gate.property else list(gate.arguments.get("properties") or [])
    if not names or any(name not in tables.dataset.properties for name in names):
        raise ValueError(f"{gate.metric} needs a property of the dataset")
    columns = [current.c[tables.dataset.properties[name].column] for name in names]
    column = columns[0]
    match gate.metric:
        case "nullValues":
            broken: sa.ColumnElement[bool] = column.is_(None)
        case "missingValues":
            tokens = gate.arguments.get("missingValues") or [None, ""]
            broken = sa.or_(column.is_(None), sa.cast(column, sa.Text).in_([str(t) for t in tokens if t is not None]))
        case "duplicateValues":
            present = sa.and_(*(c.is_not(None) for c in columns))
            return sa.func.count().filter(present) - sa.func.count(sa.distinct(sa.tuple_(*columns))).filter(present)
        case "invalidValues" if gate.arguments.get("validValues"):
            broken = sa.cast(column, sa.Text).not_in([str(value) for value in gate.arguments["validValues"]])
        case "invalidValues" if gate.arguments.get("pattern"):
            broken = sa.cast(column, sa.Text).regexp_match(str(gate.arguments["pattern"])).is_(False)
        case _:
            raise ValueError(f"{gate.metric} needs arguments: validValues or pattern")
    return sa.func.count().filter(broken)


def compare(measured: float | None, operator: str, bound: Any) -> bool:
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
