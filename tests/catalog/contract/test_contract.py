"""Contracts read from YAML: what loads, and each thing that is refused, with its file, line and path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from catalog.contract.load import ACCEPTED_VERSIONS, lint_contracts, load_catalog
from catalog.contract.product import MOST_PROPERTIES
from catalog.model.catalog import Catalog
from catalog.model.dataset import Property
from ingest.cleaning.lint import lint
from runtime.errors import ContractError, Finding, UnknownDatasetError
from runtime.settings.settings import PROJECT_ROOT, Settings, load_settings

HEAD = """\
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
"""
SERVERS = """\
servers:
  - {server: here, type: local, path: data, format: csv}
  - {server: bucket, type: s3, location: "s3://bucket/*.csv"}
"""
KEY = "{name: id, logicalType: integer, primaryKey: true}"
MINIMAL = f"{HEAD}schema:\n  - name: items\n    properties:\n      - {KEY}\n"

Write = Callable[..., Settings]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes contracts, and gives the settings that name their folder."""

    def write_contracts(*texts: str) -> Settings:
        for number, text in enumerate(texts):
            (tmp_path / f"contract{number}.yaml").write_text(text)
        return load_settings(contracts=tmp_path, home=tmp_path)

    return write_contracts


def with_properties(*properties: str, dataset: str = "") -> str:
    """A contract of one dataset with a key and these properties."""
    lines = "".join(f"      - {part}\n" for part in (KEY, *properties))
    return f"{HEAD}schema:\n  - name: items\n{dataset}    properties:\n{lines}"


def with_input(value: str, servers: str = SERVERS, *properties: str) -> str:
    """A contract of one dataset with this input."""
    custom = f"    customProperties: [{{property: input, value: {value}}}]\n"
    return with_properties(*properties, dataset=custom).replace("schema:", f"{servers}schema:")


def with_transform(expression: str) -> str:
    """A contract of one dataset with an input and a property that this expression makes, its quotes doubled."""
    prop = f"{{name: a, logicalType: string, transformLogic: '{expression}'}}"
    return with_input("{server: here, path: a.csv}", SERVERS, prop)


def with_datasets(*datasets: str) -> str:
    """A contract of these datasets, each a mapping without its properties' key."""
    return f"{HEAD}schema:\n" + "".join(f"  - {part}\n" for part in datasets)


def find(settings: Settings, severity: str = "error") -> list[tuple[int, str, str]]:
    """The findings of catalog and SQL, as (line, path, message)."""
    return [(found.line, found.path, found.message) for found in lint(settings)[0] if found.severity == severity]


def only(settings: Settings, severity: str = "error") -> tuple[int, str, str]:
    found = find(settings, severity)
    assert len(found) == 1, found
    return found[0]


def property_of(settings: Settings, name: str) -> Property:
    return load_catalog(settings).find("shop.items")[0].properties[name]


def test_a_complete_minimal_contract_loads(write: Write) -> None:
    settings = write(MINIMAL)
    assert lint(settings) == ([], 1)
    product = load_catalog(settings).products["shop", 1]
    assert (product.schema, product.version, product.status, product.name) == ("shop_v1", "1.0.0", "active", "shop")
    assert not product.anonymous
    dataset = product.datasets["items"]
    assert (dataset.table, dataset.key, dataset.input, dataset.gates) == ("items", ("id",), None, ())
    assert (dataset.max_rejected, dataset.max_deleted) == (0.1, 0.5)
    prop = dataset.properties["id"]
    assert (prop.type.postgres, prop.required, prop.classification) == ("bigint", True, "internal")


def test_a_whole_dataset_is_read_into_frozen_values(write: Write) -> None:
    value = "{server: here, path: in/items.csv, mode: upsert, nullValues: ['', NA], orderBy: id, delimiter: ';'}"
    text = with_input(value, SERVERS, "{name: price, logicalType: number, physicalType: 'numeric(9,2)'}")
    dataset = load_catalog(write(text)).find("shop.items")[0]
    source = dataset.input
    assert source is not None
    assert (source.kind, source.mode, source.root, source.path) == ("file", "upsert", "data", "in/items.csv")
    assert (source.null_values, source.order_by, source.file_format.delimiter) == (("", "NA"), "id", ";")
    assert dataset.properties["price"].type.postgres == "numeric(9,2)"
    with pytest.raises(AttributeError):
        dataset.name = "other"  # type: ignore[misc]


def test_the_shipped_contracts_lint_without_error_or_warning() -> None:
    findings, datasets = lint(load_settings(contracts=PROJECT_ROOT / "contracts"))
    assert findings == []
    assert datasets >= 6


