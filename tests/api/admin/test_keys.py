"""Keys over HTTP: made, shown once, rotated under load, revoked, and never found out about."""

from __future__ import annotations

import json
import random
import string
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from api.auth.api_keys import KeyDraft, Peppers, create_key, draft_row, parse_key, read_peppers
from api.auth.identify import LOOKUPS_SPARE
from runtime.errors import SettingsError
from runtime.postgres.database import make_engine
from runtime.settings.secret import read_secret
from runtime.settings.settings import load_settings
from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab

CLOSED = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")
RECORDS = "/data/people/v1/people/records"


def load_closed(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(CLOSED)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    return lab


@pytest.fixture
def closed(make_lab: Callable[..., Lab]) -> Lab:
    return load_closed(make_lab)


@pytest.fixture
def unchanged(shared_labs: Callable[..., Lab]) -> Lab:
    """The product of all tests that make no key."""
    return shared_labs(load_closed)


@pytest.fixture
def client(closed: Lab) -> Iterator[httpx.Client]:
    with closed.serve() as client:
        yield client


@pytest.fixture
def admin(closed: Lab) -> dict[str, str]:
    return key_of(closed, "keys:admin")


def make(client: httpx.Client, admin: dict[str, str], **more: object) -> httpx.Response:
    """The answer to a request for a key that reads."""
    headers = admin | ({"Idempotency-Key": str(more.pop("once"))} if "once" in more else {})
    return client.post("/keys", json={"name": "partner", "scopes": ["people:read"]} | more, headers=headers)


def test_a_key_is_made_shown_once_and_read_with(client: httpx.Client, admin: dict[str, str], closed: Lab) -> None:
    answer = make(client, admin, expires_at="2099-01-01T00:00:00Z", rate_limit="5/hour")
    assert answer.status_code == 201
    made = answer.json()["data"]
    assert answer.headers["location"] == f"/keys/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    key = {"X-API-Key": made["key"]}
    assert client.get(RECORDS, headers=key).status_code == 200
    for path in ("/keys", f"/keys/{made['id']}", "/keys/self"):
        shown = client.get(path, headers=admin if path != "/keys/self" else key)
        assert shown.status_code == 200
        assert made["key"] not in shown.text
    own = client.get("/keys/self", headers=key).json()["data"]
    assert (own["name"], own["scopes"], own["rate_limit"]) == ("partner", ["people:read"], "5/hour")
    assert own["expires_at"] == "2099-01-01T00:00:00.000Z"
    parsed = parse_key(made["key"])
    assert parsed is not None
    for table in ("api_keys", "audit_log", "idempotency_keys"):
        assert not any(parsed.secret in str(row) for row in closed.rows(f"SELECT t::text FROM decant.{table} t"))
    ((operation, facts),) = closed.rows("SELECT operation, facts FROM decant.audit_log")
    assert (operation, facts) == ("POST /keys", {"key": made["id"], "scopes": ["people:read"]})


def test_the_same_request_again_gets_the_same_key(client: httpx.Client, admin: dict[str, str], closed: Lab) -> None:
    first, again = (make(client, admin, once='"abc"') for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert make(client, admin, once='"abc"', name="other").json()["code"] == "idempotency_key_reused"
    assert len(closed.rows("SELECT 1 FROM decant.api_keys WHERE name = 'partner'")) == 1
    secret = first.json()["data"]["key"].rpartition("_")[2]
    assert not any(secret[:20] in str(row) for row in closed.rows("SELECT t::text FROM decant.idempotency_keys t"))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": 5}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": "people:read"}, "/scopes"),
        ({"scopes": ["people:reed"]}, "/scopes"),
        ({"scopes": ["others:read"]}, "/scopes"),
        ({"scopes": [{}]}, "/scopes"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, "/expires_at"),
        ({"rate_limit": "often"}, "/rate_limit"),
        ({"secret": "mine"}, "/secret"),
    ],
)
def test_what_is_no_key_is_refused(unchanged: Lab, change: dict[str, object], pointer: str) -> None:
    with unchanged.serve() as client:
        answer = make(client, key_of(unchanged, "keys:admin"), **change)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value")
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_only_administrators_see_or_make_keys(client: httpx.Client, closed: Lab) -> None:
    reader = key_of(closed, "people:read")
    own = client.get("/keys/self", headers=reader).json()["data"]["id"]
    for method, path in (
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("GET", f"/keys/{own}"),
        ("POST", f"/keys/{own}/rotate"),
        ("DELETE", f"/keys/{own}"),
        ("DELETE", "/keys/unknown"),
    ):
        assert client.request(method, path, headers=reader).json()["code"] == "insufficient_scope"
        assert client.request(method, path).status_code == 401
    for path in ("/keys/self", "/keys/self/usage"):
        assert client.get(path).status_code == 401


