"""Signing in at an issuer: a real one, which checks what it is asked for, and lies where a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from runtime.settings.token_issuers import TokenIssuer
from tests.support.issuer import METADATA, Issuer, run_issuer
from tests.support.lab import PEOPLE, Lab
from tests.support.remote_api import Asked, Reply
from tests.support.waiting import wait_until

CLOSED = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")
OTHER = "https://other.example"
PEOPLE_PAGE = "/browse/people/v1/people"
CLIENT, SECRET = "the portal", "s3cret/with+signs"
LOGIN = "Basic " + base64.b64encode(b"the%20portal:s3cret%2Fwith%2Bsigns").decode()


@dataclass
class SignInIssuer:
    """An issuer with the authorization code flow, for one client."""

    issuer: Issuer
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)  # to what it answers

    def answer(self, asked: Asked) -> Reply:
        url = self.issuer.api.url
        if asked.path == METADATA:
            return Reply(
                {
                    "issuer": url,
                    "jwks_uri": f"{url}/keys",
                    "authorization_endpoint": f"{url}/authorize",
                    "token_endpoint": f"{url}/token",
                }
            )
        return self.exchange(asked) if asked.path == "/token" else Issuer.answer(self.issuer, asked)

    def authorize(self, address: str) -> dict[str, str]:
        """What a browser brings back that was led to this address, and let in."""
        asked = dict(parse_qsl(urlsplit(address).query))
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer.api.url}

    def exchange(self, asked: Asked) -> Reply:
        form = dict(parse_qsl(asked.body.decode()))
        begun = self.codes.pop(form.get("code", ""), None)
        if begun is None or asked.headers.get("authorization") != LOGIN:
            return Reply({"error": "invalid_grant"}, status=400)
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
        if digest.rstrip("=") != begun["code_challenge"] or form["redirect_uri"] != begun["redirect_uri"]:
            return Reply({"error": "invalid_grant"}, status=400)
        now = time.time()
        times = {"exp": now + 300, "iat": now}
        identity = times | {"aud": CLIENT, "nonce": begun["nonce"], "scope": None} | self.changes.get("id", {})
        access = times | {"scope": "people:read"} | self.changes.get("access", {})
        tokens = {
            "access_token": self.issuer.token(**access),
            "id_token": self.issuer.token(header={"typ": "JWT"}, **identity),
        }
        return Reply(tokens | self.changes.get("answer", {}))


@dataclass
class Place:
    """A service, the issuer that it trusts, and a browser's client."""

    lab: Lab
    login: SignInIssuer
    client: httpx.Client

    def go(self, path: str = "/sign-in/with/1?next=/browse/people/v1/people") -> str:
        """Where the way there leads."""
        answer = self.client.get(path)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def age(self, statement: str = "expires_at = now()") -> None:
        """Lets all sessions come to their end, or what else is said."""
        with psycopg.connect(self.lab.urls.owner, autocommit=True) as connection:
            connection.execute(f"UPDATE decant.sessions SET {statement} WHERE ended IS NULL".encode())

    def renew(self, path: str = PEOPLE_PAGE) -> httpx.Response:
        """What a browser gets that opens a page once the session has ended, after it was led to another address."""
        navigates = {"Sec-Fetch-Mode": "navigate"}
        wait_until(lambda: self.client.get(path, headers=navigates).status_code == 302)
        return self.client.get(self.client.get(path, headers=navigates).headers["location"])

    def come_back(self, **changes: str) -> httpx.Response:
        """The answer to a browser that was let in, with changes to what it brings."""
        return self.client.get("/sign-in/callback/1", params=self.login.authorize(self.go()) | changes)


@pytest.fixture(scope="module")
def shared_place(shared_labs: Callable[..., Lab]) -> Iterator[Place]:
    with run_issuer() as issuer:
        login = SignInIssuer(issuer)
        issuer.api.answer = login.answer
        settings = issuer.settings(
            jwks_url=None,
            name="Example & Sons",
            portal_client_id=CLIENT,
            portal_client_secret=SecretStr(SECRET),
            scopes=("people:read",),
            portal_session_seconds=3_600,
            longest_life_seconds=86_400,
        )

        addresses = {"authorization_url": f"{OTHER}/authorize", "token_url": f"{OTHER}/token"}
        other = TokenIssuer(issuer=OTHER, audience="x", portal_client_id="x", **addresses)

        def load(make_lab: Callable[..., Lab]) -> Lab:
            lab = make_lab(CLOSED, token_issuers=(settings, other))
            lab.ingest("people.people", "id,name,age,born\n1,Hedwig,30,1990-01-31\n")
            return lab

        lab = shared_labs(load)
        with lab.serve() as client:
            yield Place(lab, login, client)


@pytest.fixture
def place(shared_place: Place) -> Place:
    shared_place.client.cookies.clear()
    shared_place.login.changes.clear()
    return shared_place