def test_all_errors_of_a_file_come_at_once_each_with_its_place(tmp_path: Path, write: Write) -> None:
    text = dedent("""\
        apiVersion: v3.1.0
        kind: DataContract
        id: shop
        version: first
        status: active
        servers:
          - {server: here, type: local, path: data, format: csv}
        schema:
          - name: items
            customProperties:
              - {property: input, value: {server: there, path: items.csv}}
            properties:
              - {name: id, logicalType: integer, primaryKey: true, classification: restricted}
              - {name: _hidden, logicalType: string}
              - {name: price, logicalType: money}
          - name: orders
            properties:
              - name: total
                logicalType: number
                transformLogic: "(select 1)"
                colour: blue
            customProperties: [{property: input, value: {server: here, path: orders.csv}}]
        """)
    with pytest.raises(ContractError) as caught:
        load_catalog(write(text))
    found = {(finding.line, finding.path): finding.message for finding in caught.value.findings}
    assert all(finding.file == tmp_path / "contract0.yaml" for finding in caught.value.findings)
    expected = {
        (4, "version"): "1.0.0",
        (10, "schema[0].customProperties"): "here",
        (13, "schema[0].properties[0].classification"): "cannot be classified",
        (14, "schema[0].properties[1].name"): "start with '_'",
        (15, "schema[0].properties[2].logicalType"): "'timestamp'",
        (16, "schema[1]"): "no primaryKey",
        (18, "schema[1].properties[0]"): "colour",
        (20, "schema[1].properties[0].transformLogic"): "no SELECT",
    }
    missing = {place: part for place, part in expected.items() if part not in found.get(place, "")}
    assert missing == {}, caught.value
    assert f"{tmp_path / 'contract0.yaml'}:4: version: " in str(caught.value)


def test_errors_of_all_files_come_at_once(tmp_path: Path, write: Write) -> None:
    settings = write(MINIMAL.replace("1.0.0", "x"), MINIMAL.replace("kind: DataContract\n", ""), "a: [")
    with pytest.raises(ContractError) as caught:
        load_catalog(settings)
    assert {finding.file.name for finding in caught.value.findings} == {f"contract{n}.yaml" for n in range(3)}


@pytest.mark.parametrize("version", ACCEPTED_VERSIONS)
def test_every_accepted_version_of_the_standard_loads(write: Write, version: str) -> None:
    assert find(write(MINIMAL.replace("v3.1.0", version))) == []


@pytest.mark.parametrize("version", ["v2.2.2", "3.1.0", "v3.9.0", "v4.0.0", "''", "3", "[v3.1.0]"])
def test_another_version_of_the_standard_is_refused_and_those_accepted_are_named(write: Write, version: str) -> None:
    line, path, message = only(write(MINIMAL.replace("v3.1.0", version)))
    assert (line, path) == (1, "apiVersion")
    assert all(accepted in message for accepted in ACCEPTED_VERSIONS)


@pytest.mark.parametrize("text", ["[]", "a contract", "- 1\n- 2", "12"])
def test_what_is_no_mapping_is_no_contract(write: Write, text: str) -> None:
    assert "is not a contract" in only(write(text))[2]


def test_a_folder_without_contracts_says_where_to_put_them(tmp_path: Path) -> None:
    assert "contains no contract" in only(load_settings(contracts=tmp_path))[2]


@pytest.mark.parametrize("key", ["apiVersion", "kind", "id", "version"])
def test_what_the_standard_requires_is_required(write: Write, key: str) -> None:
    found = find(write(re.sub(rf"(?m)^{key}:.*\n", "", MINIMAL)))
    assert any(key in path + message for _, path, message in found)


def test_a_property_without_a_logical_type_is_accepted(write: Write) -> None:
    settings = write(with_properties("{name: a}", "{name: b, physicalType: int}", "{name: c, required: true}"))
    assert find(settings) == []
    assert [property_of(settings, name).logical_type for name in "abc"] == ["string", "integer", "string"]


