"""Access tokens: which are taken, what they say, and that none that was touched is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey, RSAKey
from joserfc.util import urlsafe_b64decode

from api.auth import jwt as tokens
from api.auth.jwks import read_keys
from api.auth.jwt import TokenClaims
from api.auth.jwt_parsing import decode_base64url
from runtime.settings.token_issuers import TokenIssuer
from tests.support.examples import examples
from tests.support.issuer import (
    AUDIENCE,
    NOW,
    Bench,
    Issuer,
    count_signatures,
    encode,
    make_key,
    public_jwk,
    run_bench,
    run_issuer,
    sign,
)

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with run_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def stranger() -> Iterator[Issuer]:
    """Somebody else's issuer, whose key has the same id."""
    with run_issuer() as running:
        running.rotate(one=make_key("RSA", 9))
        yield running


@pytest.fixture
def bench(issuer: Issuer) -> Iterator[Bench]:
    with run_bench(issuer) as bench:
        yield bench


def padded(issuer: Issuer, length: int) -> str:
    """A valid token of exactly this length. Base64 skips some lengths: the header makes up for it."""
    for extra in range(3):
        header = {"tenant": "x" * extra}
        missing = length - len(issuer.token(header=header, pad=""))
        for size in range(missing * 3 // 4 - 3, missing * 3 // 4 + 4):
            text = issuer.token(header=header, pad="x" * size)
            if len(text) == length:
                return text
    raise AssertionError(f"no token has {length} characters")


def test_a_valid_token_says_who_calls_and_what_it_may_do(bench: Bench) -> None:
    text = bench.issuer.token(scope="a:read b:write  a:read:confidential ")
    assert bench.verify(text) == TokenClaims(
        bench.issuer.api.url, "ann", frozenset({"a:read", "b:write", "a:read:confidential"}), NOW + 600
    )


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("RS256", "RSA"), ("PS256", "RSA"), ("ES256", "EC"), ("EdDSA", "OKP"), ("Ed25519", "OKP")]
)
def test_each_algorithm_that_is_allowed_is_verified(algorithm: str, kind: str) -> None:
    with run_issuer() as issuer:
        issuer.rotate(RSA=make_key("RSA"), EC=make_key("EC"), OKP=make_key("OKP"))
        text = issuer.token(kind, header={"alg": algorithm})
        with run_bench(issuer, issuer.settings(algorithms=(*ALGORITHMS, "Ed25519"))) as bench:
            assert bench.verify(text) is not None
        others = [name for name in ALGORITHMS if name != algorithm]
        with run_bench(issuer, issuer.settings(algorithms=others)) as bench:
            assert bench.verify(text) is None