def test_a_visitor_signs_in_at_the_issuer_and_sees_what_the_scopes_open(place: Place) -> None:
    shown = place.client.get("/sign-in?next=/browse/people/v1/people").text
    assert "Sign in with Example &amp; Sons" in shown
    answer = place.come_back()
    assert (answer.status_code, answer.headers["location"]) == (303, "/browse/people/v1/people")
    assert "Hedwig" in place.client.get("/browse/people/v1/people").text
    account = place.client.get("/account").text
    assert "token:ann@" in account
    assert "Rotate the key" not in account
    kept = repr(place.lab.rows("SELECT * FROM decant.sessions"))
    assert "eyJ" not in kept
    longest = place.lab.rows("SELECT max(extract(epoch FROM expires_at - created_at)) FROM decant.sessions")[0][0]
    assert float(longest) <= 3_601


def test_what_is_asked_of_the_issuer_is_bound_to_this_attempt(place: Place) -> None:
    first, second = (dict(parse_qsl(urlsplit(place.go()).query)) for _ in range(2))
    assert first["response_type"] == "code"
    assert first["code_challenge_method"] == "S256"
    assert first["scope"] == "openid people:read"
    assert first["redirect_uri"] == f"{str(place.client.base_url).rstrip('/')}/sign-in/callback/1"
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": {"nonce": "another"}},
        {"id": {"nonce": None}},
        {"id": {"aud": "another client"}},
        {"id": {"aud": [CLIENT, "another client"]}},
        {"id": {"azp": "another client"}},
        {"id": {"iss": "https://another.example"}},
        {"id": {"exp": 1}},
        {"id": {"sub": "ben"}},
        {"access": {"aud": "https://another.example"}},
        {"access": {"exp": 1}},
        {"access": {"sub": "ben"}},
        {"answer": {"id_token": "x"}},
        {"answer": {"id_token": None}},
        {"answer": {"access_token": "opaque"}},
        {"answer": {"access_token": 1}},
    ],
    ids=str,
)
def test_tokens_that_do_not_fit_open_no_session(place: Place, changes: dict[str, Any]) -> None:
    place.login.changes = changes
    answer = place.come_back()
    assert answer.status_code == 401
    assert "decant=" not in answer.headers.get("set-cookie", "")
    assert place.client.get("/browse/people/v1/people").status_code == 401


def test_an_id_token_signed_by_another_key_opens_no_session(place: Place) -> None:
    from tests.support.issuer import make_key

    issuer = place.login.issuer
    answer = place.login.authorize(place.go())
    claims = {"aud": CLIENT, "nonce": place.login.codes[answer["code"]]["nonce"], "exp": time.time() + 300, "iat": 1}
    forged = issuer.token(key=make_key("RSA", 7), header={"typ": "JWT"}, **claims)
    place.login.changes = {"answer": {"id_token": forged}}
    assert place.client.get("/sign-in/callback/1", params=answer).status_code == 401


@pytest.mark.parametrize(
    "changes", [{"state": "another"}, {"state": ""}, {"iss": "https://another.example"}, {"code": ""}, {"code": "x"}]
)
def test_what_comes_back_has_to_be_what_was_begun(place: Place, changes: dict[str, str]) -> None:
    assert place.come_back(**changes).status_code == 401
    assert place.client.get("/browse/people/v1/people").status_code == 401


def test_an_attempt_of_another_browser_opens_no_session(place: Place) -> None:
    answer = place.login.authorize(place.go())
    stolen = place.client.cookies["decant-attempt"]
    place.client.cookies.clear()
    assert place.client.get("/sign-in/callback/1", params=answer).status_code == 401
    forged = {"Cookie": f"decant-attempt={stolen[:-2]}xx"}
    assert place.client.get("/sign-in/callback/1", params=answer, headers=forged).status_code == 401


def test_a_code_is_exchanged_once(place: Place) -> None:
    answer = place.login.authorize(place.go())
    assert place.client.get("/sign-in/callback/1", params=answer).status_code == 303
    assert place.client.get("/sign-in/callback/1", params=answer).status_code == 401


@pytest.mark.parametrize("path", ["/sign-in/with/0", "/sign-in/with/3", "/sign-in/with/x", "/sign-in/with/99999"])
def test_there_is_no_way_to_an_issuer_that_is_not_configured(place: Place, path: str) -> None:
    assert place.client.get(path).status_code == 404


def test_a_foreign_page_cannot_lead_a_sign_in_elsewhere(place: Place) -> None:
    answer = place.login.authorize(place.go("/sign-in/with/1?next=https://attacker.example/"))
    assert place.client.get("/sign-in/callback/1", params=answer).headers["location"] == "/"


def test_an_issuer_that_is_down_is_told_of(place: Place) -> None:
    answer = place.login.authorize(place.go())
    place.login.issuer.api.answer = lambda asked: Reply(status=500)
    try:
        refused = place.client.get("/sign-in/callback/1", params=answer)
        # Where it stands is known: nobody waits for its metadata.
        assert place.client.get("/sign-in/with/1").status_code == 302
    finally:
        place.login.issuer.api.answer = place.login.answer
    assert refused.status_code == 401
    assert "did not accept the sign-in" in refused.text


