"""Inputs that are pulled from APIs and databases: what contracts may say of them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.contract.load import load_catalog
from catalog.model.dataset import Input
from catalog.model.sources import DatabaseSource, HttpSource, Incremental
from runtime.errors import ContractError
from runtime.settings.settings import load_settings

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: things
version: 1.0.0
status: active
servers:
  - {{server: here, {server}}}
schema:
  - name: things
    customProperties:
      - {{property: input, value: {{server: here, {words}}}}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: name, logicalType: string}}
      - {{name: updated, logicalType: timestamp}}
      - {{name: day, logicalType: date}}
      - {{name: flag, logicalType: boolean}}
"""
API = "type: api, location: 'https://api.example.org/v1'"
DATABASE = "type: postgresql, host: db.example.org, port: 5433, database: shop, schema: sales"


def read(folder: Path, server: str, words: str) -> Input:
    (folder / "things.odcs.yaml").write_text(CONTRACT.format(server=server, words=words))
    source = load_catalog(load_settings(contracts=folder)).find("things.things")[0].input
    assert source
    return source


def test_an_api_is_asked_for_json_unless_told(tmp_path: Path) -> None:
    found = read(tmp_path, API, "path: things")
    assert (found.kind, found.mode, found.file_format.format, found.path) == ("http", "snapshot", "json", "things")
    assert found.source == HttpSource("https://api.example.org/v1", "things")
    assert found.source.address == "https://api.example.org/v1/things"


@pytest.mark.parametrize(
    ("location", "words", "format_"),
    [
        ("https://example.org/all.geojson", "mode: snapshot", "json"),
        ("https://example.org/all.csv.gz", "mode: snapshot", "csv"),
        ("https://example.org", "path: a/b.ndjson", "ndjson"),
        ("https://example.org/export?kind=all.x", "mode: snapshot", "json"),
        ("https://example.org", "path: rows.csv, format: parquet", "parquet"),
        ("${HOST_URL}/v1", "path: 'of/${REGION}/things'", "json"),
    ],
)
def test_the_format_is_what_the_address_ends_with(tmp_path: Path, location: str, words: str, format_: str) -> None:
    assert read(tmp_path, f"type: api, location: '{location}'", words).file_format.format == format_


def test_variables_stay_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "canary")
    words = "headers: {Authorization: 'Bearer ${TOKEN}'}, params: {key: '${TOKEN}', tag: [a, 1, true]}"
    source = read(tmp_path, API, words).source
    assert isinstance(source, HttpSource)
    assert source.headers == (("Authorization", "Bearer ${TOKEN}"),)
    assert source.params == (("key", "${TOKEN}"), ("tag", "a"), ("tag", "1"), ("tag", "true"))
    found = read(
        tmp_path, DATABASE + ", customProperties: [{property: password, value: '${TOKEN}'}]", "table: things"
    )
    assert "canary" not in repr((source, found))