# Each differs from a token that is taken by the one thing that its name says.
TAKEN: dict[str, Callable[[Issuer], str]] = {
    "the long name of the type": lambda i: i.token(header={"typ": "application/at+jwt"}),
    "the type in capitals": lambda i: i.token(header={"typ": "AT+JWT"}),
    "one audience of several": lambda i: i.token(aud=["https://other.example", AUDIENCE]),
    "no scope": lambda i: i.token(scope=None),
    "no kid": lambda i: i.token(header={"kid": None}),
    "a header that nobody knows": lambda i: i.token(header={"tenant": "x" * 700}),
    "valid since the issuer's clock went ahead by a minute": lambda i: i.token(nbf=NOW + 60, iat=NOW + 60),
    "a fraction of a second left": lambda i: i.token(exp=NOW + 0.5),
    "a subject beyond ASCII": lambda i: i.token(sub="Žofie ありがとう"),
    "just under 8 KB": lambda i: padded(i, 8191),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_token_is_taken_with(bench: Bench, name: str) -> None:
    assert bench.verify(TAKEN[name](bench.issuer)) is not None


REFUSED: dict[str, Callable[[Issuer, Issuer], str]] = {
    "alg none": lambda i, _: (encode(i.header(alg="none")) + b"." + encode(i.claims()) + b".").decode(),
    "alg none with a signature": lambda i, _: sign(i.header(alg="none"), i.claims(), make_key("RSA"), "RS256"),
    "an algorithm that is not on the list": lambda i, _: i.token(header={"alg": "RS512"}),
    "an algorithm that is not the key's": lambda i, _: sign(
        i.header(alg="ES256"), i.claims(), make_key("EC"), "ES256"
    ),
    "alg as a list": lambda i, _: sign(i.header(alg=["RS256"]), i.claims(), make_key("RSA"), "RS256"),
    "HMAC with the public key as PEM": lambda i, _: with_hmac(i, public_pem()),
    "HMAC with the public key as JSON": lambda i, _: with_hmac(i, json.dumps(i.published[0]).encode()),
    "HMAC that says RS256": lambda i, _: sign(i.header(), i.claims(), make_key("oct"), "HS256"),
    "an unknown crit": lambda i, _: i.token(header={"crit": ["tenant"], "tenant": "x"}),
    "a known crit": lambda i, _: i.token(header={"crit": ["b64"], "b64": True}),
    "an empty crit": lambda i, _: i.token(header={"crit": []}),
    "a payload that is not encoded": lambda i, _: i.token(header={"b64": False}),
    "no typ": lambda i, _: i.token(header={"typ": None}),
    "the typ of an ID token": lambda i, _: i.token(header={"typ": "JWT"}),
    "typ as a number": lambda i, _: i.token(header={"typ": 1}),
    "kid as a number": lambda i, _: i.token(header={"kid": 1}),
    "another audience": lambda i, _: i.token(aud="https://other.example"),
    "an audience that starts like ours": lambda i, _: i.token(aud=AUDIENCE + "/x"),
    "our audience among things that are none": lambda i, _: i.token(aud=[AUDIENCE, 1]),
    "an audience of objects": lambda i, _: i.token(aud={AUDIENCE: True}),
    "no audience": lambda i, _: i.token(aud=None),
    "an empty audience": lambda i, _: i.token(aud=[]),
    "another issuer's name": lambda i, s: i.token(iss=s.api.url),
    "the issuer with a slash": lambda i, _: i.token(iss=i.api.url + "/"),
    "the issuer as a list": lambda i, _: i.token(iss=[i.api.url]),
    "no issuer": lambda i, _: i.token(iss=None),
    "no subject": lambda i, _: i.token(sub=None),
    "an empty subject": lambda i, _: i.token(sub=""),
    "a subject with NUL": lambda i, _: i.token(sub="ann\0"),
    "a subject with half a character": lambda i, _: i.token(sub="\ud800"),
    "a subject of two lines": lambda i, _: i.token(sub="ann\nadmin"),
    "a subject as a number": lambda i, _: i.token(sub=1),
    "a long subject": lambda i, _: i.token(sub="x" * 256),
    "scope as a list": lambda i, _: i.token(scope=["a:read"]),
    "expired now": lambda i, _: i.token(exp=NOW),
    "no exp": lambda i, _: i.token(exp=None),
    "exp as null": lambda i, _: with_exp(i, "null"),
    "exp as a string": lambda i, _: with_exp(i, '"4102444800"'),
    "exp as a word": lambda i, _: with_exp(i, "true"),
    "exp beyond floats": lambda i, _: with_exp(i, "1e400"),
    "exp in four thousand digits": lambda i, _: with_exp(i, "9" * 4000),
    "exp in five thousand digits": lambda i, _: with_exp(i, "9" * 5000),
    "exp in the year 10000": lambda i, _: with_exp(i, "253402300800"),
    "exp as NaN": lambda i, _: with_exp(i, "NaN"),
    "exp as Infinity": lambda i, _: with_exp(i, "Infinity"),
    "not valid yet": lambda i, _: i.token(nbf=NOW + 61),
    "issued in the future": lambda i, _: i.token(iat=NOW + 61),
    "nbf as a string": lambda i, _: i.token(nbf="0"),
    "nbf as a word": lambda i, _: i.token(nbf=True),
    "iat as null": lambda i, _: with_payload(i, json.dumps(i.claims(iat=None))[:-1] + ', "iat": null}'),
    "NaN where nobody looks": lambda i, _: with_payload(i, json.dumps(i.claims())[:-1] + ', "x": NaN}'),
    "iat before time": lambda i, _: i.token(iat=-1),
    "another issuer's key with the same kid": lambda i, s: i.token(key=s.keys["one"]),
    "another issuer's token": lambda i, s: s.token(),
    "a key that it points at": lambda i, s: i.token(key=s.keys["one"], header={"jku": s.api.url + "/keys"}),
    "a certificate that it points at": lambda i, s: i.token(key=s.keys["one"], header={"x5u": s.api.url + "/keys"}),
    "a key that it brings along": lambda i, s: i.token(key=s.keys["one"], header={"jwk": public_jwk(s.keys["one"])}),
    "a name twice in the payload": lambda i, _: with_payload(i, json.dumps(i.claims())[:-1] + ', "sub": "bob"}'),
    "a name twice in the header": lambda i, _: with_header(i, json.dumps(i.header())[:-1] + ', "alg": "RS256"}'),
    "an escaped name twice": lambda i, _: with_payload(i, json.dumps(i.claims())[:-1] + r', "\u0073ub": "bob"}'),
    "a payload that is a list": lambda i, _: with_payload(i, "[]"),
    "a payload that is no JSON": lambda i, _: with_payload(i, "{"),
    "an empty payload": lambda i, _: with_payload(i, ""),
    "a payload nested a thousand times": lambda i, _: with_payload(i, '{"a":' + "[" * 2500 + "]" * 2500 + "}"),
    "a payload in UTF-16": lambda i, _: sign(
        i.header(), json.dumps(i.claims()).encode("utf-16"), i.keys["one"], "RS256"
    ),
    "a payload that is no UTF-8": lambda i, _: sign(i.header(), b'{"sub":"\xff"}', i.keys["one"], "RS256"),
    "8 KB": lambda i, _: padded(i, 8192),
    "1 MB": lambda i, _: i.token() + "A" * 2**20,
    "encrypted": lambda i, _: i.token() + ".AAAA.AAAA",
    "no signature": lambda i, _: i.token().rpartition(".")[0] + ".",
    "two parts": lambda i, _: i.token().rpartition(".")[0],
    "padding": lambda i, _: i.token() + "=",
    "a line break": lambda i, _: i.token() + "\n",
    "NUL": lambda i, _: i.token() + "\0",
    "NUL within": lambda i, _: i.token().replace(".", ".\0", 1),
    "a letter beyond ASCII": lambda i, _: i.token() + "é",
    "half a character": lambda i, _: i.token() + "\ud800",
    "base64 of other letters": lambda i, _: i.token() + "+/",
    "five letters of base64": lambda i, _: "AAAAA.AAAAA.AAAAA",
    "nothing": lambda i, _: "",
    "dots": lambda i, _: "..",
    "a key of ours": lambda i, _: "dcnt_abcdefgh_ijklmnop",
}


def with_exp(issuer: Issuer, value: str) -> str:
    """A token whose `exp` stands in its JSON like this."""
    return with_payload(issuer, json.dumps(issuer.claims(exp=None))[:-1] + f', "exp": {value}}}')


def with_payload(issuer: Issuer, text: str) -> str:
    """A token with exactly this payload."""
    return sign(issuer.header(), text.encode(), issuer.keys["one"], "RS256")


def with_header(issuer: Issuer, text: str) -> str:
    """A token with exactly this header."""
    return sign(text.encode(), issuer.claims(), issuer.keys["one"], "RS256")


def public_pem() -> bytes:
    """The issuer's public key as people hand it around."""
    key = make_key("RSA")
    assert isinstance(key, RSAKey)
    return key.as_pem(private=False)


def with_hmac(issuer: Issuer, secret: bytes) -> str:
    """A token whose signature anybody can make who takes what is public for the secret."""
    return sign(issuer.header(alg="HS256"), issuer.claims(), OctKey(secret, secret), "HS256")


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_is_refused_for(bench: Bench, stranger: Issuer, name: str) -> None:
    asked = len(stranger.api.asked)
    text = REFUSED[name](bench.issuer, stranger)
    for _ in range(2):
        assert bench.verify(text) is None
    assert bench.verify(bench.issuer.token()) is not None
    # What a token points at is never fetched.
    assert len(stranger.api.asked) == asked


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "AA==", "AA A", "AA\n", "A+/A", "\0AAA", "é", "AAAAA"])
def test_bytes_have_one_text_in_base64(text: str) -> None:
    assert decode_base64url("AA") == b"\0"
    with pytest.raises(ValueError, match=r"."):
        decode_base64url(text)


