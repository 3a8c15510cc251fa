"""logicalTypeOptions over small batches: formats, words, zones, bounds; and what lint says of others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from ingest.cleaning.check_plan import check_cleaning
from ingest.cleaning.lint import lint
from runtime.settings.settings import load_settings
from tests.support.cleaner import Cleaner, make_csv, quoted


@pytest.fixture
def cleaner(tmp_path: Path) -> Cleaner:
    return Cleaner(tmp_path)


KEPT = [
    # property, accepted texts with what is stored, rejected texts, rule
    (
        "logicalType: string, logicalTypeOptions: {format: email}",
        {"a@x.org": "a@x.org"},
        ["a@", "a b@x.org"],
        "format",
    ),
    ("logicalType: string, logicalTypeOptions: {format: uri}", {"a:b": "a:b"}, ["b c", "/a"], "format"),
    ("logicalType: string, logicalTypeOptions: {format: ipv4}", {"1.2.3.4": "1.2.3.4"}, ["1.2.3"], "format"),
    ("logicalType: string, logicalTypeOptions: {format: byte}", {"aGk=": "aGk="}, ["aGk"], "format"),
    ("logicalType: string, logicalTypeOptions: {format: password}", {"x": "x"}, [], "format"),
    (
        "logicalType: integer, logicalTypeOptions: {format: i8}",
        {"-128": "-128", "127": "127"},
        ["128", "-129"],
        "format",
    ),
    (
        "logicalType: integer, logicalTypeOptions: {format: u16}",
        {"0": "0", "65535": "65535"},
        ["-1", "65536"],
        "format",
    ),
    (
        "logicalType: integer, physicalType: bigint, logicalTypeOptions: {format: i64}",
        {"-9223372036854775808": "-9223372036854775808"},
        [],
        "",
    ),
    (
        "logicalType: integer, logicalTypeOptions: {format: i64}",
        {"-9007199254740991": "-9007199254740991"},
        ["9007199254740992", "-9223372036854775808"],
        "type",
    ),
    (
        "logicalType: integer, logicalTypeOptions: {format: u64}",
        {"18446744073709551615": "18446744073709551615"},
        ["18446744073709551616", "-1"],
        "format",
    ),
    ("logicalType: integer, logicalTypeOptions: {format: u128}", {"9" * 38: "9" * 38}, ["-1"], "format"),
    (
        "logicalType: number, logicalTypeOptions: {format: f32}",
        {"3.4e38": "3.4e+38", "-1": "-1.0"},
        ["3.5e38", "-1e39"],
        "format",
    ),
    (
        "logicalType: integer, logicalTypeOptions: {minimum: 0.5, maximum: 2.0}",
        {"1": "1", "2": "2"},
        ["0"],
        "minimum",
    ),
    ("logicalType: integer, logicalTypeOptions: {multipleOf: 0.5}", {"1": "1"}, [], ""),
    (
        "logicalType: number, logicalTypeOptions: {multipleOf: 0.1}",
        {"1234567890123.4": "1234567890123.4", "1e22": "1e+22"},
        ["1234567890123.45", "1e-19"],
        "multipleOf",
    ),
    (
        "logicalType: number, logicalTypeOptions: {multipleOf: 0.01}",
        {"4.35": "4.35", "1.1": "1.1", "-0.07": "-0.07"},
        ["4.355"],
        "multipleOf",
    ),
    (
        "logicalType: number, physicalType: 'numeric(12,2)', logicalTypeOptions: {multipleOf: 0.05}",
        {"1.15": "1.15"},
        ["1.13"],
        "multipleOf",
    ),
    (
        "logicalType: boolean, logicalTypeOptions: {trueValues: 'yes', falseValues: 'no'}",
        {"yes": "true", "NO": "false"},
        ["true", "1", "y"],
        "type",
    ),
    (
        "logicalType: boolean, logicalTypeOptions: {trueValues: [J, Ja, 1], falseValues: [N, Nein, 0]}",
        {"j": "true", "Nein": "false", "1": "true", "0": "false"},
        ["yes"],
        "type",
    ),
    (
        "logicalType: boolean, logicalTypeOptions: {trueValues: \"it's\", falseValues: '0'}",
        {"it's": "true"},
        ["its"],
        "type",
    ),
    (
        "logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}",
        {"31.01.2013": "2013-01-31"},
        ["2013-01-31", "31.02.2013"],
        "type",
    ),
    (
        "logicalType: date, logicalTypeOptions: {format: MMM dd yyyy, minimum: Jun 12 1998, maximum: '1999-01-01'}",
        {"Jun 12 1998": "1998-06-12", "Jan 01 1999": "1999-01-01"},
        ["Jun 11 1998"],
        "minimum",
    ),
    (
        "logicalType: date, logicalTypeOptions: {format: yyyyMMdd},"
        " enum: [{value: '2013-01-31'}, {value: '20130201'}]",
        {"20130131": "2013-01-31", "20130201": "2013-02-01"},
        ["20130202"],
        "enum",
    ),
    ("logicalType: time, logicalTypeOptions: {format: 'h:mm a'}", {"5:30 PM": "17:30:00"}, ["17:30"], "type"),
    (
        "logicalType: timestamp, logicalTypeOptions: {format: 'dd/MM/yyyy HH:mm', defaultTimezone: Europe/Berlin}",
        {"01/07/2013 12:00": "2013-07-01 10:00:00+00"},
        ["2013-07-01 12:00"],
        "type",
    ),
    (
        "logicalType: timestamp, logicalTypeOptions: {timezone: false, format: 'yyyyMMddHHmm'}",
        {"201307011200": "2013-07-01 12:00:00"},
        ["2013-07-01T12:00:00"],
        "type",
    ),
    (
        "logicalType: timestamp, logicalTypeOptions:"
        " {defaultTimezone: America/New_York, minimum: '2013-01-01T00:00:00'}",
        {"2013-01-01 00:00:00": "2013-01-01 05:00:00+00", "2013-01-01T05:00:00Z": "2013-01-01 05:00:00+00"},
        ["2013-01-01T04:59:59Z"],
        "minimum",
    ),
    (
        "logicalType: string, logicalTypeOptions: {maxLength: 2}",
        {"🙂🙂": "🙂🙂", "e\u0301": "e\u0301"},
        ["abc"],
        "maxLength",
    ),
    (
        r"logicalType: string, logicalTypeOptions: {pattern: '^[\u00e0-\u00ff]\/\\u$'}",
        {"é/\\u": "é/\\u"},
        ["e/\\u", "é/u"],
        "pattern",
    ),
    ("logicalType: string, logicalTypeOptions: {pattern: '^a.c$'}", {"abc": "abc"}, ["a\nc", "abc\n"], "pattern"),
    (
        "logicalType: string, physicalType: uuid, logicalTypeOptions: {pattern: '^6', maxLength: 36}",
        {"6f1e2d3c-0000-4000-8000-000000000000": "6f1e2d3c-0000-4000-8000-000000000000"},
        ["7f1e2d3c-0000-4000-8000-000000000000"],
        "pattern",
    ),
]


@pytest.mark.sampled
@pytest.mark.parametrize(("prop", "good", "bad", "rule"), KEPT, ids=[row[0] for row in KEPT])
def test_each_option_lets_good_texts_pass_and_names_bad_ones(
    cleaner: Cleaner, prop: str, good: dict[str, str], bad: list[str], rule: str
) -> None:
    dataset = cleaner.dataset(f"{{name: a, {prop}}}")
    assert check_cleaning(dataset) == []
    rows = [(str(number), text) for number, text in enumerate([*good, *bad], 10)]
    found = cleaner.clean(dataset, make_csv(("id", "a"), *rows))
    assert [row[1] for row in found.accepted] == list(good.values())
    reasons = [found.reasons(line) for line in sorted(found.rejected)]
    assert reasons == [[("a", rule, text)] for text in bad]


def test_a_format_judges_the_text_that_a_transform_gives(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}, transformLogic: b || '.2013'}",
        # A date needs no form: it is one.
        "{name: c, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}, transformLogic: 'd::date'}",
    )
    found = cleaner.clean(dataset, "id,b,d\n1,31.01,2013-01-31\n2,31.1,2013-01-31\n")
    assert found.accepted == [["1", "2013-01-31", "2013-01-31"]]
    assert found.reasons(3) == [("a", "type", "31.1.2013")]


def test_a_person_is_told_what_a_format_expects(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: string, logicalTypeOptions: {format: email}}",
        "{name: b, logicalType: integer, logicalTypeOptions: {format: u8}}",
        "{name: c, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}}",
        "{name: d, logicalType: boolean, logicalTypeOptions: {trueValues: [J], falseValues: [N]}}",
    )
    found = cleaner.clean(dataset, "id,a,b,c,d\n1,x,-1,today,?\n")
    assert [reason["message"] for reason in found.rejected[2]] == [
        "expected an e-mail address such as ada@example.org",
        "u8 is an integer from 0 to 255",
        "expected a date in the form dd.MM.yyyy",
        "expected J for true, N for false",
    ]


METHODS = [
    ("b.upper()", "X"),
    ("b.trim().upper().lower()", "x"),
    ("upper(b).lower()", "x"),
    ("b.string_split(';').list_transform(lambda i: i || c)[1]", "xy"),
    ("b.regexp_replace('x', c)", "y"),
]


@pytest.mark.parametrize(("transform", "value"), METHODS, ids=[row[0] for row in METHODS])
def test_functions_may_be_called_like_methods(cleaner: Cleaner, transform: str, value: str) -> None:
    dataset = cleaner.dataset(f"{{name: a, logicalType: string, transformLogic: {quoted(transform)}}}")
    assert check_cleaning(dataset) == []
    assert cleaner.clean(dataset, "id,b,c\n1,x,y\n").accepted == [["1", value]]


@pytest.mark.parametrize(
    "transform",
    [
        "random()",
        "b || random/* */()",
        "b || uuid()",
        "b.concat(gen_random_uuid())",
        "current_date",
        "[now() for x in [b]][1]",
    ],
)
def test_an_expression_that_gives_another_value_each_time_is_refused(cleaner: Cleaner, transform: str) -> None:
    dataset = cleaner.dataset(f"{{name: a, logicalType: string, transformLogic: {quoted(transform)}}}")
    assert [
        problem
        for problem in check_cleaning(dataset)
        if re.search("another value at each load|varies by load", problem)
    ]


def test_a_raw_column_may_be_called_like_the_time(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset('{name: a, logicalType: string, transformLogic: \'"current_date" || "now"\'}')
    assert check_cleaning(dataset) == []
    assert cleaner.clean(dataset, "id,current_date,now\n1,x,y\n").accepted == [["1", "xy"]]


@pytest.mark.parametrize("pattern", ["^(?=a)b", "(?<!a)b", r"(a)\1", "a++", "(?>a)b", "a{2000}"])
def test_a_nested_pattern_must_run_in_linear_time_too(cleaner: Cleaner, pattern: str) -> None:
    part = f"{{name: k, logicalType: string, logicalTypeOptions: {{pattern: {quoted(pattern)}}}}}"
    dataset = cleaner.dataset(
        f"{{name: a, logicalType: array, items: {{logicalType: object, properties: [{part}]}}}}"
    )
    (problem,) = check_cleaning(dataset)
    assert problem.startswith("a[].k: pattern: ")


HEAD = """apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
schema:
"""
REFUSED = [
    ("logicalType: date, logicalTypeOptions: {format: YYYY-MM-dd}", "format", "error", "yyyy is the year"),
    (
        "logicalType: timestamp, logicalTypeOptions: {timezone: false, format: 'yyyy-MM-dd HH:mmX'}",
        "format",
        "error",
        "offset",
    ),
    ("logicalType: timestamp, logicalTypeOptions: {defaultTimezone: Berlin}", "defaultTimezone", "error", "IANA"),
    (
        "logicalType: timestamp, logicalTypeOptions: {timezone: false, defaultTimezone: Europe/Berlin}",
        "defaultTimezone",
        "warning",
        "no default",
    ),
    (
        "logicalType: time, logicalTypeOptions: {timezone: true}",
        "timezone",
        "warning",
        "a time has no time zone: not applied",
    ),
    ("logicalType: string, logicalTypeOptions: {format: iban}", "format", "warning", "not checked"),
    (
        "logicalType: boolean, logicalTypeOptions: {trueValues: yes}",
        "falseValues",
        "error",
        "trueValues and falseValues are needed together, each a word or a list of words",
    ),
    (
        "logicalType: boolean, logicalTypeOptions: {trueValues: [], falseValues: [no]}",
        "trueValues",
        "error",
        "are needed together",
    ),
    (
        "logicalType: boolean, logicalTypeOptions: {trueValues: [J, X], falseValues: [x]}",
        "falseValues",
        "error",
        "both",
    ),
    ("logicalType: boolean, logicalTypeOptions: {format: yes/no}", "format", "warning", "has no effect"),
    ("logicalType: integer, logicalTypeOptions: {multipleOf: .inf}", "multipleOf", "error", "not a number"),
    ("logicalType: date, logicalTypeOptions: {minimum: soon}", "minimum", "error", "is not a date"),
]


@pytest.mark.parametrize(("prop", "option", "severity", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_an_option_that_cannot_be_held_is_told_at_its_place(
    tmp_path: Path, prop: str, option: str, severity: str, message: str
) -> None:
    file = tmp_path / "contract.yaml"
    file.write_text(
        f"{HEAD}  - name: items\n    properties:\n      - {{name: id, logicalType: integer, primaryKey: true}}\n"
        f"      - {{name: a, {prop}}}\n"
    )
    _, findings = lint_contracts(load_settings(contracts=file))
    place = f"schema[0].properties[1].logicalTypeOptions.{option}"
    assert [f for f in findings if f.path == place and f.severity == severity and message in f.message], findings


def test_a_misspelled_option_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "contract.yaml"
    file.write_text(
        f"{HEAD}  - name: items\n    properties:\n      - {{name: id, logicalType: integer, primaryKey: true,"
        " logicalTypeOptions: {minimun: 3}}\n"
    )
    _, findings = lint_contracts(load_settings(contracts=file))
    assert len([finding for finding in findings if "minimun" in finding.message + finding.path]) == 1


def test_one_broken_dataset_does_not_hide_the_sql_errors_of_another(tmp_path: Path) -> None:
    file = tmp_path / "contract.yaml"
    key = "{name: id, logicalType: integer, primaryKey: true"
    file.write_text(
        f"{HEAD}  - name: broken\n    properties:\n      - {key}, logicalTypeOptions: {{multipleOf: -1}}}}\n"
        f"      - {{name: a, logicalType: string, logicalTypeOptions: {{pattern: '(?=a)'}}}}\n"
        f"  - name: sound\n    properties:\n      - {key}}}\n"
        "      - {name: a, logicalType: string, logicalTypeOptions: {pattern: '(?=a)'}}\n"
    )
    findings, count = lint(load_settings(contracts=file))
    assert count == 0
    assert [finding.path for finding in findings if "linear time" in finding.message] == ["sound"]
    assert [finding for finding in findings if finding.path.endswith("multipleOf")]
