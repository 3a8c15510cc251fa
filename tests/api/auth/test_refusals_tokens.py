"""Access tokens that are not taken, over HTTP: all get the answer that a missing credential gets, to the letter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from tests.support.issuer import AUDIENCE, Issuer, encode, make_key, run_issuer, sign
from tests.support.refusals import Ground, run_ground

RECORDS = "/data/shop/v1/things/records"


def claims(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    """What a token says that is valid now."""
    now = int(time.time())
    return issuer.claims(**({"iat": now, "exp": now + 600, "scope": "shop:read"} | changes))


def token(issuer: Issuer, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token that is signed with the issuer's key, whatever it says."""
    told = issuer.header(**(header or {}))
    return sign(told, claims(issuer, **changes), issuer.keys["one"], "RS256")


def with_hmac(issuer: Issuer) -> str:
    """A token that is signed with what everybody knows."""
    key = issuer.keys["one"]
    assert isinstance(key, RSAKey)
    public = key.as_pem(private=False)
    return sign(issuer.header(alg="HS256"), claims(issuer), OctKey(public, public), "HS256")


BAD: dict[str, Callable[[Issuer], str]] = {
    "alg none": lambda i: (encode(i.header(alg="none")) + b"." + encode(claims(i)) + b".").decode(),
    "HMAC with the public key": with_hmac,
    "an unknown crit": lambda i: token(i, {"crit": ["tenant"], "tenant": "x"}),
    "another audience": lambda i: token(i, aud="https://other.example"),
    "our audience with more behind it": lambda i: token(i, aud=AUDIENCE + "/x"),
    "another issuer": lambda i: token(i, iss="https://other.example"),
    "an issuer with a slash": lambda i: token(i, iss=i.api.url + "/"),
    "a time that is over": lambda i: token(i, exp=int(time.time()) - 120),
    "a time that is to come": lambda i: token(i, nbf=int(time.time()) + 3600),
    "8 KB": lambda i: token(i, name="x" * 6000),
    "the typ of an ID token": lambda i: token(i, {"typ": "JWT"}),
    "somebody else's key": lambda i: sign(i.header(), claims(i), make_key("RSA", 1), "RS256"),
    "an unknown kid": lambda i: token(i, {"kid": "two"}),
    "a changed payload": lambda i: swap_payload(token(i), token(i, scope="shop:read keys:admin")),
    "no signature": lambda i: token(i).rpartition(".")[0] + ".",
}


def swap_payload(one: str, other: str) -> str:
    """A token with the payload of another."""
    head, _, signature = one.split(".")
    return f"{head}.{other.split('.')[1]}.{signature}"


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Iterator[tuple[Issuer, Ground]]:
    folder = tmp_path_factory.mktemp("tokens")
    with run_issuer() as issuer, run_ground(folder, databases.urls(databases.create()), issuer.settings()) as ground:
        yield issuer, ground


def gist(body: dict[str, Any]) -> dict[str, Any]:
    """A problem without what differs with every request."""
    return {name: value for name, value in body.items() if name != "trace_id"}


@pytest.mark.parametrize("name", BAD)
def test_a_token_is_refused_as_any_bad_credential_for(issued: tuple[Issuer, Ground], name: str) -> None:
    issuer, ground = issued
    bad = BAD[name](issuer)
    expected = ground.client.get(RECORDS, headers={"X-API-Key": ground.words["unknown"]})
    answer = ground.client.get(RECORDS, headers={"Authorization": f"Bearer {bad}"})
    assert answer.status_code == expected.status_code == 401
    assert gist(answer.json()) == gist(expected.json())
    assert answer.headers["www-authenticate"] == expected.headers["www-authenticate"]
    good = ground.client.get(RECORDS, headers={"Authorization": f"Bearer {token(issuer)}"})
    assert good.status_code == 200, good.text
    assert len(good.json()["data"]) == 3


@pytest.mark.slow
def test_a_flood_of_unknown_kids_asks_the_issuer_once(issued: tuple[Issuer, Ground]) -> None:
    issuer, ground = issued
    assert ground.client.get(RECORDS, headers={"Authorization": f"Bearer {token(issuer)}"}).status_code == 200
    before = issuer.fetches
    for number in range(200):
        flood = token(issuer, {"kid": f"kid-{number}"})
        assert ground.client.get(RECORDS, headers={"Authorization": f"Bearer {flood}"}).status_code == 401
    assert issuer.fetches - before <= 1


def test_a_token_without_the_scope_is_told_so_only_where_it_may_know(issued: tuple[Issuer, Ground]) -> None:
    issuer, ground = issued
    reader = {"Authorization": f"Bearer {token(issuer)}"}
    answer = ground.client.get("/operations/loads", headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    stranger = {"Authorization": f"Bearer {token(issuer, scope='elsewhere:read')}"}
    assert ground.client.get(RECORDS, headers=stranger).json()["code"] == "not_found"