def test_keys_are_listed_in_pages(client: httpx.Client, admin: dict[str, str]) -> None:
    made = [make(client, admin, name=f"k{n}").json()["data"]["id"] for n in range(5)]
    found, url = [], "/keys?limit=2&state=active"
    for _ in range(10):
        page = client.get(url, headers=admin).json()
        found += [key["id"] for key in page["data"]]
        url = page["next"]
        if url is None:
            break
    assert found[:5] == made[::-1]
    assert len(found) == len(set(found)) == 6


def test_a_rotated_key_stays_valid_for_the_overlap_and_no_longer(
    client: httpx.Client, admin: dict[str, str], closed: Lab
) -> None:
    old = make(client, admin, rate_limit="9/second").json()["data"]
    answer = client.post("/keys/self/rotate", headers={"X-API-Key": old["key"]}, json={"overlap_seconds": 3600})
    assert answer.status_code == 201
    new = answer.json()["data"]
    assert (new["scopes"], new["rate_limit"], new["replaces"]) == (old["scopes"], "9/second", old["id"])
    for key in (old["key"], new["key"]):
        assert client.get(RECORDS, headers={"X-API-Key": key}).status_code == 200
    again = client.post(f"/keys/{old['id']}/rotate", headers=admin)
    assert (again.status_code, again.json()["code"]) == (409, "key_not_active")
    third = client.post(f"/keys/{new['id']}/rotate", headers=admin, json={"overlap_seconds": 0}).json()["data"]
    assert client.get(RECORDS, headers={"X-API-Key": new["key"]}).status_code == 401
    assert client.get(RECORDS, headers={"X-API-Key": third["key"]}).status_code == 200
    for overlap in (-1, 10**9, "1", 1.5, None):
        answer = client.post(f"/keys/{third['id']}/rotate", headers=admin, json={"overlap_seconds": overlap})
        assert answer.status_code == 422


def test_rotations_multiply_no_rate(client: httpx.Client, admin: dict[str, str]) -> None:
    keys = [make(client, admin, rate_limit="4/day").json()["data"]["key"]]
    for _ in range(2):
        answer = client.post("/keys/self/rotate", headers={"X-API-Key": keys[-1]}, json={"overlap_seconds": 3600})
        keys.append(answer.json()["data"]["key"])
    statuses = [client.get(RECORDS, headers={"X-API-Key": key}).status_code for key in keys]
    assert statuses == [200, 200, 429]


def test_nobody_gives_their_own_key_a_longer_life(client: httpx.Client, admin: dict[str, str]) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = make(client, admin, expires_at=soon).json()["data"]
    own = {"X-API-Key": made["key"]}
    asked = {"expires_at": "2099-01-01T00:00:00Z"}
    new = client.post("/keys/self/rotate", headers=own, json=asked).json()["data"]
    assert datetime.fromisoformat(new["expires_at"]) < datetime.now(UTC) + timedelta(hours=1, seconds=1)
    by_admin = client.post(f"/keys/{new['id']}/rotate", headers=admin, json=asked).json()["data"]
    assert by_admin["expires_at"].startswith("2099-01-01")


def test_a_key_for_ever_as_some_write_it_is_rotated(client: httpx.Client, admin: dict[str, str]) -> None:
    made = make(client, admin, expires_at="9999-12-31T23:59:59Z").json()["data"]
    answer = client.post("/keys/self/rotate", headers={"X-API-Key": made["key"]})
    assert answer.status_code == 201
    ends = datetime.fromisoformat(answer.json()["data"]["expires_at"])
    assert timedelta(days=1094) < ends - datetime.now(UTC) < timedelta(days=1096), "no line lives for ever"


def test_a_stolen_key_is_revoked_with_all_that_took_its_place(client: httpx.Client, admin: dict[str, str]) -> None:
    line = [make(client, admin).json()["data"]]
    for _ in range(3):  # the thief goes on and on
        answer = client.post("/keys/self/rotate", headers={"X-API-Key": line[-1]["key"]})
        line.append(answer.json()["data"])
    another = make(client, admin, name="another").json()["data"]
    for key in line:
        assert client.get("/keys/self", headers={"X-API-Key": key["key"]}).status_code == 200
    assert client.delete(f"/keys/{line[1]['id']}", headers=admin).status_code == 204
    for key in line:
        assert client.get("/keys/self", headers={"X-API-Key": key["key"]}).status_code == 401
        assert client.post("/keys/self/rotate", headers={"X-API-Key": key["key"]}).status_code == 401
        assert client.post(f"/keys/{key['id']}/rotate", headers=admin).json()["code"] == "key_not_active"
    assert client.get("/keys/self", headers={"X-API-Key": another["key"]}).status_code == 200


