"""Webhooks over HTTP and on the command line: made, judged, changed, tried, replayed, and nobody else's business."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from api.admin.subscription_store import show_again
from api.http.problems import Problem
from tests.support.command_line import run
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.remote_api import RemoteApi, Reply, run_remote_api
from tests.support.routes import CLOSED
from tests.support.webhooks import Sender, event_of, revisions

BODY = {"product": "people", "address": "https://hooks.example/in?token=abc"}
Client = Callable[..., httpx.Response]


@pytest.fixture
def closed(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(CLOSED, subscriptions_limit=3)


@pytest.fixture
def client(closed: Lab) -> Iterator[httpx.Client]:
    with closed.serve() as client:
        yield client


@pytest.fixture
def reader(closed: Lab) -> dict[str, str]:
    return key_of(closed, "people:read")


@pytest.fixture
def receiver() -> Iterator[RemoteApi]:
    with run_remote_api() as api:
        api.play(Reply(status=204))
        yield api


def make(client: httpx.Client, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = client.post("/subscriptions", json=BODY | more, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["data"]
    assert answer.headers["location"] == f"/subscriptions/{found['id']}"
    return found


def test_a_webhook_is_made_shown_changed_and_deleted_by_its_key_alone(
    client: httpx.Client, closed: Lab, reader: dict[str, str]
) -> None:
    made = make(client, reader)
    assert made["secret"].startswith("whsec_")
    assert (made["kinds"], made["datasets"], made["state"]) == (["revision.published"], None, "active")
    path = f"/subscriptions/{made['id']}"
    shown = client.get(path, headers=reader).json()["data"]
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert client.get("/subscriptions", headers=reader).json()["data"] == [shown]
    other = key_of(closed, "people:read", "ops:read", "keys:admin")
    assert client.get("/subscriptions", headers=other).json()["data"] == []
    body = {"active": False}
    asked = [
        client.get(path, headers=other),
        client.get(f"{path}/deliveries", headers=other),
        client.patch(path, json=body, headers=other),
        client.delete(path, headers=other),
        client.post(f"{path}/rotate", headers=other),
        client.post(f"{path}/test", headers=other),
        client.post(f"{path}/replays", json={"since": "2026-01-01T00:00:00Z"}, headers=other),
        client.post(f"{path}/replays", json={"id": "0" * 36}, headers=other),
        client.get("/subscriptions/0000000000000000", headers=other),
        client.get("/subscriptions/x", headers=other),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in asked} == {(404, "not_found")}
    assert client.get(path).status_code == 401
    changed = client.patch(path, json=body | {"datasets": ["people"]}, headers=reader).json()["data"]
    assert (changed["state"], changed["reason"], changed["datasets"]) == (
        "disabled",
        "disabled by its owner",
        ["people"],
    )
    assert client.delete(path, headers=reader).status_code == 204
    assert client.get(path, headers=reader).status_code == 404
    audited = [(row[0], row[1]) for row in closed.rows("SELECT operation, facts FROM decant.audit_log ORDER BY id")]
    assert [operation for operation, _ in audited] == [
        "POST /subscriptions",
        "PATCH /subscriptions",
        "DELETE /subscriptions",
    ]
    assert audited[0][1]["host"] == "hooks.example"
    assert "abc" not in json.dumps(audited)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("scopes", "body", "status", "code"),
    [
        (("ops:read",), {}, 404, "not_found"),
        (("people:read",), {"product": "nothing"}, 404, "not_found"),
        (("people:read",), {"major": 7}, 404, "not_found"),
        (("people:read",), {"datasets": ["nothing"]}, 404, "not_found"),
        (("people:read",), {"kinds": ["load.failed"]}, 403, "insufficient_scope"),
        (("people:read",), {"kinds": ["load.fialed"]}, 422, "invalid_value"),
        (("people:read", "ops:read"), {"kinds": ["subscription.disabled"]}, 422, "invalid_value"),
        (("people:read",), {"kinds": []}, 422, "invalid_value"),
        (("people:read",), {"datasets": [1]}, 422, "invalid_value"),
        (("people:read",), {"product": 1}, 422, "invalid_value"),
        (("people:read",), {"major": True}, 422, "invalid_value"),
        (("people:read",), {"owner": "me"}, 422, "invalid_value"),
        *(
            (("people:read",), {"address": address}, 422, "invalid_value")
            for address in (
                None,
                "",
                "hooks.example",
                "ftp://hooks.example/",
                "http://8.8.8.8/",
                "https://10.0.0.1/",
                "https://[::ffff:169.254.169.254]/latest",
                "https://me:secret@hooks.example/",
                "https://hooks.example/#part",
                "https://hooks.example:99999/",
                "https://hooks.example/\n",
                "https://höoks.example/",
                f"https://hooks.example/{'x' * 2000}",
            )
        ),
    ],
)
def test_what_cannot_be_subscribed_to_is_refused(
    client: httpx.Client, closed: Lab, scopes: tuple[str, ...], body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post("/subscriptions", json=BODY | body, headers=key_of(closed, *scopes))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert closed.rows("SELECT * FROM decant.subscriptions") == []


def test_a_repeated_request_makes_one_webhook_and_shows_the_same_secret(
    closed: Lab, client: httpx.Client, reader: dict[str, str]
) -> None:
    once = reader | {"Idempotency-Key": '"first"'}
    made = make(client, once)
    assert make(client, once) == made
    assert len(client.get("/subscriptions", headers=reader).json()["data"]) == 1
    other = client.post("/subscriptions", json=BODY | {"datasets": ["people"]}, headers=once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert make(client, key_of(closed, "people:read") | {"Idempotency-Key": '"first"'})["id"] != made["id"]
    assert make(client, reader)["id"] != made["id"]
    secret = made["secret"].removeprefix("whsec_")
    for table in ("subscriptions", "idempotency_keys", "audit_log"):
        assert not any(secret[:20] in str(row) for row in closed.rows(f"SELECT t::text FROM decant.{table} t"))
    client.post(f"/subscriptions/{made['id']}/rotate", headers=reader)
    assert make(client, once) == made, "the answer is the first one"
    ((answer,),) = closed.rows("SELECT answer FROM decant.idempotency_keys WHERE principal = %s", made["owner"])
    with pytest.raises(Problem, match="cannot be shown again"):
        show_again(b"another secret of the installation", answer)


def test_a_key_has_no_more_webhooks_than_the_settings_allow(
    client: httpx.Client, closed: Lab, reader: dict[str, str]
) -> None:
    for _ in range(3):
        make(client, reader)
    answer = client.post("/subscriptions", json=BODY, headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (409, "subscription_limit")
    make(client, key_of(closed, "people:read"))


def test_a_webhook_is_tried_rotated_and_sent_again_what_was_sent(
    client: httpx.Client, closed: Lab, reader: dict[str, str], receiver: RemoteApi
) -> None:
    sender = Sender(closed)
    made = make(client, reader, address=receiver.url)
    path = f"/subscriptions/{made['id']}"
    answer = client.post(f"{path}/test", headers=reader)
    assert (answer.status_code, answer.headers["location"]) == (202, f"{path}/deliveries")
    sender.send()
    assert event_of(receiver.asked[0])["source"] == path
    sender.publish(3)
    sender.send()
    log = client.get(f"{path}/deliveries", params={"limit": 2}, headers=reader).json()
    assert [row["revision"] for row in log["data"]] == [3, 2]
    older = client.get(log["next"], headers=reader).json()
    assert ([row["kind"] for row in older["data"]], older["next"]) == (
        ["revision.published", "subscription.test"],
        None,
    )
    rotated = client.post(f"{path}/rotate", headers=reader).json()["data"]
    assert rotated["secret"] != made["secret"]
    again = client.post(f"{path}/replays", json={"id": log["data"][1]["id"]}, headers=reader)
    assert again.status_code == 202
    sender.send()
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(receiver.asked[-1].body, receiver.asked[-1].headers)
    assert revisions(receiver.asked[1:]) == [1, 2, 3, 2]
    since = (sender.now - timedelta(hours=1)).isoformat()
    assert client.post(f"{path}/replays", json={"since": since}, headers=reader).status_code == 202
    sender.send()
    assert revisions(receiver.asked[1:]) == [1, 2, 3, 2, 1, 2, 3]
    assert len({asked.headers["webhook-id"] for asked in receiver.asked[1:]}) == 3
    for body in ({}, {"since": "yesterday"}, {"id": 1}, {"id": "x", "since": since}):
        assert client.post(f"{path}/replays", json=body, headers=reader).status_code == 422


@pytest.mark.slow
def test_a_webhook_that_is_enabled_again_is_sent_the_newest_revision_that_it_missed(
    client: httpx.Client, closed: Lab, reader: dict[str, str], receiver: RemoteApi
) -> None:
    sender = Sender(closed)
    path = f"/subscriptions/{make(client, reader, address=receiver.url)['id']}"
    client.patch(path, json={"active": False}, headers=reader)
    sender.publish(3)
    assert sender.send() == 0
    enabled = client.patch(path, json={"active": True}, headers=reader).json()["data"]
    assert (enabled["state"], enabled["reason"]) == ("active", None)
    sender.send()
    assert revisions(receiver.asked) == [3]


@pytest.mark.slow
def test_the_command_line_manages_the_webhooks_of_every_key(
    closed: Lab, reader: dict[str, str], receiver: RemoteApi
) -> None:
    sender = Sender(closed)
    key_id = reader["X-API-Key"].split("_")[1]
    variables = {"DECANT_WRITE_DATABASE_URL": closed.urls.write}

    def command(*words: str, code: int = 0) -> str:
        done = run(closed, "subscriptions", *words, **variables)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    made = json.loads(command("create", "people@1", receiver.url, "--key", key_id, "--json"))
    assert made["owner"] == key_id
    assert receiver.url in command("list")
    assert "does not exist" in command("create", "people", receiver.url, "--key", "nobody", code=1)
    assert "ops:read" in command("create", "people", receiver.url, "--key", key_id, "--kind", "load.failed", code=1)
    command("test", made["id"])
    sender.publish()
    sender.send()
    assert "subscription.test" in command("deliveries", made["id"])
    (first, _) = json.loads(command("deliveries", made["id"], "--json"))
    command("replay", made["id"], "--id", first["id"])
    command("disable", made["id"])
    assert "disabled by its owner" in json.loads(command("list", "--json"))[0]["reason"]
    sender.send()
    assert len(receiver.asked) == 3
    command("enable", made["id"])
    assert command("rotate", made["id"]).splitlines()[1].startswith("whsec_")
    assert "needed" in command("replay", made["id"], code=1)
    command("replay", made["id"], "--since", "2026-01-01T00:00:00Z")
    sender.send()
    assert revisions(receiver.asked[1:]) == [1, 1, 1]
    command("delete", made["id"])
    assert json.loads(command("list", "--json")) == []
    assert "does not exist" in command("delete", made["id"], code=1)
