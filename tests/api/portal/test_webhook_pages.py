"""The pages of webhooks: made, tried, looked at, switched and ended by forms; each for its own key only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab
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


@pytest.mark.slow
def test_a_webhook_is_made_tried_switched_and_deleted_by_forms(
    lab: Lab, client: httpx.Client, receiver: RemoteApi
) -> None:
    sender = Sender(lab)
    visitor = sign_in(client, make_key(lab, "people:read"))
    assert "Your key has no webhook" in visitor.get(PAGE).text
    made = make(visitor, f"{receiver.url}/hook", dataset="people")
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
    refused = make(visitor, "ftp://example.org/hook", dataset="people")
    assert '<input type="checkbox" name="dataset" value="people" checked>' in refused.text
    assert make(visitor, "https://example.org", dataset="nothing").status_code == 404


@pytest.mark.slow
def test_the_datasets_of_the_chosen_product_are_offered_even_where_they_are_many(
    make_lab: Callable[..., Lab],
) -> None:
    names = [f"measures_{number:03}" for number in range(150)]
    one = PEOPLE[PEOPLE.index("  - name: people\n") : PEOPLE.index("roles:")]
    large = PEOPLE.replace("id: people", "id: large").replace("people:read", "large:read")
    large = large.replace(one, "".join(one.replace("name: people\n", f"name: {name}\n") for name in names))
    lab = make_lab(PEOPLE, large)
    with lab.serve() as client:
        visitor = sign_in(client, make_key(lab, "people:read", "large:read"))
        first = visitor.get(PAGE).text
        assert 'name="dataset"' not in first
        assert '<option value="large@1">' in first
        page = f"{PAGE}?product=large@1"
        answer = client.get(page, headers={"Accept-Encoding": "gzip"})
        assert int(answer.headers["content-length"]) < 12_000
        assert re.findall(r'name="dataset" value="([^"]+)"', answer.text) == names
        shown = visitor.get(page).text.partition('id="make"')[2]
        hidden = dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', shown))
        fields = {"address": "https://example.org/hook", "dataset": names[3:5]}
        assert client.post(PAGE, data=hidden | fields, headers=OURS).status_code == 200
        assert "measures_003, measures_004" in visitor.get(PAGE).text


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