def test_times_and_rates_have_units(tmp_path: Path) -> None:
    words = "timeout: 2m, rateLimit: 600/minute, retries: 0, mode: upsert"
    found = read(tmp_path, API, words + ", incremental: {param: p, property: updated, lag: 2d}")
    assert isinstance(found.source, HttpSource)
    assert (found.source.timeout, found.source.pause, found.source.retries) == (120, 0.1, 0)
    assert found.incremental == Incremental("updated", "p", 172_800)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("path: ../other", "input.path: '../other' must be below"),
        ("path: a/%2e%2e/b", "must be below the server's location"),
        (
            "path: 'https://evil.example/'",
            "must be below the server's location",
        ),
        ("path: //evil.example/", "must be below the server's location"),
        ("path: a?b=1", "query parameters belong in input.params"),
        ("path: 'a\\b'", "must be below the server's location"),
        ("path: 7", "must be below the server's location"),
        ("method: DELETE", "input.method: 'DELETE' is not one of GET, POST"),
        ("body: {a: 1}", "input.body: only applies to POST"),
        ("method: POST, body: [1]", "input.body: must be a mapping"),
        ("method: POST, body: {auth: {password: hunter2}}", "input.body: password looks like a secret"),
        ("headers: [a]", "input.headers: must be a mapping"),
        ("headers: {Authorization: Bearer abc}", "input.headers: Authorization looks like a secret"),
        ("headers: {X-Api-Key: abc}", "looks like a secret"),
        ("headers: {Host: other.example}", "input.headers: 'Host' cannot be set"),
        ("headers: {Accept-Encoding: br}", "cannot be set"),
        ("headers: {'a b': c}", "cannot be set"),
        ('headers: {X: "a\\nY: b"}', "input.headers: X must be one line of text"),
        ("params: {key: abc}", "input.params: key looks like a secret"),
        ("params: {a: {b: c}}", "input.params: a must be one line of text"),
        ("retries: 11", "input.retries: must be a number from 0 to 10"),
        ("retries: true", "input.retries"),
        ("timeout: 0", "input.timeout: must be from one second to one day"),
        ("timeout: soon", "input.timeout"),
        ("rateLimit: fast", "input.rateLimit: must be of the form 10/second, 600/minute or 1000/hour"),
        ("rateLimit: 0/second", "input.rateLimit"),
        ("watch: true", "input.watch: does not apply to an API; use a schedule"),
        ("table: things", "input.table: does not apply to a server of type api"),
        ("format: xlsx, pagination: {type: page}", "input.pagination: needs one of the formats json, ndjson, csv"),
        (
            "pagination: pages",
            "input.pagination.type: must be one of link, cursor, page, offset",
        ),
        ("pagination: {type: scroll}", "input.pagination.type"),
        ("pagination: {type: cursor}", "input.pagination.cursor: must be the path of the next cursor, such as"),
        ("pagination: {type: cursor, cursor: '$.a[*]'}", "is not a path to one value such as"),
        ("pagination: {type: cursor, cursor: next}", "is not a path to one value such as"),
        ("pagination: {type: page, cursor: $.next}", "input.pagination.cursor: unknown for page"),
        ("pagination: {type: page, size: 0}", "input.pagination.size: must be an integer of at least 1"),
        ("pagination: {type: page, sizeParam: n}", "input.pagination.size: must be set with sizeParam"),
        ("pagination: {type: page, until: short}", "short needs size"),
        ("pagination: {type: page, in: body}", "input.pagination.in: must be query, or body with POST"),
        ("pagination: {type: page, maxPages: 1.5}", "input.pagination.maxPages"),
        (
            "incremental: {param: since, property: updated}",
            "since a snapshot would delete all other records",
        ),
        ("mode: upsert, incremental: since", "input.incremental: must be a mapping"),
        ("mode: upsert, incremental: {property: updated}", "input.incremental.param: must be a name"),
        ("mode: upsert, incremental: {param: s, property: nope}", "unknown property 'nope'"),
        ("mode: upsert, incremental: {param: s, property: flag}", "flag is of type boolean"),
        ("mode: upsert, incremental: {param: s, property: id, lag: 1h}", "input.incremental.lag: must be a number"),
        ("mode: upsert, incremental: {param: s, property: name, lag: 1}", "left out for text"),
        ("mode: upsert, incremental: {param: s, property: updated, lag: -1}", "a duration such as 1h"),
        ("mode: upsert, incremental: {param: s, property: updated, format: rfc}", "input.incremental.format"),
        ("mode: upsert, incremental: {param: s, property: id, format: epoch}", "for dates and times only"),
    ],
)
def test_what_an_api_cannot_be_asked_is_refused(tmp_path: Path, words: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        read(tmp_path, API, words)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://example.org",
        "example.org/v1",
        "https://user:password@example.org",
        "https://example.org/a b",
        "https://example.org/#part",
        "/etc/passwd",
        "https://example.org@evil.example\\\\x",
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ContractError, match=r"input\.server: location"):
        read(tmp_path, f"type: api, location: '{location}'", "mode: snapshot")