@pytest.mark.parametrize(
    ("text", "path", "named"),
    [
        (MINIMAL + "color: blue\n", "", "color"),
        (with_properties("{name: a, logicaltype: string}"), "schema[0].properties[1]", "logicaltype"),
        (
            with_properties("{name: a, logicalType: string, logicalTypeOptions: {maxlength: 3}}"),
            "schema[0].properties[1].logicalTypeOptions",
            "maxlength",
        ),
        (with_properties(dataset="    primarykey: id\n"), "schema[0]", "primarykey"),
        (MINIMAL + "roles: [{role: reader, acces: read}]\n", "roles[0]", "acces"),
        (MINIMAL + "slaProperties: [{property: latency, values: 1}]\n", "slaProperties[0]", "values"),
        (
            with_properties(dataset="    customProperties: [{property: maxRejected, value: 1, unit: '%'}]\n"),
            "schema[0].customProperties[0]",
            "unit",
        ),
        (
            with_properties(
                "{name: a, logicalType: string, quality: [{metric: nullValues, mustBe: 0, colour: blue}]}"
            ),
            "schema[0].properties[1].quality[0]",
            "colour",
        ),
    ],
    ids=["contract", "property", "options", "dataset", "role", "sla", "custom property", "quality"],
)
def test_an_unknown_key_is_refused_however_deep_it_stands(write: Write, text: str, path: str, named: str) -> None:
    found = find(write(text))
    assert any(where == path and f"'{named}'" in message for _, where, message in found), found


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (MINIMAL.replace("id: shop", "id: '---'"), "id", "a letter or a digit"),
        (MINIMAL.replace("1.0.0", "one"), "version", "1.0.0"),
        (MINIMAL.replace(", primaryKey: true", ""), "schema[0]", "has no primaryKey"),
        (
            with_properties().replace("primaryKey: true", "primaryKey: true, classification: confidential"),
            "schema[0].properties[0].classification",
            "cannot be classified",
        ),
        (
            # What is no known word is restricted, and no key either.
            with_properties().replace("primaryKey: true", "primaryKey: true, classification: secret"),
            "schema[0].properties[0].classification",
            "cannot be classified",
        ),
        (
            with_properties("{name: o, logicalType: object, primaryKey: true}"),
            "schema[0].properties[1].logicalType",
            "an? object cannot be a key",
        ),
        (with_properties("{name: _a, logicalType: string}"), "schema[0].properties[1].name", "start with '_'"),
        (
            with_properties("{name: a, physicalName: _revision, logicalType: string}"),
            "schema[0].properties[1].name",
            "start with '_'",
        ),
        (MINIMAL.replace("items", "_items"), "schema[0].name", "must start with a letter"),
        (
            MINIMAL.replace("items", "contract"),
            "schema[0].name",
            "is reserved: it is the address of the contract itself",
        ),
        (MINIMAL.replace("items", "1st"), "schema[0].name", "must start with a letter"),
        (MINIMAL.replace("items", '"a b"'), "schema[0].name", "must start with a letter"),
        (
            with_properties(dataset="    physicalName: _items\n"),
            "schema[0].physicalName",
            "start with '_'",
        ),
        (
            with_properties("{name: a, logicalType: string}", "{name: a, logicalType: date}"),
            "schema[0].properties[2].name",
            "duplicate property 'a'",
        ),
        (
            with_properties("{name: a, logicalType: string}", "{name: b, physicalName: a, logicalType: date}"),
            "schema[0].properties[2].name",
            "duplicate property",
        ),
        (
            with_datasets(f"{{name: a, properties: [{KEY}]}}", f"{{name: a, properties: [{KEY}]}}"),
            "schema[1].name",
            "duplicate dataset 'a'",
        ),
        (
            with_properties(*(f"{{name: p{number}}}" for number in range(MOST_PROPERTIES))),
            "schema[0].properties",
            "has 1,597 properties; a table of Postgres holds 1,596: split the dataset",
        ),
        (
            with_datasets(f"{{name: a, properties: [{KEY}]}}", f"{{name: b, physicalName: a, properties: [{KEY}]}}"),
            "schema[1].name",
            "'a' is also the table of 'a'",
        ),
        (
            with_datasets(f"{{name: a, properties: [{KEY}]}}", f"{{name: a_history, properties: [{KEY}]}}"),
            "schema[1].name",
            "'a_history' is also the table of 'a'",
        ),
        *(
            (
                with_datasets(
                    "{name: x, properties: [" + KEY + ", {name: a, logicalType: string, customProperties:"
                    " [{property: indexed, value: true}]}]}",
                    f"{{name: {other}, properties: [{KEY}]}}",
                ),
                "schema[0].name",
                f"would be named '{other}', as the table of '{other}'",
            )
            for other in ("pk_x", "pk_x_history", "ix_x_a", "ix_x_history__until")
        ),
        (
            with_datasets(f"{{name: pk_x, properties: [{KEY}]}}", f"{{name: x, properties: [{KEY}]}}"),
            "schema[1].name",
            "its index for the key would be named 'pk_x', as the table of 'pk_x'",
        ),
        (
            with_datasets(
                "{name: x, properties: [" + KEY + ", {name: a, logicalType: string, customProperties:"
                " [{property: indexed, value: true}]}, {name: history_a, logicalType: string, customProperties:"
                " [{property: indexed, value: true}]}]}",
            ),
            "schema[0].name",
            "would be named 'ix_x_history_a'",
        ),
        (
            with_properties(dataset="    customProperties: [{property: maxRejected, value: 101}]\n"),
            "schema[0].customProperties",
            "percentage",
        ),
        (
            with_properties(dataset="    customProperties: [{property: maxDeleted, value: most}]\n"),
            "schema[0].customProperties",
            "percentage",
        ),
        (
            with_properties(dataset="    quality: [{metric: rowCount}]\n"),
            "schema[0].quality[0]",
            "exactly one comparison",
        ),
        (
            with_properties(dataset='    quality: [{type: sql, query: "delete from items", mustBe: 0}]\n'),
            "schema[0].quality[0].query",
            "one SELECT",
        ),
        (
            with_properties(
                dataset='    quality: [{type: sql, query: "with x as (delete from {object} returning 1)'
                ' select count(*) from x", mustBe: 0}]\n'
            ),
            "schema[0].quality[0].query",
            "one SELECT",
        ),
        (
            with_properties("{name: a, logicalType: timestamp, logicalTypeOptions: {defaultTimezone: Europe/Berln}}"),
            "schema[0].properties[1].logicalTypeOptions.defaultTimezone",
            "did you mean 'Europe/Berlin'",
        ),
        (with_properties('{name: "\\ud800", logicalType: string}'), "", "invalid Unicode"),
        (with_properties('{name: "a\\0", logicalType: string}'), "schema[0].properties[1].name", "."),
    ],
    ids=[
        "an id of no letter",
        "a version that is none",
        "no key",
        "a classified key",
        "a key of a class that nobody knows",
        "an object as the key",
        "a property of ours",
        "a column of ours",
        "a dataset of ours",
        "a dataset where the contract stands",
        "a dataset that starts with a digit",
        "a dataset with a space",
        "a table of ours",
        "a property twice",
        "a column twice",
        "more properties than a table holds",
        "a dataset twice",
        "a table twice",
        "a table that is another's history",
        "a table called like another's key",
        "a table called like the key of another's history",
        "a table called like another's index",
        "a table called like an index of another's history",
        "a key called like another's table",
        "two indexes of one dataset",
        "a share over 100 %",
        "a share that is no number",
        "a rule without a bound",
        "a rule that deletes",
        "a rule that deletes in a CTE",
        "a time zone that is none",
        "a lone surrogate",
        "a NUL",
    ],
)
def test_each_slip_is_refused_at_its_place(write: Write, text: str, path: str, message: str) -> None:
    found = find(write(text))
    assert any(where == path and re.search(message, said) for _, where, said in found), found


