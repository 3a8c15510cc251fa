"""The cleaning statement, run over small cut batches: every rule, every reason, and what changes a load's digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.contract.load import load_catalog
from ingest.cleaning.check_plan import check_cleaning
from ingest.cleaning.engine import find_native
from ingest.cleaning.plan import digest_cleaning, needed_columns
from runtime.settings.settings import load_settings
from tests.support.cleaner import Cleaner, make_csv, quoted, read_csv
from tests.support.examples import examples


@pytest.fixture
def cleaner(tmp_path: Path) -> Cleaner:
    return Cleaner(tmp_path)


def test_good_records_are_accepted_in_the_order_of_their_key(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: name, logicalType: string}", "{name: born, logicalType: date}")
    found = cleaner.clean(dataset, "name,born,id\nBen,,2\nAnn,1990-01-31,1\n")
    assert found.accepted == [["1", "Ann", "1990-01-31"], ["2", "Ben", None]]
    assert found.lines == [3, 2]
    assert found.rejected == {}


def test_every_broken_rule_of_a_record_is_reported_with_its_value_and_a_message(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: code, logicalType: string, required: true, logicalTypeOptions:"
        ' {pattern: "^[A-Z]+$", minLength: 3, maxLength: 4}}',
        "{name: age, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 150}}",
        "{name: born, logicalType: date}",
        "{name: colour, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues:"
        " [red, green]}}]}",
    )
    found = cleaner.clean(dataset, "id,code,age,born,colour\nx,ab,-1,2013-02-30,blue\n2,,151,,red\n")
    assert found.accepted == []
    assert found.reasons(2) == [
        ("id", "type", "x"),
        ("code", "pattern", "ab"),
        ("code", "minLength", "ab"),
        ("age", "minimum", "-1"),
        ("born", "type", "2013-02-30"),
        ("colour", "enum", "blue"),
    ]
    assert [reason["message"] for reason in found.rejected[2]] == [
        "expected an integer from -9007199254740991 to 9007199254740991 (physicalType: bigint accepts larger ones)",
        "must match ^[A-Z]+$",
        "minLength is 3",
        "minimum is 0",
        "expected a date such as 2013-01-31",
        "must be one of red, green",
    ]
    assert found.reasons(3) == [("code", "required", None), ("age", "maximum", "151")]
    assert found.keys == {2: None, 3: "2"}


RULES = [
    ("string", "minLength: 2", ["ab", "🙂🙂"], ["a", "🙂"], "minLength"),
    ("string", "maxLength: 2", ["ab", "🙂🙂"], ["abc"], "maxLength"),
    ("string", 'pattern: "^a.c$"', ["abc"], ["ab", "xabc"], "pattern"),
    ("string", "pattern: it's", ["it's"], ["its"], "pattern"),
    ("integer", "minimum: -5", ["-5", "0"], ["-6"], "minimum"),
    ("integer", "maximum: 5", ["5"], ["6"], "maximum"),
    ("integer", "exclusiveMinimum: 5", ["6"], ["5"], "exclusiveMinimum"),
    ("integer", "exclusiveMaximum: 5", ["4"], ["5"], "exclusiveMaximum"),
    ("integer", "multipleOf: 3", ["0", "-6", "9"], ["4", "-1"], "multipleOf"),
    ("integer", "minimum: 9007199254740991", ["9007199254740991"], ["9007199254740990"], "minimum"),
    ("integer", "minimum: -9007199254740991", ["-9007199254740991"], ["-9007199254740992"], "type"),
    ("integer", "maximum: 9223372036854775807", ["9007199254740991"], ["9007199254740992"], "type"),
    ("number", "minimum: 0.5", ["0.5", "1e3"], ["0.4999"], "minimum"),
    ("number", "exclusiveMaximum: 1.0e-7", ["0", "-1"], ["1e-7", "1"], "exclusiveMaximum"),
    ("number", "multipleOf: 0.1", ["0.3", "1234.5", "-0.7"], ["0.25"], "multipleOf"),
    ("date", "minimum: 2013-01-02", ["2013-01-02"], ["2013-01-01"], "minimum"),
    ("date", "exclusiveMaximum: 2013-01-02", ["2013-01-01"], ["2013-01-02"], "exclusiveMaximum"),
    ("time", "maximum: '12:00:00'", ["12:00", "00:00:01"], ["12:00:00.000001"], "maximum"),
    (
        "timestamp",
        "minimum: '2013-01-01T00:00:00Z'",
        ["2013-01-01 00:00:00", "2013-01-01T01:00:00+01:00"],
        ["2013-01-01T00:00:00+01:00"],
        "minimum",
    ),
    ("array", "minItems: 1", ["[null]", "[[]]"], ["[]"], "minItems"),
    ("array", "maxItems: 1", ["[]", "[[1,2]]"], ["[1,2]"], "maxItems"),
    (
        "array",
        "uniqueItems: true",
        ["[]", "[1,2]", '[1,"1"]', "[null,1]", '[{"a":1},{"a":2}]'],
        ["[1,1]", "[null,null]", '["a","b","a"]'],
        "uniqueItems",
    ),
]


@pytest.mark.parametrize(
    ("logical", "option", "good", "bad", "rule"), RULES, ids=[f"{row[0]} {row[1]}" for row in RULES]
)
def test_each_rule_lets_good_values_pass_and_names_bad_ones(
    cleaner: Cleaner, logical: str, option: str, good: list[str], bad: list[str], rule: str
) -> None:
    dataset = cleaner.dataset(f"{{name: a, logicalType: {logical}, logicalTypeOptions: {{{option}}}}}")
    assert check_cleaning(dataset) == []
    rows = [(str(number), value) for number, value in enumerate([*good, *bad], 1)]
    found = cleaner.clean(dataset, make_csv(("id", "a"), *rows))
    assert [int(row[0] or 0) for row in found.accepted] == list(range(1, len(good) + 1))
    assert [found.reasons(line) for line in sorted(found.rejected)] == [[("a", rule, value)] for value in bad]


ENUMS = [
    ("string", "[x, 'it''s', '1']", ["x", "it's", "1"], ["y"]),
    ("string", "[1, 2]", ["1", "2"], ["3", "01"]),
    ("string", "[true, false]", ["true", "false"], ["no", "1", "maybe"]),
    ("integer", "[1, 2]", ["1", "+2", "02"], ["3"]),
    ("integer", "['1', '2']", ["1", "2"], ["3"]),
    ("number", "[0.1, 2]", ["0.10", "2.0"], ["0.2"]),
    ("boolean", "[true]", ["true", "1"], ["0"]),
    ("date", "[2013-01-31]", ["2013-01-31"], ["2013-02-01"]),
]


@pytest.mark.parametrize(("logical", "values", "good", "bad"), ENUMS, ids=[f"{row[0]} {row[1]}" for row in ENUMS])
@pytest.mark.parametrize("way", ["quality", "enum"])
def test_a_closed_list_of_values_is_held_as_values_of_the_type(
    cleaner: Cleaner, logical: str, values: str, good: list[str], bad: list[str], way: str
) -> None:
    if way == "quality":
        rule = f"quality: [{{metric: invalidValues, mustBe: 0, arguments: {{validValues: {values}}}}}]"
    else:
        rule = "enum: [" + ", ".join(f"{{value: {value}}}" for value in values[1:-1].split(", ")) + "]"
    dataset = cleaner.dataset(f"{{name: a, logicalType: {logical}, {rule}}}")
    rows = [(str(number), value) for number, value in enumerate([*good, *bad], 1)]
    found = cleaner.clean(dataset, make_csv(("id", "a"), *rows))
    assert [int(row[0] or 0) for row in found.accepted] == list(range(1, len(good) + 1))
    assert [found.reasons(line) for line in sorted(found.rejected)] == [[("a", "enum", value)] for value in bad]


def test_a_null_breaks_no_rule_but_required(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: string, logicalTypeOptions: {minLength: 3}}",
        "{name: b, logicalType: integer, logicalTypeOptions: {minimum: 3}}",
        "{name: c, logicalType: string, quality: [{metric: nullValues, mustBe: 0}]}",
    )
    found = cleaner.clean(dataset, "id,a,b,c\n1,,,x\n2,,,\n,,,x\n")
    assert found.accepted == [["1", None, None, "x"]]
    assert {line: found.reasons(line) for line in found.rejected} == {
        3: [("c", "required", None)],
        4: [("id", "required", None)],
    }


def test_what_is_no_value_is_reported_once_as_its_type_and_breaks_no_further_rule(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: integer, required: true, logicalTypeOptions: {minimum: 3, maximum: 4}}"
    )
    assert cleaner.clean(dataset, "id,a\n1,0x10\n").reasons(2) == [("a", "type", "0x10")]


def test_values_in_reasons_are_cut_and_keep_their_quotes(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: a, logicalType: integer}")
    value = 'say "hi"\n' + "x" * 500
    assert cleaner.clean(dataset, make_csv(("id", "a"), ("1", value))).reasons(2) == [("a", "type", value[:200])]


def test_texts_are_trimmed_and_null_tokens_become_null(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: string}",
        "{name: b, logicalType: string, transformLogic: 'coalesce(c, ''none'')'}",
        source=", nullValues: ['', NA, \"it's\"]",
    )
    rows = [("1", " x y\t", " \t"), ("2", "NA", " NA "), ("3", "na", "it's"), ("4", "  ", "NAN")]
    found = cleaner.clean(dataset, make_csv(("id", "a", "c"), *rows))
    assert found.accepted == [
        ["1", "x y", "none"],
        ["2", None, "none"],
        ["3", "na", "none"],
        ["4", None, "NAN"],
    ]


def test_an_empty_text_stays_one_where_it_is_no_null_token(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: string, required: true}",
        "{name: n, logicalType: integer}",
        source=", nullValues: [NA]",
    )
    found = cleaner.clean(dataset, "id,a,n\n1,,5\n2,NA,5\n3,x,\n")
    assert found.accepted == [["1", "", "5"]]
    assert found.reasons(3) == [("a", "required", "NA")]  # the word that stood for no value
    assert found.reasons(4) == [("n", "type", "")]


@pytest.mark.parametrize("native", [True, False])
def test_a_failing_transform_is_its_own_reason_and_a_null_result_is_null(cleaner: Cleaner, native: bool) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: integer, transformLogic: '100 // b::int'}",
        "{name: c, logicalType: integer, required: true, transformLogic: 'b::int + 1'}",
    )
    found = cleaner.clean(dataset, "id,b\n1,4\n2,many\n3,\n4,0\n", native=native)
    # DuckDB's division by zero is null, not an error.
    assert found.accepted == [["1", "25", "5"], ["4", None, "1"]]
    assert {line: found.reasons(line) for line in found.rejected} == {
        3: [("a", "transform", None), ("c", "transform", None)],
        4: [("c", "required", None)],
    }
    assert found.rejected[3][0]["message"] == "the expression failed: 100 // b::int"


TRANSFORMS = [
    ("integer", "b::int"),
    ("integer", "b::bigint * 9223372036854775807"),
    ("integer", "b::double"),
    ("integer", "b::hugeint"),
    ("integer", "length(b)"),
    ("number", "b::double / 3"),
    ("number", "b::double * 1e308"),
    ("number", "'nan'::double + b::double"),
    ("number", "b::decimal(9, 2)"),
    ("boolean", "b::int > 3"),
    ("boolean", "b"),
    ("date", "b::date"),
    ("date", "make_date(b::int, 2, 29)"),
    ("date", "case when b = '1' then 'infinity'::date else date '2013-01-31' + b::int end"),
    ("timestamp", "b::timestamp"),
    ("timestamp", "b::timestamptz"),
    ("timestamp", "to_timestamp(b::double * 1000000000)"),
    ("timestamp", "timezone('America/New_York', b::timestamp)"),
    ("time", "b::time"),
    ("string", "upper(b)"),
    ("string", "b || 1"),
    ("string", "b::date + 1"),
    ("array", "to_json([b, b])"),
    ("object", "json_object('b', b)"),
]
TEXTS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "-3", "2.5", "1e300", "nan", "true", "many", "2013-01-31", "2012-02-29 10:00:00.5"]
    )
    | st.sampled_from(
        ["9999-12-31", "0001-01-01", "0000-01-01", "10000-01-01", "99999-01-01 00:00:00", "12:30", "NULL"]
    )
    | st.sampled_from(["2013-03-10 02:30:00", "9999-12-31 23:00:00", "0001-01-01 00:00:00+05", "infinity"]),
    st.integers(-(10**5), 10**5).map(str),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4),
)


@pytest.mark.sampled
@pytest.mark.parametrize(("logical", "transform"), TRANSFORMS, ids=[f"{row[0]} {row[1]}" for row in TRANSFORMS])
def test_a_native_plan_gives_what_the_way_through_text_gives(cleaner: Cleaner, logical: str, transform: str) -> None:
    dataset = cleaner.dataset(
        f"{{name: a, logicalType: {logical}, required: true, transformLogic: {quoted(transform)}}}"
    )
    assert check_cleaning(dataset) == []

    @settings(max_examples=1, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(TEXTS, min_size=30, max_size=60))
    def agree(texts: list[str]) -> None:
        content = make_csv(("id", "b"), *((str(number), text) for number, text in enumerate(texts)))
        assert cleaner.clean(dataset, content, native=True) == cleaner.clean(dataset, content, native=False)

    agree()


SHARED = "make_date(b::int // 100, b::int % 100, 1)"


@pytest.mark.parametrize("native", [True, False])
def test_a_failing_part_that_transforms_share_fails_their_records_only(cleaner: Cleaner, native: bool) -> None:
    dataset = cleaner.dataset(
        f"{{name: a, logicalType: date, transformLogic: '{SHARED}'}}",
        f"{{name: c, logicalType: date, transformLogic: '{SHARED} + 1'}}",
    )
    found = cleaner.clean(dataset, "id,b\n1,201301\n2,many\n3,201313\n", native=native)
    assert found.accepted == [["1", "2013-01-01", "2013-01-02"]]
    failed = [("a", "transform", None), ("c", "transform", None)]
    assert {line: found.reasons(line) for line in found.rejected} == {3: failed, 4: failed}


def test_transforms_that_give_the_type_itself_are_found(cleaner: Cleaner) -> None:
    names = [
        f"{{name: p{n}, logicalType: {row[0]}, transformLogic: {quoted(row[1])}}}" for n, row in enumerate(TRANSFORMS)
    ]
    dataset = cleaner.dataset(*names)
    native = {TRANSFORMS[int(name[1:])][1] for name in find_native(dataset)}
    assert {"b::int", "length(b)", "b::double / 3", "b::int > 3", "b::date", "b::timestamptz"} <= native
    assert not {"b::double", "b::hugeint", "b::decimal(9, 2)", "b", "b::timestamp", "upper(b)"} & native


def test_of_records_with_one_key_the_later_line_is_kept(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: a, logicalType: string}")
    found = cleaner.clean(dataset, "id,a\n1,first\n2,other\n1,second\n+01,third\n")
    assert found.accepted == [["1", "third"], ["2", "other"]]
    assert found.lines == [5, 3]
    assert found.duplicates == 2


def test_of_records_with_one_key_the_newest_by_order_is_kept(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: at, logicalType: date}", source=", orderBy: at")
    rows = "id,at\n1,2013-01-03\n1,2013-01-05\n1,2013-01-04\n2,\n2,2012-01-01\n3,\n3,\n4,2013-01-01\n4,2013-01-01\n"
    found = cleaner.clean(dataset, rows)
    assert found.accepted == [["1", "2013-01-05"], ["2", "2012-01-01"], ["3", None], ["4", "2013-01-01"]]
    assert found.lines == [3, 6, 8, 10]
    assert found.duplicates == 5


def test_a_rejected_record_does_not_push_out_a_good_one_with_its_key(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: a, logicalType: integer}")
    found = cleaner.clean(dataset, "id,a\n1,5\n1,x\n")
    assert (found.accepted, found.duplicates, found.keys) == ([["1", "5"]], 0, {3: "1"})


def test_a_key_of_several_properties_is_one_key(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: b, logicalType: string, primaryKey: true}", "{name: n, logicalType: integer}")
    found = cleaner.clean(dataset, "id,b,n\n1,x,1\n1,y,2\n1,x,3\n2,z,bad\n")
    assert (found.accepted, found.duplicates) == ([["1", "x", "3"], ["1", "y", "2"]], 1)
    assert found.keys == {5: "2,z"}


NAMES = [
    "x1",
    "t1",
    "v1",
    "x0",
    "t0",
    "v0",
    "broken",
    "raw",
    "texts",
    "judged",
    "reason",
    "reasons",
    "line",
    "records",
]
ODD_NAMES = ["select", "A column", 'a"b', "it's", "ü", "{records}", "{text}", "{value}", "%s", "a.b", "a\\b", "order"]


@pytest.mark.sampled
@pytest.mark.parametrize("name", [*NAMES, *ODD_NAMES])
def test_a_property_may_have_any_name(cleaner: Cleaner, name: str) -> None:
    dataset = cleaner.dataset(f"{{name: {quoted(name)}, logicalType: string, logicalTypeOptions: {{maxLength: 5}}}}")
    found = cleaner.clean(dataset, make_csv(("id", name), ("1", "hello"), ("2", "too long"), ("3", "you")))
    assert found.accepted == [["1", "hello"], ["3", "you"]]
    assert found.reasons(3) == [(name, "maxLength", "too long")]


@pytest.mark.sampled
@pytest.mark.parametrize("name", [*NAMES, *ODD_NAMES])
def test_a_transform_may_read_a_raw_column_of_any_name(cleaner: Cleaner, name: str) -> None:
    column = '"' + name.replace('"', '""') + '"'
    dataset = cleaner.dataset(
        f"{{name: a, logicalType: string, transformLogic: {quoted(column)}}}",
        f"{{name: n, logicalType: integer, transformLogic: {quoted(f'length({column})')}}}",
    )
    found = cleaner.clean(dataset, make_csv(("id", name), ("1", "hello"), ("2", "you")))
    assert found.accepted == [["1", "hello", "5"], ["2", "you", "3"]]


def test_properties_whose_names_differ_only_in_case_each_get_their_value(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: ID, logicalType: string}", "{name: Id, logicalType: string}")
    assert cleaner.clean(dataset, "id,ID,Id\n1,a,b\n").accepted == [["1", "a", "b"]]


def test_columns_that_nothing_reads_never_matter(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: a, logicalType: string}")
    found = cleaner.clean(dataset, "ID,id,_line,,a,A,x,x\n9,1,9,9,good,9,9,9\n")
    assert found.accepted == [["1", "good"]]


def test_text_with_nul_from_a_transform_is_invalid_text(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset("{name: a, logicalType: string, transformLogic: 'chr(b::int)'}")
    found = cleaner.clean(dataset, "id,b\n1,65\n2,0\n")
    assert found.accepted == [["1", "A"]]
    assert [(name, rule) for name, rule, _ in found.reasons(3)] == [("a", "invalid_text")]


def test_a_foreign_keys_value_is_kept_with_a_rejected_record(cleaner: Cleaner, tmp_path: Path) -> None:
    dataset = cleaner.dataset(
        "{name: parent, logicalType: integer, relationships: [{type: foreignKey, to: items.id}]}",
        "{name: a, logicalType: integer}",
    )
    cleaner.clean(dataset, "id,parent,a\n1,07,x\n")
    row = read_csv(tmp_path / "rejected.csv")[0]
    assert json.loads(row[4] or "") == {"parent": "7"}


def test_no_record_at_all_is_cleaned_to_none(cleaner: Cleaner) -> None:
    found = cleaner.clean(cleaner.dataset("{name: a, logicalType: string}"), "id,a\n")
    assert (found.accepted, found.rejected, found.duplicates) == ([], {}, 0)


@settings(max_examples=examples(15, 6), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), max_size=30))
def test_any_text_comes_through_as_it_is_but_for_its_edges(cleaner: Cleaner, texts: list[str]) -> None:
    dataset = cleaner.dataset("{name: a, logicalType: string}", source=", nullValues: []")
    rows = [(str(number), text) for number, text in enumerate(texts)]
    found = cleaner.clean(dataset, make_csv(("id", "a"), *rows))
    assert {row[0]: row[1] for row in found.accepted} == {number: text.strip(" \t") for number, text in rows}


BASE = {
    "properties": [
        "{name: a, logicalType: string, required: true, description: words, logicalTypeOptions: {maxLength: 5}}",
        "{name: n, logicalType: integer, transformLogic: m}",
    ],
    "source": "",
    "more": "",
}


def change(part: str, old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A contract in which one text is another."""
    if part == "properties":
        return lambda base: {**base, part: [text.replace(old, new) for text in base[part]]}
    return lambda base: {**base, part: new}


