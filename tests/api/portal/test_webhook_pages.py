"""The pages of webhooks: made, tried, looked at, switched and ended by forms; each for its own key only."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.remote_api import RemoteApi, Reply, run_remote_api
from tests.support.visitor import OURS, Visitor, sign_in
from tests.support.webhooks import Sender

PAGE = "/account/webhooks"


@pytest.fixture
def client(lab: Lab) -> Iterator[httpx.Client]:
    with lab.serve() as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[RemoteApi]:
    with run_remote_api() as api:
        api.play(Reply(status=204))
        yield api


def make(visitor: Visitor, address: str, **fields: str | list[str]) -> httpx.Response:
    """Sends the form that makes a webhook."""
    return visitor.send(PAGE, PAGE, product="people@1", address=address, **fields)


def path_of(shown: httpx.Response) -> str:
    """The page of the webhook that was just made."""
    found = re.search(rf'href="({PAGE}/[0-9a-f]{{16}})"', shown.text)
    assert found, shown.text
    return found[1]


def test_a_webhook_is_made_tried_switched_and_deleted_by_forms(
    lab: Lab, client: httpx.Client, receiver: RemoteApi
) -> None:
    sender = Sender(lab)
    visitor = sign_in(client, make_key(lab, "people:read"))
    assert "Your key has no webhook" in visitor.get(PAGE).text
    made = make(visitor, f"{receiver.url}/hook", datasets="people")
    assert made.status_code == 200
    secret = re.search(r"whsec_[\w+/=-]+", made.text)
    assert secret
    path = path_of(made)
    assert secret[0] not in visitor.get(path).text + visitor.get(PAGE).text
    assert visitor.send(path, f"{path}/test").headers["location"] == path
    sender.publish()
    sender.send()
    test, published = receiver.asked
    for asked in (test, published):
        Webhook(secret[0]).verify(asked.body, asked.headers)
    shown = visitor.get(path).text
    assert "revision.published" in shown
    assert "delivered" in shown
    assert visitor.send(path, f"{path}/replays", event=published.headers["webhook-id"]).status_code == 303
    sender.send()
    assert receiver.asked[2].headers["webhook-id"] == published.headers["webhook-id"]
    visitor.send(path, f"{path}/switch")
    assert "disabled by its owner" in visitor.get(path).text
    visitor.send(path, f"{path}/switch")
    assert "disabled" not in visitor.get(path).text
    assert "whsec_" in visitor.send(path, f"{path}/rotate").text
    assert visitor.send(path, f"{path}/delete").headers["location"] == PAGE
    assert visitor.get(path).status_code == 404


def test_a_form_that_is_refused_says_why_and_keeps_what_was_typed(lab: Lab, client: httpx.Client) -> None:
    visitor = sign_in(client, make_key(lab, "people:read"))
    for address in ("ftp://example.org/hook", "javascript:alert(1)"):
        refused = make(visitor, address)
        assert refused.status_code == 422, refused.text
        assert 'role="alert"' in refused.text
        assert f'value="{address}"' in refused.text
    hostile = make(visitor, 'https://example.org/"><script>')
    assert hostile.status_code == 200
    assert "<script>" not in hostile.text.partition("<main")[2]
    refused = visitor.send(PAGE, PAGE, product="people@1", address="https://example.org", datasets="nothing")
    assert refused.status_code == 404
    assert 'value="nothing"' in refused.text


def test_nobody_sees_or_changes_the_webhook_of_another_key(
    lab: Lab, client: httpx.Client, receiver: RemoteApi
) -> None:
    path = path_of(make(sign_in(client, make_key(lab, "people:read")), receiver.url))
    other = sign_in(client, make_key(lab, "people:read"))
    assert other.get(path).status_code == 404
    for action in ("test", "switch", "rotate", "replays", "delete"):
        sent = other.send(PAGE, PAGE, to=f"{path}/{action}", event="00000000-0000-0000-0000-000000000000")
        assert sent.status_code == 404, (action, sent.text)
    client.cookies.clear()
    for address in (PAGE, path):
        assert client.get(address).headers["location"].startswith("/sign-in?next=")
    assert client.post(f"{path}/delete", data={"back": "/"}, headers=OURS).headers["location"].startswith("/sign-in")


def test_kinds_for_operators_are_offered_to_operators(lab: Lab, client: httpx.Client) -> None:
    assert "load.withheld" not in sign_in(client, make_key(lab, "people:read")).get(PAGE).text
    assert "load.withheld" in sign_in(client, make_key(lab, "people:read", "ops:read")).get(PAGE).text
