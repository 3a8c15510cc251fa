"""Who may read what: keys, scopes, and products that are not open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.api_keys import parse_key
from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab

CLOSED = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "").replace(
    "{name: born, logicalType: date}", "{name: born, logicalType: date, classification: confidential}"
)
RECORDS = "/data/people/v1/people/records"


def load_closed(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(CLOSED)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    return lab


@pytest.fixture
def closed(product: Callable[..., Lab]) -> Lab:
    return product(load_closed)


def test_without_a_credential_everything_that_is_not_open_answers_the_same(closed: Lab) -> None:
    with closed.serve() as client:
        bodies = []
        for path in (
            RECORDS,
            "/data/people/v1",
            "/data/nothing/v1/x/records",
            f"{RECORDS}/1",
            "/data/people/v9/people",
        ):
            answer = client.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="decant"'
            bodies.append({k: v for k, v in answer.json().items() if k not in {"instance", "trace_id"}})
        assert all(body == bodies[0] for body in bodies)
        assert client.get("/data").json()["data"] == []


def test_a_key_with_the_scope_reads_and_sees_no_classified_property(closed: Lab) -> None:
    key = make_key(closed, "people:read")
    with closed.serve() as client:
        for headers in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
            answer = client.get(RECORDS, headers=headers)
            assert answer.status_code == 200
            assert answer.json()["data"] == [{"id": 1, "name": "Ann", "age": 30}]
        unknown = client.get(f"{RECORDS}?born=1990-01-31", headers={"X-API-Key": key})
        assert unknown.json()["code"] == "unknown_parameter"


def test_a_classified_property_is_shown_to_its_scope(closed: Lab) -> None:
    key = make_key(closed, "people:read", "people:read:confidential")
    with closed.serve() as client:
        (record,) = client.get(RECORDS, headers={"X-API-Key": key}).json()["data"]
    assert record["born"] == "1990-01-31"


def test_a_valid_key_of_another_product_finds_nothing(closed: Lab) -> None:
    key = make_key(closed, "other:read")
    with closed.serve() as client:
        for path in (RECORDS, "/data/people/v1", "/data/nothing/v1"):
            answer = client.get(path, headers={"X-API-Key": key})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert client.get("/data", headers={"X-API-Key": key}).json()["data"] == []


def test_every_bad_credential_gets_the_same_answer(closed: Lab) -> None:
    key = make_key(closed, "people:read")
    expired = make_key(closed, "people:read", expires=datetime.now(UTC) - timedelta(seconds=1))
    wrong = key[:20] + ("A" if key[20] != "A" else "B") + key[21:]
    with closed.serve() as client:
        bodies = []
        for text in (wrong, expired, "nonsense", "dcnt_", key + "x", key[:-1], "é".encode().decode("latin-1")):
            answer = client.get(RECORDS, headers={"Authorization": f"Bearer {text}".encode("latin-1")})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="decant", error="invalid_token"'
            bodies.append({k: v for k, v in answer.json().items() if k != "trace_id"})
        assert all(body == bodies[0] for body in bodies)
        assert client.get(RECORDS, headers={"Authorization": "Basic abc"}).status_code == 401


def test_a_key_in_the_address_is_refused(closed: Lab) -> None:
    key = make_key(closed, "people:read")
    with closed.serve() as client:
        answer = client.get(f"{RECORDS}?api_key={key}")
    assert (answer.status_code, answer.json()["code"]) == (400, "key_in_url")
    assert key not in answer.text


@pytest.mark.alone
def test_the_secret_of_a_key_is_not_stored(closed: Lab) -> None:
    key = make_key(closed, "people:read")
    ((row,),) = closed.rows("SELECT k::text FROM decant.api_keys k")
    parsed = parse_key(key)
    assert parsed
    assert parsed.secret not in row


def test_scopes_that_mean_nothing_are_refused(closed: Lab) -> None:
    for scope in ("people", "people:delete", "ops:all", ""):
        with pytest.raises(ValueError, match="scopes are of the form"):
            make_key(closed, scope)


@given(st.text())
def test_no_stray_text_is_a_key(text: str) -> None:
    assert parse_key(text) is None


@given(st.integers(5, 54), st.sampled_from("0123456789ABCxyz"))
def test_a_mistyped_key_is_refused_by_its_checksum(place: int, character: str) -> None:
    key = "dcnt_0123456789AB_" + "abcdefghijklmnopqrstuvwxyzABCDEF"
    from api.auth.api_keys import checksum

    good = key + checksum("0123456789AB", "abcdefghijklmnopqrstuvwxyzABCDEF")
    assert parse_key(good)
    changed = good[:place] + character + good[place + 1 :]
    if changed != good:
        assert parse_key(changed) is None