def test_one_key_of_a_line_is_revoked_where_only_it_is_meant(client: httpx.Client, admin: dict[str, str]) -> None:
    old = make(client, admin).json()["data"]
    new = client.post("/keys/self/rotate", headers={"X-API-Key": old["key"]}).json()["data"]
    assert client.delete(f"/keys/{old['id']}?only=maybe", headers=admin).status_code == 422
    assert client.delete(f"/keys/{old['id']}?only=true", headers=admin).status_code == 204
    states = [client.get("/keys/self", headers={"X-API-Key": key["key"]}).status_code for key in (old, new)]
    assert states == [401, 200]


@pytest.mark.slow
def test_a_rotation_beside_a_revocation_leaves_no_key_behind(
    client: httpx.Client, admin: dict[str, str], closed: Lab
) -> None:
    for _ in range(8):
        made = make(client, admin).json()["data"]
        with ThreadPoolExecutor(2) as pool:
            headers = {"X-API-Key": made["key"]}
            rotation = pool.submit(client.post, "/keys/self/rotate", headers=headers)
            revocation = pool.submit(client.delete, f"/keys/{made['id']}", headers=admin)
        assert revocation.result().status_code == 204
        assert rotation.result().status_code in {201, 401, 409}
        left = closed.rows(
            "SELECT count(*) FROM decant.api_keys WHERE coalesce(line, id) = %s AND revoked_at IS NULL", made["id"]
        )
        assert left == [(0,)]