def test_keys_that_a_token_brings_or_points_at_do_not_matter(bench: Bench, stranger: Issuer) -> None:
    asked = len(stranger.api.asked)
    url, key = stranger.api.url, public_jwk(stranger.keys["one"])
    for header in ({"jku": url}, {"x5u": url}, {"jwk": key}, {"x5c": ["MIIB" * 300]}):
        assert bench.verify(bench.issuer.token(header=header)) is not None
    assert len(stranger.api.asked) == asked


def test_a_signature_is_checked_with_the_chosen_algorithm_and_no_other(issuer: Issuer) -> None:
    (key,) = read_keys(json.dumps({"keys": issuer.published}).encode(), ("RS256", "PS256"))
    for said in ("RS256", "PS256"):
        text = issuer.token(header={"alg": said})
        assert [tokens.is_signed(text, key, chosen) for chosen in ("RS256", "PS256")] == [
            said == "RS256",
            said == "PS256",
        ]


def test_two_issuers_are_told_apart_by_name_and_key(issuer: Issuer, stranger: Issuer) -> None:
    with run_bench(issuer, issuer.settings(), stranger.settings(audience="theirs")) as bench:
        ours, theirs = bench.verify(issuer.token()), bench.verify(stranger.token(aud="theirs"))
        assert ours is not None
        assert theirs is not None
        assert (ours.issuer, theirs.issuer) == (issuer.api.url, stranger.api.url)
        assert bench.verify(stranger.token(aud="theirs", iss=issuer.api.url)) is None
        assert bench.verify(stranger.token()) is None
        assert bench.verify(issuer.token(key=stranger.keys["one"])) is None