def test_a_database_is_read_by_table_or_query(tmp_path: Path) -> None:
    found = read(tmp_path, DATABASE, "table: things")
    assert (found.kind, found.file_format.format, found.null_values) == ("database", "ndjson", ())
    assert found.source == DatabaseSource(
        server="here",
        driver="postgresql+psycopg",
        host="db.example.org",
        port="5433",
        database="shop",
        schema="sales",
        table="things",
    )
    assert found.source.address == "sales.things of here"
    custom = "type: custom, customProperties: [{property: url, value: '${SHOP_URL}'}]"
    found = read(tmp_path, custom, "table: sales.things, nullValues: ['', '-']")
    assert isinstance(found.source, DatabaseSource)
    assert (found.source.schema, found.source.table) == ("sales", "things")
    assert found.null_values == ("", "-")
    words = "sql: 'select * from things;', mode: upsert, incremental: {column: updated, lag: 1h}"
    found = read(tmp_path, DATABASE, words)
    assert isinstance(found.source, DatabaseSource)
    assert found.source.sql == "select * from things"
    assert found.incremental == Incremental("updated", "updated", 3600)


@pytest.mark.parametrize(
    ("server", "words", "says"),
    [
        (DATABASE, "mode: snapshot", "by table, its name, or by sql"),
        (DATABASE, "table: a, sql: select 1", "by table, its name, or by sql"),
        (DATABASE, "table: 7", "input.table: must be the name of a table"),
        (DATABASE, "sql: 'delete from things'", "input.sql: must be one SELECT"),
        (DATABASE, "sql: 'select 1; commit'", "input.sql: must be one SELECT"),
        (DATABASE, "sql: 'with a as (delete from t returning *) select * from a'", "writes and locks nothing"),
        (DATABASE, "sql: 'select * from t for update'", "writes and locks nothing"),
        (DATABASE, "sql: 'select from where'", "input.sql: "),
        (DATABASE, "table: t, path: x.csv", "input.path: does not apply to a database"),
        (DATABASE, "table: t, records: $.a", "input.records: does not apply to a database"),
        (DATABASE, "table: t, headers: {a: b}", "input.headers: does not apply to a server of type postgresql"),
        (DATABASE, "table: t, mode: upsert, incremental: {column: seen}", "unknown property 'seen'"),
        (
            DATABASE,
            "table: t, mode: upsert, incremental: {column: updated, start: yesterday}",
            "'yesterday' is not a timestamp",
        ),
        ("type: postgresql", "table: t", "input.server: needs a host, or the custom property url"),
        ("type: custom, host: x", "table: t", "input.server: needs a host, or the custom property url"),
        (
            DATABASE + ", customProperties: [{property: password, value: hunter2}]",
            "table: t",
            "input.server: must not contain a password; use",
        ),
        (
            "type: custom, customProperties: [{property: url, value: 'mysql://me:hunter2@db/shop'}]",
            "table: t",
            "input.server: must not contain a password; use",
        ),
        (
            "type: custom, customProperties: [{property: url, value: 'postgresql://db/shop?password=hunter2'}]",
            "table: t",
            "input.server: must not contain a password; use",
        ),
        (
            "type: local, path: .",
            "path: a.csv, headers: {a: b}",
            "input.headers: does not apply to a server of type local",
        ),
        ("type: pubsub", "path: a.csv", "a server of type 'pubsub' is not supported; supported are"),
    ],
)
def test_what_a_database_cannot_be_asked_is_refused(tmp_path: Path, server: str, words: str, says: str) -> None:
    with pytest.raises(ContractError, match=says) as refused:
        read(tmp_path, server, words)
    assert "hunter2" not in str(refused.value)