def test_a_line_ends_whoever_renews_its_keys(client: httpx.Client, admin: dict[str, str], closed: Lab) -> None:
    made = make(client, admin).json()["data"]
    older = "UPDATE decant.api_keys SET created_at = now() - interval '1096 days' WHERE id = %s RETURNING 1"
    closed.rows(older, made["id"])
    answer = client.post("/keys/self/rotate", headers={"X-API-Key": made["key"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_not_active")
    renewed = client.post(f"/keys/{made['id']}/rotate", headers=admin)
    assert renewed.status_code == 201, "an administrator may"


def test_a_revoked_key_is_refused_everywhere_within_five_seconds(
    client: httpx.Client, admin: dict[str, str], closed: Lab
) -> None:
    made = make(client, admin).json()["data"]
    key = {"X-API-Key": made["key"]}
    with closed.serve() as other:
        assert client.get(RECORDS, headers=key).status_code == other.get(RECORDS, headers=key).status_code == 200
        assert client.delete(f"/keys/{made['id']}", headers=admin).status_code == 204
        revoked = time.monotonic()
        assert client.get(RECORDS, headers=key).status_code == 401
        asked = time.monotonic()
        while other.get(RECORDS, headers=key).status_code == 200:
            assert asked - revoked < 5
            time.sleep(0.05)
            asked = time.monotonic()
    assert client.delete(f"/keys/{made['id']}", headers=admin).status_code == 204
    assert client.delete("/keys/nosuchkey", headers=admin).status_code == 404
    assert client.get(f"/keys/{made['id']}", headers=admin).json()["data"]["state"] == "revoked"


@pytest.mark.slow
def test_a_hundred_rotations_under_load_refuse_nobody(client: httpx.Client, admin: dict[str, str]) -> None:
    newest = [make(client, admin).json()["data"]["key"]]
    stop = threading.Event()
    answers: list[int] = []

    def read() -> None:
        with httpx.Client(base_url=client.base_url, timeout=20) as mine:
            while not stop.is_set():
                answers.append(mine.get(RECORDS, headers={"X-API-Key": newest[0]}).status_code)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(100):
            answer = client.post("/keys/self/rotate", headers={"X-API-Key": newest[0]}, json={"overlap_seconds": 60})
            assert answer.status_code == 201
            newest[0] = answer.json()["data"]["key"]
    finally:
        stop.set()
        for reader in readers:
            reader.join(20)
    assert len(answers) > 100
    assert set(answers) == {200}


def test_a_new_pepper_hashes_new_keys_and_the_old_ones_stay_valid(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CLOSED)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    old = key_of(lab, "people:read")
    admin = key_of(lab, "keys:admin")
    newer = Lab(lab.settings.model_copy(update={"peppers": load_settings(peppers={3: "x"}).peppers}), lab.urls)
    with newer.serve() as client:
        new = {"X-API-Key": make(client, admin).json()["data"]["key"]}
        assert client.get(RECORDS, headers=old).status_code == client.get(RECORDS, headers=new).status_code == 200
    with lab.serve() as client:
        assert client.get(RECORDS, headers=new).status_code == 401
    assert [row[0] for row in lab.rows("SELECT pepper_version FROM decant.api_keys ORDER BY 1")] == [1, 1, 3]
    assert isinstance(read_peppers(newer.settings), Peppers)


def test_unsafe_peppers_are_refused_in_production() -> None:
    facts = {"env": "production", "secret": "s" * 40, "database_url": "postgresql://db/decant"}
    with pytest.raises(SettingsError, match="DECANT_PEPPERS must hold"):
        load_settings(**facts, peppers={2: "short"})
    with pytest.raises(SettingsError, match="versions begin at 2"):
        load_settings(peppers={1: "x" * 40})


@pytest.mark.slow
def test_no_random_text_is_taken_for_a_key() -> None:
    draw = random.Random(7)
    alphabet = string.ascii_letters + string.digits + "_-"
    parsed = 0
    for number in range(200_000):
        length = 55 if number % 2 else draw.randrange(80)
        text = "".join(draw.choices(alphabet, k=length))
        if number % 2:
            plain = text.replace("_", "a").replace("-", "b")
            text = f"dcnt_{plain[5:17]}_{plain[18:]}"
        parsed += parse_key(text) is not None
    assert parsed <= 1


def test_usage_is_told_to_its_owner_and_all_of_it_to_operators(client: httpx.Client, closed: Lab) -> None:
    with closed.serve() as other:
        reader, operator = key_of(closed, "people:read"), key_of(closed, "ops:read")
        for _ in range(3):
            assert other.get(RECORDS, headers=reader).status_code == 200
    # That service has ended, and has written what it counted.
    (own,) = client.get("/keys/self/usage", headers=reader).json()["data"]
    assert (own["dataset"], own["operation"], own["requests"], own["refused"]) == ("people", "records", 3, 0)
    assert client.get("/keys/self/usage?from=2001-01-01&to=2001-01-02", headers=reader).json()["data"] == []
    for day in ("x", "20010101", "2001-W01-1", "2001-02-30"):
        assert client.get(f"/keys/self/usage?from={day}", headers=reader).status_code == 422
    everything = client.get("/operations/usage", headers=operator).json()["data"]
    assert own["principal"] in {row["principal"] for row in everything}
    assert client.get("/operations/usage", headers=reader).status_code == 403
    assert client.get("/operations/audit", headers=reader).status_code == 403
    assert client.get("/operations/audit", headers=operator).json() == {"data": [], "next": None}
    make(client, key_of(closed, "keys:admin"))
    (entry,) = client.get("/operations/audit?operation=POST%20/keys", headers=operator).json()["data"]
    assert set(json.loads(json.dumps(entry["facts"]))) == {"key", "scopes"}


def test_guesses_of_an_exhausted_address_reach_no_database(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CLOSED, rate_limit_anonymous="5/hour")
    good = create_key(make_engine(lab.urls.owner), read_secret(lab.settings), "good", ["people:read"])
    with lab.serve() as client:
        assert client.get("/keys/self", headers={"X-API-Key": good}).status_code == 200
        statuses = [client.get(RECORDS, headers={"X-API-Key": guess()}).status_code for _ in range(12)]
        assert statuses[:5] == [401] * 5
        began = time.monotonic()
        # Whatever is looked up from now on is an error of the database.
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            owner.execute("REVOKE ALL ON decant.api_keys FROM decant_write")
        again = [client.get(RECORDS, headers={"X-API-Key": guess()}).status_code for _ in range(50)]
        assert set(again) <= {429, 500, 503}
        # A few are looked up all the same: a good key may come from the same address.
        assert 50 - again.count(429) <= LOOKUPS_SPARE + time.monotonic() - began + 1
        assert client.get(RECORDS, headers={"X-API-Key": "dcnt_mistyped"}).status_code == 429


def guess() -> str:
    """A well-formed key that nobody was given."""
    text, _ = draft_row(KeyDraft("guess", ("people:read",)), Peppers(((1, b"another pepper"),)))
    return text