GATE = "    quality: [{metric: rowCount, mustBeGreaterThan: 1}]\n"
MATTERS = {
    "a rule": change("properties", "maxLength: 5", "maxLength: 6"),
    "a rule's kind": change("properties", "maxLength: 5", "minLength: 5"),
    "required": change("properties", "required: true, ", ""),
    "unique": change("properties", "required: true", "required: true, unique: true"),
    "a type": change("properties", "name: n, logicalType: integer", "name: n, logicalType: number"),
    "a physical type": change("properties", "name: n,", "name: n, physicalType: smallint,"),
    "a transform": change("properties", "transformLogic: m", "transformLogic: m::int"),
    "a column": change("properties", "name: n,", "name: n, physicalName: nn,"),
    "the key": change("properties", "required: true", "primaryKey: true"),
    "a foreign key": change("properties", "name: n,", "name: n, relationships: [{type: foreignKey, to: items.id}],"),
    "the mode": change("source", "", ", mode: upsert"),
    "null tokens": change("source", "", ", nullValues: [NA]"),
    "the order": change("source", "", ", orderBy: n"),
    "the delimiter": change("source", "", ", delimiter: ';'"),
    "the encoding": change("source", "", ", encoding: latin-1"),
    "a gate": change("more", "", GATE),
    "maxRejected": change("more", "", "      - {property: maxRejected, value: 3}\n"),
    "maxDeleted": change("more", "", "      - {property: maxDeleted, value: 3}\n"),
    "unknown columns": change("more", "", "      - {property: unknownColumns, value: reject}\n"),
}
DOES_NOT_MATTER = {
    "a property's description": change("properties", "description: words", "description: others"),
    "examples": change("properties", "description: words", "description: words, examples: [x]"),
    "tags": change("properties", "description: words", "description: words, tags: [x]"),
    "a classification": change("properties", "description: words", "description: words, classification: public"),
    "the dataset's description": change("more", "", "    description: Many items.\n"),
    "a foreign key that is not enforced": change(
        "properties",
        "name: n,",
        "name: n, relationships: [{type: foreignKey, to: items.id,"
        " customProperties: [{property: enforced, value: false}]}],",
    ),
}


