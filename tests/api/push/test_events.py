"""Pushing records: what is taken, what is refused, what a repeated request gets."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.http.problems import Problem
from api.http.request_headers import read_idempotency_key
from api.openapi import build_document
from api.push.event_body import RECORDS_LIMIT, parse_records, read_media_type
from tests.support.lab import Lab
from tests.support.pushing import EVENTS, READINGS, SENSORS, make_key, outcomes, push

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
CLOUD = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def make_sensors(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(SENSORS)


@pytest.fixture
def sensors(make_lab: Callable[..., Lab]) -> Lab:
    return make_sensors(make_lab)


@pytest.fixture
def empty(shared_labs: Callable[..., Lab]) -> Lab:
    """The product of all tests whose pushes are refused."""
    return shared_labs(make_sensors)


@pytest.fixture
def refusing(empty: Lab) -> Iterator[httpx.Client]:
    """A client of its service."""
    with empty.serve() as served:
        served.headers.update(make_key(empty))
        yield served


@pytest.fixture
def client(sensors: Lab) -> Iterator[httpx.Client]:
    with sensors.serve() as served:
        served.headers.update(make_key(sensors))
        yield served


def kept(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.rows("SELECT source, event_id, payload FROM decant.events ORDER BY id")


def payloads(lab: Lab) -> list[str]:
    return [row[2] for row in kept(lab)]


def cloud_event(**changes: Any) -> dict[str, Any]:
    event = {"specversion": "1.0", "type": "reading", "source": "/sensors/7", "id": "a1", "data": {"id": 1}}
    return {name: value for name, value in (event | changes).items() if value is not None}


def send(client: httpx.Client, body: bytes | str, **headers: str) -> httpx.Response:
    return client.post(EVENTS, content=body, headers=headers)


def refused(client: httpx.Client, body: bytes | str, headers: dict[str, str], status: int, code: str) -> str:
    answer = client.post(EVENTS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    detail: str = answer.json()["detail"]
    return detail


def test_an_object_or_an_array_is_kept_before_it_is_acknowledged(sensors: Lab, client: httpx.Client) -> None:
    answer = client.post(EVENTS, json={"id": 1})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["records"], body["repeated"]) == (1, 0)
    assert answer.headers["location"] == body["status_url"] == f"/data/sensors/v1/readings/receipts/{body['receipt']}"
    assert push(client, {}, [{"id": 2}, {"id": 3}])["records"] == 2
    assert payloads(sensors) == ['{"id":1}', '{"id":2}', '{"id":3}']


def test_a_record_is_kept_as_the_text_that_came_with_every_digit(sensors: Lab, client: httpx.Client) -> None:
    records = [
        '{"id": 1, "value": 1.10}',
        '{"value":12345678901234567890.123, "id":2e0}',
        '{"n": "\\u00e9\\ud83d\\ude00"}',
    ]
    assert send(client, f" [ {', '.join(records)} ] ", **JSON).status_code == 202
    assert payloads(sensors) == records
    assert send(client, '{\n "id": 4,\r\n "note": "x\\ny"\n}', **JSON).status_code == 202
    assert payloads(sensors)[3] == '{  "id": 4,  "note": "x\\ny" }'


def test_ndjson_brings_a_record_in_each_line(sensors: Lab, client: httpx.Client) -> None:
    for media_type in ("application/x-ndjson", "application/jsonl; charset=UTF-8"):
        assert send(client, '{"id": 1}\r\n\n{"id": 2}', **{"Content-Type": media_type}).json()["records"] == 2
    assert payloads(sensors) == ['{"id": 1}', '{"id": 2}'] * 2


def test_cloud_events_come_structured_batched_and_binary(sensors: Lab, client: httpx.Client) -> None:
    assert send(client, json.dumps(cloud_event(time="2026-01-31T06:00:00.5Z")), **CLOUD).status_code == 202
    batch = [cloud_event(id="a2", data={"id": 2}), cloud_event(id="a3", data={"id": 3})]
    assert send(client, json.dumps(batch), **BATCH).json()["records"] == 2
    encoded = base64.b64encode(b'{"id": 4}').decode()
    assert send(client, json.dumps(cloud_event(id="a4", data=None, data_base64=encoded)), **CLOUD).status_code == 202
    binary = {"ce-specversion": "1.0", "ce-type": "reading", "ce-source": "/sensors/%E2%82%AC", "ce-id": "a5"}
    assert send(client, '{"id": 5}', **binary, **JSON).status_code == 202
    assert kept(sensors) == [
        ("/sensors/7", "a1", '{"id": 1}'),
        ("/sensors/7", "a2", '{"id": 2}'),
        ("/sensors/7", "a3", '{"id": 3}'),
        ("/sensors/7", "a4", '{"id": 4}'),
        ("/sensors/€", "a5", '{"id": 5}'),
    ]


def test_an_empty_batch_of_cloud_events_is_a_good_one(client: httpx.Client) -> None:
    answer = send(client, "[]", **BATCH)
    assert (answer.status_code, answer.json()["records"]) == (202, 0)
    receipt = client.get(answer.json()["status_url"]).json()["data"]
    assert (receipt["events"], receipt["finished"]) == ([], True)


def test_an_event_that_comes_again_is_kept_once_and_counted_as_repeated(sensors: Lab, client: httpx.Client) -> None:
    first = send(client, json.dumps(cloud_event()), **CLOUD).json()
    again = [cloud_event(data={"id": 99}), cloud_event(id="a2"), cloud_event(id="a2", data={"id": 98})]
    second = send(client, json.dumps(again), **BATCH).json()
    assert (first["repeated"], second["records"], second["repeated"]) == (0, 3, 2)
    assert payloads(sensors) == ['{"id": 1}', '{"id": 1}'], "the first one counts, whatever a repeat says"
    assert outcomes(client, {}, second) == ["waiting"] * 3


def test_what_became_of_somebody_else_s_event_is_told_to_nobody_who_pushes_it_again(sensors: Lab) -> None:
    event = json.dumps(cloud_event(data={"id": "not a number", "note": "between us"}))
    with sensors.serve() as client:
        mine, theirs = make_key(sensors), make_key(sensors)
        first = send(client, event, **CLOUD, **mine).json()
        again = send(client, event, **CLOUD, **theirs).json()
        assert sensors.loader().run(sensors.dataset(READINGS)).status == "unchanged"
        assert again["repeated"] == 1
        told = client.get(again["status_url"], headers=theirs)
        assert (told.json()["data"]["events"], told.json()["data"]["forgotten"]) == ([], 1)
        assert "between us" not in told.text
        assert outcomes(client, mine, first) == ["rejected"]
        # Whoever sends their own once more is told of it.
        assert outcomes(client, mine, send(client, event, **CLOUD, **mine).json()) == ["rejected"]


@pytest.mark.slow
def test_a_rotated_key_is_still_the_same_client(sensors: Lab) -> None:
    with sensors.serve() as client:
        key = make_key(sensors)
        receipt = push(client, key, {"id": 1}, **{"Idempotency-Key": '"one"'})
        for _ in range(2):
            new = client.post("/keys/self/rotate", headers=key).json()["data"]["key"]
            key = {"Authorization": f"Bearer {new}"}
            assert outcomes(client, key, receipt) == ["waiting"]
            assert push(client, key, {"id": 1}, **{"Idempotency-Key": '"one"'}) == receipt


def test_records_keep_their_order(sensors: Lab, client: httpx.Client) -> None:
    push(client, {}, [{"id": n} for n in range(1000)])
    assert [json.loads(text)["id"] for text in payloads(sensors)] == list(range(1000))


def test_the_same_idempotency_key_and_body_get_the_same_answer(sensors: Lab, client: httpx.Client) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5"'}
    first = send(client, '{"id": 1}', **JSON, **key)
    again = send(client, '{"id": 1}', **JSON, **key)
    assert (again.status_code, again.json()) == (202, first.json())
    bare = send(client, '{"id": 1}', **JSON, **{"Idempotency-Key": "8e03978e-40d5"})
    assert bare.json() == first.json()
    assert len(kept(sensors)) == 1
    refused(client, '{"id": 2}', JSON | key, 422, "idempotency_key_reused")
    assert refused(client, '{"id": 1}', NDJSON | key, 422, "idempotency_key_reused")
    other = make_key(sensors)
    assert send(client, '{"id": 1}', **JSON, **key, **other).json()["receipt"] != first.json()["receipt"]
    sensors.rows("UPDATE decant.idempotency_keys SET created_at = now() - interval '25 hours' RETURNING 1")
    assert send(client, '{"id": 1}', **JSON, **key).json()["receipt"] != first.json()["receipt"]


def test_a_request_whose_first_is_in_flight_is_told_to_wait(sensors: Lab, client: httpx.Client) -> None:
    key = {"Idempotency-Key": '"k"'}
    with psycopg.connect(sensors.urls.owner) as connection, ThreadPoolExecutor(1) as pool:
        # Nothing can be added to the table: the first request holds its key and waits.
        connection.execute("LOCK TABLE decant.receipts IN SHARE MODE")
        first = pool.submit(send, client, '{"id": 1}', **JSON, **key)
        for _ in range(500):
            with psycopg.connect(sensors.urls.owner) as other:
                row = other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if row and row[0]:
                break
        answer = send(client, '{"id": 1}', **JSON, **key)
        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
        assert answer.headers["retry-after"]
        connection.rollback()
        assert first.result().status_code == 202
    assert send(client, '{"id": 1}', **JSON, **key).json() == first.result().json()


def test_pushes_of_the_same_events_at_once_keep_each_once(make_lab: Callable[..., Lab]) -> None:
    # Pushes that block one another last a second each, until Postgres finds it out: the others wait for a connection.
    sensors = make_lab(SENSORS, pool_timeout_ms=60_000)
    there = [cloud_event(id=f"e{n}") for n in range(50)]
    bodies = [json.dumps(there), json.dumps(there[::-1])] * 4
    with sensors.serve() as client, ThreadPoolExecutor(8) as pool:
        client.headers.update(make_key(sensors))
        answers = list(pool.map(lambda body: send(client, body, **BATCH), bodies))
    assert {answer.status_code for answer in answers} == {202}
    assert len(kept(sensors)) == 50
    assert sum(answer.json()["records"] - answer.json()["repeated"] for answer in answers) == 50
    assert sensors.rows("SELECT count(*) FROM decant.receipt_events") == [(400,)]


def test_a_push_does_not_wait_for_a_publication(sensors: Lab, client: httpx.Client) -> None:
    with psycopg.connect(sensors.urls.owner) as connection:
        connection.execute("SELECT 1 FROM decant.datasets FOR NO KEY UPDATE")
        assert client.post(EVENTS, json={"id": 1}, timeout=5).status_code == 202


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "says"),
    [
        ("", JSON, 422, "invalid_event", "no record"),
        (" \n", JSON, 422, "invalid_event", "no record"),
        ("[]", JSON, 422, "invalid_event", "no record"),
        ("\n\n", NDJSON, 422, "invalid_event", "no record"),
        ("{", JSON, 400, "invalid_json", "line 1, column 2"),
        ('{"id": 1}\n{"id": }', JSON, 400, "invalid_json", "line 2, column 1"),
        ('[{"id": 1},\n {"id": 2,}]', JSON, 400, "invalid_json", "/1: line 2"),
        ('[{"id": 1}', JSON, 400, "invalid_json", "',' or ']'"),
        ('[{"id": 1},]', JSON, 400, "invalid_json", "/1"),
        ('[{"id": 1} {"id": 2}]', JSON, 400, "invalid_json", "',' or ']'"),
        ("[", JSON, 400, "invalid_json", "column 2"),
        ('{"id": "\0"}', JSON, 400, "invalid_json", "column"),
        ('{"id": 1}\n{"id": 2\n{"id": 3}', NDJSON, 400, "invalid_json", "line 2, column 9"),
        ('{"id": 1}\n7', NDJSON, 422, "invalid_event", "line 2: a record must be a JSON object"),
        ("7", JSON, 422, "invalid_event", "a record must be a JSON object"),
        ('[{"id": 1}, [2]]', JSON, 422, "invalid_event", "/1"),
        ('{"a":' * 33 + "1" + "}" * 33, JSON, 400, "invalid_json", "32 levels deep"),
        ("[" * 100_000, JSON, 400, "invalid_json", "32 levels deep"),
        ('{"id": NaN}', JSON, 422, "invalid_number", "NaN"),
        ('[{"id": 1}, {"id": [-Infinity]}]', JSON, 422, "invalid_number", "/1"),
        ('{"id": 1e400}', JSON, 422, "invalid_number", "1e400"),
        ('{"id": 1e-400}', JSON, 422, "invalid_number", "1e-400"),
        ('{"id": ' + "9" * 400 + "}", JSON, 422, "invalid_number", "too large"),
        ('{"id": "\\u0000"}', JSON, 422, "invalid_text", "NUL"),
        ('{"a\\ud800": 1}', JSON, 422, "invalid_text", "surrogate"),
        ('{"a": "\\\\\\udc00"}', JSON, 422, "invalid_text", "surrogate"),
        (b'{"id": "\xff"}', JSON, 422, "invalid_text", "byte 9"),
        ('{"id": 1}', {}, 415, "unsupported_media_type", "Content-Type"),
        ('{"id": 1}', {"Content-Type": "text/plain"}, 415, "unsupported_media_type", "application/json"),
        ('{"id": 1}', {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported_media_type", "json"),
        ('{"id": 1}', JSON | {"Content-Encoding": "br"}, 415, "unsupported_media_type", "br"),
        ('{"id": 1}', JSON | {"Content-Encoding": "gzip"}, 400, "bad_request", "gzip"),
        ('{"id": 1}', NDJSON | {"ce-specversion": "1.0"}, 415, "unsupported_media_type", "application/json"),
        ('{"id": 1}', JSON | {"ce-specversion": "1.0"}, 422, "invalid_event", "id is missing"),
        ('{"id": 1}', JSON | {"ce-id": "%FF"}, 422, "invalid_text", "ce-id"),
        ('{"id": 1}', JSON | {"Idempotency-Key": '"a'}, 400, "invalid_idempotency_key", "quoted"),
        ('{"id": 1}', JSON | {"Idempotency-Key": "a" * 256}, 400, "invalid_idempotency_key", "255"),
        ('{"id": 1}', JSON | {"Idempotency-Key": "two words"}, 400, "invalid_idempotency_key", "quoted"),
        ("[]", CLOUD, 422, "invalid_event", "object"),
        ("{}", BATCH, 422, "invalid_event", "array"),
        (json.dumps(cloud_event(specversion="0.3")), CLOUD, 422, "invalid_event", "specversion"),
        (json.dumps(cloud_event(id="")), CLOUD, 422, "invalid_event", "id is missing"),
        (json.dumps(cloud_event(id=7)), CLOUD, 422, "invalid_event", "id is missing"),
        (json.dumps(cloud_event(type=None)), CLOUD, 422, "invalid_event", "type is missing"),
        (json.dumps(cloud_event(source="s" * 1001)), CLOUD, 422, "invalid_event", "1000 bytes"),
        (json.dumps(cloud_event(time="yesterday")), CLOUD, 422, "invalid_event", "RFC 3339"),
        (json.dumps(cloud_event(data=None)), CLOUD, 422, "invalid_event", "no data"),
        (json.dumps(cloud_event(data="x")), CLOUD, 422, "invalid_event", "/data"),
        (json.dumps(cloud_event(data_base64="e30=")), CLOUD, 422, "invalid_event", "both"),
        (json.dumps(cloud_event(data=None, data_base64="!")), CLOUD, 422, "invalid_event", "Base64"),
        (json.dumps(cloud_event(datacontenttype="text/xml")), CLOUD, 422, "invalid_event", "datacontenttype"),
        (json.dumps([cloud_event(), cloud_event(id=None)]), BATCH, 422, "invalid_event", "/1"),
        ('{"id": "a", "id": "b"}', CLOUD, 422, "invalid_event", "duplicate"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_with_its_place_and_nothing_is_kept(
    empty: Lab, refusing: httpx.Client, body: str | bytes, headers: dict[str, str], status: int, code: str, says: str
) -> None:
    assert says in refused(refusing, body, headers, status, code)
    assert kept(empty) == []
    assert empty.rows("SELECT 1 FROM decant.receipts") == []


def test_other_media_types_are_told_which_are_taken(refusing: httpx.Client) -> None:
    answer = send(refusing, "<id>1</id>", **{"Content-Type": "text/xml"})
    assert "application/x-ndjson" in answer.headers["accept-post"]
    answer = send(refusing, "x", **JSON, **{"Content-Encoding": "zstd"})
    assert answer.headers["accept-encoding"] == "gzip, identity"


def test_a_packed_body_is_taken_and_a_bomb_is_not(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SENSORS, events_limit_bytes=100_000)
    packed = {"Content-Encoding": "gzip"} | JSON
    with lab.serve() as client:
        client.headers.update(make_key(lab))
        assert send(client, gzip.compress(b'{"id": 1}'), **packed).status_code == 202
        bomb = gzip.compress(b'{"id": "' + b"x" * 50_000_000 + b'"}')
        assert len(bomb) < 100_000
        refused(client, bomb, packed, 413, "body_too_large")
        refused(client, gzip.compress(b'{"id": 1}')[:-4], packed, 400, "bad_request")
        refused(client, gzip.compress(b'{"id": 1}') + b"more", packed, 400, "bad_request")
    assert payloads(lab) == ['{"id": 1}']


def test_a_body_that_is_too_large_is_cut_off_while_it_arrives(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SENSORS, events_limit_bytes=100_000)
    with lab.serve() as client:
        headers = make_key(lab)
        client.headers.update(headers)
        refused(client, '{"id": "' + "x" * 100_000 + '"}', JSON, 413, "body_too_large")
        # Announced, but never sent: the answer comes all the same, and the connection ends.
        request = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        request += f"Authorization: {headers['Authorization']}\r\n"
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as wire:
            wire.sendall(f"{request}Content-Length: 100001\r\n\r\n{{".encode())
            assert read_to_end(wire).startswith(b"HTTP/1.1 413")
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as wire:
            wire.sendall(f"{request}Transfer-Encoding: chunked\r\n\r\n".encode())
            chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
            wire.sendall(chunk * 7)
            assert read_to_end(wire).startswith(b"HTTP/1.1 413")
        assert client.post(EVENTS, json={"id": 1}).status_code == 202
    assert payloads(lab) == ['{"id":1}']


def read_to_end(wire: socket.socket) -> bytes:
    received = b""
    while chunk := wire.recv(65_536):
        received += chunk
    return received


def test_more_records_than_are_taken_at_once_are_refused(sensors: Lab, client: httpx.Client) -> None:
    refused(client, "{}\n" * (RECORDS_LIMIT + 1), NDJSON, 413, "body_too_large")
    assert kept(sensors) == []
    assert send(client, "{}\n" * RECORDS_LIMIT, **NDJSON).json()["records"] == RECORDS_LIMIT


def test_only_a_key_with_the_scope_pushes_and_nobody_without_one(sensors: Lab) -> None:
    with sensors.serve() as client:
        answer = client.post(EVENTS, json={"id": 1})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="decant"')
        assert client.post("/data/nothing/v1/x/events", json={}).status_code == 401
        answer = client.post(EVENTS, json={"id": 1}, headers=make_key(sensors, "sensors:read"))
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert 'error="insufficient_scope", scope="sensors:write"' in answer.headers["www-authenticate"]
        assert client.get(EVENTS).status_code == 405
    assert kept(sensors) == []


def test_a_product_that_a_key_does_not_see_does_not_exist(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SENSORS.replace(", customProperties: [{property: anonymous, value: true}]", ""))
    with lab.serve() as client:
        stranger = make_key(lab, "other:write")
        assert client.post(EVENTS, json={"id": 1}, headers=stranger).status_code == 404
        writer = make_key(lab, "sensors:write")
        receipt = push(client, writer, {"id": 1})
        assert client.get(receipt["status_url"], headers=writer).status_code == 200
        assert client.get("/data/sensors/v1/readings/records", headers=writer).status_code == 404


def test_a_dataset_that_is_fed_in_another_way_takes_no_events(refusing: httpx.Client) -> None:
    answer = refusing.post("/data/sensors/v1/plain/events", json={"id": 1})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "events: true" in answer.json()["detail"]
    assert refusing.post("/data/sensors/v1/nothing/events", json={"id": 1}).status_code == 404
    answer = refusing.post(f"{EVENTS}?mode=upsert", json={"id": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")


def test_a_receipt_is_for_whoever_pushed_and_for_operators(sensors: Lab) -> None:
    with sensors.serve() as client:
        receipt = push(client, make_key(sensors), {"id": 1})
        for scope, status in (("sensors:write", 404), ("sensors:read", 404), ("ops:read", 200)):
            assert client.get(receipt["status_url"], headers=make_key(sensors, scope)).status_code == status
        assert client.get(receipt["status_url"]).status_code == 401
        writer = make_key(sensors)
        for tail in (str(uuid.uuid4()), "7", "x", "%00"):
            answer = client.get(f"/data/sensors/v1/readings/receipts/{tail}", headers=writer)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_long_receipt_comes_in_pages(client: httpx.Client) -> None:
    receipt = push(client, {}, [{"id": n} for n in range(5)])
    places: list[int] = []
    url: str | None = f"{receipt['status_url']}?limit=2"
    for _ in range(5):
        if url is None:
            break
        answer = client.get(url)
        places += [event["position"] for event in answer.json()["data"]["events"]]
        assert answer.json()["data"]["outcomes"] == {"waiting": 5}
        url = answer.json()["next"]
        assert ("link" in answer.headers) == (url is not None)
    assert places == [1, 2, 3, 4, 5]
    for query, code in (("limit=0", "limit_out_of_range"), ("limit=1001", "limit_out_of_range"),
                        ("limit=x", "limit_out_of_range"), ("after=-1", "invalid_value"),
                        ("limit=1&limit=2", "duplicate_parameter"), ("page=2", "unknown_parameter")):  # fmt: skip
        answer = client.get(f"{receipt['status_url']}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_the_write_login_adds_events_and_changes_none(sensors: Lab, client: httpx.Client) -> None:
    push(client, {}, {"id": 1})
    for statement in (
        "UPDATE decant.events SET payload = '{}'",
        "DELETE FROM decant.events",
        "UPDATE decant.receipts SET records = 0",
        "DELETE FROM decant.receipt_events",
        "UPDATE decant.datasets SET revision = 9",
        "SELECT 1 FROM sensors_v1.readings",
    ):
        with psycopg.connect(sensors.urls.write) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_without_its_database_a_push_is_asked_to_come_again(sensors: Lab) -> None:
    from dataclasses import replace

    headers = make_key(sensors)
    away = Lab(
        sensors.settings.model_copy(update={"pool_timeout_ms": 200}),
        replace(sensors.urls, write=sensors.urls.write.replace("decant_write", "nobody_at_all")),
    )
    with away.serve() as client:
        answer = client.post(EVENTS, json={"id": 1}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.slow
def test_the_document_describes_pushing_where_it_is_possible(sensors: Lab, client: httpx.Client) -> None:
    document = build_document(sensors.catalog)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert EVENTS in document["paths"]
    assert "/data/sensors/v1/plain/events" not in document["paths"]
    operation = document["paths"][EVENTS]["post"]
    assert operation["security"] == [{"bearer": []}, {"header": []}]
    assert operation["x-scopes"] == ["sensors:write"]

    def check(answer: httpx.Response, described: dict[str, Any]) -> None:
        found = described["responses"][str(answer.status_code)]
        name = found.get("$ref", "").removeprefix("#/components/responses/")
        content = (document["components"]["responses"][name] if name else found)["content"]
        schema = content[answer.headers["content-type"]]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})

    answer = client.post(EVENTS, json=[{"id": 1}, {"id": "x"}])
    check(answer, operation)
    check(client.post(EVENTS, json=7), operation)
    sensors.ingest("sensors.readings")
    receipts = document["paths"]["/data/sensors/v1/readings/receipts/{receipt}"]["get"]
    found = client.get(answer.json()["status_url"])
    assert found.json()["data"]["outcomes"] == {"published": 1, "rejected": 1}
    check(found, receipts)


def test_the_document_s_cloud_events_are_those_that_are_taken(sensors: Lab, client: httpx.Client) -> None:
    document = build_document(sensors.catalog)
    content = document["paths"][EVENTS]["post"]["requestBody"]["content"]
    components = {"components": document["components"]}
    one = jsonschema.Draft202012Validator(content[CLOUD["Content-Type"]]["schema"] | components)
    several = jsonschema.Draft202012Validator(content[BATCH["Content-Type"]]["schema"] | components)
    packed = {"data": None, "data_base64": "e30="}
    good = [{}, packed, {"time": "2020-01-01T00:00:00Z", "datacontenttype": "application/json"}, {"extension": 1}]
    bad = [
        *({name: value} for name in ("id", "source", "type") for value in ("", 7, None)),
        *({"specversion": value} for value in ("0.3", 1, None)),
        *({"data": value} for value in ("x", 7, [])),
        *({"data": None, "data_base64": value} for value in (7, {})),
        *({"time": 7}, {"datacontenttype": 7}),
    ]
    for number, changes in enumerate([*good, *bad]):
        taken = changes in good
        event = cloud_event(**({"id": f"a{number}"} | changes))
        for body, headers, schema in ((event, CLOUD, one), ([event], BATCH, several)):
            assert schema.is_valid(body) == taken, body
            assert send(client, json.dumps(body), **headers).status_code == (202 if taken else 422), body


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4)


@pytest.mark.slow
@given(st.lists(OBJECTS, min_size=1, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_every_good_array_is_cut_into_its_very_records(
    records: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(records, indent=indent, ensure_ascii=ascii_only)
    if "\\u0000" in text.replace("\\\\", ""):
        with pytest.raises(Problem, match="invalid_text"):
            parse_records(read_media_type("application/json", ()), text.encode())
        return
    cut = parse_records(read_media_type("application/json", ()), text.encode())
    assert [json.loads(record.payload) for record in cut] == records
    assert not any("\n" in record.payload for record in cut)
    lines = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in records)
    assert [
        json.loads(r.payload) for r in parse_records(read_media_type("application/jsonl", ()), lines.encode())
    ] == records


@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE-+\\ud8 \nNaInfity', max_size=60).map(str.encode)
)
def test_whatever_comes_is_taken_or_refused(body: bytes) -> None:
    for media_type in ("application/json", "application/x-ndjson", *(h["Content-Type"] for h in (CLOUD, BATCH))):
        # Anything but a problem is an error of ours.
        with contextlib.suppress(Problem):
            records = parse_records(read_media_type(media_type, ()), body)
            assert all(isinstance(json.loads(record.payload), dict) for record in records)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=100))
def test_every_quoted_key_is_read_as_what_it_says(key: str) -> None:
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert read_idempotency_key([quoted]) == key
    with pytest.raises(Problem):
        read_idempotency_key([quoted, quoted])
