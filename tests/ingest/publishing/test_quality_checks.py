"""Batch-level quality rules on a real Postgres: what they measure, and that none of them can do harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from ingest.loading.load_report import LoadReport
from ingest.publishing.quality_checks import compare, read_number, run_in_savepoint
from runtime.errors import ContractError
from runtime.postgres.database import make_engine
from tests.support.lab import Lab

MakeLab = Callable[..., Lab]

ROWS = "id,a %,n,flag,day\n1,x,1.50,true,2026-01-01\n2,x,2,false,2026-01-02\n3,y,,true,\n4,,3,,2026-01-02\n"


def make_contract(*rules: dict[str, Any], on: str | None = None, name: str = "t") -> str:
    """A contract whose dataset, or one of its properties, has these rules."""
    quality = f", quality: {json.dumps(rules)}"
    properties = {
        "id": "logicalType: integer, primaryKey: true",
        "a %": "logicalType: string, physicalName: 'odd \"name\" % :x'",
        "n": 'logicalType: number, physicalType: "numeric(9,2)"',
        "flag": "logicalType: boolean",
        "day": "logicalType: date",
    }
    lines = "".join(
        f"      - {{name: '{prop}', {facts}{quality if prop == on else ''}}}\n" for prop, facts in properties.items()
    )
    return (
        "apiVersion: v3.1.0\nkind: DataContract\nid: gates\nversion: 1.0.0\nstatus: active\n"
        'servers:\n  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}\n'
        f"schema:\n  - name: {name}\n    physicalName: 'odd \"table\" % :y'\n"
        "    customProperties: [{property: input, value: {server: here, path: t.csv}}]\n"
        + ("" if on else f"    quality: {json.dumps(rules)}\n")
        + f"    properties:\n{lines}"
    )


def run(make_lab: MakeLab, *rules: dict[str, Any], on: str | None = None) -> LoadReport:
    lab = make_lab(make_contract(*rules, on=on))
    return lab.ingest("gates.t", ROWS, "t.csv")


def measure(make_lab: MakeLab, *rules: dict[str, Any], on: str | None = None) -> list[float | None]:
    """What the rules measured."""
    report = run(make_lab, *rules, on=on)
    assert report.outcome, report.error
    names = {"raw records", "maxRejected", "maxDeleted"}
    return [m.measured for m in report.outcome.measurements if m.rule not in names]


SURE = {"mustBeGreaterOrEqualTo": 0}


def test_every_metric_of_the_library_counts_rows_and_percent(make_lab: MakeLab) -> None:
    properties = {"arguments": {"properties": ["a %", "day"]}}
    rules: list[tuple[dict[str, Any], float]] = [
        ({"metric": "rowCount"}, 4),
        ({"metric": "duplicateValues", **properties}, 0),
        ({"metric": "duplicateValues", "arguments": {"properties": ["flag"]}}, 1),
        ({"metric": "nullValues", "arguments": {"properties": ["n"]}}, 1),
        ({"metric": "nullValues", "unit": "percent", "arguments": {"properties": ["n"]}}, 25),
        ({"metric": "missingValues", "arguments": {"properties": ["a %"], "missingValues": [None, "y"]}}, 2),
        ({"metric": "invalidValues", "arguments": {"properties": ["n"], "validValues": [1.5, 2, "no"]}}, 1),
        ({"metric": "invalidValues", "arguments": {"properties": ["flag"], "validValues": [True]}}, 1),
        ({"metric": "invalidValues", "arguments": {"properties": ["day"], "validValues": ["2026-01-02"]}}, 1),
        ({"metric": "invalidValues", "arguments": {"properties": ["a %"], "validValues": ["x", None]}}, 1),
        (
            {
                "metric": "invalidValues",
                "arguments": {"properties": ["a %"], "validValues": ["x", "y"], "pattern": "y"},
            },
            2,
        ),
    ]
    assert measure(make_lab, *({**rule, **SURE} for rule, _ in rules)) == [expected for _, expected in rules]


def test_rules_of_an_oddly_named_property_are_measured(make_lab: MakeLab) -> None:
    rules: list[tuple[dict[str, Any], float]] = [
        ({"metric": "nullValues"}, 1),
        ({"metric": "duplicateValues"}, 1),
        ({"metric": "duplicateValues", "unit": "%"}, 25),
        ({"metric": "invalidValues", "arguments": {"pattern": r"^\w$"}}, 0),
        ({"metric": "invalidValues", "arguments": {"pattern": r"^\d%?$"}}, 3),
        ({"type": "sql", "query": "select count({property}) from {object}"}, 3),
        ({"type": "sql", "query": "select count(${column}) from ${table} where 'a%' like '%'"}, 3),
        ({"type": "sql", "query": "select count(*) = 4 from {object} where now() > '2020-01-01'"}, 1),
    ]
    assert measure(make_lab, *({**rule, **SURE} for rule, _ in rules), on="a %") == [want for _, want in rules]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("select 1 / (count(*) - 4) from {object}", "division by zero"),
        ("select 'NaN'::float8", "returned nan"),
        ("select 'infinity'::float8", "returned inf"),
        ("select 'NaN'::numeric", "returned nan"),
        ("select 'a'", "must return a number, not a str"),
        ("select current_date", "must return a number, not a date"),
        ("select id from {object}", "one row with one number"),
        ("select 1, 2", "one row with one number"),
        ("select 1 where false", "one row with one number"),
        ("select no_such from {object}", "no_such"),
        ("select max(array[1])", "must return a number, not a list"),
    ],
)
def test_a_rule_that_measures_no_number_holds_the_load_back_and_says_why(
    make_lab: MakeLab, query: str, error: str
) -> None:
    report = run(make_lab, {"name": "odd", "type": "sql", "query": query, "mustNotBe": 77})
    assert report.status == "withheld"
    assert report.outcome
    (found,) = [m for m in report.outcome.measurements if m.rule == "odd"]
    assert not found.passed
    assert error in (found.error or "")


def test_no_value_passes_no_bound(make_lab: MakeLab) -> None:
    assert run(
        make_lab, {"type": "sql", "query": "select sum(n) from {object} where false", "mustNotBe": 1}
    ).status == ("withheld")


def test_a_rule_that_takes_too_long_is_stopped(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.publishing.quality_checks.GATE_TIMEOUT", "200ms")
    slow = "select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b"
    report = run(
        make_lab, {"name": "slow", "type": "sql", "query": slow, "mustBe": 0}, {"metric": "rowCount", "mustBe": 4}
    )
    assert report.status == "withheld"
    assert report.outcome
    told = {m.rule: (m.passed, m.error) for m in report.outcome.measurements}
    assert "statement timeout" in (told["slow"][1] or "")
    assert told["rowCount"] == (True, None)


@pytest.mark.slow
def test_a_pattern_that_is_slow_elsewhere_is_measured_in_no_time(make_lab: MakeLab) -> None:
    lab = make_lab(
        make_contract({"metric": "invalidValues", "arguments": {"pattern": "^(a+)+$"}, "mustBe": 1}, on="a %")
    )
    report = lab.ingest("gates.t", f"id,a %,n,flag,day\n1,{'a' * 5000}!,,,\n", "t.csv")
    assert report.status == "published"
    assert report.step_seconds["publish"] < 5


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_warning_is_told_and_rejects_and_withholds_nothing(make_lab: MakeLab, severity: str) -> None:
    rules = [
        {"metric": "nullValues", "mustBe": 0, "severity": severity},
        {"metric": "invalidValues", "arguments": {"validValues": ["x"]}, "mustBe": 0, "severity": severity},
    ]
    report = run(make_lab, *rules, on="a %")
    assert report.outcome
    assert (report.status, report.outcome.rejected) == ("published", 0)
    assert [(m.measured, m.passed) for m in report.outcome.measurements if m.severity == "warning"] == [
        (1, False),
        (1, False),
    ]


@pytest.mark.sampled
@pytest.mark.parametrize(
    "statement",
    [
        "select 0; commit",
        "commit",
        'delete from gates_v1."odd ""table"" % :y" returning 1',
        'with gone as (delete from gates_v1."odd ""table"" % :y" returning 1) select count(*) from gone',
        "select length(set_config('transaction_read_only', 'off', false))",
        "select count(*) from nowhere",
        "do $$ begin commit; end $$",
    ],
)
def test_what_lint_would_refuse_could_not_write_or_end_the_publication_either(
    make_lab: MakeLab, statement: str
) -> None:
    lab = make_lab(make_contract())
    lab.ingest("gates.t", ROWS, "t.csv")
    table = 'gates_v1."odd ""table"" % :y"'
    with make_engine(lab.urls.ingest).connect() as connection:
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE id = 1".replace("%", "%%"))
        with pytest.raises((psycopg.Error, ValueError)):
            run_in_savepoint(connection, statement)
        # The publication is still open, can still write, and is still its own to undo.
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE id = 2".replace("%", "%%"))
        assert run_in_savepoint(connection, f"SELECT count(*) FROM {table}") == 2
        connection.rollback()
    assert lab.rows(f"SELECT count(*) FROM {table}") == [(4,)]


def test_text_and_custom_rules_are_never_counted_as_passed(make_lab: MakeLab) -> None:
    rules = [
        {"type": "text", "description": "Looks fine."},
        {"type": "custom", "engine": "soda", "implementation": "x"},
    ]
    assert measure(make_lab, *rules) == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"type": "sql", "query": "select 0; commit", "mustBe": 0}, "must be one SELECT"),
        ({"type": "sql", "query": "delete from {object}", "mustBe": 0}, "must be one SELECT"),
        ({"type": "sql", "query": "with d as (delete from {object} returning 1) select 1", "mustBe": 0}, "writes"),
        ({"type": "sql", "query": "select pg_advisory_unlock_all()", "mustBe": 0}, "unlock_all is not among"),
        ({"type": "sql", "query": "select set_config('a', 'b', false)", "mustBe": 0}, "set_config is not among"),
        ({"type": "sql", "query": "select 1 from {obj}", "mustBe": 0}, "{obj} is not known here; known are"),
        (
            {"type": "sql", "query": "select max({property}) from {object}", "mustBe": 0},
            "{property} is the name of a property",
        ),
        ({"type": "sql", "query": "select 1 from ${WHERE_IT_IS}", "mustBe": 0}, "{WHERE_IT_IS} is not known"),
        ({"type": "sql", "query": "select 1", "mustBe": "one"}, "'one' is not a number"),
        ({"type": "sql", "query": "select 1", "mustBe": []}, "[] is not a number"),
        ({"metric": "rowCount", "mustBeBetween": [9, 1]}, "must have the smaller number first"),
        ({"metric": "rowCount"}, "needs exactly one comparison"),
        (
            {"metric": "rowCount", "unit": "percent", "mustBe": 9},
            "unit: percent does not apply to the number of rows",
        ),
        (
            {"metric": "nullValues", "unit": "GB", "mustBe": 9, "arguments": {"properties": ["n"]}},
            "'GB' is not supported; supported are",
        ),
        ({"metric": "nullValues", "mustBe": 9}, "nullValues needs a property"),
        ({"metric": "nullValues", "mustBe": 9, "arguments": {"properties": ["m"]}}, "unknown property m"),
        (
            {"metric": "nullValues", "mustBe": 9, "arguments": {"properties": ["n", "day"]}},
            "needs exactly one property",
        ),
        ({"metric": "nullValues", "mustBe": 9, "arguments": {"properties": "n"}}, "a list of names"),
        ({"metric": "invalidValues", "mustBe": 9, "arguments": {"properties": ["n"]}}, "validValues or pattern"),
        ({"metric": "invalidValues", "mustBe": 9, "arguments": {"properties": ["n"], "validValues": "x"}}, "a list"),
        ({"metric": "invalidValues", "mustBe": 9, "arguments": {"properties": ["n"], "pattern": r"(a)\1"}}, "linear"),
        ({"metric": "invalidValues", "mustBe": 9, "arguments": {"properties": ["n"], "pattern": "(?=a)"}}, "linear"),
        ({"metric": "invalidValues", "mustBe": 9, "arguments": {"properties": ["n"], "pattern": r"\bx"}}, "Postgres"),
    ],
)
def test_a_rule_that_cannot_be_measured_is_refused(make_lab: MakeLab, rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError) as caught:
        make_lab(make_contract(rule))
    assert any(message in finding.message for finding in caught.value.findings), caught.value.findings


@pytest.mark.parametrize(
    ("operator", "bound", "passing", "failing"),
    [
        ("mustBe", 3, [3], [2.9, 4]),
        ("mustNotBe", 3, [2.9, 4], [3]),
        ("mustBeGreaterThan", 3, [3.1], [3, 2]),
        ("mustBeGreaterOrEqualTo", 3, [3, 4], [2.9]),
        ("mustBeLessThan", 3, [2.9], [3, 4]),
        ("mustBeLessOrEqualTo", 3, [3, 2], [3.1]),
        ("mustBeBetween", [1, 3], [1, 2, 3], [0.9, 3.1]),
        ("mustNotBeBetween", [1, 3], [0.9, 3.1], [1, 2, 3]),
    ],
)
def test_every_comparison_holds_its_bound(
    operator: str, bound: Any, passing: list[float], failing: list[float]
) -> None:
    assert all(compare(value, operator, bound) for value in passing)
    assert not any(compare(value, operator, bound) for value in [*failing, None])


def test_true_counts_as_one() -> None:
    assert read_number(True) == 1