def test_without_issuers_no_token_is_valid(issuer: Issuer) -> None:
    with run_bench(issuer) as bench:
        bench.verifier = tokens.TokenVerifier(())
        assert bench.verify(issuer.token()) is None
        bench.runner.run(bench.verifier.close())


def test_a_tampered_payload_is_refused_though_the_token_was_taken_before(bench: Bench) -> None:
    text = bench.issuer.token()
    assert bench.verify(text) is not None
    header, _, signature = text.split(".")
    payload = encode(bench.issuer.claims(scope="ops:write")).decode()
    assert bench.verify(f"{header}.{payload}.{signature}") is None


def test_a_token_that_was_taken_ends_with_its_exp(bench: Bench) -> None:
    text = bench.issuer.token(exp=NOW + 30)
    assert bench.verify(text) is not None
    bench.clock.now += 29.9
    assert bench.verify(text) is not None
    bench.clock.now += 0.1
    assert bench.verify(text) is None


def test_a_token_that_comes_again_costs_a_signature_once_a_minute(bench: Bench, monkeypatch: Any) -> None:
    checked = count_signatures(monkeypatch)
    text = bench.issuer.token()
    first = bench.verify(text)
    for _ in range(100):
        assert bench.verify(text) == first
    bench.clock.now += 59.9
    assert bench.verify(text) == first
    assert checked == [text]
    bench.clock.now += 0.1
    assert bench.verify(text) == first
    assert checked == [text, text]