def test_what_comes_back_from_one_issuer_is_never_shown_to_another(place: Place) -> None:
    answer = place.login.authorize(place.go())
    exchanged = len(place.login.issuer.api.asked)
    assert place.client.get("/sign-in/callback/2", params=answer).status_code == 401
    assert len(place.login.issuer.api.asked) == exchanged
    other = dict(parse_qsl(urlsplit(place.go("/sign-in/with/2")).query))
    assert other["redirect_uri"].endswith("/sign-in/callback/2")
    crossed = answer | {"state": other["state"]}
    for changes in ({}, {"iss": OTHER}):
        assert place.client.get("/sign-in/callback/1", params=crossed | changes).status_code == 401
    assert len(place.login.issuer.api.asked) == exchanged


@pytest.mark.parametrize(("age", "status"), [(0, 303), (3_600, 401), (None, 401)])
def test_who_signs_in_again_has_to_show_the_issuer_who_it_is(place: Place, age: int | None, status: int) -> None:
    there = place.go("/sign-in/with/1?again=1")
    asked = dict(parse_qsl(urlsplit(there).query))
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    place.login.changes = {"id": {"auth_time": None if age is None else time.time() - age}}
    answer = place.client.get("/sign-in/callback/1", params=place.login.authorize(there))
    assert answer.status_code == status


def test_the_metadata_of_an_issuer_is_fetched_once(place: Place) -> None:
    place.go()
    fetched = [asked.path for asked in place.login.issuer.api.asked].count(METADATA)
    for _ in range(5):
        place.go()
    assert [asked.path for asked in place.login.issuer.api.asked].count(METADATA) == fetched


def test_a_session_that_came_to_its_end_is_renewed_without_a_click(place: Place) -> None:
    assert place.come_back().status_code == 303
    place.age()
    there = place.renew(f"{PEOPLE_PAGE}?x=1")
    asked = dict(parse_qsl(urlsplit(there.headers["location"]).query))
    assert (there.status_code, asked["prompt"]) == (302, "none")
    back = place.client.get("/sign-in/callback/1", params=place.login.authorize(there.headers["location"]))
    assert (back.status_code, back.headers["location"]) == (303, f"{PEOPLE_PAGE}?x=1")
    assert "Hedwig" in place.client.get(PEOPLE_PAGE).text


@pytest.mark.parametrize("refused", ["login_required", "somebody else"])
def test_a_session_that_is_not_renewed_ends_and_the_issuer_is_asked_once(place: Place, refused: str) -> None:
    assert place.come_back().status_code == 303
    place.age()
    brought = place.login.authorize(place.renew().headers["location"])
    if refused == "login_required":
        brought = {"error": refused, "state": brought["state"]}
    else:
        place.login.changes = {"id": {"sub": "ben"}, "access": {"sub": "ben"}}
    back = place.client.get("/sign-in/callback/1", params=brought)
    assert (back.status_code, back.headers["location"]) == (303, PEOPLE_PAGE)
    told = place.client.get(PEOPLE_PAGE, headers={"Sec-Fetch-Mode": "navigate"})
    assert (told.status_code, "did not let you in again" in told.text) == (401, True)
    assert "decant" not in place.client.cookies


@pytest.mark.parametrize(
    ("headers", "statement"),
    [
        ({}, "expires_at = now()"),
        ({"Sec-Fetch-Mode": "cors"}, "expires_at = now()"),
        ({"Sec-Fetch-Mode": "navigate"}, "seen_at = now() - interval '9 hours', expires_at = now()"),
        ({"Sec-Fetch-Mode": "navigate"}, "ended = 'signed_out', expires_at = now()"),
    ],
    ids=["program", "script", "idle", "signed out"],
)
def test_only_a_page_of_a_session_that_was_in_use_is_led_to_the_issuer(
    place: Place, headers: dict[str, str], statement: str
) -> None:
    assert place.come_back().status_code == 303
    place.age(statement)
    held = {"Cookie": f"decant={place.client.cookies['decant']}"}
    wait_until(lambda: 'role="status"' in place.client.get("/", headers=held | headers).text)
    assert place.client.get("/", headers=held | headers).status_code == 200


def test_a_sign_in_that_the_issuer_asked_nobody_for_is_not_fresh(place: Place) -> None:
    for age, fresh in ((None, False), (3_600, False), (0, True)):
        place.login.changes = {"id": {"auth_time": None if age is None else time.time() - age}}
        assert place.come_back().status_code == 303
        found = place.lab.rows(
            "SELECT shown_at > now() - interval '10 minutes' FROM decant.sessions ORDER BY created_at DESC LIMIT 1"
        )
        assert bool(found[0][0]) is fresh