@pytest.mark.parametrize("made", MATTERS.values(), ids=MATTERS.keys())
def test_what_decides_a_loads_outcome_changes_its_digest(
    cleaner: Cleaner, made: Callable[..., dict[str, Any]]
) -> None:
    changed = made(BASE)
    before = digest_cleaning(cleaner.dataset(*BASE["properties"], source=BASE["source"], more=BASE["more"]))
    after = cleaner.dataset(*changed["properties"], source=changed["source"], more=changed["more"])
    assert digest_cleaning(after) != before


@pytest.mark.parametrize("made", DOES_NOT_MATTER.values(), ids=DOES_NOT_MATTER.keys())
def test_words_do_not_change_the_digest(cleaner: Cleaner, made: Callable[..., dict[str, Any]]) -> None:
    changed = made(BASE)
    before = digest_cleaning(cleaner.dataset(*BASE["properties"], source=BASE["source"], more=BASE["more"]))
    after = cleaner.dataset(*changed["properties"], source=changed["source"], more=changed["more"])
    assert digest_cleaning(after) == before


def test_where_the_file_lies_and_what_a_gate_is_described_as_do_not_change_the_digest(
    cleaner: Cleaner, tmp_path: Path
) -> None:
    before = digest_cleaning(cleaner.dataset("{name: a, logicalType: string}", more=GATE))
    contract = tmp_path / "contract.yaml"
    text = contract.read_text().replace("items.csv", "elsewhere.csv").replace("path: .,", "path: /srv,")
    contract.write_text(text.replace("mustBeGreaterThan: 1", "mustBeGreaterThan: 1, description: Some are there."))
    after = load_catalog(load_settings(contracts=contract, input_roots="*=/srv")).find("shop.items")[0]
    assert after.input is not None
    assert after.input.path == "elsewhere.csv"
    assert digest_cleaning(after) == before


def test_needed_columns_are_those_that_properties_read_each_once(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: a, logicalType: string}",
        "{name: c, logicalType: string, transformLogic: b || a || id}",
        "{name: e, logicalType: string, transformLogic: \"'x'\"}",
    )
    assert needed_columns(dataset) == ["id", "a", "b"]
