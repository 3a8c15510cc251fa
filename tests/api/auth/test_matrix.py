"""Every route with every kind of credential: nobody gets more than is theirs, or learns what is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.portal.by_session import PATHS
from api.portal.session_path import PREFIX
from ingest.inspection.column_statistics import refresh_profiles
from runtime.postgres.database import make_engine
from tests.support.keys import key_of, make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.routes import CLOSED, DATASET, ROUTES, Asked
from tests.support.visitor import without_way_back

OTHER = CLOSED.replace("id: people\n", "id: others\n").replace("people.csv", "others.csv")
SECRET_NAME = "Hedwig"
ABOUT_DATA = ("/data", "/openapi/", "/browse/", "/session/data/")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Iterator[tuple[Lab, httpx.Client]]:
    """A service with two products, both closed."""
    folder = tmp_path_factory.mktemp("matrix")
    lab = Lab.build(folder, databases.urls(databases.create()), CLOSED, OTHER, rate_limit_default="off")
    lab.migrate()
    lab.ingest("people.people", f"id,name,age,born\n1,Ann,30,1990-01-31\n2,{SECRET_NAME},95,\n3,Ben,x,\n")
    lab.ingest("others.people", "id,name,age,born\n1,Zoe,30,1990-01-31\n", "others.csv")
    refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
    with lab.serve() as client:
        yield lab, client


def ask(client: httpx.Client, asked: Asked, headers: dict[str, str]) -> httpx.Response:
    """The answer."""
    return client.request(asked.method, asked.path, headers=headers | {"Accept": asked.accept}, json=asked.body)


def gist(answer: httpx.Response) -> tuple[int, Any, str | None]:
    """What an answer says, but for what differs with every request."""
    body = None
    if answer.headers.get("content-type") == "application/problem+json" and answer.content:
        body = {k: v for k, v in answer.json().items() if k not in {"instance", "trace_id"}}
    elif answer.headers.get("content-type", "").startswith("text/html"):
        body = without_way_back(answer.text)
    return answer.status_code, json.dumps(body, sort_keys=True), answer.headers.get("www-authenticate")


@pytest.mark.parametrize("asked", ROUTES, ids=str)
def test_no_credential_gets_more_than_its_own(matrix: tuple[Lab, httpx.Client], asked: Asked) -> None:
    lab, client = matrix
    none = ask(client, asked, {})
    assert none.status_code == 401
    past = datetime.now(UTC) - timedelta(seconds=5)
    revoked = make_key(lab, *asked.scopes)
    lab.rows("UPDATE decant.api_keys SET revoked_at = now() WHERE id = %s RETURNING id", revoked.split("_")[1])
    right = make_key(lab, *asked.scopes)
    bad = [
        right[:-1] + ("0" if right[-1] != "0" else "1"),
        make_key(lab, *asked.scopes, expires=past),
        revoked,
        "x",
        "dcnt_",
    ]
    answers = [ask(client, asked, {"X-API-Key": text}) for text in bad]
    assert {gist(answer) for answer in answers} == {gist(answers[0])}
    assert answers[0].status_code == 401
    other = ask(client, asked, key_of(lab, "others:read", "others:write", "others:role:young"))
    about_data = asked.path.startswith(ABOUT_DATA)
    assert other.status_code == (404 if about_data else 403)
    if about_data:
        path = asked.path.replace("/people/v1", "/nothing/v1")
        nowhere = client.request(asked.method, path, headers=key_of(lab, "others:read"))
        assert gist(other) == gist(nowhere)
    for missing in range(len(asked.scopes)):
        fewer = [scope for place, scope in enumerate(asked.scopes) if place != missing] or ["others:read"]
        assert ask(client, asked, key_of(lab, *fewer)).status_code in {403, 404}
    granted = ask(client, asked, {"X-API-Key": right})
    assert granted.status_code < 300, granted.text


@pytest.mark.parametrize("asked", [asked for asked in ROUTES if asked.path.startswith(ABOUT_DATA)], ids=str)
def test_who_sees_some_records_learns_nothing_of_the_others(matrix: tuple[Lab, httpx.Client], asked: Asked) -> None:
    lab, client = matrix
    scopes = [scope for scope in asked.scopes if scope != "people:read"]
    answer = ask(client, asked, key_of(lab, "people:role:young", *scopes))
    assert answer.status_code == (200 if asked.limited else 404)
    assert SECRET_NAME.encode() not in answer.content
    nobody = ask(client, asked, key_of(lab, "people:role:old", *scopes))
    assert b"Ann" not in nobody.content
    assert SECRET_NAME.encode() not in nobody.content


def test_every_route_of_the_service_is_in_the_matrix_or_open_on_purpose() -> None:
    from api.admin import audit_routes as audit
    from api.admin import erasure_routes as erasures
    from api.admin import health_routes as health
    from api.admin import key_routes as keys
    from api.admin import load_routes as operations
    from api.admin import quarantine_routes as quarantine
    from api.admin import reject_routes as rejects
    from api.admin import status_routes as status
    from api.admin import subscription_routes as subscriptions
    from api.app import QUESTIONS
    from api.metadata import catalog_routes as catalog
    from api.metadata import inspection_routes as inspection
    from api.openapi import routes as docs
    from api.portal import routes as portal
    from api.push import routes as events

    # Pushed events have tests of their own; what is about one's own key or a load needs more than a scope.
    elsewhere = {
        "/", "/browse", "/reports", "/reports/{slug}",
        "/assets/{name}", "/favicon.ico", "/robots.txt", "/sitemap.xml", "/catalog.jsonld",
        "/.well-known/api-catalog", "/browse/{product}/v{major}/{dataset}/croissant.json",
        "/browse/{product}/v{major}/{dataset}/revisions.atom", "/docs", "/docs/problems/{code}", "/openapi.json",
        "/static/{name}", "/livez", "/readyz", "/data",
        "/.well-known/security.txt",
        # Forms and sign-ins: see tests/api/portal.
        "/sign-in", "/sign-in/callback/{number}", "/sign-in/with/{number}", "/sign-out", "/account",
        "/account/rotate", "/account/sessions", "/account/webhooks", "/account/webhooks/{subscription}",
        "/account/webhooks/{subscription}/test", "/account/webhooks/{subscription}/switch",
        "/account/webhooks/{subscription}/rotate", "/account/webhooks/{subscription}/replays",
        "/account/webhooks/{subscription}/delete",
        "/account/keys/{key_id}/rotate", "/account/keys/{key_id}/revoke", "/console/withheld/{load}",
        "/console/rejects/replay", "/console/rejects/dismiss",
        "/keys/self", "/keys/self/usage", "/keys/self/rotate", "/keys/{key_id}", "/keys/{key_id}/rotate",
        "/operations/loads/{load}/publish",
        # Webhooks of the caller's own key: tests/api/admin/test_subscriptions.py.
        "/subscriptions", "/subscriptions/{subscription}", "/subscriptions/{subscription}/rotate",
        "/subscriptions/{subscription}/test", "/subscriptions/{subscription}/replays",
        "/subscriptions/{subscription}/deliveries",
        "/data/{product}/v{major}/{dataset}/events", "/data/{product}/v{major}/{dataset}/receipts/{receipt}",
    }  # fmt: skip
    operators = (audit, erasures, keys, operations, quarantine, rejects, status, subscriptions)
    modules = (catalog, docs, events, health, inspection, portal, *operators)
    routes = {route.path for route in (*QUESTIONS, *(r for m in modules for r in m.router.routes))}  # type: ignore[attr-defined]
    patterns = {path.replace(":path}", "}") if not path.startswith(PREFIX) else path for path in routes} - elsewhere

    def as_pattern(path: str) -> str:
        if path.startswith(PREFIX):
            return PATHS[path.count("/") < 6] if path.startswith(f"{PREFIX}/data") else PATHS[-1]
        path = path.partition("?")[0].replace("/people/v1/people", "/{product}/v{major}/{dataset}")
        path = path.replace("/people/v1", "/{product}/v{major}").replace("/records/1", "/records/{key}")
        return (
            path.replace("/loads/1", "/loads/{load}")
            .replace("/properties/age", "/properties/{name}")
            .replace("/facets/age", "/facets/{name}")
        )

    assert patterns == {as_pattern(asked.path) for asked in ROUTES}


def test_documents_tell_of_nothing_that_is_not_seen(matrix: tuple[Lab, httpx.Client]) -> None:
    lab, client = matrix
    assert "people" not in client.get("/openapi.json").text
    assert "people" not in client.get("/data").text
    for scope, seen, hidden in (("others:read", "/data/others/", "/data/people/"),):
        headers = key_of(lab, scope)
        for path in ("/openapi.json", "/data"):
            text = client.get(path, headers=headers).text
            assert seen.rstrip("/") in text
            assert hidden.rstrip("/") not in text
    limited = client.get("/openapi.json", headers=key_of(lab, "people:role:young")).json()
    assert f"{DATASET}/records" in limited["paths"]
    assert f"{DATASET}/profile" not in limited["paths"]


@pytest.mark.parametrize("path", ["/data/people/v1/people/nonsense", "/data/people/v1/x", "/data/people/nonsense"])
def test_where_nothing_is_strangers_are_told_what_they_are_told_elsewhere(
    matrix: tuple[Lab, httpx.Client], path: str
) -> None:
    lab, client = matrix
    assert gist(client.get(path)) == gist(client.get(f"{DATASET}/records"))
    assert client.get(path, headers=key_of(lab, "people:read")).status_code == 404
    assert client.post(f"{DATASET}/records").status_code == 401
    wrong = client.post(f"{DATASET}/records", headers=key_of(lab, "people:read"))
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_options_lists_what_an_address_takes(matrix: tuple[Lab, httpx.Client]) -> None:
    _, client = matrix
    answer = client.options("/keys")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert client.options("/keys/self").headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/keys/0123456789ab").headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


@pytest.mark.slow
def test_pages_of_other_origins_are_answered_where_the_settings_say_so(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, cors_origins="https://app.example")
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    with lab.serve() as client:
        answer = client.get(f"{DATASET}/records", headers={"Origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "ETag" in answer.headers["access-control-expose-headers"]
        asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-API-Key"}
        preflight = client.options(f"{DATASET}/records", headers={"Origin": "https://app.example"} | asks)
        assert preflight.status_code == 200
        other = client.get(f"{DATASET}/records", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