def test_products_whose_schemas_collide_are_refused(tmp_path: Path, write: Write) -> None:
    settings = write(MINIMAL.replace("id: shop", "id: my-shop"), MINIMAL.replace("id: shop", "id: My.Shop"))
    findings, _ = lint(settings)
    assert [finding.file.name for finding in findings] == ["contract1.yaml"]
    assert "'my_shop_v1'" in findings[0].message
    assert "contract0.yaml" in findings[0].message


def test_two_majors_of_a_product_live_side_by_side(write: Write) -> None:
    settings = write(MINIMAL, MINIMAL.replace("1.0.0", "2.3.4"))
    assert set(load_catalog(settings).products) == {("shop", 1), ("shop", 2)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{server: nowhere, path: a.csv}", "'nowhere' is not one of servers[]: here, bucket"),
        ("{path: a.csv}", "is not one of servers[]: here, bucket"),
        (
            "{server: bucket, path: a.csv}",
            "input.path: must not be set, since the server's location contains a pattern",
        ),
        ("{server: here}", "input.path"),
        ("{server: here, path: [a]}", "input.path"),
        ("{server: here, path: a.csv, mode: merge}", "'merge' is not one of snapshot, upsert, append"),
        ("{server: here, path: a.csv, format: avro}", "input.format: 'avro'"),
        ("{server: here, path: a.csv, orderBy: when}", "unknown property 'when'"),
        ("{server: here, path: a.csv, nullValues: NA}", "input.nullValues"),
        ("{server: here, path: a.csv, nullValues: [1]}", "input.nullValues"),
        ("{server: here, path: a.csv, delimiter: '||'}", "input.delimiter"),
        ("{server: here, path: a.csv, delimiter: '\"'}", "input.delimiter"),
        ("{server: here, path: a.csv, delimiter: §}", "input.delimiter"),
        ("{server: here, path: a.csv, encoding: klingon}", "input.encoding"),
        ("{server: here, path: a.csv, encoding: cp037}", "input.encoding"),
        (
            "{server: here, path: a.csv, format: orc}",
            "input.format: 'orc' is not supported; supported are csv, tsv, ndjson",
        ),
        ("{server: here, path: a.json, records: features}", "input.records: 'features' is not a path to records"),
        ("{server: here, path: a.json, records: '$.a[*].b[*]'}", "input.records: '$.a[*].b[*]' is not a path"),
        ("{server: here, path: a.csv, records: '$[*]'}", "input.records: does not apply to csv, only to json"),
        (
            "{server: here, path: a.parquet, format: parquet, delimiter: ';'}",
            "input.delimiter: does not apply to parquet",
        ),
        ("{server: here, path: a.csv, sheet: One}", "input.sheet: does not apply to csv, only to xlsx"),
        ("{server: here, path: a.xlsx, sheet: 1}", "input.sheet: must be the name of a sheet"),
        ("{server: here, path: a.csv, watch: daily}", "input.watch: must be true or false"),
        ("{server: here, path: a.csv, encoding: base64}", "input.encoding"),
        ("{server: here, path: a.csv, color: blue}", "input.color: unknown; known are server, path"),
        ("{server: here, path: a.csv, events: true}", "input.server: does not apply to pushed records"),
        ("{server: here, path: '${SHOP_TEST_UNSET}/a.csv'}", "SHOP_TEST_UNSET is not set"),
        ("a.csv", "must be a mapping"),
        ("[a.csv]", "must be a mapping"),
        ("{query: 'delete from items'}", "must be one SELECT"),
        ("{query: 'select 1; select 2'}", "must be one SELECT"),
        ("{query: 'select from where'}", "input.query"),
        ("{query: 'with x as (delete from items returning 1) select 1 from x'}", "must be one SELECT"),
        ("{query: 'select 1 into items'}", "must be one SELECT"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(write: Write, value: str, message: str) -> None:
    found = find(write(with_input(value)))
    assert any(path == "schema[0].customProperties" and message in said for _, path, said in found), found


def test_a_server_that_is_not_read_yet_is_fine_where_no_input_uses_it(write: Write) -> None:
    assert lint(write(with_input("{server: here, path: a.csv}"))) == ([], 1)


def test_variables_are_read_from_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TEST_ROOT", "data")
    servers = 'servers: [{server: here, type: local, path: "${SHOP_TEST_ROOT}/in", format: csv}]\n'
    source = load_catalog(write(with_input("{server: here, path: a.csv}", servers))).find("shop.items")[0].input
    assert source is not None
    assert source.root == "data/in"


def test_an_unset_variable_is_an_error_of_the_input_that_needs_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_TEST_ROOT", raising=False)
    servers = 'servers: [{server: here, type: local, path: "${SHOP_TEST_ROOT}", format: csv}]\n'
    assert "SHOP_TEST_ROOT is not set" in only(write(with_input("{server: here, path: a.csv}", servers)))[2]


def refer(name: str, parent: str, more: str = "") -> str:
    relation = f"{{type: foreignKey, to: {parent}{more}}}"
    return f"{{name: {name}, properties: [{KEY}, {{name: p, logicalType: integer, relationships: [{relation}]}}]}}"


LOOSE = ", customProperties: [{property: enforced, value: false}]"


def test_datasets_that_need_each_other_are_refused(write: Write) -> None:
    _, _, message = only(write(with_datasets(refer("a", "b.id"), refer("b", "a.id"))))
    assert "cycle: a → b → a" in message


def test_a_circle_that_is_not_enforced_all_around_loads(write: Write) -> None:
    settings = write(with_datasets(refer("a", "b.id"), refer("b", "a.id", LOOSE), refer("c", "c.id")))
    assert lint(settings) == ([], 3)
    assert [dataset.name for dataset in load_catalog(settings).datasets()] == ["b", "a", "c"]


@pytest.mark.parametrize("more", ["", LOOSE])
@pytest.mark.parametrize("target", ["nowhere.id", "a.nothing"])
def test_a_foreign_key_to_nowhere_is_refused(write: Write, target: str, more: str) -> None:
    _, path, message = only(write(with_datasets(refer("a", target, more))))
    assert path.startswith("schema[0]")
    assert f"foreign key of a to {target.split('.')[0]}" in message


def test_a_reference_to_a_key_of_several_properties_must_be_as_long(write: Write) -> None:
    settings = write(with_datasets(refer("a", "[a.id, a.p]")))
    assert "is not of the form DATASET.PROPERTY: not applied" in only(settings, "warning")[2]


TRANSFORMS = {
    "is more than one": ("upper(b); lower(b)", "must be one"),
    "is a statement": ("drop table items", ""),
    "is a query": ("select b", "no SELECT"),
    "holds a subselect": ("(select max(b) from raw)", "no SELECT"),
    "reads a file": ("(from read_text('/etc/passwd'))", "no SELECT"),
    "reads a file in a function": ("read_text('/etc/passwd')", ""),
    "is no SQL": ("upper(", ""),
    "calls what does not exist": ("shout(b)", "shout"),
    "breaks out of its brackets": ("b)] AS x, TRY([(b", ""),
    "is an aggregate": ("count(b)", "count is not among the functions"),
    "is a window": ("row_number() over ()", ""),
    "makes more records": ("unnest(string_split(b, ','))", ""),
    "is all columns": ("*", ""),
    "draws lots": ("random()", "its value varies by load"),
    "draws lots in quotes": ('"random"()', ""),
    "makes a new UUID": ("uuid()", "its value varies by load"),
    "asks the time": ("now()", "its value varies by load"),
    "asks the date": ("current_date - b::date", "another value at each load"),
    "asks the date in a function": ("today()", "its value varies by load"),
    "asks the timestamp": ("current_timestamp", "another value at each load"),
    "asks the local time": ("localtimestamp", "another value at each load"),
    "measures the age of today": ("age(b::timestamp)", "another value at each load"),
    "counts": ("nextval('s')", "its value varies by load"),
}


@pytest.mark.parametrize(("transform", "message"), TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_a_transform_must_be_one_deterministic_expression_over_raw_columns(
    write: Write, transform: str, message: str
) -> None:
    quoted = transform.replace("'", "''")
    found = find(write(with_transform(quoted)))
    assert found
    assert any(message in said for _, _, said in found), found


@pytest.mark.parametrize(
    ("transform", "columns"),
    [
        ("b", ["b"]),
        ('"A column" || b', ["A column", "b"]),
        ("b || b", ["b"]),
        ("'constant'", []),
        ("year::int * 100 + month::int", ["year", "month"]),
        ("make_date(y::int, m::int, 1)", ["y", "m"]),
        ("case when b = 'x' then c else upper(d) end", ["b", "c", "d"]),
        ("list_transform(string_split(b, ';'), i -> trim(i))[1]", ["b"]),
        ("list_transform(string_split(b, ';'), lambda i: trim(i))[1]", ["b"]),
        ("list_reduce(string_split(b, ';'), (x, y) -> x || y)", ["b"]),
        ("list_filter(string_split(b, ';'), i -> i <> c)[1]", ["b", "c"]),
        ("[trim(i) for i in string_split(b, ';') if i <> c][1]", ["b", "c"]),
        ("list_transform([b], i -> list_transform([c], j -> i || j)[1])[1]", ["b", "c"]),
        ("list_transform([b], b -> upper(b))[1] || c", ["b", "c"]),
        ("struct_pack(q := b).q", ["b"]),
        ("{'q': b}.q", ["b"]),
        ("date_part('year', b::date)", ["b"]),
        ("extract(year from b::date)::text", ["b"]),
        ("(b::date + interval 1 day)::text", ["b"]),
        ("cast(b as decimal(9, 2))", ["b"]),
        ("strptime(b, '%d.%m.%Y')", ["b"]),
        ("b[1:2]", ["b"]),
        ("timezone('America/New_York', b::timestamp)", ["b"]),
        ("lower(b->>'$.q')", ["b"]),
        ("coalesce(lower(b->'q'->>'r'), c)", ["b", "c"]),
        ("list_filter(string_split(b->>'q', ','), lambda i: i <> c)[1]", ["b", "c"]),
    ],
)
def test_a_transform_reads_its_raw_columns_and_no_variable_of_its_own(
    write: Write, transform: str, columns: list[str]
) -> None:
    quoted = transform.replace("'", "''")
    settings = write(with_transform(quoted))
    assert find(settings) == []
    assert sorted(property_of(settings, "a").raw_columns) == sorted(columns)


@pytest.mark.parametrize("pattern", ["^(?=a)b", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\\1", "(", "[", "a**"])
def test_a_pattern_that_cannot_run_in_linear_time_is_refused(write: Write, pattern: str) -> None:
    settings = write(
        with_properties(f'{{name: a, logicalType: string, logicalTypeOptions: {{pattern: "{pattern}"}}}}')
    )
    _, path, message = only(settings)
    assert path == "items"
    assert message.startswith("a: pattern: ")


@pytest.mark.parametrize("pattern", ["^[A-Z]{2}$", "a+?", r"\\d{4}", "(?i)x", "{records}", "it's", r"\\p{L}"])
def test_a_pattern_that_runs_in_linear_time_is_accepted(write: Write, pattern: str) -> None:
    settings = write(
        with_properties(f'{{name: a, logicalType: string, logicalTypeOptions: {{pattern: "{pattern}"}}}}')
    )
    assert find(settings) == []


@pytest.mark.parametrize(
    "rule",
    [
        "{name: a, logicalType: date, logicalTypeOptions: {minimum: yesterday}}",
        "{name: a, logicalType: date, logicalTypeOptions: {maximum: '2013-02-30'}}",
        "{name: a, logicalType: timestamp, logicalTypeOptions: {minimum: '2013'}}",
        "{name: a, logicalType: integer, logicalTypeOptions: {minimum: many}}",
        "{name: a, logicalType: integer, logicalTypeOptions: {multipleOf: 0}}",
        "{name: a, logicalType: string, logicalTypeOptions: {maxLength: -1}}",
        "{name: a, logicalType: integer, quality:"
        " [{metric: invalidValues, arguments: {validValues: [1, NA]}, mustBe: 0}]}",
        "{name: a, logicalType: date, quality:"
        " [{metric: invalidValues, arguments: {validValues: [soon]}, mustBe: 0}]}",
        "{name: a, logicalType: boolean, quality:"
        " [{metric: invalidValues, arguments: {validValues: [maybe]}, mustBe: 0}]}",
    ],
)
def test_a_rule_whose_argument_is_no_value_of_the_type_is_refused(write: Write, rule: str) -> None:
    # Otherwise every load fails at its first record.
    assert find(write(with_properties(rule))) != []


@pytest.mark.parametrize("physical", ["VARCHAR2(20)", "NVARCHAR", "STRING", "numeric(99)"])
def test_a_physical_type_of_another_system_is_a_warning_and_the_default_is_used(write: Write, physical: str) -> None:
    settings = write(with_properties(f"{{name: a, logicalType: string, physicalType: '{physical}'}}"))
    line, path, message = only(settings, "warning")
    assert (line, path) == (10, "schema[0].properties[1].physicalType")
    assert f"'{physical}'" in message
    assert "text is used" in message
    assert find(settings) == []
    assert property_of(settings, "a").type.postgres == "text"


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (
            with_properties("{name: a, logicalType: string, partitioned: true, partitionKeyPosition: 1}"),
            "schema[0].properties[1].partitioned",
            "not applied yet",
        ),
        (
            with_properties("{name: a, logicalType: string, classification: secret}"),
            "schema[0].properties[1].classification",
            "treated as restricted",
        ),
        (
            with_properties(dataset="    quality: [{metric: freshness, mustBe: 0}]\n"),
            "schema[0].quality[0].metric",
            "is not supported; supported are",
        ),
    ],
    ids=["partitioned", "classification", "a metric of others"],
)
def test_what_is_not_applied_is_a_warning(write: Write, text: str, path: str, message: str) -> None:
    found = find(write(text), "warning")
    assert any(where == path and message in said for _, where, said in found), (found, find(write(text)))


def test_another_word_for_a_classification_is_treated_as_restricted(write: Write) -> None:
    settings = write(with_properties("{name: a, logicalType: string, classification: secret}"))
    assert property_of(settings, "a").classification == "restricted"


@pytest.mark.parametrize(
    ("role", "anonymous"),
    [
        ("{role: r, access: read, customProperties: [{property: anonymous, value: true}]}", True),
        ("{role: r, access: write, customProperties: [{property: anonymous, value: true}]}", False),
        ("{role: r, access: read}", False),
        (
            "{role: r, access: read, customProperties: [{property: anonymous, value: true},"
            " {property: rows, value: 'id = 1'}]}",
            True,
        ),
    ],
)
def test_only_an_anonymous_reading_role_opens_a_product(write: Write, role: str, anonymous: bool) -> None:
    catalog, _ = lint_contracts(write(f"{MINIMAL}roles: [{role}]\n"))
    assert catalog.products["shop", 1].anonymous == anonymous


def test_a_rule_that_allows_no_bad_value_judges_records_and_another_judges_the_load(write: Write) -> None:
    settings = write(
        with_properties(
            "{name: a, logicalType: string, quality: [{metric: nullValues, mustBe: 0},"
            " {metric: invalidValues, arguments: {validValues: [x, y]}, mustBe: 0},"
            " {metric: missingValues, mustBeLessThan: 5, unit: percent}]}"
        )
    )
    dataset = load_catalog(settings).find("shop.items")[0]
    prop = dataset.properties["a"]
    assert (prop.required, prop.enum) == (True, ("x", "y"))
    assert [(gate.metric, gate.operator, gate.bound, gate.unit) for gate in dataset.gates] == [
        ("missingValues", "mustBeLessThan", 5, "percent")
    ]


def test_the_key_is_ordered_by_its_positions(write: Write) -> None:
    text = with_properties(
        "{name: a, logicalType: string, primaryKey: true, primaryKeyPosition: 1}",
        "{name: b, logicalType: date, primaryKey: true, primaryKeyPosition: 2}",
    ).replace("primaryKey: true}\n", "primaryKey: true, primaryKeyPosition: 3}\n", 1)
    assert load_catalog(write(text)).find("shop.items")[0].key == ("a", "b", "id")


def product(identifier: str, version: str, status: str, *datasets: str) -> str:
    parts = with_datasets(*(f"{{name: {name}, properties: [{KEY}]}}" for name in datasets))
    return parts.replace("shop", identifier).replace("1.0.0", version).replace("active", status)


@pytest.fixture
def catalog(write: Write) -> Catalog:
    return load_catalog(
        write(
            product("shop", "1.4.0", "active", "items", "orders"),
            product("shop", "2.0.0", "active", "items"),
            product("shop", "3.0.0", "draft", "items"),
            product("old", "1.0.0", "retired", "items"),
            product("old", "2.0.0", "deprecated", "items"),
            product("shop.items", "1.0.0", "active", "items"),
            product("shop-floor", "1.0.0", "active", "items"),
        )
    )


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("shop", ["shop@2.items"]),
        ("shop@1", ["shop@1.items", "shop@1.orders"]),
        ("shop@1.orders", ["shop@1.orders"]),
        ("shop@3.items", ["shop@3.items"]),
        ("shop.items", ["shop.items@1.items"]),
        ("shop.items.items", ["shop.items@1.items"]),
        ("shop@2.items", ["shop@2.items"]),
        ("shop-floor.items", ["shop-floor@1.items"]),
        ("old.items", ["old@2.items"]),
    ],
)
def test_an_address_finds_its_datasets_in_the_newest_active_major(
    catalog: Catalog, address: str, found: list[str]
) -> None:
    assert [dataset.address for dataset in catalog.find(address)] == found


@pytest.mark.parametrize("address", [None, ""])
def test_no_address_finds_everything(catalog: Catalog, address: str | None) -> None:
    assert len(catalog.find(address)) == 8


@pytest.mark.parametrize(
    "address",
    ["shop.orders", "shop@9", "shop@", "shop.", "shop@1.", "shop@1.nothing", "sho", "shops", "Shop", ".items", "@1"],
)
def test_an_unknown_address_lists_what_there_is(catalog: Catalog, address: str) -> None:
    with pytest.raises(UnknownDatasetError) as caught:
        catalog.find(address)
    assert f"'{address}'" in str(caught.value)
    assert all(dataset.address in str(caught.value) for dataset in catalog.datasets())


def with_partitions(value: str, key: str = KEY) -> str:
    trim, number = "{property: trim, value: true}", f"{{property: partitions, value: {value}}}"
    custom = f"    customProperties:\n      - {trim}\n      - {number}\n"
    return with_properties(dataset=custom).replace(KEY, key)


@pytest.mark.parametrize("value", ["1", "17", "0", "-2", "8.0", "true", "many", "'8'", "[8]"])
def test_partitions_are_counted_from_2_to_16(write: Write, value: str) -> None:
    line, path, message = only(write(with_partitions(value)))
    assert (line, path) == (10, "schema[0].customProperties[1].value")
    assert "is not an integer from 2 to 16" in message


def test_partitions_are_off_unless_a_contract_says_so(write: Write) -> None:
    for value, number in (("2", 2), ("16", 16), ("null", None)):
        settings = write(with_partitions(value))
        assert find(settings, "warning") == []
        assert load_catalog(settings).find("shop.items")[0].partitions == number
    assert load_catalog(write(MINIMAL)).find("shop.items")[0].partitions is None


@pytest.mark.parametrize(
    ("kind", "most"), [("boolean", 2), ("string, enum: [{value: a}, {value: b}, {value: c}]", 3)]
)
def test_a_key_of_few_values_fills_few_partitions(write: Write, kind: str, most: int) -> None:
    text = with_partitions("8", f"{{name: id, logicalType: {kind}, primaryKey: true}}")
    line, path, message = only(write(text), "warning")
    assert (line, path) == (10, "schema[0].customProperties[1].value")
    assert message.startswith(
        f"partitions: 'id', the first property of the key, has {most} values at most, so {8 - most} of 8"
    )
    assert only(write(text.replace("value: 8", f"value: {most + 1}")), "warning")
    assert find(write(text.replace("value: 8", f"value: {most}")), "warning") == []


def test_a_finding_reads_as_compilers_write_it() -> None:
    finding = Finding(Path("a.yaml"), 3, "schema[0]", "is odd")
    assert str(finding) == "a.yaml:3: schema[0]: is odd"
    assert str(Finding(Path("a.yaml"), 1, "", "is odd")) == "a.yaml:1: (root): is odd"