def test_tokens_unused_the_longest_are_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED_TOKENS", 3)
    one, two, three, four = (bench.issuer.token(sub=name) for name in "abcd")
    for text in (one, two, three, one, four):
        bench.verify(text)
    checked = count_signatures(monkeypatch)
    for text in (one, three, four, two):
        bench.verify(text)
    assert checked == [two]
    assert len(bench.verifier.remembered) == 3


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0é"
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.text(LETTERS, max_size=3)), min_size=1, max_size=4)


@given(edits=EDITS, fold=st.booleans())
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_change_to_a_text_is_taken_with_other_claims(
    bench: Bench, edits: list[tuple[float, int, str]], fold: bool
) -> None:
    original = text = bench.issuer.token()
    for place, removed, added in edits:
        start = int(place * len(text))
        text = text[:start] + added + text[start + removed :]
    text = text.swapcase() if fold else text
    assume(text != original)
    assert bench.verify(text) is None


PARTS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
FLIPS = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 0.999), st.integers(1, 255)), max_size=2)


@given(parts=PARTS, flips=FLIPS)
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_of_valid_tokens_with_bytes_changed_within_are_taken_only_as_they_were(
    bench: Bench, parts: tuple[int, int, int], flips: list[tuple[int, float, int]]
) -> None:
    originals = [bench.issuer.token(sub=f"s{n % 2}", header={"tenant": n // 2}) for n in range(4)]
    pieces = [bytearray(urlsafe_b64decode(originals[n].split(".")[i].encode())) for i, n in enumerate(parts)]
    for index, place, change in flips:
        pieces[index][int(place * len(pieces[index]))] ^= change
    text = b".".join(encode(bytes(piece)) for piece in pieces).decode()
    assert (bench.verify(text) is not None) == (text in originals)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(changes=st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "scope", "x"]), VALUES))
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_signed_claims_of_any_kind_are_read_as_they_are_or_refused(bench: Bench, changes: dict[str, Any]) -> None:
    text = bench.issuer.token(**changes)
    said = json.loads(urlsafe_b64decode(text.split(".")[1].encode()))
    claims = bench.verify(text)
    if claims is not None:
        assert claims.issuer == said["iss"]
        assert claims.subject == said["sub"] != ""
        assert claims.expires_at == said["exp"] > NOW
        assert claims.scopes == set(said.get("scope", "").split(" ")) - {""}
        assert said["aud"] == AUDIENCE


def test_an_issuer_grants_what_its_owner_lets_it(issuer: Issuer) -> None:
    asked = "shop:read shop:role:north other:write ops:read ops:write keys:admin"
    for grants, granted in (
        (("*",), {"shop:read", "shop:role:north", "other:write"}),
        (("shop:*",), {"shop:read", "shop:role:north"}),
        (("*:read",), {"shop:read"}),
        (("ops:*", "keys:*"), set()),
        (("ops:read", "shop:read"), {"ops:read", "shop:read"}),
        ((), set()),
    ):
        with run_bench(issuer, issuer.settings(grants=grants)) as bench:
            claims = bench.verify(issuer.token(scope=asked))
        assert claims is not None
        assert claims.scopes == granted, grants


def test_a_token_lives_no_longer_than_its_issuer_may_give(issuer: Issuer) -> None:
    assert TokenIssuer(issuer="https://login.example", audience="x").longest_life_seconds == 86_400
    with run_bench(issuer, issuer.settings(longest_life_seconds=3600)) as bench:
        assert bench.verify(issuer.token(exp=NOW + 3600)) is not None
        for claims in ({"exp": NOW + 3700}, {"exp": NOW + 600, "iat": NOW - 3700}, {"exp": 253_402_300_799}):
            assert bench.verify(issuer.token(**claims)) is None, claims
        assert bench.verify(issuer.token(exp=NOW + 3700, iat=None)) is None
